//! Asking registries whether an image is there.

#[cfg(feature = "registry")]
mod answer;
#[cfg(feature = "registry")]
mod credentials;
#[cfg(feature = "registry")]
mod host;
#[cfg(feature = "registry")]
mod manifest;
#[cfg(all(test, feature = "registry"))]
mod tests;
#[cfg(feature = "registry")]
mod token;

use crate::domain::build::Presence;

/// What a place answered, and why it is not known where it is not; the reason continues a sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Look {
    pub presence: Presence,
    pub reason: String,
}

#[cfg(feature = "registry")]
pub use asking::Registries;
#[cfg(not(feature = "registry"))]
pub use mute::Registries;

// === impl Look ===

impl Look {
    pub fn sure(presence: Presence) -> Self {
        Self {
            presence,
            reason: String::new(),
        }
    }

    pub fn unknown(reason: impl Into<String>) -> Self {
        Self {
            presence: Presence::Unknown,
            reason: reason.into(),
        }
    }
}

#[cfg(feature = "registry")]
mod asking {
    use std::borrow::Cow;
    use std::collections::HashMap;
    use std::sync::{Arc, Mutex, PoisonError};
    use std::time::Duration;

    use super::Look;
    use oci_client::Reference;

    use super::credentials::Credentials;
    use super::host::{Host, Place, Times};
    use super::manifest::Manifest;
    use crate::cli::build::config::Config;
    use crate::cli::build::written::read_file;
    use crate::cli::failure::{Failure, with_causes};
    use crate::domain::Digest;
    use crate::domain::build::{Label, Presence, Registry};

    /// The registries that were asked so far, with what they need to know of whoever asks.
    pub struct Registries {
        config: Config,
        roots: Option<Vec<u8>>,
        credentials: Arc<Credentials>,
        times: Times,
        hosts: Mutex<HashMap<String, Arc<Host>>>,
    }

    impl Registries {
        /// Certificates are those of the system and of `ca_file`; passwords are those that others left behind.
        pub fn new(config: &Config) -> Result<Self, Failure> {
            let times = Times {
                request: Duration::from_secs(15),
                look: Duration::from_secs(90),
            };
            Self::with(config, times, Credentials::left_behind())
        }

        pub(super) fn with(
            config: &Config,
            times: Times,
            credentials: Credentials,
        ) -> Result<Self, Failure> {
            // Another one may have been taken already, and does as well.
            let _ = rustls::crypto::ring::default_provider().install_default();
            let ca_file = config.ca_file.as_deref().map(read_file);
            Ok(Self {
                config: config.clone(),
                roots: ca_file.transpose().map_err(Failure::new)?,
                credentials: Arc::new(credentials),
                times,
                hosts: Mutex::default(),
            })
        }

        /// Looks for an image. One without a registry is published nowhere, and so is certainly not there.
        pub async fn look(&self, label: &Label) -> Look {
            let Some(name) = label.registry() else {
                return Look::sure(Presence::Absent);
            };
            let repository = repository(name, label.repository());
            match self.host(name) {
                Ok(host) => {
                    let place = Place {
                        repository: &repository,
                        reference: label.version(),
                    };
                    host.look(place).await
                }
                Err(why) => Look::unknown(cannot_ask(name, &why)),
            }
        }

        /// The digest of the config of what is published under a label, as daemons name images; nothing where there
        /// is no image, or one for several platforms. Or why it is not known.
        pub async fn config_of(&self, label: &Label) -> Result<Option<Digest>, String> {
            let Some(name) = label.registry() else {
                return Ok(None);
            };
            let repository = repository(name, label.repository());
            let host = self.host(name).map_err(|why| cannot_ask(name, &why))?;
            let place = Place {
                repository: &repository,
                reference: label.version(),
            };
            let manifest = host.manifest(place).await?;
            Ok(manifest.and_then(|manifest: Manifest| manifest.config))
        }

        /// Looks for an image by a reference as daemons take it, such as `debian:13`. Of one for several platforms the
        /// digest is that of the index.
        pub async fn look_for(&self, reference: &str) -> Look {
            let read: Reference = match reference.parse() {
                Ok(read) => read,
                Err(why) => {
                    return Look::unknown(format!("{reference} cannot be asked for: {why}"));
                }
            };
            let place = Place {
                repository: read.repository(),
                reference: read.digest().or(read.tag()).unwrap_or("latest"),
            };
            match self.host(read.registry()) {
                Ok(host) => host.look(place).await,
                Err(why) => Look::unknown(cannot_ask(read.registry(), &why)),
            }
        }

        fn host(&self, name: &str) -> Result<Arc<Host>, String> {
            let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(host) = hosts.get(name) {
                return Ok(host.clone());
            }
            let registry: Registry = name.parse().map_err(|why| format!("{why}"))?;
            let is_plain = self.config.is_insecure(&registry);
            let (roots, credentials) = (self.roots.as_deref(), self.credentials.clone());
            let host = Host::new(name, is_plain, roots, credentials, self.times)
                .map_err(|why| with_causes(&*why))?;
            let host = Arc::new(host);
            hosts.insert(name.to_owned(), host.clone());
            Ok(host)
        }
    }

    fn cannot_ask(registry: &str, why: &str) -> String {
        format!("{registry} cannot be asked: {why}")
    }

    /// The path in the registry: Docker's own has a place for those without one.
    fn repository<'a>(registry: &str, path: &'a str) -> Cow<'a, str> {
        match registry == "docker.io" && !path.contains('/') {
            true => Cow::Owned(format!("library/{path}")),
            false => Cow::Borrowed(path),
        }
    }
}

#[cfg(not(feature = "registry"))]
mod mute {
    use super::Look;
    use crate::cli::build::config::Config;
    use crate::cli::failure::Failure;
    use crate::domain::Digest;
    use crate::domain::build::{Label, Presence};

    const WITHOUT: &str = "this imagestore was made without the feature `registry`";

    /// Nobody to ask.
    pub struct Registries;

    impl Registries {
        pub fn new(_: &Config) -> Result<Self, Failure> {
            Ok(Self)
        }

        pub async fn look(&self, label: &Label) -> Look {
            match label.registry() {
                None => Look::sure(Presence::Absent),
                Some(_) => Look::unknown(WITHOUT),
            }
        }

        pub async fn config_of(&self, _: &Label) -> Result<Option<Digest>, String> {
            Err(WITHOUT.to_owned())
        }

        pub async fn look_for(&self, _: &str) -> Look {
            Look::unknown(WITHOUT)
        }
    }
}
