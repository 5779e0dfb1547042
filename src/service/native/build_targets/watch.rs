//! `imagestore.v1.BuildTargets.Watch`: its request checked, its messages translated.

use futures::stream::BoxStream;
use futures::{Stream, StreamExt};
use tonic::Status;
use tonic::metadata::MetadataMap;

use super::wire;
use crate::domain::Invalid;
use crate::kv::Revision;
use crate::proto::v1 as pb;
use crate::service::native::{namespace, watch};
use crate::service::time_message;
use crate::store::{
    TargetChanges, TargetEvent, TargetMessage, TargetWatch, WatchMessage, WatchTargets,
};

pub type Responses = BoxStream<'static, Result<pb::WatchTargetsResponse, Status>>;

pub fn request(
    metadata: &MetadataMap,
    request: &pb::WatchTargetsRequest,
) -> Result<WatchTargets, Invalid> {
    Ok(WatchTargets {
        namespace: namespace(&request.namespace, metadata)?,
        selector: wire::selector(request.selector.as_ref())?,
        start: watch::start(request.send_initial, request.after_revision)?,
    })
}

pub fn responses(
    watch: TargetWatch,
) -> impl Stream<Item = Result<pb::WatchTargetsResponse, Status>> + Send {
    watch.map(|message| {
        Ok(pb::WatchTargetsResponse {
            kind: Some(kind(message?)),
        })
    })
}

fn kind(message: TargetMessage) -> pb::watch_targets_response::Kind {
    use pb::watch_targets_response::Kind;
    let number = |revision: Revision| revision.0;
    match message {
        WatchMessage::Initial(targets) => Kind::Initial(pb::InitialTargets {
            targets: targets.into_iter().map(wire::target_message).collect(),
        }),
        WatchMessage::InitialEnd(revision) => Kind::InitialEnd(pb::InitialEnd {
            revision: number(revision),
        }),
        WatchMessage::Changes(changes) => Kind::Changes(changes_message(changes)),
        WatchMessage::Progress(revision) => Kind::Progress(pb::Progress {
            revision: number(revision),
        }),
    }
}

fn changes_message(changes: TargetChanges) -> pb::TargetChanges {
    pb::TargetChanges {
        revision: changes.revision.0,
        committed_at: Some(time_message(changes.committed_at)),
        changes: changes.events.into_iter().map(change_message).collect(),
        is_partial: changes.is_partial,
    }
}

fn change_message(event: TargetEvent) -> pb::TargetChange {
    use pb::target_change::Change;
    let (change, previous) = match event {
        TargetEvent::Put { target, previous } => {
            (Change::Put(wire::target_message(*target)), previous)
        }
        TargetEvent::Deleted { target, previous } => {
            (Change::Deleted(target.to_string()), Some(previous))
        }
        TargetEvent::NamespaceRemoved => (Change::NamespaceRemoved(true), None),
    };
    pb::TargetChange {
        change: Some(change),
        previous_state: previous
            .map_or(pb::TargetState::Unspecified, wire::state_message)
            .into(),
    }
}
