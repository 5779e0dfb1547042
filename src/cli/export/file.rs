//! Writes images as JSON lines, for `import`.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process;

use flate2::Compression;
use flate2::write::GzEncoder;
use indicatif::{ProgressBar, ProgressStyle};

use crate::cli::connect::Common;
use crate::cli::failure::{Failure, system_reason};
use crate::cli::output::{self, Output, json};
use crate::cli::record::ImageRecord;
use crate::cli::select::{Conditions, Images};

/// Where the bytes go.
pub enum Target {
    Stdout,
    /// Something that cannot be replaced by a file: a pipe, a device.
    InPlace(PathBuf),
    /// A file, written beside its final place.
    Replaced {
        part: PathBuf,
        place: PathBuf,
    },
}

/// Lines on their way, packed or not.
enum Sink {
    Plain(BufWriter<Box<dyn Write>>),
    Packed(GzEncoder<BufWriter<Box<dyn Write>>>),
}

/// What goes into which file.
pub struct ToFile {
    pub file: PathBuf,
    pub gzip: bool,
    pub prefix: Option<String>,
    pub conditions: Conditions,
}

impl ToFile {
    pub async fn run(self, common: &Common) -> Result<(), Failure> {
        let packed = self.gzip || self.file.extension().is_some_and(|ending| ending == "gz");
        let target = Target::of(&self.file);
        let request = self.conditions.stream(&common.namespace, self.prefix);
        // Before the file is opened: what cannot be read leaves no file behind.
        let mut images = Images::open(&mut common.images().await?, request).await?;
        let to_terminal = matches!(target, Target::Stdout) && io::stdout().is_terminal();
        let bar = if to_terminal {
            ProgressBar::hidden()
        } else {
            progress()
        };

        let opened = target.open().map_err(|why| target.failure(why))?;
        let sink = Sink::new(opened, packed);
        let written = write_all(&mut images, sink, &target, &bar).await;
        bar.finish_and_clear();
        let kept = written.and_then(|count| {
            target.keep().map_err(|why| target.failure(why))?;
            Ok(count)
        });
        let count = kept.inspect_err(|_| target.discard())?;
        match (&target, common.output()) {
            (Target::Stdout, _) => Ok(()),
            (_, Output::Table) => {
                output::text(&format!("{count} exported to {}\n", self.file.display()))
            }
            (_, Output::Json | Output::Ndjson) => {
                output::object(common.output(), &serde_json::json!({ "exported": count }))
            }
        }
    }
}

/// A running count. Only on a terminal.
fn progress() -> ProgressBar {
    let style = ProgressStyle::with_template("{spinner} {human_pos} images  {elapsed}");
    ProgressBar::new_spinner().with_style(style.expect("the template is well formed"))
}

/// Writes the images to their end and says how many there were.
async fn write_all(
    images: &mut Images,
    mut sink: Sink,
    target: &Target,
    bar: &ProgressBar,
) -> Result<u64, Failure> {
    let mut count = 0;
    while let Some(batch) = images.next().await? {
        for image in batch {
            let mut line = json(&ImageRecord::from(image));
            line.push('\n');
            sink.write(line.as_bytes())
                .map_err(|why| target.failure(why))?;
            count += 1;
        }
        bar.set_position(count);
    }
    sink.end().map_err(|why| target.failure(why))?;
    Ok(count)
}

// === impl Target ===

impl Target {
    pub fn of(file: &Path) -> Self {
        if file.as_os_str() == "-" {
            return Self::Stdout;
        }
        // Through symbolic links, so that the link stays and its file is replaced.
        let place = fs::canonicalize(file).unwrap_or_else(|_| file.to_owned());
        match fs::metadata(&place) {
            Ok(there) if !there.is_file() => Self::InPlace(place),
            _ => {
                let mut name = OsString::from(".");
                name.push(place.file_name().unwrap_or_default());
                name.push(format!(".{}.part", process::id()));
                Self::Replaced {
                    part: place.with_file_name(name),
                    place,
                }
            }
        }
    }

    pub fn open(&self) -> io::Result<Box<dyn Write>> {
        Ok(match self {
            Self::Stdout => Box::new(io::stdout()),
            Self::InPlace(place) => Box::new(File::options().write(true).open(place)?),
            Self::Replaced { part, .. } => Box::new(File::create_new(part)?),
        })
    }

    /// Makes the complete file durable, then visible.
    pub fn keep(&self) -> io::Result<()> {
        let Self::Replaced { part, place } = self else {
            return Ok(());
        };
        if let Ok(there) = fs::metadata(place) {
            fs::set_permissions(part, there.permissions())?;
        }
        File::open(part)?.sync_all()?;
        fs::rename(part, place)
    }

    pub fn discard(&self) {
        if let Self::Replaced { part, .. } = self {
            // The failure that led here is the one to tell.
            let _ = fs::remove_file(part);
        }
    }

    pub fn failure(&self, why: io::Error) -> Failure {
        match self {
            Self::Stdout => Failure::writing_stdout(why),
            Self::InPlace(place) | Self::Replaced { place, .. } => Failure::new(format!(
                "cannot write {}: {}",
                place.display(),
                system_reason(&why)
            )),
        }
    }
}

// === impl Sink ===

impl Sink {
    fn new(to: Box<dyn Write>, packed: bool) -> Self {
        let to = BufWriter::new(to);
        match packed {
            true => Self::Packed(GzEncoder::new(to, Compression::default())),
            false => Self::Plain(to),
        }
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Plain(to) => to.write_all(bytes),
            Self::Packed(to) => to.write_all(bytes),
        }
    }

    fn end(self) -> io::Result<()> {
        match self {
            Self::Plain(mut to) => to.flush(),
            Self::Packed(to) => to.finish()?.flush(),
        }
    }
}
