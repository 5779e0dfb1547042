//! `imagestore.v1.Images.Watch`: its request checked, its messages translated.

use futures::{Stream, StreamExt};
use tonic::Status;
use tonic::metadata::MetadataMap;

use super::scope;
use super::wire::{self, QueryFields};
use crate::domain::Invalid;
use crate::kv::Revision;
use crate::proto::v1 as pb;
use crate::service::time_message;
use crate::store::{
    ImageChanges, ImageEvent, ImageMessage, ImageWatch, Stored, WatchImages, WatchMessage,
    WatchStart,
};

pub fn request(
    metadata: &MetadataMap,
    request: pb::WatchImagesRequest,
) -> Result<WatchImages, Invalid> {
    let start = start(request.send_initial, request.after_revision)?;
    let query = wire::query(QueryFields {
        scope: scope(&request.namespace, metadata)?,
        name_prefix: request.name_prefix,
        digest: String::new(),
        digest_prefix: String::new(),
        filters: request.filters,
    })?;
    Ok(WatchImages {
        query,
        start,
        with_previous: request.with_previous,
    })
}

/// Where a watch begins.
pub fn start(send_initial: bool, after_revision: u64) -> Result<WatchStart, Invalid> {
    match (send_initial, after_revision) {
        (false, 0) => Ok(WatchStart::Now),
        (false, after) => Ok(WatchStart::After(Revision(after))),
        (true, 0) => Ok(WatchStart::Initial),
        (true, _) => {
            let reason = "cannot be together with after_revision";
            Err(Invalid::new("send_initial", reason))
        }
    }
}

pub fn responses(
    watch: ImageWatch,
) -> impl Stream<Item = Result<pb::WatchImagesResponse, Status>> + Send {
    watch.map(|message| {
        Ok(pb::WatchImagesResponse {
            kind: Some(kind(message?)),
        })
    })
}

fn kind(message: ImageMessage) -> pb::watch_images_response::Kind {
    use pb::watch_images_response::Kind;
    match message {
        WatchMessage::Initial(images) => Kind::Initial(pb::InitialImages {
            images: images.into_iter().map(wire::image_message).collect(),
        }),
        WatchMessage::InitialEnd(revision) => Kind::InitialEnd(pb::InitialEnd {
            revision: revision.0,
        }),
        WatchMessage::Changes(changes) => Kind::Changes(changes_message(changes)),
        WatchMessage::Progress(revision) => Kind::Progress(pb::Progress {
            revision: revision.0,
        }),
    }
}

fn changes_message(changes: ImageChanges) -> pb::ImageChanges {
    pb::ImageChanges {
        revision: changes.revision.0,
        committed_at: Some(time_message(changes.committed_at)),
        events: changes.events.into_iter().map(event_message).collect(),
        is_partial: changes.is_partial,
    }
}

fn event_message(event: ImageEvent) -> pb::ImageEvent {
    use pb::image_event::Event;
    let previous_message = |previous: Option<Stored<_>>| previous.map(wire::image_message);
    match event {
        ImageEvent::Put {
            image,
            previous,
            is_match,
        } => pb::ImageEvent {
            event: Some(Event::Put(wire::image_message(image))),
            previous: previous_message(previous),
            is_match,
        },
        ImageEvent::Deleted {
            namespace,
            name,
            previous,
        } => pb::ImageEvent {
            event: Some(Event::Deleted(pb::ImageName {
                namespace: namespace.as_str().to_owned(),
                name: name.as_str().to_owned(),
            })),
            previous: previous_message(previous),
            is_match: false,
        },
        ImageEvent::NamespaceRemoved { namespace, images } => pb::ImageEvent {
            event: Some(Event::NamespaceRemoved(pb::NamespaceRemoved {
                namespace: namespace.as_str().to_owned(),
                images: wire::count_message(images),
            })),
            previous: None,
            is_match: false,
        },
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use tonic::Code;
    use tonic_types::StatusExt;

    use super::*;
    use crate::kv::{Memory, Options, Redb};
    use crate::proto::v1::watch_images_response::Kind;
    use crate::service::fixture::{client, store};
    use crate::service::layer::MAX_UNARY_TIME;

    fn put(i: usize) -> pb::PutImageRequest {
        let target = pb::Descriptor {
            media_type: "a/b".to_owned(),
            digest: format!("sha256:{i:064x}"),
            size: 1,
            ..Default::default()
        };
        pb::PutImageRequest {
            image: Some(pb::Image {
                name: "a".to_owned(),
                target: Some(target),
                ..Default::default()
            }),
            ..Default::default()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_watch_outlives_the_time_that_a_unary_call_may_take() {
        let store = store(Arc::new(Memory::new())).await;
        let from_now = pb::WatchImagesRequest::default();
        let mut watch = client!(&store).watch(from_now).await.unwrap().into_inner();
        let began = tokio::time::Instant::now();
        while began.elapsed() < 10 * MAX_UNARY_TIME {
            let message = tokio::time::timeout(Duration::from_secs(11), watch.message());
            let message = message.await.expect("every 10 s").unwrap().unwrap();
            let here = pb::Progress { revision: 1 };
            assert_eq!(message.kind, Some(Kind::Progress(here)));
        }
    }

    #[tokio::test]
    async fn a_trimmed_start_is_out_of_range_with_the_oldest_revision() {
        let dir = tempfile::tempdir().unwrap();
        let options = Options {
            keep_revisions: 5,
            ..Options::default()
        };
        let store = store(Arc::new(Redb::open(dir.path(), options).unwrap())).await;
        for i in 0..20 {
            client!(&store).put(put(i)).await.unwrap();
        }
        let trimmed = pb::WatchImagesRequest {
            after_revision: 3,
            ..Default::default()
        };
        let refused = client!(&store).watch(trimmed).await.unwrap_err();
        assert_eq!(refused.code(), Code::OutOfRange);
        let details = refused.get_error_details();
        let info = details.error_info().unwrap();
        assert_eq!(info.reason, "HISTORY_COMPACTED");
        let oldest = store.status().await.unwrap().oldest_revision;
        assert_eq!(info.metadata["oldest_revision"], oldest.to_string());
        store.close().await;
    }
}
