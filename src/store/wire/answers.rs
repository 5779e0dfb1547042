//! Answers to requests, as they are stored.

use bytes::Bytes;
use prost::Message;

use super::builder_answers::{read_builder_outcome, stored_builder_outcome};
use super::cache::{read_lookup_outcome, stored_lookup_outcome};
use super::configs::{read_config_outcome, stored_config_outcome};
use super::target_answers::{read_answer, stored_answer};
use super::{
    BuilderOutcome, ConfigOutcome, TargetAnswer, image_v1, missing, namespace_v1, read_image,
    read_namespace,
};
use crate::domain::{Contents, Image, Invalid, Namespace, NamespaceRecord};
use crate::error::Error;
use crate::kv::Revision;
use crate::proto::storage as pb;
use crate::store::Stored;
use crate::store::cache::Looked;

/// What became of one record, as the answer to a request is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// `None` where nothing was there to be removed.
    pub stored: Option<Stored<Recorded>>,
    pub changed: bool,
    pub created: bool,
}

/// A record of any kind. One that the request wrote has the revision of the answer, which is stored
/// as [`Revision::ZERO`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Recorded {
    Image(Image),
    Namespace {
        record: NamespaceRecord,
        /// What it held.
        contents: Contents,
    },
    Config(Box<ConfigOutcome>),
    /// No record, but what was found.
    Lookup(Box<Looked>),
    Builder(Box<BuilderOutcome>),
    /// Targets, and what else was answered about them.
    Targets(Box<TargetAnswer>),
}

/// The answer to a request that asked for what has this fingerprint.
pub fn encode_answer(fingerprint: &[u8; 32], outcomes: &[Outcome]) -> Bytes {
    let record = pb::RequestRecord {
        version: Some(pb::request_record::Version::V1(pb::RequestV1 {
            fingerprint: Bytes::copy_from_slice(fingerprint),
            outcomes: outcomes.iter().map(stored_outcome).collect(),
        })),
    };
    record.encode_to_vec().into()
}

/// What was asked for, and the answer; `given` is the revision of the answer.
pub fn decode_answer(value: Bytes, given: Revision) -> Result<([u8; 32], Vec<Outcome>), Error> {
    let corrupt =
        |why: &dyn std::fmt::Display| Error::corrupt(format!("the answer to a request: {why}"));
    let record = pb::RequestRecord::decode(value).map_err(|cause| corrupt(&cause))?;
    let Some(pb::request_record::Version::V1(v1)) = record.version else {
        return Err(corrupt(&"has a version that this release does not know"));
    };
    let outcomes = v1
        .outcomes
        .into_iter()
        .map(|stored| read_outcome(stored, given));
    let outcomes: Result<_, Invalid> = outcomes.collect();
    let fingerprint = v1.fingerprint[..]
        .try_into()
        .map_err(|_| corrupt(&"its fingerprint has not 32 bytes"))?;
    Ok((fingerprint, outcomes.map_err(|cause| corrupt(&cause))?))
}

fn stored_outcome(outcome: &Outcome) -> pb::Outcome {
    let stored = outcome.stored.as_ref();
    pb::Outcome {
        record: stored.map(|stored| stored_record(&stored.namespace, &stored.record)),
        made: stored.map_or(0, |stored| stored.revision.0),
        changed: outcome.changed,
        created: outcome.created,
    }
}

fn stored_record(namespace: &Namespace, record: &Recorded) -> pb::outcome::Record {
    use pb::outcome::Record;
    let namespace = namespace.as_str().to_owned();
    match record {
        Recorded::Image(image) => Record::Image(pb::ImageOutcome {
            namespace,
            name: image.name.as_str().to_owned(),
            image: Some(image_v1(image, 0)),
        }),
        Recorded::Namespace { record, contents } => Record::Namespace(pb::NamespaceOutcome {
            name: namespace,
            namespace: Some(namespace_v1(record)),
            images: contents.images,
            configs: contents.configs,
            builders: contents.builders,
            targets: contents.targets,
        }),
        Recorded::Config(config) => Record::Config(stored_config_outcome(namespace, config)),
        Recorded::Lookup(looked) => Record::Lookup(stored_lookup_outcome(namespace, looked)),
        Recorded::Builder(builder) => Record::Builder(stored_builder_outcome(namespace, builder)),
        Recorded::Targets(answer) => Record::Targets(stored_answer(namespace, answer)),
    }
}

fn read_outcome(outcome: pb::Outcome, given: Revision) -> Result<Outcome, Invalid> {
    let revision = match outcome.made {
        0 => given,
        made => Revision(made),
    };
    let stored = outcome.record.map(|record| {
        let (namespace, record) = read_record(record, revision)?;
        Ok::<_, Invalid>(Stored {
            namespace,
            record,
            revision,
        })
    });
    Ok(Outcome {
        stored: stored.transpose()?,
        changed: outcome.changed,
        created: outcome.created,
    })
}

fn read_record(
    record: pb::outcome::Record,
    revision: Revision,
) -> Result<(Namespace, Recorded), Invalid> {
    use pb::outcome::Record;
    Ok(match record {
        Record::Image(stored) => {
            let image = stored.image.ok_or_else(|| missing("image"))?;
            let image = read_image(stored.name.parse()?, image)?;
            (stored.namespace.parse()?, Recorded::Image(image))
        }
        Record::Namespace(stored) => {
            let namespace: Namespace = stored.name.parse()?;
            let record = stored.namespace.ok_or_else(|| missing("namespace"))?;
            let record = Recorded::Namespace {
                record: read_namespace(namespace.clone(), record)?,
                contents: Contents {
                    images: stored.images,
                    configs: stored.configs,
                    builders: stored.builders,
                    targets: stored.targets,
                },
            };
            (namespace, record)
        }
        Record::Config(stored) => {
            let namespace = stored.namespace.parse()?;
            let config = read_config_outcome(stored)?;
            (namespace, Recorded::Config(Box::new(config)))
        }
        Record::Lookup(stored) => {
            let namespace = stored.namespace.parse()?;
            let looked = read_lookup_outcome(stored)?;
            (namespace, Recorded::Lookup(Box::new(looked)))
        }
        Record::Builder(stored) => {
            let namespace = stored.namespace.parse()?;
            let builder = read_builder_outcome(stored, revision)?;
            (namespace, Recorded::Builder(Box::new(builder)))
        }
        Record::Targets(stored) => {
            let namespace = stored.namespace.parse()?;
            let answer = read_answer(stored)?;
            (namespace, Recorded::Targets(Box::new(answer)))
        }
    })
}
