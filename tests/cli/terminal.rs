//! What a terminal shows beside the results, and nothing else does.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use flate2::read::GzDecoder;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

use crate::build::site::Site;
use crate::harness::{Server, eventually, line};

/// A terminal without a person.
struct Terminal {
    screen: File,
    keyboard_and_screen: File,
}

/// What a command wrote, and where.
#[derive(Debug)]
struct Shown {
    screen: String,
    stdout: String,
    stderr: String,
}

/// Which of its outputs a command has on the terminal.
enum OnTerminal {
    Stderr,
    Stdout,
}

/// Runs a command that goes well.
fn show(server: &Server, arguments: &[&str], on: OnTerminal) -> Shown {
    Showing::start(server, arguments, on).ended()
}

/// A command under way.
struct Showing {
    child: Child,
    screen: Arc<Mutex<Vec<u8>>>,
    watcher: JoinHandle<()>,
}

impl Showing {
    fn start(server: &Server, arguments: &[&str], on: OnTerminal) -> Self {
        let terminal = Terminal::open();
        let mut command = server.command();
        command.args(arguments).env("TERM", "xterm");
        let side = Stdio::from(terminal.keyboard_and_screen);
        match on {
            OnTerminal::Stderr => command.stderr(side).stdout(Stdio::piped()),
            OnTerminal::Stdout => command.stdout(side).stderr(Stdio::piped()),
        };
        let child = command.spawn().unwrap();
        // It has the terminal too, and reading would not end.
        drop(command);
        let mut terminal = terminal.screen;
        let screen = Arc::<Mutex<Vec<u8>>>::default();
        let shown = screen.clone();
        let watcher = thread::spawn(move || {
            let mut part = [0; 4096];
            // Ends with EIO when nobody has the other side any more.
            while let Ok(read @ 1..) = terminal.read(&mut part) {
                shown.lock().unwrap().extend_from_slice(&part[..read]);
            }
        });
        Self {
            child,
            screen,
            watcher,
        }
    }

    /// Waits until a text is on the screen.
    fn until(&self, words: &str) {
        eventually(&format!("{words} on the screen"), || {
            String::from_utf8_lossy(&self.screen.lock().unwrap()).contains(words)
        });
    }

    fn ended(self) -> Shown {
        let output = self.child.wait_with_output().unwrap();
        assert!(output.status.success(), "{output:?}");
        self.watcher.join().unwrap();
        let screen = std::mem::take(&mut *self.screen.lock().unwrap());
        Shown {
            screen: String::from_utf8(screen).unwrap(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

#[test]
fn progress_is_shown_on_a_terminal_and_only_there_and_goes_away() {
    let server = Server::start();
    let text: String = (0..1000).map(|i| line(&format!("n{i}"), 1)).collect();
    let file = server.file("f", text);
    let file = file.to_str().unwrap();
    let copy = server.path("copy");
    let copy = copy.to_str().unwrap();
    for (arguments, bar, result) in [
        (
            ["import", file],
            "%",
            "1000 imported, 0 unchanged, 0 failed",
        ),
        (["export", copy], " images", "1000 exported to "),
    ] {
        let shown = show(&server, &arguments, OnTerminal::Stderr);
        assert!(shown.screen.contains(bar), "{shown:?}");
        assert!(shown.screen.ends_with("\r\x1b[2K"), "{shown:?}");
        assert!(shown.stdout.starts_with(result), "{shown:?}");
        assert_eq!(shown.stdout.lines().count(), 1, "{shown:?}");
    }
    let from = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/fixtures/containerd-meta-1.6.20.db.gz"
    );
    let mut meta_db = Vec::new();
    let packed = File::open(from).unwrap();
    GzDecoder::new(packed).read_to_end(&mut meta_db).unwrap();
    let meta_db = server.file("meta.db", meta_db);
    let meta_db = meta_db.to_str().unwrap();
    let taken = ["import", "--from-containerd-db", meta_db, "-n", "k8s.io"];
    let shown = show(&server, &taken, OnTerminal::Stderr);
    assert!(shown.screen.contains("299 images"), "{shown:?}");
    assert!(shown.screen.ends_with("\r\x1b[2K"), "{shown:?}");
    assert!(shown.stdout.starts_with("NAMESPACE"), "{shown:?}");
    let backup = server.path("backup");
    let shown = show(
        &server,
        &["backup", backup.to_str().unwrap()],
        OnTerminal::Stderr,
    );
    assert!(shown.screen.contains("100%"), "{shown:?}");
    assert!(shown.screen.ends_with("\r\x1b[2K"), "{shown:?}");
    assert!(shown.stdout.contains(" rows of revision "), "{shown:?}");
    for (arguments, result) in [
        (["import", file], "0 imported, 1000 unchanged, 0 failed"),
        (["export", copy], "1000 exported to "),
    ] {
        let shown = show(&server, &arguments, OnTerminal::Stdout);
        assert_eq!(shown.stderr, "");
        assert!(shown.screen.starts_with(result), "{shown:?}");
        assert_eq!(shown.screen.lines().count(), 1, "{shown:?}");
    }
    let listed = show(&server, &["export", "-"], OnTerminal::Stderr);
    assert_eq!(listed.stdout.lines().count(), 1000);
}

// === impl Terminal ===

impl Terminal {
    fn open() -> Self {
        let screen =
            openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&screen).unwrap();
        unlockpt(&screen).unwrap();
        let name = ptsname(&screen, Vec::new()).unwrap();
        let path = Path::new(OsStr::from_bytes(name.to_bytes()));
        let other = File::options().read(true).write(true).open(path);
        Self {
            screen: File::from(screen),
            keyboard_and_screen: other.unwrap(),
        }
    }
}

/// Two images; the command that builds one says so, and ends when it may.
fn two_at_work() -> (Server, Site) {
    let (server, site) = (Server::start(), Site::new());
    for name in ["a", "b"] {
        site.image(name, "1.0", &[]);
        let wait = "while [ -d \"$D\" ] && [ ! -e \"$D/go\" ]; do sleep 0.02; done";
        site.hook(name, &format!("echo from the command; {wait}"));
    }
    site.scan(&server);
    (server, site)
}

#[test]
fn targets_at_work_have_a_line_each_on_a_terminal_and_the_lines_go_away() {
    let (server, site) = two_at_work();
    let (images, config) = (site.path("images"), site.path("here.toml"));
    let [images, config] = [&images, &config].map(|path| path.to_str().unwrap());
    let run = ["build", "run", images, "--config", config, "-j", "2"];
    let showing = Showing::start(&server, &run, OnTerminal::Stderr);
    for name in ["a@1.0", "b@1.0"] {
        showing.until(&format!("{name}  building"));
        showing.until(&format!("{name}| from the command"));
    }
    fs::write(site.path("go"), "").unwrap();
    let shown = showing.ended();
    for name in ["a@1.0", "b@1.0"] {
        assert!(
            shown.screen.contains(&format!("{name}: built")),
            "{shown:?}"
        );
    }
    assert!(
        shown.screen.ends_with("\u{1b}[2K") || shown.screen.ends_with("test)\r\n"),
        "{shown:?}"
    );
    assert_eq!(shown.stdout, "2 built, 2 verified, 2 without a test\n");
}

#[test]
fn targets_at_work_have_a_plain_line_for_each_step_where_there_is_no_terminal() {
    let (server, site) = two_at_work();
    fs::write(site.path("go"), "").unwrap();
    let ran = site.build(&server, &["run", "-j", "2"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(ran.stdout, "2 built, 2 verified, 2 without a test\n");
    let is_plain = |c: char| c == '\n' || !c.is_control();
    assert!(ran.stderr.chars().all(is_plain), "{ran:?}");
    for name in ["a@1.0", "b@1.0"] {
        let lines = ran.stderr.lines().filter(|line| line.starts_with(name));
        let lines: Vec<&str> = lines.map(|line| &line[name.len()..]).collect();
        let expected = [
            ": building",
            "| from the command",
            ": verifying",
            ": built, verified (there is no test)",
        ];
        assert_eq!(lines, expected, "{ran:?}");
    }
}

#[test]
fn one_target_at_a_time_on_a_terminal_keeps_the_last_words_of_what_failed() {
    let (server, site) = (Server::start(), Site::new());
    site.image("a", "1.0", &[]);
    site.hook(
        "a",
        "[ -e \"$D/second\" ] || { : > \"$D/second\"; echo no space left >&2; exit 3; }",
    );
    site.scan(&server);
    let (images, config) = (site.path("images"), site.path("here.toml"));
    let [images, config] = [&images, &config].map(|path| path.to_str().unwrap());
    let run = ["build", "run", images, "--config", config, "--retries", "1"];
    let shown = show(&server, &run, OnTerminal::Stderr);
    let why = "a@1.0| exit code 3: no space left; 1 more tries";
    assert!(shown.screen.contains(why), "{shown:?}");
}
