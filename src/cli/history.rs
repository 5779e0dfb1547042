//! `imagestore history`: lists what an image's name has been.

use serde::Serialize;
use tonic::Status;
use tonic::transport::Channel;

use super::connect::Common;
use super::failure::Failure;
use super::human::{ago, short_digest, size};
use super::ls::now;
use super::output::{self, Output, Values};
use super::record::{ImageRecord, rfc3339, timestamp};
use super::table::Table;
use crate::domain::Timestamp;
use crate::proto::v1::images_client::ImagesClient;
use crate::proto::v1::{EndedBy, Generation, HistoryRequest};

/// List what a name has pointed to, the newest first
///
/// GENERATION is the revision that made it: what `rollback` takes, and `get --at`. The image that
/// stands now is `current`. Of the others ENDED says when they ended, BY whether by a `put` or a
/// `delete`, and WHO by whose, where that is known.
#[derive(Debug, clap::Args)]
pub struct History {
    /// The image's whole name
    name: String,
    /// Stop after so many
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    limit: Option<u32>,
    /// Whole digests in the table
    #[arg(long)]
    no_trunc: bool,
}

/// A generation as JSON, with the names of the API.
#[derive(Serialize)]
struct GenerationRecord {
    generation: u64,
    image: ImageRecord,
    #[serde(flatten)]
    ended: Option<End>,
}

/// How a generation ended that does not stand now.
#[derive(Serialize)]
struct End {
    ended_revision: u64,
    ended_at: String,
    ended_by: &'static str,
    #[serde(skip_serializing_if = "String::is_empty")]
    ended_by_caller: String,
}

/// The largest page that the service gives.
const PAGE_SIZE: u32 = 1000;

impl History {
    pub async fn run(self, common: &Common) -> Result<(), Failure> {
        let namespace = common.one_namespace()?;
        let mut client = common.images().await?;
        let most = self.limit.unwrap_or(u32::MAX);
        let generations = generations(&mut client, namespace, &self.name, most).await?;
        match common.output() {
            Output::Table => output::text(&table(&generations, self.no_trunc, now()).to_string()),
            Output::Json | Output::Ndjson => {
                let mut values = Values::new(common.output());
                for generation in generations {
                    values.push(&GenerationRecord::from(generation))?;
                }
                values.end()
            }
        }
    }
}

/// The newest generations of a name, at most so many.
async fn generations(
    client: &mut ImagesClient<Channel>,
    namespace: &str,
    name: &str,
    most: u32,
) -> Result<Vec<Generation>, Status> {
    let page_size = most.min(PAGE_SIZE);
    let most = usize::try_from(most).unwrap_or(usize::MAX);
    let mut request = HistoryRequest {
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        page_size: i32::try_from(page_size).unwrap_or(i32::MAX),
        page_token: String::new(),
    };
    let mut generations = Vec::new();
    loop {
        let page = client.history(request.clone()).await?.into_inner();
        generations.extend(page.generations);
        if page.next_page_token.is_empty() || generations.len() >= most {
            generations.truncate(most);
            return Ok(generations);
        }
        request.page_token = page.next_page_token;
    }
}

/// What to do when a name has not been what was asked for, or that is no longer known.
pub fn see_history(common: &Common, name: &str) -> String {
    match common.namespace_given {
        true => format!(
            "See what there is with 'imagestore history {name} -n {}'",
            common.namespace
        ),
        false => format!("See what there is with 'imagestore history {name}'"),
    }
}

fn table(generations: &[Generation], whole_digests: bool, now: Timestamp) -> Table {
    let mut table = Table::new([
        "GENERATION",
        "DIGEST",
        "SIZE",
        "UPDATED",
        "ENDED",
        "BY",
        "WHO",
    ]);
    let when = |at: Option<&prost_types::Timestamp>| {
        let at = timestamp(at);
        at.map(|at| ago(at, now)).unwrap_or_default()
    };
    for generation in generations {
        let image = generation.image.clone().unwrap_or_default();
        let target = image.target.unwrap_or_default();
        let digest = match whole_digests {
            true => &target.digest,
            false => short_digest(&target.digest),
        };
        let ended = match is_current(generation) {
            true => "current".to_owned(),
            false => when(generation.ended_at.as_ref()),
        };
        table.push([
            image.revision.to_string().as_str(),
            digest,
            &size(target.size),
            &when(image.updated_at.as_ref()),
            &ended,
            by(generation.ended_by()),
            &generation.ended_by_caller,
        ]);
    }
    table
}

fn is_current(generation: &Generation) -> bool {
    generation.ended_revision == 0
}

fn by(by: EndedBy) -> &'static str {
    match by {
        EndedBy::Unspecified => "",
        EndedBy::Put => "put",
        EndedBy::Delete => "delete",
    }
}

impl From<Generation> for GenerationRecord {
    fn from(generation: Generation) -> Self {
        let ended = (!is_current(&generation)).then(|| End {
            ended_revision: generation.ended_revision,
            ended_at: rfc3339(generation.ended_at.as_ref()),
            ended_by: by(generation.ended_by()),
            ended_by_caller: generation.ended_by_caller.clone(),
        });
        let image = ImageRecord::from(generation.image.unwrap_or_default());
        Self {
            generation: image.revision,
            image,
            ended,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::v1::{Descriptor, Image};

    fn at(seconds: i64) -> Option<prost_types::Timestamp> {
        Some(prost_types::Timestamp { seconds, nanos: 0 })
    }

    fn generation(made: u64, byte: &str, updated: i64) -> Generation {
        Generation {
            image: Some(Image {
                name: "a:1".into(),
                target: Some(Descriptor {
                    digest: format!("sha256:{}", byte.repeat(32)),
                    size: 3700,
                    ..Descriptor::default()
                }),
                updated_at: at(updated),
                revision: made,
                ..Image::default()
            }),
            ..Generation::default()
        }
    }

    #[test]
    fn the_table_marks_what_stands_now_and_says_how_the_others_ended() {
        let ended = Generation {
            ended_revision: 9,
            ended_at: at(60),
            ended_by: EndedBy::Put.into(),
            ended_by_caller: "uid:1000".into(),
            ..generation(7, "0a", 0)
        };
        let removed = Generation {
            ended_revision: 6,
            ended_by: EndedBy::Delete.into(),
            ended_at: at(0),
            ..generation(5, "0b", 0)
        };
        let now = Timestamp::new(120, 0).unwrap();
        let generations = [generation(9, "0c", 60), ended, removed];
        assert_eq!(
            table(&generations, false, now).to_string(),
            "GENERATION  DIGEST        SIZE   UPDATED        ENDED          BY      WHO\n\
             9           0c0c0c0c0c0c  3.7kB  1 minute ago   current\n\
             7           0a0a0a0a0a0a  3.7kB  2 minutes ago  1 minute ago   put     uid:1000\n\
             5           0b0b0b0b0b0b  3.7kB  2 minutes ago  2 minutes ago  delete\n"
        );
        let whole = table(&generations, true, now).to_string();
        assert!(whole.contains(&format!("sha256:{}", "0c".repeat(32))));
    }
}
