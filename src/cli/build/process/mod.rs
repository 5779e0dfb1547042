//! Running commands: no shell, a process group of its own for each, and what it said last.

mod last;
#[cfg(test)]
mod tests;

use std::fmt;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, Command};
use tokio::time;
use tokio_util::sync::CancellationToken;

use self::last::{Last, end_of};
use super::stop::Stop;
use super::telling;
use crate::cli::failure::system_reason;

pub use self::last::clipped;

/// Where a command's words go, line by line.
#[derive(Clone)]
pub enum Voice {
    /// To a person, in turn with all else that is told; called on the thread that writes.
    Lines(Arc<dyn Fn(&str) + Send + Sync>),
    /// Nowhere, until it fails.
    Silent,
}

/// How a command ended, and what it left.
#[derive(Clone, Debug)]
pub struct Ran {
    pub how: How,
    /// The end of all it wrote: whole lines, at most [`MAX_LAST_BYTES`].
    pub last: String,
    /// Its standard output, where that was asked for; at most [`MAX_KEPT_BYTES`].
    pub stdout: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum How {
    Well,
    Code(i32),
    Signal(i32),
    /// It could not be started.
    NotStarted(String),
    /// It was ended from here.
    Stopped,
}

/// What is read of lists of images.
const MAX_KEPT_BYTES: usize = 16 << 20;
/// A longer line counts as several.
const MAX_LINE_BYTES: usize = 8 << 10;
/// Between asking a command to end and killing it.
const GRACE: Duration = Duration::from_secs(10);
/// How long a command's children, or whoever reads, may hold up its last words after it has ended.
const AFTERMATH: Duration = Duration::from_secs(1);

/// A command and its children. They are killed where nobody waits for its end any more.
struct Group(Option<Pid>);

/// Runs a command to its end. When asked to stop it gets SIGTERM, and SIGKILL after ten seconds, or at once when
/// there is no time; its children too.
pub async fn run(argv: &[String], voice: &Voice, keeps_stdout: bool, stop: &Stop) -> Ran {
    if stop.is_asked() {
        return Ran::without_words(How::Stopped);
    }
    let mut child = match start(argv) {
        Ok(child) => child,
        Err(why) => {
            let program = argv.first().map_or("", String::as_str);
            let why = match why.kind() {
                io::ErrorKind::NotFound => "there is no such program".to_owned(),
                _ => system_reason(&why),
            };
            return Ran::without_words(How::NotStarted(format!("{program}: {why}")));
        }
    };
    let group = Group::of(&child);
    let mut last = Last::default();
    let mut kept = Vec::new();
    let (out, err) = (child.stdout.take(), child.stderr.take());
    let haste = CancellationToken::new();
    let how = {
        let words = listen(out, err, voice, keeps_stdout, &mut last, &mut kept, &haste);
        let ended = end(&mut child, group, stop);
        tokio::pin!(words, ended);
        let mut is_heard = false;
        let how = loop {
            tokio::select! {
                how = &mut ended => break how,
                () = &mut words, if !is_heard => is_heard = true,
            }
        };
        if !is_heard {
            tokio::select! {
                () = &mut words => is_heard = true,
                () = time::sleep(AFTERMATH) => {}
                () = stop.asked() => {}
            }
        }
        if !is_heard {
            // A daemon that it left behind may hold its output for ever, and so may whoever reads.
            haste.cancel();
            let _ = time::timeout(AFTERMATH, words).await;
        }
        how
    };
    Ran {
        how,
        last: last.text(),
        stdout: String::from_utf8_lossy(&kept).into_owned(),
    }
}

fn start(argv: &[String]) -> io::Result<Child> {
    let Some((program, arguments)) = argv.split_first() else {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "no program is named",
        ));
    };
    let mut command = Command::new(program);
    command
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true);
    command.spawn()
}

/// Waits for the end of a command, and brings it about when asked to.
async fn end(child: &mut Child, mut group: Group, stop: &Stop) -> How {
    tokio::select! {
        biased;
        ended = child.wait() => {
            // What it leaves behind is its own affair.
            group.0 = None;
            return How::of(ended);
        }
        () = stop.asked() => {}
    }
    group.signal(Signal::TERM);
    tokio::select! {
        _ = child.wait() => {}
        () = stop.at_once() => {}
        () = time::sleep(GRACE) => {}
    }
    // Its children may be slower than itself.
    drop(group);
    let _ = child.wait().await;
    How::Stopped
}

/// Passes on what a command writes, until it closes its outputs.
async fn listen(
    out: Option<impl AsyncRead + Unpin>,
    err: Option<impl AsyncRead + Unpin>,
    voice: &Voice,
    keeps_stdout: bool,
    last: &mut Last,
    kept: &mut Vec<u8>,
    haste: &CancellationToken,
) {
    let (mut out, mut err) = (out, err);
    let (mut out_line, mut err_line) = (Vec::new(), Vec::new());
    let (mut out_chunk, mut err_chunk) = ([0; 4096], [0; 4096]);
    while out.is_some() || err.is_some() {
        tokio::select! {
            read = read(&mut out, &mut out_chunk) => match read {
                0 => out = None,
                n if keeps_stdout => {
                    let room = MAX_KEPT_BYTES.saturating_sub(kept.len());
                    kept.extend_from_slice(&out_chunk[..n.min(room)]);
                }
                n => say(split(&out_chunk[..n], &mut out_line), voice, last, haste).await,
            },
            read = read(&mut err, &mut err_chunk) => match read {
                0 => err = None,
                n => say(split(&err_chunk[..n], &mut err_line), voice, last, haste).await,
            },
        }
    }
    let rest = [out_line, err_line].into_iter();
    let rest = rest.filter(|line| !line.is_empty()).collect();
    say(rest, voice, last, haste).await;
}

/// How much was read; 0 at the end. Waits for ever where there is nothing to read from.
async fn read(from: &mut Option<impl AsyncRead + Unpin>, chunk: &mut [u8]) -> usize {
    match from {
        Some(from) => from.read(chunk).await.unwrap_or(0),
        None => std::future::pending().await,
    }
}

/// Adds a chunk to an unfinished line, and takes out the lines that it finishes. A carriage return ends one too.
fn split(chunk: &[u8], line: &mut Vec<u8>) -> Vec<Vec<u8>> {
    let mut lines = Vec::new();
    for &byte in chunk {
        if byte != b'\n' && byte != b'\r' {
            line.push(byte);
            if line.len() < MAX_LINE_BYTES {
                continue;
            }
        }
        if !line.is_empty() {
            lines.push(std::mem::take(line));
        }
    }
    lines
}

/// Keeps lines, and tells them as fast as they are read.
async fn say(lines: Vec<Vec<u8>>, voice: &Voice, last: &mut Last, haste: &CancellationToken) {
    let lines: Vec<String> = lines
        .iter()
        .map(|line| String::from_utf8_lossy(line).into_owned())
        .collect();
    for line in &lines {
        last.push(line);
    }
    if let Voice::Lines(tell) = voice {
        for line in lines {
            let tell = tell.clone();
            telling::tell_with_room(move || tell(&line), haste).await;
        }
    }
}

// === impl Group ===

impl Group {
    fn of(child: &Child) -> Self {
        let id = child.id().and_then(|id| i32::try_from(id).ok());
        Self(id.and_then(Pid::from_raw))
    }

    fn signal(&self, signal: Signal) {
        if let Some(group) = self.0 {
            // Nobody may be left in it.
            let _ = kill_process_group(group, signal);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
    }
}

// === impl Ran ===

impl Ran {
    fn without_words(how: How) -> Self {
        Self {
            how,
            last: String::new(),
            stdout: String::new(),
        }
    }

    pub fn is_well(&self) -> bool {
        self.how == How::Well
    }

    /// Why it failed, with its last words: at most 4,096 bytes.
    pub fn why(&self) -> String {
        let how = match &self.how {
            // Its text may hold a program's name of any length.
            How::NotStarted(_) => end_of(&self.how.to_string(), 512).to_owned(),
            how => how.to_string(),
        };
        match self.last.is_empty() {
            true => how,
            false => format!("{how}: {}", self.last),
        }
    }
}

// === impl How ===

impl How {
    fn of(ended: io::Result<ExitStatus>) -> Self {
        match ended {
            Ok(status) => match (status.code(), status.signal()) {
                (Some(0), _) => Self::Well,
                (Some(code), _) => Self::Code(code),
                (None, signal) => Self::Signal(signal.unwrap_or_default()),
            },
            Err(why) => Self::NotStarted(system_reason(&why)),
        }
    }
}

impl fmt::Display for How {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Well => f.write_str("it went well"),
            Self::Code(code) => write!(f, "exit code {code}"),
            Self::Signal(signal) => write!(f, "ended by signal {signal}"),
            Self::NotStarted(why) => write!(f, "cannot run {why}"),
            Self::Stopped => f.write_str("stopped"),
        }
    }
}
