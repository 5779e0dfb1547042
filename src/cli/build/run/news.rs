//! When it is worth asking for a target again: when something changed, or after a while.

use std::convert::Infallible;
use std::future::pending;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time;
use tonic::Code;

use crate::cli::build::again::jittered;
use crate::cli::build::wire::{Targets, between};
use crate::proto::v1::watch_targets_response::Kind;
use crate::proto::v1::{IdleTargets, WatchTargetsRequest};

/// What may have made a target ready.
pub struct News {
    count: watch::Sender<u64>,
    /// Whether the server tells what changes.
    is_followed: AtomicBool,
}

/// Somebody who waits for news.
pub struct Listener<'a> {
    news: &'a News,
    heard: watch::Receiver<u64>,
    calm: Duration,
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

// === impl News ===

impl News {
    pub fn new() -> Self {
        Self {
            count: watch::Sender::new(0),
            is_followed: AtomicBool::new(false),
        }
    }

    /// There is some.
    pub fn add(&self) {
        self.count.send_modify(|count| *count += 1);
    }

    pub fn listener(&self) -> Listener<'_> {
        Listener {
            news: self,
            heard: self.count.subscribe(),
            calm: FIRST_CALM,
        }
    }

    /// Adds what the server says has changed.
    pub async fn follow(&self, mut client: Targets, namespace: &str) -> Infallible {
        loop {
            let request = WatchTargetsRequest {
                namespace: namespace.to_owned(),
                ..WatchTargetsRequest::default()
            };
            match client.watch(request).await {
                Ok(answer) => {
                    let mut messages = answer.into_inner();
                    self.is_followed.store(true, Ordering::Relaxed);
                    // Something may have changed while nobody watched.
                    self.add();
                    while let Ok(Some(message)) = messages.message().await {
                        if matches!(message.kind, Some(Kind::Changes(_))) {
                            self.add();
                        }
                    }
                }
                Err(status) if status.code() == Code::Unimplemented => pending().await,
                Err(_) => {}
            }
            self.is_followed.store(false, Ordering::Relaxed);
            time::sleep(jittered(WAIT_WITHOUT_NEWS * 2)).await;
        }
    }
}

// === impl Listener ===

impl Listener<'_> {
    /// What there was so far is heard.
    pub fn catch_up(&mut self) {
        self.heard.mark_unchanged();
    }

    /// How long to wait for something to claim; `None` where nothing will come by itself.
    pub fn patience(&self, idle: &IdleTargets) -> Option<Duration> {
        patience(idle, self.news.is_followed.load(Ordering::Relaxed))
    }

    /// Waits for news, at most for so long.
    pub async fn wait(&mut self, patience: Duration) {
        let heard = async {
            let _ = self.heard.changed().await;
            // Where many wait, most news is for others; they are not to ask all at once.
            time::sleep(jittered(self.calm)).await;
        };
        let _ = time::timeout(patience, heard).await;
        self.calm = (self.calm * 2).min(LONGEST_CALM);
    }
}

fn patience(idle: &IdleTargets, is_followed: bool) -> Option<Duration> {
    let most = match is_followed {
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
        assert_eq!(patience(&idle(0, None), true), None);
        assert!(patience(&idle(1, None), true).is_some());
    }

    #[test]
    fn the_moment_that_the_server_names_is_not_slept_through_nor_waited_for_too_long() {
        for has_news in [true, false] {
            let soon = patience(&idle(1, Some(0)), has_news).unwrap();
            assert_eq!(soon, LATE);
            assert!(patience(&idle(0, Some(86_400)), has_news).unwrap() <= LONGEST_WAIT);
        }
    }
}
