//! `imagestore builder`: images to build in, which are made anew when they get old.

mod exec;
mod ls;
mod make;
mod maker;
mod prune;
mod put;
mod record;
mod rm;
mod show;
mod user;

use std::path::{Path, PathBuf};
use std::time::Duration;

use tonic::transport::Channel;

use self::make::Recipe;
use super::build::config::Config;
use super::build::wire::duration;
use super::connect::Common;
use super::failure::Failure;
use super::platform;
use crate::proto::v1::builders_client::BuildersClient;
use crate::proto::v1::{BuilderKey, BuilderPolicy};

/// Keep images to build in fresh, and use them
///
/// A builder is a base image, a platform, and a recipe: the Dockerfile that makes it ready, whose build argument BASE
/// is the base. Its images are made anew when they get old; of all who ask, one does that.
#[derive(Debug, clap::Args)]
pub struct Builder {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    Exec(exec::Exec),
    Ls(ls::Ls),
    Show(show::Show),
    Put(put::Put),
    Rm(rm::Rm),
    Prune(prune::Prune),
}

/// Which builder.
#[derive(Debug, clap::Args)]
struct Which {
    /// The reference of the image that it starts from
    base: String,
    #[command(flatten)]
    how: How,
}

/// What it runs on, and how it is made.
#[derive(Debug, clap::Args)]
struct How {
    /// What it runs on: OS/ARCH or OS/ARCH/VARIANT [default: what this machine is]
    #[arg(long, requires = "base")]
    platform: Option<String>,
    /// The Dockerfile that makes it from the base, which is its build argument BASE [default: the base as it is]
    #[arg(long, value_name = "DOCKERFILE", requires = "base")]
    recipe: Option<PathBuf>,
    /// The recipe as `builder ls` shows it, where its file is not at hand
    #[arg(
        long,
        value_name = "TEXT",
        conflicts_with = "recipe",
        requires = "base"
    )]
    recipe_id: Option<String>,
}

/// When images are made anew, and how many are kept.
#[derive(Debug, clap::Args)]
struct PolicyOptions {
    /// From this age on an image is not used any more: 90s, 15m, 12h, 1d or 2w; `never` for no such age [default: 1d]
    #[arg(long, value_name = "AGE")]
    max_age: Option<Age>,
    /// From this age on a new one is made while others go on with the old one
    #[arg(long, value_name = "AGE")]
    refresh_after: Option<Age>,
    /// How many of the newest prune keeps [default: 1]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    keep_last: Option<u32>,
    /// Make a new one when the base is another one in its registry than it was; of a base for several platforms, when
    /// one of them is
    #[arg(long)]
    track_base: bool,
}

/// How long something may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Age {
    Never,
    Of(Duration),
}

const DAY: Duration = Duration::from_secs(24 * 3600);

type Builders = BuildersClient<Channel>;

impl Builder {
    pub async fn run(self, common: &Common) -> Result<(), Failure> {
        match self.command {
            Command::Exec(exec) => exec.run(common).await,
            Command::Ls(ls) => ls.run(common).await,
            Command::Show(show) => show.run(common).await,
            Command::Put(put) => put.run(common).await,
            Command::Rm(rm) => rm.run(common).await,
            Command::Prune(prune) => prune.run(common).await,
        }
    }
}

/// The settings that are given, else those of the directory that the command is run in.
fn config(given: Option<&Path>) -> Result<Config, Failure> {
    Config::find(given, Path::new("."))
}

// === impl Which ===

impl Which {
    fn key(&self) -> Result<BuilderKey, Failure> {
        self.how.key(&self.base)
    }
}

impl How {
    fn key(&self, base: &str) -> Result<BuilderKey, Failure> {
        let recipe = match &self.recipe_id {
            Some(id) => id.clone(),
            None => Recipe::read(self)?.id(),
        };
        self.key_by(base, recipe)
    }

    /// The builder whose recipe goes by that.
    fn key_by(&self, base: &str, recipe: String) -> Result<BuilderKey, Failure> {
        let platform = match &self.platform {
            Some(given) => given.clone(),
            None => super::build::host_platform(),
        };
        let platform = platform::of_config(&platform)
            .map_err(|why| Failure::usage(format!("{platform:?} is no platform: {why}")))?;
        Ok(BuilderKey {
            base: base.to_owned(),
            platform: Some(platform),
            recipe,
        })
    }
}

// === impl PolicyOptions ===

impl PolicyOptions {
    fn policy(&self) -> BuilderPolicy {
        let age = |age: Age| match age {
            Age::Never => None,
            Age::Of(age) => Some(duration(age)),
        };
        BuilderPolicy {
            max_age: age(self.max_age.unwrap_or(Age::Of(DAY))),
            refresh_after: self.refresh_after.and_then(age),
            keep_last: self.keep_last.unwrap_or(1),
            track_base_digest: self.track_base,
            probe_after: None,
        }
    }

    /// Whether a policy is as far as anything is said of it.
    fn is_met_by(&self, policy: &BuilderPolicy) -> bool {
        let said = self.policy();
        (self.max_age.is_none() || said.max_age == policy.max_age)
            && (self.refresh_after.is_none() || said.refresh_after == policy.refresh_after)
            && (self.keep_last.is_none() || said.keep_last == policy.keep_last)
            && (!self.track_base || policy.track_base_digest)
    }
}

// === impl Age ===

impl std::str::FromStr for Age {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const WRONG: &str = "write a number and s, m, h, d or w, such as 12h; or never";
        if text == "never" {
            return Ok(Self::Never);
        }
        let (number, unit) = text.split_at(
            text.find(|c: char| !c.is_ascii_digit())
                .unwrap_or(text.len()),
        );
        let seconds = match unit {
            "s" => 1,
            "m" => 60,
            "h" => 3600,
            "d" => 24 * 3600,
            "w" => 7 * 24 * 3600,
            "" if number == "0" => 1,
            _ => return Err(WRONG),
        };
        let number: u32 = number.parse().map_err(|_| WRONG)?;
        Ok(Self::Of(Duration::from_secs(u64::from(number) * seconds)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_is_a_number_and_a_unit() {
        let of = |seconds| Ok(Age::Of(Duration::from_secs(seconds)));
        for (text, age) in [
            ("90s", of(90)),
            ("15m", of(900)),
            ("12h", of(43_200)),
            ("1d", of(86_400)),
            ("2w", of(1_209_600)),
            ("0", of(0)),
            ("never", Ok(Age::Never)),
        ] {
            assert_eq!(text.parse::<Age>(), age, "{text}");
        }
        for text in ["", "1", "d", "-1d", "1.5h", "1 d", "99999999999s", "1y"] {
            assert!(text.parse::<Age>().is_err(), "{text}");
        }
    }
}
