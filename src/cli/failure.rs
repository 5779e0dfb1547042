//! Why a command failed, as a person would write it, and the exit code that says so.

use std::borrow::Cow;
use std::error::Error;
use std::io::{self, Write};
use std::process::ExitCode;

use tonic::{Code, Status};
use tonic_types::StatusExt;

use super::table::printable;

/// A command that did not do what it was asked.
#[derive(Debug)]
pub struct Failure {
    exit: Exit,
    /// `None` when all has been said already.
    message: Option<String>,
    next: Option<Cow<'static, str>>,
}

/// What a script learns from a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    Error,
    Usage,
    NotFound,
    /// It exists already, it changed meanwhile, or its state forbids it.
    Conflict,
    /// Whoever read the output went away: what a shell says of a command that SIGPIPE ended.
    ReaderGone,
    /// As a command ended that was run for the person.
    As(u8),
}

/// What to do when the outcome of a call is not known.
const AFTER_SILENCE: &str =
    "A write may have happened all the same; read to find out, then try again";

/// Says something on standard error, one line, with nothing in it that could drive a terminal.
pub fn say(text: &str) {
    // Nobody is left to tell when this fails.
    let _ = writeln!(io::stderr(), "{}", printable(text));
}

/// An error with its causes, in one line.
pub fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(deeper) = cause {
        let said = deeper.to_string();
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        cause = deeper.source();
    }
    text
}

/// Why the system refused something, without its number.
pub fn system_reason(cause: &io::Error) -> String {
    match cause.kind() {
        io::ErrorKind::NotFound => "no such file".to_owned(),
        io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
        io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        io::ErrorKind::IsADirectory => "it is a folder".to_owned(),
        io::ErrorKind::StorageFull => "the disk is full".to_owned(),
        _ => {
            let text = cause.to_string();
            let number = cause
                .raw_os_error()
                .map(|number| format!(" (os error {number})"));
            let text = number
                .and_then(|number| text.strip_suffix(&number))
                .unwrap_or(&text);
            text.to_owned()
        }
    }
}

/// Whether one item of many is to blame, so that the others may still go well.
pub fn concerns_one_item(code: Code) -> bool {
    match code {
        Code::InvalidArgument
        | Code::NotFound
        | Code::AlreadyExists
        | Code::FailedPrecondition
        | Code::Aborted
        | Code::OutOfRange => true,
        Code::Ok
        | Code::Cancelled
        | Code::Unknown
        | Code::DeadlineExceeded
        | Code::PermissionDenied
        | Code::ResourceExhausted
        | Code::Unimplemented
        | Code::Internal
        | Code::Unavailable
        | Code::DataLoss
        | Code::Unauthenticated => false,
    }
}

/// What the service refused, field by field, in the words of the command line.
fn complaint(status: &Status) -> String {
    let violations = status
        .get_details_bad_request()
        .map(|refused| refused.field_violations);
    let complaints: Vec<String> = violations
        .unwrap_or_default()
        .into_iter()
        .map(|violation| format!("{} {}", option(&violation.field), violation.description))
        .collect();
    match complaints.is_empty() {
        true => words(status),
        false => complaints.join("; "),
    }
}

/// What the service says of itself.
fn words(status: &Status) -> String {
    match status.message() {
        "" => format!(
            "the server answered {:?} and did not say why",
            status.code()
        ),
        said => said.to_owned(),
    }
}

/// The option or argument that fills a request's field; the field itself where none does.
fn option(field: &str) -> &str {
    let path = field.strip_prefix("image.").unwrap_or(field);
    let path = path.strip_prefix("target.").unwrap_or(path);
    let path = path.strip_prefix("namespace.").unwrap_or(path);
    let first = path.split(['.', '[']).next().unwrap_or(path);
    match first {
        "name" => "NAME",
        "name_prefix" => "PREFIX",
        "namespace" => "--namespace",
        "digest" | "digest_prefix" => "--digest",
        "media_type" => "--media-type",
        "size" => "--size",
        "labels" => "the label",
        "annotations" => "--annotation",
        "platform" => "--platform",
        "artifact_type" => "--artifact-type",
        "filters" => "--filter",
        "if_etag" => "--if-etag",
        "if_target" => "--if-target",
        "request_id" => "--request-id",
        "history_limit" => "--history",
        "id" => "ID",
        "reference" => "REF",
        "parent" => "the parent",
        "targets" => "--target",
        "selector" => "--select",
        "container_config" if path == first => "--container-config",
        "cache_from" => "--cache-from",
        _ => field,
    }
}

/// What kind of thing the service speaks of.
fn kind(status: &Status) -> Option<String> {
    let mut details = status.get_details_error_info()?;
    details.metadata.remove("kind")
}

/// Whether a text stood for several configs.
pub fn is_ambiguous(status: &Status) -> bool {
    let details = status.get_details_error_info();
    details.is_some_and(|details| details.reason == "AMBIGUOUS")
}

// === impl Failure ===

impl Failure {
    pub fn new(message: impl Into<String>) -> Self {
        Self {
            exit: Exit::Error,
            message: Some(message.into()),
            next: None,
        }
    }

    /// A command line that cannot be meant.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(message).exiting(Exit::Usage)
    }

    /// A failure that has been told already.
    pub fn told(exit: Exit) -> Self {
        Self {
            exit,
            message: None,
            next: None,
        }
    }

    pub fn writing_stdout(cause: io::Error) -> Self {
        match cause.kind() {
            io::ErrorKind::BrokenPipe => Self::told(Exit::ReaderGone),
            _ => Self::new(format!(
                "cannot write to standard output: {}",
                system_reason(&cause)
            )),
        }
    }

    /// What the person may do next, as a sentence without its stop.
    #[must_use]
    pub fn next(mut self, next: impl Into<Cow<'static, str>>) -> Self {
        self.next = Some(next.into());
        self
    }

    /// Puts what was being done before what went wrong.
    #[must_use]
    pub fn during(mut self, what: &str) -> Self {
        self.message = self.message.map(|message| format!("{what}: {message}"));
        self
    }

    #[must_use]
    pub fn exiting(mut self, exit: Exit) -> Self {
        self.exit = exit;
        self
    }

    pub fn exit(&self) -> Exit {
        self.exit
    }

    /// What went wrong, without what to do next; nothing where it has been told already.
    pub fn words(&self) -> String {
        self.message.clone().unwrap_or_default()
    }

    /// Tells the failure on standard error.
    pub fn tell(&self) {
        if let Some(text) = self.text() {
            say(&text);
        }
    }

    fn text(&self) -> Option<String> {
        let message = self.message.as_ref()?;
        let stop = if message.ends_with(['.', '?', '!']) {
            ""
        } else {
            "."
        };
        let mut text = format!("imagestore: {message}{stop}");
        if let Some(next) = &self.next {
            text = format!("{text} {next}.");
        }
        Some(text)
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Error => 1,
            Exit::Usage => 2,
            Exit::NotFound => 4,
            Exit::Conflict => 5,
            Exit::ReaderGone => Exit::AFTER_SIGNAL + 13,
            Exit::As(code) => code,
        })
    }
}

// === impl Exit ===

impl Exit {
    /// What shells add to the number of the signal that ended a command.
    const AFTER_SIGNAL: u8 = 128;

    /// As a shell says of a command that the signal ended.
    pub fn of_signal(signal: i32) -> Self {
        let number = u8::try_from(signal).unwrap_or_default();
        Self::As(Self::AFTER_SIGNAL.saturating_add(number))
    }
}

impl From<Status> for Failure {
    fn from(status: Status) -> Self {
        // Only what failed on this side of the connection has a cause.
        let broken = status.source().map(with_causes);
        let message = || words(&status);
        match status.code() {
            Code::InvalidArgument => Self::new(complaint(&status)),
            Code::NotFound => {
                Self::new(message())
                    .exiting(Exit::NotFound)
                    .next(match kind(&status).as_deref() {
                        Some("config") => {
                            "See what there is with 'imagestore config ls' or 'imagestore ls'"
                        }
                        _ => "See what there is with 'imagestore ls' or 'imagestore ns ls'",
                    })
            }
            Code::FailedPrecondition if is_ambiguous(&status) => Self::new(message())
                .exiting(Exit::Conflict)
                .next("Give the id of the one that is meant, or more digits of it"),
            Code::AlreadyExists | Code::Aborted | Code::FailedPrecondition => {
                Self::new(message()).exiting(Exit::Conflict)
            }
            Code::Cancelled | Code::DeadlineExceeded => {
                Self::new(format!("the server did not answer in time ({})", message()))
                    .next(AFTER_SILENCE)
            }
            Code::Unavailable | Code::Unknown | Code::Internal => match broken {
                Some(cause) => Self::new(format!(
                    "the connection broke before the answer came ({cause})"
                ))
                .next(AFTER_SILENCE),
                None => Self::new(message()).next("See how it fares with 'imagestore status'"),
            },
            Code::ResourceExhausted | Code::DataLoss => {
                Self::new(message()).next("See how it fares with 'imagestore status'")
            }
            Code::PermissionDenied | Code::Unauthenticated => {
                Self::new(format!("the server does not allow it: {}", message()))
            }
            Code::Unimplemented => Self::new(format!(
                "the server does not know this call ({})",
                message()
            ))
            .next("See that the address is an imagestore's, and no older than this command"),
            Code::OutOfRange | Code::Ok => Self::new(message()),
        }
    }
}

#[cfg(test)]
mod tests {
    use tonic_types::ErrorDetails;

    use super::*;

    #[test]
    fn a_refused_field_is_told_as_the_option_that_fills_it() {
        for (field, option) in [
            ("image.target.digest", "--digest"),
            ("image.name", "NAME"),
            ("filters[2]", "--filter"),
            ("image.target.platform.os", "--platform"),
            ("namespace.name", "NAME"),
            ("namespace", "--namespace"),
            ("page_token", "page_token"),
        ] {
            let details = ErrorDetails::with_bad_request_violation(field, "must be so");
            let status = Status::with_error_details(Code::InvalidArgument, "x", details);
            let failure = Failure::from(status);
            assert_eq!(
                failure.text().unwrap(),
                format!("imagestore: {option} must be so.")
            );
            assert_eq!(failure.exit, Exit::Error);
        }
    }

    #[test]
    fn every_code_has_its_exit_code_and_some_words() {
        for code in (0..=16).map(Code::from_i32) {
            let failure = Failure::from(Status::new(code, ""));
            let exit = match code {
                Code::NotFound => Exit::NotFound,
                Code::AlreadyExists | Code::Aborted | Code::FailedPrecondition => Exit::Conflict,
                _ => Exit::Error,
            };
            assert_eq!(failure.exit, exit, "{code:?}");
            assert!(
                failure.text().unwrap().len() > "imagestore: .".len(),
                "{code:?}"
            );
        }
    }

    #[test]
    fn causes_are_told_once() {
        #[derive(Debug, thiserror::Error)]
        #[error("cannot listen")]
        struct Outer(#[source] io::Error);
        assert_eq!(
            with_causes(&Outer(io::Error::other("in use"))),
            "cannot listen: in use"
        );
        let wrapped = io::Error::other(io::Error::other("in use"));
        assert_eq!(with_causes(&wrapped), "in use");
    }
}
