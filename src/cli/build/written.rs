//! Files that people wrote: read whole, where they are files of a size that can be meant.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::OFlags;

use crate::cli::failure::system_reason;

/// More than anybody writes by hand.
const MAX_BYTES: u64 = 16 << 20;

/// What a file holds. Fails for what is no regular file, such as a pipe, without waiting for anybody to write to it.
pub fn read_file(path: &Path) -> Result<Vec<u8>, String> {
    let wrong = |why| cannot_read(path, &why);
    let at_once = OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(at_once.bits().cast_signed())
        .open(path)
        .map_err(wrong)?;
    if !file.metadata().map_err(wrong)?.is_file() {
        return Err(format!("{} is no regular file", path.display()));
    }
    read_bounded(path, file)
}

/// What a file of text holds.
pub fn read_text(path: &Path) -> Result<String, String> {
    text(path, read_file(path)?)
}

/// What a file of text holds that somebody chose by its name: a pipe too, as of a shell's `<(COMMAND)`.
#[cfg(feature = "registry")]
pub fn read_named(path: &Path) -> Result<String, String> {
    let file = File::open(path).map_err(|why| cannot_read(path, &why))?;
    text(path, read_bounded(path, file)?)
}

fn text(path: &Path, content: Vec<u8>) -> Result<String, String> {
    String::from_utf8(content).map_err(|_| format!("{} is not UTF-8", path.display()))
}

fn read_bounded(path: &Path, file: File) -> Result<Vec<u8>, String> {
    let mut content = Vec::new();
    file.take(MAX_BYTES + 1)
        .read_to_end(&mut content)
        .map_err(|why| cannot_read(path, &why))?;
    match content.len() as u64 > MAX_BYTES {
        true => Err(format!("{} has more than 16 MiB", path.display())),
        false => Ok(content),
    }
}

fn cannot_read(path: &Path, why: &io::Error) -> String {
    format!("cannot read {}: {}", path.display(), system_reason(why))
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};

    use rustix::fs::{CWD, FileType, Mode, mknodat};

    use super::*;

    #[test]
    fn only_regular_files_of_a_size_that_can_be_meant_are_read() {
        let dir = tempfile::tempdir().unwrap();
        let of = |name: &str| dir.path().join(name);
        fs::write(of("text"), "a").unwrap();
        assert_eq!(read_text(&of("text")).unwrap(), "a");
        mknodat(CWD, of("pipe"), FileType::Fifo, Mode::RUSR, 0).unwrap();
        File::create(of("endless"))
            .unwrap()
            .set_len(6 << 30)
            .unwrap();
        for (path, why) in [
            (of("pipe"), "is no regular file"),
            (of(""), "is no regular file"),
            ("/dev/zero".into(), "is no regular file"),
            (of("endless"), "has more than 16 MiB"),
            (of("nothing"), "no such file"),
        ] {
            let told = read_file(&path).unwrap_err();
            assert!(told.contains(why), "{told}");
        }
    }
}
