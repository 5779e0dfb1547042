//! Keeping a claim: it is renewed while there is work, and counted as lost in time by a clock of this machine.

use std::convert::Infallible;
use std::future::pending;
use std::pin::pin;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use futures::future::BoxFuture;
use tokio::task::JoinHandle;
use tokio::time;
use tokio_util::sync::CancellationToken;
use tonic::Status;

use super::again::{self, is_silence};
use super::stop::Stop;
use crate::server::uptime;

/// How long a claim is certainly held, as far as this machine can know.
///
/// The server counts from when it heard, which is later than when it was asked. So what counts here, from then, ends
/// before what counts there, however late an answer comes; clocks need not agree, only go equally fast.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fence {
    asked_at: Moment,
    ttl: Duration,
}

/// Since this machine was started, its sleep included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(Duration);

/// Renews a claim until it is dropped, or the claim is lost.
pub struct Keeper {
    held: Arc<Held>,
    task: JoinHandle<()>,
}

struct Held {
    fence: Mutex<Fence>,
    lost: CancellationToken,
    why: OnceLock<String>,
    renew: Renew,
    clock: Clock,
}

type Clock = Box<dyn Fn() -> Moment + Send + Sync>;

/// Asks for a claim's whole time again.
type Renew = Box<dyn Fn() -> BoxFuture<'static, Result<(), Status>> + Send + Sync>;

/// A claim that is not held any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lost(pub String);

/// What is left unused of a claim's time, for clocks that do not go equally fast and for ending what is under way.
const SHORTEST_MARGIN: Duration = Duration::from_millis(100);
const LONGEST_MARGIN: Duration = Duration::from_secs(5);
/// Between two tries to renew while the server does not answer.
const PAUSE: Duration = Duration::from_millis(200);
/// Timers stand still while the machine sleeps, so the clock is looked at each so often.
const LONGEST_SLEEP: Duration = Duration::from_secs(1);

/// How long the answer of a call that is under way is waited for when the claim is lost.
const LATE_ANSWER: Duration = Duration::from_secs(2);

// === impl Fence ===

impl Fence {
    /// For a claim that lasts so long, asked for at that moment.
    pub fn new(asked_at: Moment, ttl: Duration) -> Self {
        Self { asked_at, ttl }
    }

    /// From when on the claim counts as lost.
    pub fn closes_at(&self) -> Moment {
        let margin = (self.ttl / 10).clamp(SHORTEST_MARGIN, LONGEST_MARGIN);
        self.asked_at.after(self.ttl.saturating_sub(margin))
    }

    pub fn is_open(&self, now: Moment) -> bool {
        self.asked_at <= now && now < self.closes_at()
    }

    fn renew_at(&self) -> Moment {
        self.asked_at.after(self.ttl / 3)
    }

    /// Of two answers, the later one may have been asked for earlier.
    fn renewed(self, asked_at: Moment) -> Self {
        Self {
            asked_at: self.asked_at.max(asked_at),
            ..self
        }
    }
}

// === impl Moment ===

impl Moment {
    pub fn now() -> Self {
        Self(uptime())
    }

    fn after(self, more: Duration) -> Self {
        Self(self.0.saturating_add(more))
    }

    /// How long until then.
    fn since(self, now: Self) -> Duration {
        self.0.saturating_sub(now.0)
    }
}

// === impl Keeper ===

impl Keeper {
    /// Keeps a claim that was asked for at that moment; `renew` asks for its whole time again.
    pub fn new<F>(
        asked_at: Moment,
        ttl: Duration,
        renew: impl Fn() -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = Result<(), Status>> + Send + 'static,
    {
        let renew: Renew = Box::new(move || Box::pin(renew()));
        Self::by(Box::new(Moment::now), asked_at, ttl, renew)
    }

    fn by(clock: Clock, asked_at: Moment, ttl: Duration, renew: Renew) -> Self {
        let held = Arc::new(Held {
            fence: Mutex::new(Fence::new(asked_at, ttl)),
            lost: CancellationToken::new(),
            why: OnceLock::new(),
            renew,
            clock,
        });
        let task = tokio::spawn({
            let held = held.clone();
            async move { held.keep().await }
        });
        Self { held, task }
    }

    /// Ends when the claim is lost.
    pub async fn lost(&self) -> Lost {
        self.held.lost.cancelled().await;
        self.held.why()
    }

    /// Fails once the claim is lost, without asking anybody.
    pub fn check(&self) -> Result<(), Lost> {
        self.held.check()
    }

    /// Does work under the claim. When that is lost, `stop` ends the work's commands, and the work with them.
    pub async fn guard<T>(&self, stop: &Stop, work: impl Future<Output = T>) -> T {
        let end_when_lost = async {
            self.lost().await;
            stop.end_at_once();
            pending::<Infallible>().await
        };
        tokio::select! {
            done = work => done,
            never = end_when_lost => match never {},
        }
    }

    /// Calls while the claim is held. One that ends the claim may have its answer still under way when the next
    /// renewal is refused for that: so it is waited for a little longer.
    pub async fn ask<T>(
        &self,
        patience: Duration,
        call: impl AsyncFnMut() -> Result<T, Status>,
    ) -> Result<Result<T, Status>, Lost> {
        self.check()?;
        let mut call = pin!(again::ask(patience, call));
        let lost = tokio::select! {
            answer = &mut call => return Ok(answer),
            lost = self.lost() => lost,
        };
        time::timeout(LATE_ANSWER, call).await.map_err(|_| lost)
    }

    /// Asks whether the claim is held, and has its whole time again.
    pub async fn renew(&self) -> Result<(), Lost> {
        loop {
            self.check()?;
            match self.held.ask_in_time().await {
                Some(Ok(())) => return self.check(),
                Some(Err(status)) if is_silence(&status) => time::sleep(PAUSE).await,
                Some(Err(status)) => {
                    self.held.lose(told(&status));
                    return Err(self.held.why());
                }
                None => {}
            }
        }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.task.abort();
    }
}

// === impl Held ===

impl Held {
    async fn keep(&self) {
        loop {
            let fence = self.fence();
            if self.check().is_err() {
                return;
            }
            let wait = fence.renew_at().since((self.clock)());
            if !wait.is_zero() {
                time::sleep(wait.min(LONGEST_SLEEP)).await;
                continue;
            }
            match self.ask_in_time().await {
                Some(Ok(())) | None => {}
                Some(Err(status)) if is_silence(&status) => {
                    time::sleep(PAUSE.min(fence.closes_at().since((self.clock)()))).await;
                }
                Some(Err(status)) => {
                    self.lose(told(&status));
                    return;
                }
            }
        }
    }

    /// Asks, unless the fence closes before there is an answer.
    async fn ask_in_time(&self) -> Option<Result<(), Status>> {
        tokio::select! {
            answer = self.ask() => Some(answer),
            () = self.closed() => None,
        }
    }

    async fn closed(&self) {
        loop {
            let now = (self.clock)();
            let fence = self.fence();
            if !fence.is_open(now) {
                return;
            }
            time::sleep(fence.closes_at().since(now).min(LONGEST_SLEEP)).await;
        }
    }

    async fn ask(&self) -> Result<(), Status> {
        let asked_at = (self.clock)();
        (self.renew)().await?;
        let mut fence = self.fence.lock().unwrap_or_else(PoisonError::into_inner);
        *fence = fence.renewed(asked_at);
        Ok(())
    }

    fn check(&self) -> Result<(), Lost> {
        if !self.lost.is_cancelled() && !self.fence().is_open((self.clock)()) {
            self.lose("it could not be renewed in time".to_owned());
        }
        match self.lost.is_cancelled() {
            true => Err(self.why()),
            false => Ok(()),
        }
    }

    fn lose(&self, why: String) {
        // The first reason is the reason.
        let _ = self.why.set(why);
        self.lost.cancel();
    }

    fn why(&self) -> Lost {
        Lost(self.why.get().cloned().unwrap_or_default())
    }

    fn fence(&self) -> Fence {
        *self.fence.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn told(status: &Status) -> String {
    match status.message() {
        "" => format!("the server answered {:?}", status.code()),
        said => said.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    fn at(millis: u64) -> Moment {
        Moment(Duration::from_millis(millis))
    }

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_fence_closes_before_the_claim_ends_counted_from_the_question() {
        for (ttl, closes) in [
            (seconds(1), 900),
            (Duration::from_millis(500), 400),
            (seconds(10), 9_000),
            (seconds(60), 55_000),
            (seconds(3600), 3_595_000),
        ] {
            let fence = Fence::new(at(7_000), ttl);
            assert_eq!(fence.closes_at(), at(7_000 + closes), "{ttl:?}");
            assert!(fence.is_open(at(7_000 + closes - 1)) && !fence.is_open(at(7_000 + closes)));
            assert!(fence.renew_at() < fence.closes_at());
        }
        // A clock that went back says nothing of how long the claim was held.
        assert!(!Fence::new(at(7_000), seconds(60)).is_open(at(6_999)));
    }

    #[test]
    fn an_answer_that_comes_late_does_not_take_time_away() {
        let (early, late) = (
            Fence::new(at(0), seconds(9)),
            Fence::new(at(5_000), seconds(9)),
        );
        assert_eq!(early.renewed(at(5_000)), late);
        assert_eq!(late.renewed(at(0)), late);
    }

    fn answers(
        answer: impl Fn(u32) -> Result<(), Status> + Send + Sync + 'static,
    ) -> (Renew, Arc<AtomicU32>) {
        let asked = Arc::new(AtomicU32::new(0));
        let counted = asked.clone();
        let renew: Renew = Box::new(move || {
            let answer = answer(counted.fetch_add(1, Ordering::SeqCst));
            Box::pin(async move { answer })
        });
        (renew, asked)
    }

    #[tokio::test]
    async fn a_claim_that_is_refused_is_lost_at_once_with_the_servers_words() {
        let (renew, asked) = answers(|n| match n {
            0 => Ok(()),
            _ => Err(Status::aborted("another has it")),
        });
        let keeper = Keeper::new(Moment::now(), Duration::from_millis(300), renew);
        assert_eq!(keeper.lost().await, Lost("another has it".to_owned()));
        assert!(keeper.check().is_err());
        assert_eq!(asked.load(Ordering::SeqCst), 2);
    }

    #[tokio::test]
    async fn what_ended_the_claim_itself_was_done_though_its_renewal_is_refused() {
        let (renew, _) = answers(|_| Err(Status::aborted("nobody holds the claim")));
        let keeper = Keeper::new(Moment::now(), Duration::from_millis(300), renew);
        // The answer comes after the refusal.
        let done = keeper.ask(seconds(9), async || {
            keeper.lost().await;
            Ok(7)
        });
        assert_eq!(done.await.unwrap().unwrap(), 7);
        let never = keeper.ask(seconds(9), async || Ok(7)).await;
        assert_eq!(
            never.unwrap_err(),
            Lost("nobody holds the claim".to_owned())
        );
    }

    #[tokio::test]
    async fn silence_is_borne_until_the_fence_closes_and_no_longer() {
        let (renew, _) = answers(|_| Err(Status::unavailable("nobody there")));
        let began = Moment::now();
        let keeper = Keeper::new(began, seconds(1), renew);
        keeper.check().unwrap();
        assert_eq!(
            keeper.lost().await,
            Lost("it could not be renewed in time".to_owned())
        );
        assert!(Moment::now() >= began.after(Duration::from_millis(900)));
    }

    #[tokio::test]
    async fn a_call_that_never_ends_does_not_hold_the_fence_open() {
        let renew: Renew = Box::new(|| Box::pin(std::future::pending()));
        let keeper = Keeper::new(Moment::now(), Duration::from_millis(400), renew);
        assert!(keeper.renew().await.is_err());
    }

    #[tokio::test]
    async fn a_machine_that_slept_while_it_asked_finds_its_claim_lost_when_it_wakes() {
        // It is due to be renewed.
        let slept = Arc::new(AtomicU32::new(1300));
        let clock: Clock = Box::new({
            let slept = slept.clone();
            move || Moment::now().after(seconds(slept.load(Ordering::SeqCst).into()))
        });
        let asked = Arc::new(tokio::sync::Notify::new());
        let renew: Renew = Box::new({
            let asked = asked.clone();
            move || {
                asked.notify_one();
                Box::pin(std::future::pending())
            }
        });
        let keeper = Keeper::by(clock, Moment::now(), seconds(3600), renew);
        asked.notified().await;
        slept.store(7200, Ordering::SeqCst);
        let lost = time::timeout(seconds(30), keeper.lost()).await;
        assert_eq!(
            lost.unwrap(),
            Lost("it could not be renewed in time".to_owned())
        );
    }
}
