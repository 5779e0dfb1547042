use std::fs;
use std::io::{Read, Write};
use std::path::PathBuf;

use flate2::read::GzDecoder;
use proptest::prelude::*;
use tempfile::{NamedTempFile, TempPath};

use super::page::fnv1a;
use super::*;

const FIXTURE: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/tests/fixtures/containerd-meta-1.6.20.db.gz"
);
const PAGE: usize = 4096;

fn fixture() -> Vec<u8> {
    let mut bytes = Vec::new();
    let packed = fs::File::open(FIXTURE).unwrap();
    GzDecoder::new(packed).read_to_end(&mut bytes).unwrap();
    bytes
}

fn file(bytes: &[u8]) -> TempPath {
    let mut file = NamedTempFile::new().unwrap();
    file.write_all(bytes).unwrap();
    file.into_temp_path()
}

/// Reads everything, and says how many keys there are.
fn walk(path: &Path) -> Result<usize, BoltError> {
    let mut bolt = Bolt::open(path)?;
    let mut keys = 0;
    let mut buckets = vec![bolt.root()];
    while let Some(bucket) = buckets.pop() {
        for (_, entry) in bolt.read(bucket)? {
            keys += 1;
            if let Entry::Bucket(bucket) = entry {
                buckets.push(bucket);
            }
        }
    }
    Ok(keys)
}

fn walk_bytes(bytes: &[u8]) -> Result<usize, BoltError> {
    walk(&file(bytes))
}

#[track_caller]
fn assert_damaged(bytes: &[u8], what: &str) {
    let why = walk_bytes(bytes).unwrap_err();
    assert!(matches!(why, BoltError::Damaged { .. }), "{why}");
    assert!(why.to_string().contains(what), "{why}");
}

/// Writes the parts of a file by hand.
struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    fn new(pages: usize) -> Self {
        Self {
            bytes: vec![0; pages * PAGE],
        }
    }

    fn put(&mut self, at: usize, bytes: &[u8]) -> &mut Self {
        self.bytes[at..at + bytes.len()].copy_from_slice(bytes);
        self
    }

    fn word(&mut self, at: usize, word: u64) -> &mut Self {
        let mut bytes = word.to_be_bytes();
        bytes.reverse();
        self.put(at, &bytes)
    }

    /// Numbers of fewer bytes.
    fn half(&mut self, at: usize, half: u32) -> &mut Self {
        let mut bytes = half.to_be_bytes();
        bytes.reverse();
        self.put(at, &bytes)
    }

    fn header(&mut self, page: usize, kind: u8, count: u16) -> &mut Self {
        let at = page * PAGE;
        self.word(at, page as u64);
        let [high, low] = count.to_be_bytes();
        self.put(at + 8, &[kind, 0, low, high])
    }

    fn meta(&mut self, page: usize, freelist: u64, pages: u64, transaction: u64) -> &mut Self {
        let at = page * PAGE + 16;
        self.header(page, 4, 0);
        self.half(at, 0xED0C_DAED)
            .half(at + 4, 2)
            .half(at + 8, PAGE as u32);
        self.word(at + 16, 3)
            .word(at + 32, freelist)
            .word(at + 40, pages);
        self.word(at + 48, transaction);
        let sum = fnv1a(&self.bytes[at..at + 56]);
        self.word(at + 56, sum)
    }

    /// A leaf with one key, `k`, and its value, `v`.
    fn leaf(&mut self, page: usize) -> &mut Self {
        let at = page * PAGE + 16;
        self.header(page, 2, 1);
        self.half(at + 4, 16).half(at + 8, 1).half(at + 12, 1);
        self.put(at + 16, b"kv")
    }
}

/// Two meta pages, page 2 for the list of free pages, and one key in page 3.
fn small(freelist: u64) -> Writer {
    let mut writer = Writer::new(6);
    writer
        .meta(0, freelist, 6, 1)
        .meta(1, freelist, 6, 2)
        .leaf(3);
    writer
}

#[test]
fn a_file_of_containerd_is_read_whole() {
    assert_eq!(walk_bytes(&fixture()).unwrap(), 2735);
}

#[test]
fn a_file_that_another_has_open_is_refused_at_once_and_one_that_is_read_too_is_not() {
    let path = file(&fixture());
    let other = File::open(&path).unwrap();
    other.lock().unwrap();
    assert!(matches!(Bolt::open(&path), Err(BoltError::Busy)));
    other.unlock().unwrap();
    let reader = Bolt::open(&path).unwrap();
    assert!(Bolt::open(&path).is_ok());
    assert!(other.try_lock().is_err(), "nobody may write meanwhile");
    drop(reader);
    other.try_lock().unwrap();
}

#[test]
fn what_is_no_file_of_bbolt_is_said_to_be_none() {
    for bytes in [&b""[..], b"{}", &[0; 4 * PAGE]] {
        assert!(matches!(walk_bytes(bytes), Err(BoltError::NotBolt(_))));
    }
    let folder = tempfile::tempdir().unwrap();
    let why = walk(folder.path()).unwrap_err();
    assert!(matches!(why, BoltError::NotBolt(_)), "{why}");
    let missing = walk(&PathBuf::from("/nowhere")).unwrap_err();
    assert!(matches!(missing, BoltError::Io(_)), "{missing}");
}

#[test]
fn what_only_claims_to_be_large_is_refused_before_it_takes_memory() {
    const LENGTH: u64 = 1 << 38;
    let pages = LENGTH / PAGE as u64;
    let mut writer = small(u64::MAX);
    writer
        .meta(0, u64::MAX, pages, 1)
        .meta(1, u64::MAX, pages, 2);
    writer.half(3 * PAGE + 12, u32::try_from(pages - 4).unwrap());
    let path = file(&writer.bytes);
    let holes = File::options().write(true).open(&path).unwrap();
    holes.set_len(LENGTH).unwrap();
    let why = walk(&path).unwrap_err().to_string();
    assert!(
        why.contains("larger than any that containerd writes"),
        "{why}"
    );
}

#[test]
fn a_pipe_that_nobody_writes_to_is_refused_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pipe");
    let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
    rustix::fs::mkfifoat(rustix::fs::CWD, &path, mode).unwrap();
    let (done, answer) = std::sync::mpsc::channel();
    std::thread::spawn(move || done.send(walk(&path)));
    let why = answer.recv_timeout(std::time::Duration::from_secs(20));
    let why = why.expect("it does not wait").unwrap_err();
    assert!(matches!(why, BoltError::NotBolt(_)), "{why}");
}

#[test]
fn a_file_that_was_cut_is_refused_wherever_that_was() {
    let whole = fixture();
    let path = file(&whole);
    let pages = Bolt::open(&path).unwrap().meta.pages as usize;
    let cut = File::options().write(true).open(&path).unwrap();
    for pages in (0..pages).rev() {
        for bytes in [pages * PAGE, pages * PAGE + 100] {
            cut.set_len(bytes as u64).unwrap();
            assert!(walk(&path).is_err(), "cut to {bytes} bytes");
            cut.set_len(pages as u64 * PAGE as u64).unwrap();
        }
    }
}

#[test]
fn the_newest_state_that_was_written_whole_counts() {
    let mut both = small(u64::MAX);
    assert_eq!(walk_bytes(&both.bytes).unwrap(), 1);
    // The root of the newer state is at another place.
    both.word(PAGE + 32, 4);
    let sum = fnv1a(&both.bytes[PAGE + 16..PAGE + 72]);
    both.word(PAGE + 72, sum);
    assert_damaged(&both.bytes, "of no kind");
    // Without its checksum it was not written to its end.
    both.bytes[PAGE + 72] ^= 1;
    assert_eq!(walk_bytes(&both.bytes).unwrap(), 1);
    // The size of a page is found without the first meta page, too.
    let mut second = small(u64::MAX);
    second.bytes[20] ^= 1;
    assert_eq!(walk_bytes(&second.bytes).unwrap(), 1);
    second.bytes[PAGE + 20] ^= 1;
    assert!(matches!(
        walk_bytes(&second.bytes),
        Err(BoltError::NotBolt(_))
    ));
}

#[test]
fn the_list_of_free_pages_is_read_in_both_its_forms_and_may_be_left_out() {
    let mut short = small(2);
    short
        .header(2, 0x10, 2)
        .word(2 * PAGE + 16, 4)
        .word(2 * PAGE + 24, 5);
    assert_eq!(walk_bytes(&short.bytes).unwrap(), 1);
    let mut long = small(2);
    long.header(2, 0x10, u16::MAX).word(2 * PAGE + 16, 2);
    long.word(2 * PAGE + 24, 4).word(2 * PAGE + 32, 5);
    assert_eq!(walk_bytes(&long.bytes).unwrap(), 1);
    assert_eq!(walk_bytes(&small(u64::MAX).bytes).unwrap(), 1);

    // A page that is in use and free: the file was copied while it was written.
    short.word(2 * PAGE + 24, 3);
    assert_damaged(&short.bytes, "free, or belongs to two trees");
    long.word(2 * PAGE + 16, u64::MAX);
    assert_damaged(&long.bytes, "longer than its page");
    short.word(2 * PAGE + 24, 6);
    assert_damaged(&short.bytes, "that there is not");
}

#[test]
fn a_page_that_is_not_the_one_asked_for_is_found_out() {
    let mut other = small(u64::MAX);
    other.word(3 * PAGE, 4);
    assert_damaged(&other.bytes, "says that it is another");
    let mut over = small(u64::MAX);
    over.half(3 * PAGE + 12, 3);
    assert_damaged(&over.bytes, "over the end");
}

#[test]
fn a_tree_that_leads_back_to_itself_is_found_out() {
    let mut round = small(u64::MAX);
    let at = 3 * PAGE + 16;
    round
        .header(3, 1, 1)
        .half(at, 16)
        .half(at + 4, 1)
        .word(at + 8, 3);
    round.put(at + 16, b"k");
    assert_damaged(&round.bytes, "two trees");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever the bytes are, they are read or refused: no panic, no endless loop, no page twice.
    #[test]
    fn no_bytes_make_it_stumble(
        changes in prop::collection::vec(
            (0..200usize, 0..PAGE, prop_oneof![any::<u8>(), Just(0), Just(0xff)], 1..9usize, any::<bool>()),
            1..40,
        ),
        sums in any::<bool>(),
    ) {
        let mut bytes = fixture();
        for (page, offset, byte, count, near) in changes {
            // Headers and tables of elements are where it matters.
            let at = page * PAGE + if near { offset % 128 } else { offset };
            let end = (at + count).min(bytes.len());
            bytes[at..end].fill(byte);
        }
        if sums {
            for meta in [16, PAGE + 16] {
                let sum = fnv1a(&bytes[meta..meta + 56]);
                let mut sum = sum.to_be_bytes();
                sum.reverse();
                bytes[meta + 56..meta + 64].copy_from_slice(&sum);
            }
        }
        if let Ok(keys) = walk_bytes(&bytes) {
            prop_assert!(keys < bytes.len());
        }
    }
}
