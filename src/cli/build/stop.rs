//! Being asked to end: by a signal, or by the loss of a claim.

use std::time::Duration;

use rustix::process::Signal;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time;
use tokio_util::sync::CancellationToken;

use super::telling::{self, say};
use crate::cli::failure::{Exit, Failure};

/// How urgently work is to end. Clones are one.
#[derive(Clone, Debug, Default)]
pub struct Stop {
    /// Nothing new is begun, and commands are asked to end.
    gently: CancellationToken,
    /// Commands are killed.
    at_once: CancellationToken,
}

/// The signals that ask this process to end, from now on.
pub struct Signals {
    pub stop: Stop,
    caught: tokio::sync::watch::Receiver<Option<Signal>>,
}

/// How long a server is waited for when somebody asked to end, such as for giving something back.
pub const PARTING: Duration = Duration::from_secs(2);
/// How long whoever reads standard error is waited for then.
const LAST_WORDS: Duration = Duration::from_secs(1);

// === impl Stop ===

impl Stop {
    /// One that ends with this one, or before it.
    pub fn child(&self) -> Self {
        Self {
            gently: self.gently.child_token(),
            at_once: self.at_once.child_token(),
        }
    }

    pub fn is_asked(&self) -> bool {
        self.gently.is_cancelled()
    }

    pub fn ask(&self) {
        self.gently.cancel();
    }

    pub fn end_at_once(&self) {
        self.at_once.cancel();
        self.gently.cancel();
    }

    pub async fn asked(&self) {
        self.gently.cancelled().await;
    }

    pub async fn at_once(&self) {
        self.at_once.cancelled().await;
    }

    /// When no server is waited for any more: a little after somebody asked to end, or at once.
    pub async fn over(&self) {
        let parting = async {
            self.asked().await;
            time::sleep(PARTING).await;
        };
        tokio::select! {
            () = parting => {}
            () = self.at_once() => {}
        }
    }

    /// What it comes to, unless somebody asks to end before.
    pub async fn unless_asked<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            done = work => Some(done),
            () = self.asked() => None,
        }
    }

    /// What it comes to, if it does before it is [`over`](Self::over).
    pub async fn unless_over<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            done = work => Some(done),
            () = self.over() => None,
        }
    }

    /// What it comes to, unless all is to end at once.
    pub async fn unless_at_once<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            done = work => Some(done),
            () = self.at_once() => None,
        }
    }

    /// For what is to be done though somebody asked to end. Whoever asks once more ends it.
    pub fn errand(&self) -> Self {
        Self {
            gently: self.at_once.child_token(),
            at_once: self.at_once.child_token(),
        }
    }
}

// === impl Signals ===

impl Signals {
    /// What ends a process does not end this one any more: the first signal asks, the second ends at once.
    ///
    /// A terminal that goes away says so more than once, so that counts as the first only; and not at all for a
    /// process that is to outlive it, as `nohup` says.
    pub fn catch() -> Result<Self, Failure> {
        let cannot = |why| Failure::new(format!("cannot wait for signals: {why}"));
        let mut interrupt = signal(SignalKind::interrupt()).map_err(cannot)?;
        let mut terminate = signal(SignalKind::terminate()).map_err(cannot)?;
        let mut quit = signal(SignalKind::quit()).map_err(cannot)?;
        let mut hang_up = match is_ignored(Signal::HUP) {
            true => None,
            false => Some(signal(SignalKind::hangup()).map_err(cannot)?),
        };
        let stop = Stop::default();
        let (tell, caught) = tokio::sync::watch::channel(None);
        let told = stop.clone();
        tokio::spawn(async move {
            loop {
                let hung_up = async {
                    match &mut hang_up {
                        Some(hang_up) => hang_up.recv().await,
                        None => std::future::pending().await,
                    }
                };
                let signal = tokio::select! {
                    Some(()) = interrupt.recv() => Signal::INT,
                    Some(()) = terminate.recv() => Signal::TERM,
                    Some(()) = quit.recv() => Signal::QUIT,
                    Some(()) = hung_up => Signal::HUP,
                    else => return,
                };
                if !told.is_asked() {
                    tell.send_replace(Some(signal));
                    told.ask();
                    say("imagestore: ending; once more ends it at once.");
                } else if signal != Signal::HUP {
                    told.end_at_once();
                }
            }
        });
        Ok(Self { stop, caught })
    }

    /// Waits until all is told; not for long when somebody asks to end.
    pub async fn settled(&self) {
        let patience = async {
            self.stop.asked().await;
            time::sleep(LAST_WORDS).await;
        };
        tokio::select! {
            () = telling::settled() => {}
            () = patience => {}
        }
    }

    /// What the process ends with, where a signal asked it to; once all is told.
    pub async fn end(&self) -> Result<(), Failure> {
        self.settled().await;
        self.check()
    }

    /// What the process ends with, where a signal asked it to.
    fn check(&self) -> Result<(), Failure> {
        match *self.caught.borrow() {
            Some(signal) => Err(Failure::told(Exit::of_signal(signal.as_raw()))),
            None => Ok(()),
        }
    }

    pub async fn caught(&mut self) -> Signal {
        match self.caught.wait_for(Option::is_some).await {
            Ok(signal) => signal.unwrap_or(Signal::TERM),
            Err(_) => std::future::pending().await,
        }
    }
}

/// Whether whoever started this process made it deaf to a signal.
fn is_ignored(signal: Signal) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status
        .lines()
        .find_map(|line| line.strip_prefix("SigIgn:"))
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask >> (signal.as_raw() - 1) & 1 == 1)
}
