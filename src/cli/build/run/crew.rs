//! The members of a crew: each takes a target, works on it, and takes the next.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tonic::{Code, Status};

use super::job::{Job, Outcome, PUT_OFF};
use super::news::News;
use super::show::Show;
use super::summary::Summary;
use crate::cli::build::Site;
use crate::cli::build::again::{self, PATIENCE, request_id};
use crate::cli::build::config::Config;
use crate::cli::build::eyes::Eyes;
use crate::cli::build::keeper::{Keeper, Moment};
use crate::cli::build::source::SourceImage;
use crate::cli::build::stop::Stop;
use crate::cli::build::wire::{self, Targets, duration};
use crate::cli::connect::Common;
use crate::cli::failure::Failure;
use crate::domain::build::{Location, TargetKey};
use crate::proto::v1::claim_next_response::Result as Next;
use crate::proto::v1::{
    BuildOrderRequest, ClaimNextRequest, ClaimedTarget, ReleaseTargetRequest, RenewTargetRequest,
    TargetSelector, TargetWork,
};

/// What is to be done.
pub struct Plan {
    pub namespace: String,
    pub selector: TargetSelector,
    /// What is done with a target, in this order.
    pub work: Vec<TargetWork>,
    pub retries: u32,
    pub keeps_going: bool,
}

/// What all members share.
pub struct Crew {
    pub plan: Plan,
    pub config: Config,
    pub location: Location,
    pub images: BTreeMap<TargetKey, SourceImage>,
    pub eyes: Eyes,
    pub show: Show,
    pub client: Targets,
    /// Ends this work only.
    pub stop: Stop,
    holder: String,
    summary: Mutex<Summary>,
    news: News,
    /// One asks, or waits, for all; the others wait for it.
    asking: tokio::sync::Mutex<()>,
}

/// What one member does next.
enum Turn {
    Work(Box<ClaimedTarget>, Moment),
    Over,
}

impl Crew {
    pub async fn new(
        plan: Plan,
        site: Site,
        show: Show,
        common: &Common,
        stop: Stop,
    ) -> Result<Self, Failure> {
        Ok(Self {
            plan,
            location: site.config.location()?,
            eyes: Eyes::new(&site.config)?,
            config: site.config,
            images: site.images,
            show,
            client: common.build_targets().await?,
            stop,
            holder: holder(),
            summary: Mutex::default(),
            news: News::new(),
            asking: tokio::sync::Mutex::new(()),
        })
    }

    /// Works with so many members until nothing is left to do.
    pub async fn work(&self, members: u16) -> Result<Summary, Failure> {
        let mut members: FuturesUnordered<_> = (0..members).map(|_| self.member()).collect();
        let mut failed = None;
        let all_ended = async {
            while let Some(ended) = members.next().await {
                if let Err(failure) = ended {
                    // The others finish what they are at.
                    self.summary().end();
                    self.news.add();
                    failed.get_or_insert(failure);
                }
            }
        };
        tokio::select! {
            () = all_ended => {}
            never = self.news.follow(self.client.clone(), &self.plan.namespace) => match never {},
        }
        self.show.end(&self.stop).await;
        if let Some(failure) = failed {
            return Err(failure);
        }
        let mut summary = std::mem::take(&mut *self.summary());
        if summary.has_failed() {
            self.add_blocked(&mut summary).await;
        }
        summary.undeclared(self.tell_apart().await);
        Ok(summary)
    }

    async fn member(&self) -> Result<(), Failure> {
        loop {
            match self.next().await? {
                Turn::Work(claimed, asked_at) => self.work_on(*claimed, asked_at).await?,
                Turn::Over => return Ok(()),
            }
        }
    }

    /// Waits for a target that can be worked on now, or for the end.
    async fn next(&self) -> Result<Turn, Failure> {
        let _turn = self.asking.lock().await;
        let mut news = self.news.listener();
        let work = self.plan.work.iter().map(|work| i32::from(*work)).collect();
        let mut request = ClaimNextRequest {
            namespace: self.plan.namespace.clone(),
            selector: Some(self.plan.selector.clone()),
            work,
            location: self.location.to_string(),
            holder: self.holder.clone(),
            ttl: Some(duration(self.config.ttl.get())),
            request_id: String::new(),
            targets: self.images.keys().map(ToString::to_string).collect(),
        };
        loop {
            // Without any, all would be asked for.
            if self.is_over() || self.images.is_empty() {
                return Ok(Turn::Over);
            }
            news.catch_up();
            request.request_id = request_id();
            // The claim counts from the first time that it was asked for, whichever was answered.
            let asked_at = Moment::now();
            let asked = again::ask(PATIENCE, async || {
                self.client.clone().claim_next(request.clone()).await
            });
            // What was granted is to be heard, so that it can be given back.
            let Some(answer) = self.stop.unless_over(asked).await else {
                return Ok(Turn::Over);
            };
            let answer = answer?.into_inner();
            match answer.result {
                Some(Next::Claimed(claimed)) => return Ok(Turn::Work(Box::new(claimed), asked_at)),
                Some(Next::Idle(idle)) => match news.patience(&idle) {
                    Some(patience) if idle.running_count > 0 || !self.summary().is_hopeless() => {
                        self.stop.unless_asked(news.wait(patience)).await;
                    }
                    Some(_) | None => {
                        self.summary().idle(idle);
                        return Ok(Turn::Over);
                    }
                },
                None => {
                    return Err(Failure::new(
                        "the server neither gave a target nor said why not",
                    ));
                }
            }
        }
    }

    fn is_over(&self) -> bool {
        let summary = self.summary();
        self.stop.is_asked()
            || summary.is_over()
            || (summary.has_failed() && !self.plan.keeps_going)
    }

    async fn work_on(&self, claimed: ClaimedTarget, asked_at: Moment) -> Result<(), Failure> {
        let ClaimedTarget {
            target: Some(target),
            ..
        } = &claimed
        else {
            return Err(Failure::new("the server gave a target without a name"));
        };
        let name = wire::name(target);
        let claim = target.claim.clone().unwrap_or_default();
        let keeper = self.keep(&name, claim.token, asked_at);
        let Some(image) = self.images.get(&wire::key(&name)?) else {
            // Of a server that does not know yet which ones were asked for.
            let after = PUT_OFF;
            self.release(&name, claim.token, Some(after)).await;
            let why = "it is not in the directory".to_owned();
            self.summary().add(&name, Outcome::PutOff { after, why });
            return Ok(());
        };
        let stop = self.stop.child();
        let outcome = {
            let job = Job {
                crew: self,
                name: &name,
                token: claim.token,
                image,
                claimed: &claimed,
                keeper: &keeper,
                stop: &stop,
            };
            keeper.guard(&stop, job.run()).await
        };
        drop(keeper);
        match &outcome {
            Outcome::Stopped | Outcome::Refused(_) => self.release(&name, claim.token, None).await,
            Outcome::PutOff { after, .. } => self.release(&name, claim.token, Some(*after)).await,
            Outcome::Done { .. } | Outcome::Failed { .. } | Outcome::Lost(_) => {}
        }
        self.show.ended(&name, &outcome);
        self.summary().add(&name, outcome);
        self.news.add();
        Ok(())
    }

    fn keep(&self, name: &str, token: u64, asked_at: Moment) -> Keeper {
        let request = RenewTargetRequest {
            namespace: self.plan.namespace.clone(),
            target: name.to_owned(),
            token,
        };
        let client = self.client.clone();
        Keeper::new(asked_at, self.config.ttl.get(), move || {
            let (mut client, request) = (client.clone(), request.clone());
            async move { client.renew(request).await.map(drop) }
        })
    }

    async fn release(&self, name: &str, token: u64, after: Option<Duration>) {
        let request = ReleaseTargetRequest {
            namespace: self.plan.namespace.clone(),
            target: name.to_owned(),
            token,
            retry_after: after.map(duration),
        };
        again::give_back(async || self.client.clone().release(request.clone()).await).await;
    }

    /// What cannot be built since something failed, as far as the server says.
    async fn add_blocked(&self, summary: &mut Summary) {
        let request = BuildOrderRequest {
            namespace: self.plan.namespace.clone(),
            selector: Some(self.plan.selector.clone()),
        };
        let mut client = self.client.clone();
        let order = self.stop.unless_asked(client.build_order(request)).await;
        if let Some(Ok(order)) = order {
            let mut blocked = order.into_inner().blocked;
            blocked.retain(|blocked| {
                wire::key(&blocked.target).is_ok_and(|key| self.images.contains_key(&key))
            });
            summary.blocked(blocked);
        }
    }

    fn summary(&self) -> MutexGuard<'_, Summary> {
        self.summary.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Who asks, for people to read: the machine and the process.
pub fn holder() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    match host.trim() {
        "" => format!("process {}", std::process::id()),
        host => format!("{host}:{}", std::process::id()),
    }
}

impl From<Status> for Outcome {
    fn from(status: Status) -> Self {
        match status.code() {
            Code::Aborted | Code::NotFound => Self::Lost(status.message().to_owned()),
            _ => Self::Refused(Box::new(status.into())),
        }
    }
}
