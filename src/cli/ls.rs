//! `imagestore ls`: lists images.

use std::time::SystemTime;

use super::connect::Common;
use super::failure::Failure;
use super::human::{ago, repository_and_tag, short_digest, size};
use super::output::{self, Output, Stdout, Values};
use super::record::{ImageRecord, timestamp};
use super::select::{Conditions, Images};
use super::table::{Table, printable};
use crate::domain::Timestamp;
use crate::proto::v1::Image;

/// List images, by namespace and name
///
/// SIZE is that of the target, the manifest or index that the name points to; the layers behind it
/// are not counted. Control characters in names are shown as escapes, with -q too; -o json and
/// -o ndjson have names as they are.
#[derive(Debug, clap::Args)]
pub struct Ls {
    /// Only names that start so
    prefix: Option<String>,
    #[command(flatten)]
    conditions: Conditions,
    /// Only names
    #[arg(short, long)]
    quiet: bool,
    /// Stop after so many
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,
    /// Whole digests in the table
    #[arg(long)]
    no_trunc: bool,
}

/// Takes images one by one and writes them in the form that was asked for.
enum Listing {
    Names(Stdout),
    Values { values: Values, names_only: bool },
    Rows(Rows),
}

/// The rows of a table wait for the widest cell.
struct Rows {
    table: Table,
    with_namespace: bool,
    whole_digests: bool,
    now: Timestamp,
    /// Images found by digest come by digest.
    in_order: bool,
    last: (String, String),
}

impl Ls {
    pub async fn run(self, common: &Common) -> Result<(), Failure> {
        let mut listing = self.listing(common);
        let mut left = self.limit.unwrap_or(u64::MAX);
        let request = self.conditions.stream(&common.namespace, self.prefix);
        let mut images = Images::open(&mut common.images().await?, request).await?;
        while left > 0
            && let Some(batch) = images.next().await?
        {
            for image in batch {
                if left == 0 {
                    break;
                }
                left -= 1;
                listing.push(image)?;
            }
            listing.flush()?;
        }
        listing.end()
    }

    fn listing(&self, common: &Common) -> Listing {
        match common.output() {
            Output::Json | Output::Ndjson => Listing::Values {
                values: Values::new(common.output()),
                names_only: self.quiet,
            },
            Output::Table if self.quiet => Listing::Names(Stdout::open()),
            Output::Table => {
                Listing::Rows(Rows::new(common.all_namespaces(), self.no_trunc, now()))
            }
        }
    }
}

/// The time on this machine's clock.
pub fn now() -> Timestamp {
    let since = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_secs())
        .ok()
        .and_then(|seconds| Timestamp::new(seconds, since.subsec_nanos()).ok())
        .unwrap_or(Timestamp::UNIX_EPOCH)
}

// === impl Listing ===

impl Listing {
    fn push(&mut self, image: Image) -> Result<(), Failure> {
        match self {
            Self::Names(stdout) => stdout.line(&printable(&image.name)),
            Self::Values {
                values,
                names_only: true,
            } => values.push(&image.name),
            Self::Values {
                values,
                names_only: false,
            } => values.push(&ImageRecord::from(image)),
            Self::Rows(rows) => {
                rows.push(&image);
                Ok(())
            }
        }
    }

    fn flush(&mut self) -> Result<(), Failure> {
        match self {
            Self::Names(stdout) => stdout.flush(),
            Self::Values { values, .. } => values.flush(),
            Self::Rows(_) => Ok(()),
        }
    }

    fn end(self) -> Result<(), Failure> {
        match self {
            Self::Names(mut stdout) => stdout.flush(),
            Self::Values { values, .. } => values.end(),
            Self::Rows(mut rows) => {
                if !rows.in_order {
                    rows.table.sort();
                }
                output::text(&rows.table.to_string())
            }
        }
    }
}

// === impl Rows ===

impl Rows {
    fn new(with_namespace: bool, whole_digests: bool, now: Timestamp) -> Self {
        let columns = [
            "NAMESPACE",
            "REPOSITORY",
            "TAG",
            "DIGEST",
            "SIZE",
            "CREATED",
        ];
        Self {
            table: Table::new(columns.into_iter().skip(usize::from(!with_namespace))),
            with_namespace,
            whole_digests,
            now,
            in_order: true,
            last: <(String, String)>::default(),
        }
    }

    fn push(&mut self, image: &Image) {
        let this = (image.namespace.clone(), image.name.clone());
        self.in_order &= self.last <= this;
        self.last = this;
        let (repository, tag) = repository_and_tag(&image.name);
        let target = image.target.as_ref();
        let digest = target.map_or("", |target| &target.digest);
        let digest = if self.whole_digests {
            digest
        } else {
            short_digest(digest)
        };
        let size = target.map(|target| size(target.size)).unwrap_or_default();
        let created = timestamp(image.created_at.as_ref())
            .map(|at| ago(at, self.now))
            .unwrap_or_default();
        let cells = [&image.namespace, repository, tag, digest, &size, &created];
        self.table
            .push(cells.into_iter().skip(usize::from(!self.with_namespace)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::v1::Descriptor;

    #[test]
    fn the_table_has_dockers_columns_and_the_namespace_where_there_are_several() {
        let now = Timestamp::new(1_800_000_000, 0).unwrap();
        let image = Image {
            namespace: "prod".into(),
            name: "docker.io/library/adminer:5".into(),
            target: Some(Descriptor {
                digest: format!("sha256:{}", "0a".repeat(32)),
                size: 3700,
                ..Descriptor::default()
            }),
            created_at: Some(prost_types::Timestamp {
                seconds: 1_800_000_000 - 3 * 86_400,
                nanos: 0,
            }),
            ..Image::default()
        };
        let mut one = Rows::new(false, false, now);
        one.push(&image);
        assert_eq!(
            one.table.to_string(),
            "REPOSITORY                 TAG  DIGEST        SIZE   CREATED\n\
             docker.io/library/adminer  5    0a0a0a0a0a0a  3.7kB  3 days ago\n"
        );
        let mut all = Rows::new(true, true, now);
        all.push(&image);
        let text = all.table.to_string();
        assert!(text.starts_with("NAMESPACE  REPOSITORY"), "{text}");
        assert!(
            text.contains(&format!(
                "prod       docker.io/library/adminer  5    sha256:{}",
                "0a".repeat(32)
            )),
            "{text}"
        );
    }
}
