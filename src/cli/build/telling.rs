//! Telling on standard error without waiting for whoever reads it.
//!
//! A pipe that nobody reads and a terminal that holds its output block whoever writes there. Claims are kept and
//! signals are heard all the same: a thread of its own writes.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, LazyLock};
use std::thread;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time;
use tokio_util::sync::CancellationToken;

use crate::cli::failure;

struct Teller {
    acts: SyncSender<Act>,
    /// What commands say may fill only a part, so that there is room for what is said of them.
    room: Arc<Semaphore>,
    untold: Arc<AtomicU64>,
}

/// Something to write.
struct Act {
    write: Box<dyn FnOnce() + Send>,
    _room: Option<OwnedSemaphorePermit>,
}

/// So much may wait to be written.
const MOST: usize = 4096;
const MOST_OF_COMMANDS: usize = 1024;
/// Between two looks whether there is room again.
const PAUSE: Duration = Duration::from_millis(10);

static TELLER: LazyLock<Teller> = LazyLock::new(Teller::start);

/// A line for the person, as [`failure::say`] writes it.
pub fn say(text: &str) {
    let text = text.to_owned();
    tell(move || failure::say(&text));
}

/// Writes in its turn. Where too much waits already it is left out, and counted.
pub fn tell(write: impl FnOnce() + Send + 'static) {
    TELLER.add(write, None);
}

/// Writes in its turn, once there is room for it: whoever says much is held up by whoever reads. In haste it is left
/// out instead, and counted.
pub async fn tell_with_room(write: impl FnOnce() + Send + 'static, haste: &CancellationToken) {
    let room = tokio::select! {
        biased;
        room = TELLER.room.clone().acquire_owned() => room.ok(),
        () = haste.cancelled() => None,
    };
    match room {
        Some(room) => TELLER.add(write, Some(room)),
        None => TELLER.leave_out(),
    }
}

/// Waits until all is written that was told before.
pub async fn settled() {
    let (done, is_done) = oneshot::channel();
    let mut act = Act {
        write: Box::new(move || {
            // Nobody may wait for it any more.
            let _ = done.send(());
        }),
        _room: None,
    };
    while let Err(TrySendError::Full(again)) = TELLER.acts.try_send(act) {
        act = again;
        time::sleep(PAUSE).await;
    }
    // Nobody writes any more where this fails.
    let _ = is_done.await;
}

// === impl Teller ===

impl Teller {
    fn start() -> Self {
        let (acts, told) = sync_channel(MOST);
        let untold = Arc::new(AtomicU64::new(0));
        let counted = untold.clone();
        let thread = thread::Builder::new().name("tell".to_owned());
        // Without it nothing is told, and all else is done.
        let _ = thread.spawn(move || write_all(&told, &counted));
        Self {
            acts,
            room: Arc::new(Semaphore::new(MOST_OF_COMMANDS)),
            untold,
        }
    }

    fn add(&self, write: impl FnOnce() + Send + 'static, room: Option<OwnedSemaphorePermit>) {
        let act = Act {
            write: Box::new(write),
            _room: room,
        };
        if self.acts.try_send(act).is_err() {
            self.leave_out();
        }
    }

    fn leave_out(&self) {
        self.untold.fetch_add(1, Ordering::Relaxed);
    }
}

fn write_all(acts: &Receiver<Act>, untold: &AtomicU64) {
    while let Ok(act) = acts.recv() {
        match untold.swap(0, Ordering::Relaxed) {
            0 => {}
            lines => failure::say(&format!("imagestore: {lines} lines are not shown.")),
        }
        (act.write)();
    }
}
