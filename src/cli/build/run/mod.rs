//! `imagestore build run`, `verify` and `publish`: workers that take targets one by one.

mod building;
mod crew;
mod job;
mod news;
mod others;
mod publishing;
mod show;
mod summary;

pub use self::crew::holder;

use std::num::NonZeroU16;

use self::crew::{Crew, Plan};
use self::show::Show;
use super::stop::Signals;
use super::{Place, Select};
use crate::cli::connect::Common;
use crate::cli::failure::Failure;
use crate::proto::v1::TargetWork;

/// Build what is to be built, test it, and with --publish push it
///
/// Takes targets whose dependencies are ready until nothing is left, as many other workers may at the same time.
/// What was selected brings along what it is built on. Ends with 0 when all is done, and with 1 when something failed,
/// is blocked by what failed, or waits for what nobody does. ^C ends the commands and gives the targets back; a
/// second one does not wait.
#[derive(Debug, clap::Args)]
pub struct Run {
    #[command(flatten)]
    site: SiteOptions,
    /// Also push what is verified
    #[arg(long)]
    publish: bool,
    /// Do not test what was built
    #[arg(long, conflicts_with = "publish")]
    no_verify: bool,
    /// How often a build that fails is tried again
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u32).range(..=100))]
    retries: u32,
}

/// Test what is built here
#[derive(Debug, clap::Args)]
pub struct Verify {
    #[command(flatten)]
    site: SiteOptions,
}

/// Push what is verified here
///
/// What is in the registry already, as another image, is never overwritten.
#[derive(Debug, clap::Args)]
pub struct Publish {
    #[command(flatten)]
    site: SiteOptions,
}

#[derive(Debug, clap::Args)]
struct SiteOptions {
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    select: Select,
    /// How many targets at the same time
    #[arg(short, long, value_name = "N", default_value = "1")]
    jobs: NonZeroU16,
    /// Go on with the others when one fails
    #[arg(short, long)]
    keep_going: bool,
}

impl Run {
    pub async fn run(self, common: &Common) -> Result<(), Failure> {
        let mut work = vec![TargetWork::Build];
        if !self.no_verify {
            work.push(TargetWork::Verify);
        }
        if self.publish {
            work.push(TargetWork::Publish);
        }
        self.site.run(work, self.retries, common).await
    }
}

impl Verify {
    pub async fn run(self, common: &Common) -> Result<(), Failure> {
        self.site.run(vec![TargetWork::Verify], 0, common).await
    }
}

impl Publish {
    pub async fn run(self, common: &Common) -> Result<(), Failure> {
        self.site.run(vec![TargetWork::Publish], 0, common).await
    }
}

impl SiteOptions {
    async fn run(
        self,
        work: Vec<TargetWork>,
        retries: u32,
        common: &Common,
    ) -> Result<(), Failure> {
        let signals = Signals::catch()?;
        let site = self.place.read().await?;
        if work.contains(&TargetWork::Publish) && site.config.registry.is_none() {
            let failure = Failure::new("there is no registry to publish to");
            return Err(failure.next("Set registry = \"HOST:PORT\" in imagestore.toml"));
        }
        let plan = Plan {
            namespace: common.one_namespace()?.to_owned(),
            selector: self.select.selector(),
            work,
            retries,
            keeps_going: self.keep_going,
        };
        let show = Show::new(self.jobs.get());
        let crew = Crew::new(plan, site, show, common, signals.stop.child()).await?;
        let summary = crew.work(self.jobs.get()).await;
        signals.end().await?;
        summary?.tell(common.output())
    }
}
