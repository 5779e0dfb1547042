//! A small disk of its own, where the system lets us mount one.

use std::path::Path;
use std::process::{Command, Stdio};

use tempfile::TempDir;

/// A file system in memory. Gone when dropped.
pub struct Tmpfs {
    dir: TempDir,
}

impl Tmpfs {
    /// `None`, said loudly, where mounting is not allowed; a failure where it is required.
    pub fn mount(size: &str) -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"])
            .arg(dir.path())
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success());
        if mounted {
            return Some(Self { dir });
        }
        // Past the capture of the test harness: this must be seen.
        let said = "PEER MISSING: tmpfs (mount is not permitted); the full disk is NOT tested\n";
        let _ = std::io::Write::write_all(&mut std::io::stderr(), said.as_bytes());
        let required = std::env::var("IMAGESTORE_REQUIRE_PEERS").is_ok_and(|value| value == "1");
        assert!(!required, "{said}");
        None
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// With other options, such as `size=64m` or `ro`.
    pub fn remount(&self, options: &str) {
        let status = Command::new("mount")
            .args(["-o", &format!("remount,{options}")])
            .arg(self.path())
            .status()
            .unwrap();
        assert!(status.success());
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        // Lazily: what still runs keeps its files.
        let _ = Command::new("umount").arg("-l").arg(self.path()).status();
    }
}
