//! Files that people wrote: read whole, where they are files of a size that can be meant.

use std::fs::OpenOptions;
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::OFlags;

use crate::cli::failure::system_reason;

/// More than anybody writes by hand.
const MAX_BYTES: u64 = 16 << 20;

/// What a file holds. Fails for what is no regular file, such as a pipe, without waiting for anybody to write to it.
pub fn read_file(path: &Path) -> Result<Vec<u8>, String> {
    let wrong = |why| format!("cannot read {}: {}", path.display(), system_reason(&why));
    let at_once = OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(at_once.bits().cast_signed())
        .open(path)
        .map_err(wrong)?;
    if !file.metadata().map_err(wrong)?.is_file() {
        return Err(format!("{} is no regular file", path.display()));
    }
    let mut content = Vec::new();
    file.take(MAX_BYTES + 1)
        .read_to_end(&mut content)
        .map_err(wrong)?;
    match content.len() as u64 > MAX_BYTES {
        true => Err(format!("{} has more than 16 MiB", path.display())),
        false => Ok(content),
    }
}

/// What a file of text holds.
pub fn read_text(path: &Path) -> Result<String, String> {
    String::from_utf8(read_file(path)?).map_err(|_| format!("{} is not UTF-8", path.display()))
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
