//! Puts the images that a file lists.

use std::collections::HashSet;
use std::path::Path;
use std::{fmt, fs, io};

use futures::future::BoxFuture;
use futures::stream::{FuturesUnordered, StreamExt};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use tokio::sync::mpsc;
use tokio::task::{self, JoinHandle};
use tonic::Status;
use tonic::transport::Channel;
use tonic_types::StatusExt;

use crate::cli::connect::{ALL_NAMESPACES, Common};
use crate::cli::failure::{Exit, Failure, concerns_one_item, say, system_reason};
use crate::cli::lines::{self, Lines};
use crate::cli::output::{self, Output};
use crate::cli::record::ImageRecord;
use crate::proto::v1::images_client::ImagesClient;
use crate::proto::v1::{PutImageRequest, PutImageResponse};

/// Puts under way at once, so that the service can commit them together.
const IN_FLIGHT: usize = 64;
/// Lines read ahead.
const READ_AHEAD: usize = 256;

/// A line of the file, and what it asks for.
struct Line {
    number: u64,
    put: Result<PutImageRequest, String>,
}

/// What identifies a record: two Puts of one are never under way together.
type Key = (String, String);

/// A Put that has been answered.
struct Answer {
    line: u64,
    key: Key,
    result: Result<PutImageResponse, Status>,
}

/// How the lines fared.
#[derive(Clone, Copy, Default, Serialize)]
struct Tally {
    imported: u64,
    unchanged: u64,
    failed: u64,
}

/// Puts lines, many at once, and keeps account of them.
struct Importer {
    client: ImagesClient<Channel>,
    file: String,
    keep_going: bool,
    bar: ProgressBar,
    under_way: FuturesUnordered<BoxFuture<'static, Answer>>,
    busy: HashSet<Key>,
    tally: Tally,
    /// Told in the order of the lines when all is over, unless the import goes on past them.
    complaints: Vec<(u64, String)>,
    /// What is not a line's fault.
    outage: Option<(u64, Status)>,
}

pub async fn run(path: &Path, keep_going: bool, common: &Common) -> Result<(), Failure> {
    let file = match path.as_os_str().to_str() {
        Some("-") => "stdin".to_owned(),
        _ => path.display().to_string(),
    };
    let default = match common.namespace.as_str() {
        ALL_NAMESPACES => String::new(),
        one => one.to_owned(),
    };
    if common.namespace_given && default.is_empty() {
        return Err(Failure::usage(
            "an import goes to one namespace, or to those that its lines name",
        )
        .next("Name one with -n, or leave out -n"));
    }
    let client = common.images().await?;
    let cannot_read =
        |why: io::Error| Failure::new(format!("cannot read {file}: {}", system_reason(&why)));
    let opened = lines::open(path).map_err(cannot_read)?;
    let bar = progress(path);
    let (found, reader) = read(bar.wrap_read(opened), default, common.namespace_given);

    let mut importer = Importer::new(client, file.clone(), keep_going, bar);
    let came_to_end = importer.put_all(found).await;
    importer.bar.finish_and_clear();
    importer.sum_up(common.output())?;
    importer.verdict()?;
    if came_to_end {
        // Only then: a reader that waits for standard input may wait for ever.
        reader
            .await
            .expect("reading does not panic")
            .map_err(cannot_read)?;
    }
    Ok(())
}

/// A bar over the bytes of a file; over what has no size, a count of bytes. Only on a terminal.
fn progress(file: &Path) -> ProgressBar {
    let size = fs::metadata(file)
        .ok()
        .filter(fs::Metadata::is_file)
        .map(|meta| meta.len());
    let (bar, template) = match size {
        Some(size) => (
            ProgressBar::new(size),
            "{bar:40} {percent:>3}%  {bytes}/{total_bytes}  {elapsed}",
        ),
        None => (ProgressBar::new_spinner(), "{spinner} {bytes}  {elapsed}"),
    };
    bar.with_style(ProgressStyle::with_template(template).expect("the template is well formed"))
}

/// Reads and checks lines on a thread of its own, until the end or until nobody wants more.
fn read(
    from: impl io::Read + Send + 'static,
    default: String,
    given: bool,
) -> (mpsc::Receiver<Line>, JoinHandle<io::Result<()>>) {
    let (found, lines) = mpsc::channel(READ_AHEAD);
    let reader = task::spawn_blocking(move || {
        let mut lines = Lines::new(lines::unpacked(from)?);
        while let Some((number, line)) = lines.next()? {
            let put = match line {
                Ok(line) => ImageRecord::parse(line).map(|record| request(record, &default, given)),
                Err(why) => Err(why.to_string()),
            };
            if found.blocking_send(Line { number, put }).is_err() {
                break;
            }
        }
        Ok(())
    });
    (lines, reader)
}

fn request(record: ImageRecord, default: &str, given: bool) -> PutImageRequest {
    let namespace = match record.namespace.as_str() {
        own if !own.is_empty() && !given => own.to_owned(),
        _ => default.to_owned(),
    };
    PutImageRequest {
        namespace,
        image: Some(record.into()),
        ..PutImageRequest::default()
    }
}

/// What the service refused in a line, in the words of the file.
fn complaint(status: &Status) -> String {
    let refused = status
        .get_details_bad_request()
        .map(|refused| refused.field_violations);
    match refused.unwrap_or_default().first() {
        Some(violation) => {
            let field = violation
                .field
                .trim_start_matches("image.")
                .trim_start_matches("target.");
            format!("{field} {}", violation.description)
        }
        None => status.message().to_owned(),
    }
}

// === impl Importer ===

impl Importer {
    fn new(
        client: ImagesClient<Channel>,
        file: String,
        keep_going: bool,
        bar: ProgressBar,
    ) -> Self {
        Self {
            client,
            file,
            keep_going,
            bar,
            under_way: FuturesUnordered::new(),
            busy: HashSet::new(),
            tally: Tally::default(),
            complaints: Vec::new(),
            outage: None,
        }
    }

    /// Puts until the lines end or something ends them, then waits for what is under way. Says
    /// whether the lines came to their end.
    async fn put_all(&mut self, mut lines: mpsc::Receiver<Line>) -> bool {
        let came_to_end = loop {
            if self.is_over() {
                break false;
            }
            tokio::select! {
                Some(answer) = self.under_way.next() => self.settle(answer),
                line = lines.recv(), if self.under_way.len() < IN_FLIGHT => match line {
                    Some(Line { number, put: Ok(put) }) => self.start(number, put).await,
                    Some(Line { number, put: Err(why) }) => self.complain(number, why),
                    None => break true,
                },
            }
        };
        while let Some(answer) = self.under_way.next().await {
            self.settle(answer);
        }
        came_to_end
    }

    fn is_over(&self) -> bool {
        self.outage.is_some() || !self.complaints.is_empty()
    }

    /// Sends a Put, after any Put of the same name has been answered: the later line must win.
    async fn start(&mut self, line: u64, put: PutImageRequest) {
        let name = put
            .image
            .as_ref()
            .map(|image| image.name.clone())
            .unwrap_or_default();
        let key = (put.namespace.clone(), name);
        while self.busy.contains(&key)
            && let Some(answer) = self.under_way.next().await
        {
            self.settle(answer);
        }
        if self.is_over() {
            return;
        }
        self.busy.insert(key.clone());
        let mut client = self.client.clone();
        self.under_way.push(Box::pin(async move {
            let result = client.put(put).await.map(tonic::Response::into_inner);
            Answer { line, key, result }
        }));
    }

    fn settle(&mut self, answer: Answer) {
        self.busy.remove(&answer.key);
        match answer.result {
            Ok(put) if put.changed => self.tally.imported += 1,
            Ok(_) => self.tally.unchanged += 1,
            Err(status) if concerns_one_item(status.code()) => {
                self.complain(answer.line, complaint(&status));
            }
            Err(status) => {
                self.tally.failed += 1;
                self.outage.get_or_insert((answer.line, status));
            }
        }
    }

    fn complain(&mut self, line: u64, why: String) {
        self.tally.failed += 1;
        match self.keep_going {
            true => self
                .bar
                .suspend(|| say(&format!("{}:{line}: {why}", self.file))),
            false => self.complaints.push((line, why)),
        }
    }

    /// Tells what was done, whatever the end.
    fn sum_up(&mut self, output: Output) -> Result<(), Failure> {
        self.complaints.sort();
        for (line, why) in &self.complaints {
            say(&format!("{}:{line}: {why}", self.file));
        }
        match output {
            Output::Table => output::text(&format!("{}\n", self.tally)),
            Output::Json | Output::Ndjson => output::object(output, &self.tally),
        }
    }

    fn verdict(self) -> Result<(), Failure> {
        let Self {
            complaints,
            outage,
            tally,
            ..
        } = self;
        if let Some((line, status)) = outage {
            return Err(Failure::from(status)
                .during(&format!("the import broke off at line {line}"))
                .next("Import the file again when that is mended; what is there already stays"));
        }
        if let Some((line, _)) = complaints.first() {
            let done = tally.imported + tally.unchanged;
            return Err(Failure::new(format!(
                "the import stopped at line {line}; the {done} images before it stay"
            ))
            .next("Mend the line and import again, or pass over bad lines with --keep-going"));
        }
        match tally.failed {
            0 => Ok(()),
            _ => Err(Failure::told(Exit::Error)),
        }
    }
}

// === impl Tally ===

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            imported,
            unchanged,
            failed,
        } = self;
        write!(
            f,
            "{imported} imported, {unchanged} unchanged, {failed} failed"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_goes_to_its_own_namespace_unless_the_command_line_names_one() {
        let own = ImageRecord {
            namespace: "own".into(),
            ..ImageRecord::default()
        };
        let none = ImageRecord::default();
        for (record, given, namespace) in [
            (&own, false, "own"),
            (&own, true, "asked"),
            (&none, false, "asked"),
            (&none, true, "asked"),
        ] {
            assert_eq!(request(record.clone(), "asked", given).namespace, namespace);
        }
    }
}
