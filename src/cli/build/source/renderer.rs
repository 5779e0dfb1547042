//! A process of its own that renders templates.
//!
//! A template can double a text at each step, or fill lists with it, and its engine has no bound for that. So the
//! system has: what a template takes too much of ends only this process.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};

use rustix::process::{Resource, Rlimit, Signal, getrlimit, setrlimit};
use rustix::time::{ClockId, clock_gettime};

use super::template::{self, Answer, MAX_BYTES, Order};
use crate::cli::failure::system_reason;

/// Renders one template after another. The process is started for the first one, and anew after one that was too much.
#[derive(Default)]
pub struct Renderer(Option<Running>);

struct Running {
    child: Child,
    /// An order a line.
    orders: ChildStdin,
    /// An answer a line.
    answers: BufReader<ChildStdout>,
}

/// What templates may take of memory.
const MAX_MEMORY: u64 = 1 << 30;
/// How long it may compute for one template.
const MAX_SECONDS: u64 = 10;
/// A line with as much text as a template may write, each byte of it escaped, and what else there is to say.
const MAX_ANSWER: u64 = 6 * MAX_BYTES as u64 + (1 << 20);
/// This program, even where another file has its name by now.
const SELF: &str = "/proc/self/exe";

/// Why there is no answer.
enum Lost {
    /// The process has ended, or is about to.
    Ended,
    Wrong(String),
}

impl Renderer {
    /// What [`template::answer`] says, or that it took too much.
    pub fn render(&mut self, order: &Order) -> Result<Answer, String> {
        let wrong = |why| format!("{}: {why}", order.path().display());
        let mut line =
            serde_json::to_vec(order).map_err(|why| wrong(format!("cannot be rendered: {why}")))?;
        line.push(b'\n');
        let mut running = match self.0.take() {
            Some(running) => running,
            None => Running::start().map_err(|why| {
                let why = system_reason(&why);
                format!("cannot start the process that renders templates: {why}")
            })?,
        };
        match running.ask(&line) {
            Ok(answer) => {
                self.0 = Some(running);
                answer
            }
            Err(Lost::Ended) => Err(wrong(running.end())),
            Err(Lost::Wrong(why)) => Err(wrong(why)),
        }
    }
}

// === impl Running ===

impl Running {
    fn start() -> io::Result<Self> {
        let mut child = Command::new(SELF)
            .args(["build", "render"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            // A terminal's ^C is for whoever waits for it.
            .process_group(0)
            .spawn()?;
        let no_pipe = || io::Error::from(io::ErrorKind::BrokenPipe);
        let orders = child.stdin.take().ok_or_else(no_pipe)?;
        let answers = child.stdout.take().ok_or_else(no_pipe)?;
        Ok(Self {
            child,
            orders,
            answers: BufReader::new(answers),
        })
    }

    fn ask(&mut self, order: &[u8]) -> Result<Result<Answer, String>, Lost> {
        let mut answer = String::new();
        self.orders.write_all(order)?;
        (&mut self.answers)
            .take(MAX_ANSWER)
            .read_line(&mut answer)?;
        if answer.len() as u64 == MAX_ANSWER {
            return Err(Lost::Wrong("makes too much text".to_owned()));
        }
        if !answer.ends_with('\n') {
            return Err(Lost::Ended);
        }
        serde_json::from_str(&answer)
            .map_err(|why| Lost::Wrong(format!("cannot be rendered: {why}")))
    }

    /// Why it ended.
    fn end(mut self) -> String {
        match self.child.wait() {
            Ok(ended) => told(ended),
            Err(why) => format!("cannot be rendered: {why}"),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail only where it has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl From<io::Error> for Lost {
    fn from(why: io::Error) -> Self {
        match why.kind() {
            io::ErrorKind::BrokenPipe => Self::Ended,
            _ => Self::Wrong(format!("cannot be rendered: {}", system_reason(&why))),
        }
    }
}

fn told(ended: ExitStatus) -> String {
    match ended.signal().and_then(Signal::from_named_raw) {
        // Allocators end differently where there is no more.
        Some(Signal::ABORT | Signal::SEGV | Signal::KILL) => {
            "takes more than 1 GiB of memory to render: it may double a text".to_owned()
        }
        Some(Signal::XCPU) => {
            format!("takes more than {MAX_SECONDS} seconds to render")
        }
        Some(_) | None => format!("cannot be rendered: the process that does it ended ({ended})"),
    }
}

/// Answers what is asked on standard input, until nobody asks any more. This process is bounded from then on.
pub fn serve() -> io::Result<()> {
    bound(
        Resource::Data,
        getrlimit(Resource::Data),
        memory() + MAX_MEMORY,
    )?;
    bound(Resource::Core, getrlimit(Resource::Core), 0)?;
    let processor = getrlimit(Resource::Cpu);
    let mut answers = io::stdout().lock();
    for order in io::stdin().lock().lines() {
        let order: Order = serde_json::from_str(&order?)?;
        if order.begins_a_template() {
            let used = clock_gettime(ClockId::ProcessCPUTime).tv_sec;
            bound(Resource::Cpu, processor, used.unsigned_abs() + MAX_SECONDS)?;
        }
        serde_json::to_writer(&mut answers, &template::answer(&order))?;
        answers.write_all(b"\n")?;
        answers.flush()?;
    }
    Ok(())
}

/// What this process has by now, as its bound counts it. Allocators take more than they need yet.
fn memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let data = status
        .lines()
        .find_map(|line| line.strip_prefix("VmData:")?.strip_suffix("kB"));
    data.and_then(|data| data.trim().parse().ok())
        .map_or(0, |data: u64| data << 10)
}

/// At most so much, and no more than there was.
fn bound(resource: Resource, was: Rlimit, most: u64) -> io::Result<()> {
    let least = [was.current, was.maximum]
        .into_iter()
        .flatten()
        .fold(most, u64::min);
    let current = Some(least);
    Ok(setrlimit(resource, Rlimit { current, ..was })?)
}
