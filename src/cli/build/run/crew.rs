//! The members of a crew: each takes a target, works on it, and takes the next.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::future::pending;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tokio::sync::watch;
use tokio::time;
use tonic::{Code, Status};

use super::job::{Job, Outcome, PUT_OFF};
use super::show::Show;
use super::summary::Summary;
use crate::cli::build::Site;
use crate::cli::build::again::{self, PATIENCE, jittered, request_id};
use crate::cli::build::config::Config;
use crate::cli::build::keeper::{Keeper, Moment};
use crate::cli::build::scan::Eyes;
use crate::cli::build::source::SourceImage;
use crate::cli::build::stop::Stop;
use crate::cli::build::wire::{self, Targets, between, duration};
use crate::cli::connect::Common;
use crate::cli::failure::Failure;
use crate::domain::build::{Location, TargetKey};
use crate::proto::v1::claim_next_response::Result as Next;
use crate::proto::v1::watch_targets_response::Kind;
use crate::proto::v1::{
    BuildOrderRequest, ClaimNextRequest, ClaimedTarget, IdleTargets, ReleaseTargetRequest,
    RenewTargetRequest, TargetSelector, TargetWork, WatchTargetsRequest,
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
    /// Changes with whatever may make a target ready.
    news: watch::Sender<u64>,
    /// Whether the server tells what changes.
    has_news: AtomicBool,
    /// One asks, or waits, for all; the others wait for it.
    asking: tokio::sync::Mutex<()>,
}

/// What one member does next.
enum Turn {
    Work(Box<ClaimedTarget>, Moment),
    Over,
}

/// Without news, how long until somebody asks again all the same: what is given back makes no news.
const LONGEST_WAIT: Duration = Duration::from_secs(5);
/// The same, from a server that tells no news.
const WAIT_WITHOUT_NEWS: Duration = Duration::from_millis(500);
/// Between news and asking, at first, and at most when it was for others again and again.
const FIRST_CALM: Duration = Duration::from_millis(10);
const LONGEST_CALM: Duration = Duration::from_millis(500);
/// After the moment that the server named.
const LATE: Duration = Duration::from_millis(20);

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
            news: watch::Sender::new(0),
            has_news: AtomicBool::new(false),
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
                    self.news.send_modify(|count| *count += 1);
                    failed.get_or_insert(failure);
                }
            }
        };
        tokio::select! {
            () = all_ended => {}
            never = self.follow() => match never {},
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
        let mut news = self.news.subscribe();
        let mut calm = FIRST_CALM;
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
            news.mark_unchanged();
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
                Some(Next::Idle(idle)) => {
                    match wait(&idle, self.has_news.load(Ordering::Relaxed)) {
                        Some(wait) if idle.running_count > 0 || !self.summary().is_hopeless() => {
                            let heard = async {
                                let _ = news.changed().await;
                                // Where many wait, most news is for others; they are not to ask all at once.
                                time::sleep(jittered(calm)).await;
                            };
                            tokio::select! {
                                () = time::sleep(wait) => {}
                                () = heard => {}
                                () = self.stop.asked() => {}
                            }
                            calm = (calm * 2).min(LONGEST_CALM);
                        }
                        Some(_) | None => {
                            self.summary().idle(idle);
                            return Ok(Turn::Over);
                        }
                    }
                }
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
        self.news.send_modify(|count| *count += 1);
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

    /// Tells the members of what the server says has changed.
    async fn follow(&self) -> Infallible {
        loop {
            let request = WatchTargetsRequest {
                namespace: self.plan.namespace.clone(),
                ..WatchTargetsRequest::default()
            };
            match self.client.clone().watch(request).await {
                Ok(answer) => {
                    let mut messages = answer.into_inner();
                    self.has_news.store(true, Ordering::Relaxed);
                    // Something may have changed while nobody watched.
                    self.news.send_modify(|count| *count += 1);
                    while let Ok(Some(message)) = messages.message().await {
                        if matches!(message.kind, Some(Kind::Changes(_))) {
                            self.news.send_modify(|count| *count += 1);
                        }
                    }
                }
                Err(status) if status.code() == Code::Unimplemented => pending().await,
                Err(_) => {}
            }
            self.has_news.store(false, Ordering::Relaxed);
            time::sleep(jittered(WAIT_WITHOUT_NEWS * 2)).await;
        }
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

    fn summary(&self) -> std::sync::MutexGuard<'_, Summary> {
        self.summary.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How long to wait for something to claim; `None` where nothing will come by itself.
fn wait(idle: &IdleTargets, has_news: bool) -> Option<Duration> {
    let most = match has_news {
        true => LONGEST_WAIT,
        false => WAIT_WITHOUT_NEWS,
    };
    let named = between(idle.now.as_ref(), idle.retry_at.as_ref());
    match named {
        Some(named) => Some(jittered(most).min(named + LATE)),
        None if idle.running_count > 0 => Some(jittered(most)),
        None => None,
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

#[cfg(test)]
mod tests {
    use super::*;
    use prost_types::Timestamp;

    fn idle(running: u32, retry_in: Option<i64>) -> IdleTargets {
        IdleTargets {
            running_count: running,
            waiting_count: 1,
            now: Some(Timestamp {
                seconds: 100,
                nanos: 0,
            }),
            retry_at: retry_in.map(|seconds| Timestamp {
                seconds: 100 + seconds,
                nanos: 0,
            }),
            ..IdleTargets::default()
        }
    }

    #[test]
    fn nobody_waits_for_what_nobody_does() {
        assert_eq!(wait(&idle(0, None), true), None);
        assert!(wait(&idle(1, None), true).is_some());
    }

    #[test]
    fn the_moment_that_the_server_names_is_not_slept_through_nor_waited_for_too_long_v15() {
        for has_news in [true, false] {
            let soon = wait(&idle(1, Some(0)), has_news).unwrap();
            assert_eq!(soon, LATE);
            assert!(wait(&idle(0, Some(86_400)), has_news).unwrap() <= LONGEST_WAIT);
        }
    }
}
