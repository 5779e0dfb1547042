//! What the machine says: cores, kernel, what a sync costs, what a process and a folder take.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};

const SYNCS: usize = 200;
/// The unit of /proc/PID/stat.
const TICK: Duration = Duration::from_millis(10);
const TMPFS_MAGIC: rustix::fs::FsWord = 0x0102_1994;

/// One line about the machine and the disk below a folder.
pub fn describe(folder: &Path) -> io::Result<String> {
    let cores = std::thread::available_parallelism()?;
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let load = fs::read_to_string("/proc/loadavg")?;
    let load = load.split(' ').next().unwrap_or_default();
    let cpus = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpus.lines().find(|line| line.starts_with("model name"));
    let model = model.and_then(|line| line.split_once(": "));
    let (p50, p99) = sync_latency(folder)?;
    let mut line = format!(
        "{cores} cores ({}), Linux {}; load {load} at the start; appending 4 KiB and fdatasync: p50 {p50:.2} ms, p99 {p99:.2} ms",
        model.map_or("unknown", |(_, model)| model),
        kernel.trim(),
    );
    if in_memory(folder) {
        line += " (ON TMPFS: writes are not durable, choose another folder with --dir)";
    }
    Ok(line)
}

pub fn in_memory(folder: &Path) -> bool {
    rustix::fs::statfs(folder).is_ok_and(|about| about.f_type == TMPFS_MAGIC)
}

/// p50 and p99 of a synced append, in milliseconds.
fn sync_latency(folder: &Path) -> io::Result<(f64, f64)> {
    let path = folder.join("sync-latency");
    let mut file = File::create(&path)?;
    let mut took = Vec::with_capacity(SYNCS);
    for _ in 0..SYNCS {
        let before = Instant::now();
        file.write_all(&[0x5A; 4096])?;
        file.sync_data()?;
        took.push(before.elapsed().as_secs_f64() * 1e3);
    }
    fs::remove_file(path)?;
    took.sort_by(f64::total_cmp);
    Ok((took[SYNCS / 2], took[SYNCS * 99 / 100]))
}

/// Processor time that a process has taken so far.
pub fn cpu_time(pid: u32) -> io::Result<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The second field is a name in brackets and may hold blanks; the 14th and 15th are ticks.
    let fields = stat.rsplit(')').next().unwrap_or_default();
    let ticks = fields.split_whitespace().skip(11).take(2);
    let ticks: u32 = ticks.filter_map(|ticks| ticks.parse::<u32>().ok()).sum();
    Ok(TICK * ticks)
}

/// Bytes of memory that a process has now.
pub fn resident(pid: u32) -> io::Result<u64> {
    status_bytes(pid, "VmRSS:")
}

/// Bytes of memory that a process had at most since it started or since [`forget_peak`].
pub fn peak_resident(pid: u32) -> io::Result<u64> {
    status_bytes(pid, "VmHWM:")
}

pub fn forget_peak(pid: u32) -> io::Result<()> {
    fs::write(format!("/proc/{pid}/clear_refs"), "5")
}

fn status_bytes(pid: u32, field: &str) -> io::Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let value = status.lines().find_map(|line| line.strip_prefix(field));
    let kilobytes = value.and_then(|value| value.trim().strip_suffix(" kB"));
    let kilobytes = kilobytes.and_then(|number| number.parse::<u64>().ok());
    let missing = || io::Error::other(format!("no {field} in /proc/{pid}/status"));
    Ok(kilobytes.ok_or_else(missing)? * 1024)
}

/// Bytes that a folder's files take on disk, holes not counted.
pub fn disk_usage(folder: &Path) -> io::Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let about = entry.metadata()?;
        bytes += if about.is_dir() {
            disk_usage(&entry.path())?
        } else {
            about.blocks() * 512
        };
    }
    Ok(bytes)
}
