//! Making a builder's image, under a claim.

use std::path::Path;

use super::How;
use super::record::NAME;
use crate::cli::build::config::{Config, Var, Vars};
use crate::cli::build::local;
use crate::cli::build::process::{self, How as Ended, Voice};
use crate::cli::build::scratch::{Scratch, whole};
use crate::cli::build::stop::Stop;
use crate::cli::build::written::read_text;
use crate::cli::failure::Failure;
use crate::cli::human::short_digest;
use crate::cli::platform;
use crate::domain::build::Presence;
use crate::domain::{Algorithm, Digest};
use crate::proto::v1::{BuilderKey, Descriptor};

/// How images are made from a base.
pub struct Recipe {
    dockerfile: String,
    /// Where the Dockerfile is; none for the base as it is.
    dir: Option<String>,
}

/// Why there is no image.
#[derive(Debug)]
pub enum NotMade {
    /// The claim was lost, or somebody asked to end.
    Stopped,
    Failed(String),
}

/// Of an image's config: what builders tell of the image that they made.
const MEDIA_TYPE: &str = "application/vnd.oci.image.config.v1+json";
/// Builders do not tell a size; the least that there is.
const SIZE: i64 = 1;

/// The Dockerfile of a builder without a recipe.
const PLAIN: &str = "ARG BASE\nFROM ${BASE}\n";

impl Recipe {
    /// Fails for one that is only named: another text under its name would make images that are not its.
    pub fn read(how: &How) -> Result<Self, Failure> {
        if how.recipe_id.is_some() {
            return Err(
                Failure::usage("--recipe-id does not say how to make an image")
                    .next("Give --recipe with the Dockerfile"),
            );
        }
        let Some(path) = &how.recipe else {
            return Ok(Self {
                dockerfile: PLAIN.to_owned(),
                dir: None,
            });
        };
        let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty());
        Ok(Self {
            dockerfile: read_text(path).map_err(Failure::new)?,
            dir: Some(whole(dir.unwrap_or(Path::new(".")))),
        })
    }

    /// What it goes by: another text is another builder. Nothing for the base as it is.
    pub fn id(&self) -> String {
        match self.dir {
            Some(_) => Digest::of(Algorithm::Sha256, self.dockerfile.as_bytes()).text(),
            None => String::new(),
        }
    }

    /// Makes an image with a name of its own, and finds out its digest. Of one that fails something may be left.
    pub async fn make(
        &self,
        key: &BuilderKey,
        token: u64,
        config: &Config,
        voice: &Voice,
        stop: &Stop,
    ) -> Result<Descriptor, NotMade> {
        let scratch = Scratch::new().map_err(NotMade::Failed)?;
        scratch
            .write("Dockerfile", &self.dockerfile)
            .map_err(NotMade::Failed)?;
        let image = name(key, token);
        let of_image = Vars::default()
            .with(Var::Image, image.clone())
            .with(Var::Base, key.base.clone())
            .with(Var::Platform, platform::text(key.platform.as_ref()));
        let vars = of_image
            .clone()
            .with(Var::Dockerfile, scratch.text("Dockerfile"))
            .with(Var::IidFile, scratch.text("iid"))
            .with(Var::Token, token.to_string())
            .with(
                Var::Context,
                self.dir.clone().unwrap_or_else(|| scratch.text("")),
            )
            .with_build_args(config.build_args.clone());
        let ran = process::run(&config.builder.build.fill(&vars), voice, false, stop).await;
        let made = match ran.how {
            Ended::Stopped => Err(NotMade::Stopped),
            Ended::Code(_) | Ended::Signal(_) | Ended::NotStarted(_) => {
                Err(NotMade::Failed(ran.why()))
            }
            Ended::Well => match scratch.word::<Digest>("iid") {
                Some(digest) => Ok(digest),
                None => digest_here(config, &of_image, stop).await,
            },
        };
        Ok(descriptor(&made?, &image))
    }
}

async fn digest_here(config: &Config, vars: &Vars, stop: &Stop) -> Result<Digest, NotMade> {
    let look = local::look(&config.builder.exists, vars, stop).await;
    match look.presence {
        Presence::Present(Some(digest)) => Ok(digest),
        Presence::Present(None) => Err(NotMade::Failed(
            "neither {iid_file} nor the command that looks for it has the digest of what was built"
                .to_owned(),
        )),
        Presence::Absent => Err(NotMade::Failed(
            "the build went well, but left no image".to_owned(),
        )),
        Presence::Unknown => Err(NotMade::Failed(look.reason)),
    }
}

fn descriptor(digest: &Digest, image: &str) -> Descriptor {
    Descriptor {
        media_type: MEDIA_TYPE.to_owned(),
        digest: digest.to_string(),
        size: SIZE,
        annotations: [(NAME.to_owned(), image.to_owned())].into(),
        ..Descriptor::default()
    }
}

/// What the daemon calls an image: no two builders' images are called the same, nor two of one.
pub fn name(key: &BuilderKey, token: u64) -> String {
    let path = key.base.split('@').next().unwrap_or_default();
    let last = path.rsplit('/').next().unwrap_or_default();
    let base = last.split(':').next().unwrap_or_default();
    let plain: String = base
        .chars()
        .filter(char::is_ascii_alphanumeric)
        .take(40)
        .collect();
    let plain = plain.to_ascii_lowercase();
    let plain = if plain.is_empty() { "base" } else { &plain };
    let platform = platform::text(key.platform.as_ref());
    let whole = format!("{}\0{platform}\0{}", key.base, key.recipe);
    let whole = Digest::of(Algorithm::Sha256, whole.as_bytes()).text();
    format!(
        "imagestore-builder/{plain}-{}:{token}",
        short_digest(&whole)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::build::Label;

    fn key(base: &str, platform: &str, recipe: &str) -> BuilderKey {
        BuilderKey {
            base: base.to_owned(),
            platform: platform::of_config(platform).ok(),
            recipe: recipe.to_owned(),
        }
    }

    #[test]
    fn another_recipe_is_another_builder_and_one_that_is_only_named_makes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let how = |text: &str| {
            let path = dir.path().join("Dockerfile");
            std::fs::write(&path, text).unwrap();
            How {
                platform: None,
                recipe: Some(path),
                recipe_id: None,
            }
        };
        let id = |how: &How| Recipe::read(how).unwrap().id();
        assert_ne!(id(&how("FROM a")), id(&how("FROM b")));
        assert!(id(&how("")).starts_with("sha256:e3b0c442"));
        let plain = How {
            recipe: None,
            ..how("")
        };
        assert_eq!(id(&plain), "");
        let named = How {
            recipe_id: Some("sha256:e3b0c442".to_owned()),
            ..plain
        };
        assert!(Recipe::read(&named).is_err());
    }

    #[test]
    fn each_builder_and_each_of_its_images_has_a_name_of_its_own() {
        let keys = [
            key("debian:13", "linux/amd64", ""),
            key("debian:12", "linux/amd64", ""),
            key("debian:13", "linux/arm64", ""),
            key("debian:13", "linux/amd64", "sha256:0a"),
            key(
                "reg.example:5000/a/Debian_X:13@sha256:0a",
                "linux/amd64",
                "",
            ),
            key("", "linux/amd64", ""),
        ];
        let names: std::collections::BTreeSet<_> = keys
            .iter()
            .flat_map(|key| [name(key, 1), name(key, 2)])
            .collect();
        assert_eq!(names.len(), 2 * keys.len());
        for name in names {
            assert!(name.parse::<Label>().is_ok(), "{name}");
        }
    }
}
