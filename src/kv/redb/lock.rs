//! The lock that keeps a second process out.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use super::super::OpenError;
use super::medium::NO_LINKS;

/// Held while the store is open; the system lets go of it when the process ends, however it ends.
///
/// A file of its own, so that the database file can be exchanged while it is held.
pub(super) struct Lock {
    file: File,
}

pub(super) const LOCK_FILE: &str = "lock";

impl Lock {
    /// Does not wait.
    pub fn take(root: &Path) -> Result<Self, OpenError> {
        let path = root.join(LOCK_FILE);
        let io = |cause| OpenError::Io {
            what: "lock",
            path: path.clone(),
            cause,
        };
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags(NO_LINKS)
            .open(&path)
            .map_err(io)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::Error(cause)) => return Err(io(cause)),
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                let read = file.read_to_string(&mut holder);
                let holder = read.ok().map(|_| holder.trim().to_owned());
                return Err(OpenError::Locked {
                    path: root.to_owned(),
                    holder: holder.filter(|holder| !holder.is_empty()),
                });
            }
        }
        let mut lock = Self { file };
        lock.note().map_err(io)?;
        Ok(lock)
    }

    /// Says who holds it.
    fn note(&mut self) -> io::Result<()> {
        let note = format!("process {}\n", std::process::id());
        self.file.set_len(0)?;
        self.file.seek(SeekFrom::Start(0))?;
        self.file.write_all(note.as_bytes())
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Closing would not do: a process that is just being started has the file too, until it has begun.
        // An error means that it is not locked.
        let _ = self.file.unlock();
    }
}
