//! The sources of a lookup: what its references lead to, and what did not count.

use super::{Hit, Looked, Miss, Skipped};
use crate::domain::{ConfigId, ImageConfig, Namespace, Reference, RunPlatform};
use crate::error::Error;
use crate::store::configs::resolve::resolve;
use crate::store::edit::View;
use crate::store::schema;
use crate::store::wire::{self, Summary};

/// A config whose history may tell of the step.
pub struct Source {
    pub id: ConfigId,
    pub summary: Summary,
}

/// Bytes of records after which a lookup reads no further source.
pub const MAX_SOURCE_BYTES: usize = 16 << 20;

/// What the references lead to, each once, and what leads to no config.
#[derive(Default)]
pub struct Sources {
    pub counted: Vec<Source>,
    pub skipped: Vec<Skipped>,
}

impl Sources {
    /// A name that stands for several configs stands for the one that suits the platform.
    pub async fn look(
        view: &View<'_>,
        namespace: &Namespace,
        references: &[String],
        platform: Option<&RunPlatform>,
    ) -> Result<Self, Error> {
        let mut sources = Self::default();
        for text in references {
            if has_read_enough(view) {
                sources.skip(text.clone(), TOO_MUCH.to_owned());
                continue;
            }
            match find(view, namespace, text, platform).await {
                Ok(source) if sources.has(&source.id) => {}
                Ok(source) => sources.counted.push(source),
                Err(why) if is_about_the_reference(&why) => {
                    sources.skip(text.clone(), why.to_string());
                }
                Err(other) => return Err(other),
            }
        }
        Ok(sources)
    }

    fn ids(&self) -> Vec<ConfigId> {
        self.counted.iter().map(|source| source.id).collect()
    }

    /// Whether a config is one of them, or one of them was built on it.
    pub fn go_on_from(&self, id: &ConfigId, summary: &Summary) -> bool {
        self.has(id)
            || self.counted.iter().any(|source| {
                source.summary.continues_history(summary)
                    && source.summary.diff_ids.starts_with(&summary.diff_ids)
            })
    }

    /// An answer, with all of them to go on with.
    pub fn answer(self, found: Result<Hit, Miss>) -> Looked {
        Looked {
            found,
            sources: self.ids(),
            skipped: self.skipped,
        }
    }

    /// Leaves out one that cannot be read.
    pub fn give_up(&mut self, id: &ConfigId, why: String) {
        self.counted.retain(|source| source.id != *id);
        self.skip(id.to_string(), why);
    }

    fn has(&self, id: &ConfigId) -> bool {
        self.counted.iter().any(|source| source.id == *id)
    }

    fn skip(&mut self, reference: String, reason: String) {
        self.skipped.push(Skipped { reference, reason });
    }
}

async fn find(
    view: &View<'_>,
    namespace: &Namespace,
    text: &str,
    platform: Option<&RunPlatform>,
) -> Result<Source, Error> {
    let reference: Reference = text.parse()?;
    let id = resolve(view, namespace, &reference, platform).await?;
    let row = view.row(&schema::summary_key(namespace, &id)).await?;
    let row = row.ok_or_else(|| Error::corrupt(format!("config {id} has no summary")))?;
    let summary = wire::decode_summary(&id, row.value)?;
    Ok(Source { id, summary })
}

pub fn has_read_enough(view: &View<'_>) -> bool {
    view.bytes_read() >= MAX_SOURCE_BYTES
}

/// Why a source is not read.
pub const TOO_MUCH: &str = "16 MiB of sources have been read, and no more are";

/// Whether only this source is no good, and not the store.
fn is_about_the_reference(why: &Error) -> bool {
    matches!(
        why,
        Error::Invalid(_)
            | Error::NotFound(_)
            | Error::Ambiguous { .. }
            | Error::Corrupt(_)
            | Error::ReadsTooMuch { .. }
    )
}

/// A config by its bytes, which are read and checked.
///
/// [`Error::Corrupt`] where they are not what the id says, or no config.
pub async fn read(
    view: &View<'_>,
    namespace: &Namespace,
    id: &ConfigId,
) -> Result<ImageConfig, Error> {
    let row = view.row(&schema::config_key(namespace, id)).await?;
    let bytes = row.map(|row| row.value);
    let bytes = bytes.filter(|bytes| ConfigId::of(bytes) == *id);
    let bytes =
        bytes.ok_or_else(|| Error::corrupt(format!("the bytes of config {id} are not its own")))?;
    ImageConfig::parse(&bytes).map_err(|why| Error::corrupt(format!("config {id}: {why}")))
}
