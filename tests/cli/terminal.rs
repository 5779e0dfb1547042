//! What a terminal shows beside the results, and nothing else does.

use std::ffi::OsStr;
use std::fs::File;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::Stdio;
use std::thread;

use flate2::read::GzDecoder;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

use crate::build::site::Site;
use crate::harness::{Server, line};

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
    let mut screen = terminal.screen;
    let watcher = thread::spawn(move || {
        let mut shown = Vec::new();
        // Ends with EIO when nobody has the other side any more.
        let _ = screen.read_to_end(&mut shown);
        String::from_utf8(shown).unwrap()
    });
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    Shown {
        screen: watcher.join().unwrap(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
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

#[test]
fn targets_at_work_are_shown_on_a_terminal_and_go_away() {
    let (server, site) = (Server::start(), Site::new());
    for name in ["a", "b"] {
        site.image(name, "1.0", &[]);
        site.hook(name, "echo from the command; sleep 0.5");
    }
    site.scan(&server);
    let (images, config) = (site.path("images"), site.path("here.toml"));
    let [images, config] = [&images, &config].map(|path| path.to_str().unwrap());
    let run = ["build", "run", images, "--config", config, "-j", "2"];
    let shown = show(&server, &run, OnTerminal::Stderr);
    for words in ["a@1.0  building", "a@1.0| from the command", "b@1.0: built"] {
        assert!(shown.screen.contains(words), "{words}: {shown:?}");
    }
    assert!(
        shown.screen.ends_with("\u{1b}[2K") || shown.screen.ends_with("test)\r\n"),
        "{shown:?}"
    );
    assert_eq!(shown.stdout, "2 built, 2 verified, 2 without a test\n");
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
