//! Watching: what watchers see, how long they do, and all of it against what the log says.

mod changes;
mod ends;
mod model;
mod targets;

pub(super) use self::ends::forgetful;
pub(super) use self::model::{Random, write};
use super::watched::Watched;
use super::*;
use crate::kv::{Change, Effect, TAIL_GROUPS};

fn watching(query: ImageQuery, start: WatchStart) -> WatchImages {
    WatchImages {
        query,
        start,
        with_previous: false,
    }
}

/// The names that a message is about, deleted ones with a minus.
fn names(message: &ImageMessage) -> Vec<String> {
    match message {
        WatchMessage::Initial(images) => images
            .iter()
            .map(|stored| stored.record.name.to_string())
            .collect(),
        WatchMessage::Changes(changes) => changes
            .events
            .iter()
            .map(|event| match event {
                ImageEvent::Put {
                    image,
                    is_match: true,
                    ..
                } => image.record.name.to_string(),
                ImageEvent::Put { image, .. } => format!("{} left", image.record.name),
                ImageEvent::Deleted { name, .. } => format!("-{name}"),
                ImageEvent::NamespaceRemoved { namespace, images } => {
                    format!("-{namespace} with {images}")
                }
            })
            .collect(),
        WatchMessage::InitialEnd(at) => vec![format!("end {at}")],
        WatchMessage::Progress(at) => vec![format!("at {at}")],
    }
}

/// How long a test waits for what does not come.
const PATIENCE: Duration = Duration::from_secs(60);

/// What the next messages are about, up to one that is about `last`.
async fn up_to(watch: &mut ImageWatch, last: &str) -> Vec<String> {
    let mut found = Vec::new();
    let reached = tokio::time::timeout(PATIENCE, async {
        while found.last().is_none_or(|name| name != last) {
            found.extend(names(&watch.next().await.unwrap().unwrap()));
        }
    });
    let reached = reached.await;
    assert!(reached.is_ok(), "no {last} after {found:?}");
    found
}

async fn begin(on: &On, request: WatchImages) -> ImageWatch {
    on.store.images().watch(request).await.unwrap()
}

/// A watch that follows what is committed from now on: it has said where it begins.
async fn following(on: &On, request: WatchImages) -> ImageWatch {
    let at = on.store.snapshot().await.unwrap().revision();
    let mut watch = begin(on, request).await;
    let first = watch.next().await.unwrap().unwrap();
    assert_eq!(first, WatchMessage::Progress(at));
    watch
}

/// Puts and deletes in one namespace, at one revision.
pub(super) async fn together(
    store: &Store,
    owner: &str,
    changes: impl IntoIterator<Item = (String, Option<ImageChange>)>,
) {
    let writes = changes.into_iter().map(|(of, change)| ImageWrite {
        name: name(&of),
        act: match change {
            Some(change) => Act::Put(change, Dating::Changes),
            None => Act::Delete {
                allow_missing: true,
            },
        },
        when: Precondition::None,
    });
    let request = ApplyImages::new(writes.collect()).unwrap();
    let images = store.images();
    images.apply(&namespace(owner), &request).await.unwrap();
}
