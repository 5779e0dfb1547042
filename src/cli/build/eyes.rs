//! Looking for images: at the daemon here, and in registries.

use tokio::sync::Semaphore;

use super::config::{Config, Var, Vars};
use super::local;
use super::registry::{Look, Registries};
use super::stop::Stop;
use crate::cli::failure::Failure;
use crate::domain::build::{Label, Mode, Presence, TargetKey};

/// Looks for images, here and in registries.
pub struct Eyes {
    config: Config,
    pub registries: Registries,
    commands: Semaphore,
}

/// What was found of one image.
pub struct Found {
    pub local: Look,
    pub published: Look,
}

/// How many commands that look run at once.
const COMMANDS_AT_ONCE: usize = 4;

impl Eyes {
    pub fn new(config: &Config) -> Result<Self, Failure> {
        Ok(Self {
            config: config.clone(),
            registries: Registries::new(config)?,
            commands: Semaphore::new(COMMANDS_AT_ONCE),
        })
    }

    /// Asks both places, unless the first of them has said enough.
    pub async fn look(&self, key: &TargetKey, label: &Label, stop: &Stop) -> Found {
        let unasked = || Look::unknown("it was not asked for");
        match self.config.mode {
            Mode::RegistryFirst => {
                let published = self.registries.look(label).await;
                let local = match published.presence {
                    Presence::Present(_) => unasked(),
                    Presence::Absent | Presence::Unknown => self.local(key, label, stop).await,
                };
                Found { local, published }
            }
            Mode::LocalRequired => {
                let local = self.local(key, label, stop).await;
                let published = match local.presence {
                    Presence::Absent => unasked(),
                    Presence::Present(_) | Presence::Unknown => self.registries.look(label).await,
                };
                Found { local, published }
            }
        }
    }

    /// Asks the daemon here.
    pub async fn local(&self, key: &TargetKey, label: &Label, stop: &Stop) -> Look {
        let Some(_turn) = stop.unless_asked(self.commands.acquire()).await else {
            return Look::unknown("somebody asked to end");
        };
        let vars = vars(key, label);
        local::look(&self.config.commands.exists, &vars, stop).await
    }
}

impl Found {
    /// Why a place that was asked does not say; nothing where each did.
    pub fn why_unknown(&self) -> String {
        let reasons = [&self.published, &self.local].map(|look| look.reason.as_str());
        reasons
            .into_iter()
            .filter(|reason| !reason.is_empty())
            .collect::<Vec<_>>()
            .join("; ")
    }
}

/// What commands about an image may name.
pub fn vars(key: &TargetKey, label: &Label) -> Vars {
    Vars::default()
        .with(Var::Image, label.as_str())
        .with(Var::Repository, repository(label))
        .with(Var::Name, key.name.as_str())
        .with(Var::Version, label.version())
        .with(Var::Registry, label.registry().unwrap_or_default())
        .with(Var::Platform, host_platform())
}

/// A label without its version, as daemons list images.
pub fn repository(label: &Label) -> &str {
    let whole = label.as_str();
    &whole[..whole.len() - label.version().len() - 1]
}

/// What this machine runs, in Docker's words.
pub fn host_platform() -> String {
    let (architecture, variant) = match std::env::consts::ARCH {
        "x86_64" => ("amd64", ""),
        "aarch64" => ("arm64", ""),
        "x86" => ("386", ""),
        "arm" => ("arm", "/v7"),
        "powerpc64" => ("ppc64le", ""),
        "loongarch64" => ("loong64", ""),
        other => (other, ""),
    };
    format!("{}/{architecture}{variant}", std::env::consts::OS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_get_the_parts_of_a_label() {
        let label: Label = "reg.example:5000/team/app:1.0-s2".parse().unwrap();
        let vars = vars(&"app@1.0-s2".parse().unwrap(), &label);
        let places = ["{image} {repository} {name} {version} {registry}".to_owned()];
        let known = [
            Var::Image,
            Var::Repository,
            Var::Name,
            Var::Version,
            Var::Registry,
        ];
        let filled = super::super::config::Argv::new(&places, &known)
            .unwrap()
            .fill(&vars);
        assert_eq!(
            filled,
            [
                "reg.example:5000/team/app:1.0-s2 reg.example:5000/team/app app 1.0-s2 reg.example:5000"
            ]
        );
    }

    #[test]
    fn the_platform_of_this_machine_is_one() {
        assert!(crate::cli::platform::of_config(&host_platform()).is_ok());
    }
}
