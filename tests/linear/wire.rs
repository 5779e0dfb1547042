//! Calls as messages, and answers from messages.

use imagestore::proto::v1 as pb;
use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::common::{mask, target};
use crate::history::{Answer, Asked, Change, Condition, Done, Item, Record, Refusal, Why};

/// A call as a message.
#[derive(Clone)]
#[allow(clippy::large_enum_variant, reason = "a call has one")]
pub enum Message {
    Get(pb::GetImageRequest),
    Put(pb::PutImageRequest),
    Delete(pb::DeleteImageRequest),
    Apply(pb::ApplyImagesRequest),
}

pub fn message(namespace: &str, asked: &Asked, request_id: Option<&str>) -> Message {
    let namespace = namespace.to_owned();
    let request_id = request_id.unwrap_or_default().to_owned();
    match asked {
        Asked::Get(name) => Message::Get(pb::GetImageRequest {
            namespace,
            name: name.clone(),
            ..Default::default()
        }),
        Asked::One(item) => match item_message(item) {
            pb::apply_item::Item::Put(put) => Message::Put(pb::PutImageRequest {
                namespace,
                image: put.image,
                update_mask: put.update_mask,
                must_not_exist: put.must_not_exist,
                if_etag: put.if_etag,
                if_target: put.if_target,
                request_id,
                ..Default::default()
            }),
            pb::apply_item::Item::Delete(delete) => Message::Delete(pb::DeleteImageRequest {
                namespace,
                name: delete.name,
                if_etag: delete.if_etag,
                if_target: delete.if_target,
                request_id,
                ..Default::default()
            }),
        },
        Asked::Batch(items) => Message::Apply(pb::ApplyImagesRequest {
            namespace,
            items: items
                .iter()
                .map(|item| pb::ApplyItem {
                    item: Some(item_message(item)),
                })
                .collect(),
            request_id,
            ..Default::default()
        }),
    }
}

fn item_message(item: &Item) -> pb::apply_item::Item {
    let name = item.name.clone();
    let (if_etag, if_target) = match &item.when {
        Condition::None | Condition::MustNotExist => (String::new(), String::new()),
        Condition::Etag(etag) => (etag.to_string(), String::new()),
        Condition::Target(target) => (String::new(), target.clone()),
    };
    let (image, update_mask) = match &item.change {
        Change::Delete { allow_missing } => {
            return pb::apply_item::Item::Delete(pb::ApplyDelete {
                name,
                if_etag,
                if_target,
                allow_missing: *allow_missing,
            });
        }
        Change::Replace { target: of, labels } => {
            let target = pb::Descriptor {
                digest: of.clone(),
                ..target("")
            };
            let image = pb::Image {
                name,
                target: Some(target),
                labels: labels.clone().into_iter().collect(),
                ..Default::default()
            };
            (image, None)
        }
        Change::Label(key, value) => {
            let labels = value.iter().map(|value| (key.clone(), value.clone()));
            let image = pb::Image {
                name,
                labels: labels.collect(),
                ..Default::default()
            };
            (image, mask(&[&format!("labels.{key}")]))
        }
    };
    pb::apply_item::Item::Put(pb::ApplyPut {
        image: Some(image),
        update_mask,
        must_not_exist: item.when == Condition::MustNotExist,
        if_etag,
        if_target,
    })
}

pub fn read(response: pb::GetImageResponse) -> Answer {
    Answer::Read {
        record: record(response.image.expect("a Get answers a record")),
        revision: response.revision,
    }
}

pub fn put(response: pb::PutImageResponse) -> Answer {
    Answer::Wrote {
        done: vec![Done {
            record: response.image.map(record),
            changed: response.changed,
            created: response.created,
        }],
        revision: response.revision,
    }
}

pub fn deleted(response: pb::DeleteImageResponse) -> Answer {
    Answer::Wrote {
        done: vec![Done {
            record: response.image.map(record),
            changed: true,
            created: false,
        }],
        revision: response.revision,
    }
}

pub fn applied(response: pb::ApplyImagesResponse) -> Answer {
    let done = response.results.into_iter().map(|result| Done {
        record: result.image.map(record),
        changed: result.changed,
        created: result.created,
    });
    Answer::Wrote {
        done: done.collect(),
        revision: response.revision,
    }
}

/// What an error says of a call; `None` for one that leaves its outcome open.
pub fn refused(status: &Status, may_be_cut: bool) -> Option<Answer> {
    let details = status.get_error_details();
    let info = details.error_info();
    let fact = |key: &str| info.and_then(|info| info.metadata.get(key));
    let why = match info.map(|info| info.reason.as_str()) {
        Some("NOT_FOUND") => Why::NotFound,
        Some("ALREADY_EXISTS") => Why::Exists,
        Some("ETAG_MISMATCH") => match fact("etag").and_then(|etag| etag.parse().ok()) {
            Some(etag) => Why::Etag(etag),
            None => Why::Other(format!("no etag in {status:?}")),
        },
        Some("TARGET_MISMATCH") => Why::Target(fact("target").cloned().unwrap_or_default()),
        _ if may_be_cut && is_open(status.code()) => return None,
        _ => Why::Other(format!("{status:?}")),
    };
    let item = fact("item").and_then(|item| item.parse().ok()).unwrap_or(0);
    Some(Answer::Refused(Refusal { item, why }))
}

/// Whether a call that was cut off may fail so.
fn is_open(code: Code) -> bool {
    matches!(
        code,
        Code::DeadlineExceeded | Code::Cancelled | Code::Unavailable | Code::Unknown
    )
}

fn record(image: pb::Image) -> Record {
    assert_eq!(image.etag, image.revision.to_string());
    Record {
        target: image.target.expect("a record has a target").digest,
        labels: image.labels.into_iter().collect(),
        revision: image.revision,
    }
}
