//! What a change is to who watches the whole store.

use tokio::task::coop;

use super::event::fragments;
use super::feed::Feed;
use super::{Sender, StoreChanges, Weighed, told};
use crate::domain::{Image, ImageName, Namespace, NamespaceRecord};
use crate::error::Error;
use crate::kv::{Change, Effect, Versioned};
use crate::store::walk::MESSAGE_EXTRA;
use crate::store::{Stored, images, schema, wire};

/// What happened to an image or to a namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreEvent {
    ImageCreated(Stored<Image>),
    ImageUpdated(Stored<Image>),
    ImageDeleted {
        namespace: Namespace,
        name: ImageName,
    },
    /// Somebody made a namespace; one that came with the first write into it is not told of.
    NamespaceCreated(NamespaceRecord),
    NamespaceUpdated(NamespaceRecord),
    /// A namespace went, with all that it held.
    NamespaceDeleted(Namespace),
}

/// Sends all that the feed brings; returns when nobody reads any more.
pub(super) async fn produce(mut feed: Feed, send: Sender<StoreChanges>) -> Result<(), Error> {
    loop {
        for change in feed.next().await?.iter() {
            coop::consume_budget().await;
            for message in fragments(change, events(change)?)? {
                if !told(&send, message).await {
                    return Ok(());
                }
            }
        }
    }
}

/// The events of a change, those of namespaces first.
fn events(change: &Change) -> Result<Vec<Weighed<StoreEvent>>, Error> {
    let namespaces = schema::namespaces();
    let mut events = Vec::new();
    let mut of_images = Vec::new();
    for effect in &change.effects {
        let Effect::Row {
            table,
            row,
            value,
            previous,
        } = effect
        else {
            // The namespace went too.
            continue;
        };
        let bytes = row.len() + table.len() + value.as_ref().map_or(0, |value| value.len());
        let bytes = bytes + MESSAGE_EXTRA;
        let is_new = previous.is_none();
        if table == namespaces.path() {
            let name = schema::parse_namespace(row)?;
            let record = value
                .clone()
                .map(|value| wire::decode_namespace(name.clone(), value))
                .transpose()?;
            let event = match record {
                Some(record) if is_new && is_implicit(&record, change) => continue,
                Some(record) if is_new => StoreEvent::NamespaceCreated(record),
                Some(record) => StoreEvent::NamespaceUpdated(record),
                None => StoreEvent::NamespaceDeleted(name),
            };
            events.push(Weighed { item: event, bytes });
        } else if let Some(owner) = schema::whose_images(table) {
            let namespace = schema::parse_namespace(owner.as_bytes())?;
            let name = schema::parse_name(row)?;
            let event = match value.clone() {
                Some(value) => {
                    let revision = change.revision;
                    let row = Versioned { revision, value };
                    let image = images::stored(&namespace, name, row)?;
                    match is_new {
                        true => StoreEvent::ImageCreated(image),
                        false => StoreEvent::ImageUpdated(image),
                    }
                }
                None => StoreEvent::ImageDeleted { namespace, name },
            };
            of_images.push(Weighed { item: event, bytes });
        }
    }
    events.append(&mut of_images);
    Ok(events)
}

/// Whether a namespace was made by the first write into it: the same change wrote something there.
fn is_implicit(made: &NamespaceRecord, change: &Change) -> bool {
    let is_in_it = |effect: &Effect| {
        let (Effect::Row { table, .. } | Effect::Cleared { table, .. }) = effect;
        schema::whose(table) == Some(made.name.as_str())
    };
    change.effects.iter().any(is_in_it)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::domain::Timestamp;
    use crate::kv::{Revision, Table};

    /// What a change of new rows is told as.
    fn told(rows: &[(Table, &'static str, Bytes)]) -> Result<Vec<StoreEvent>, Error> {
        let effects = rows.iter().map(|(table, row, value)| Effect::Row {
            table: table.path().to_owned(),
            row: Bytes::from(*row),
            value: Some(value.clone()),
            previous: None,
        });
        let change = Change {
            revision: Revision(7),
            at_millis: 0,
            effects: effects.collect(),
        };
        let events = events(&change)?;
        Ok(events.into_iter().map(|found| found.item).collect())
    }

    #[test]
    fn a_namespace_that_came_with_something_in_it_is_not_told_of() {
        let bare = NamespaceRecord::new("ns".parse().unwrap(), Timestamp::UNIX_EPOCH);
        let row = |record| {
            let value = wire::encode_namespace(record).unwrap();
            (schema::namespaces(), "ns", value)
        };
        let lease = |owner| {
            (
                Table::logged(format!("v1/{owner}/leases")),
                "l",
                Bytes::new(),
            )
        };
        let is = |record: &NamespaceRecord| vec![StoreEvent::NamespaceCreated(record.clone())];
        for (rows, expected) in [
            (vec![row(&bare)], is(&bare)),
            (vec![lease("ns"), row(&bare)], vec![]),
            (vec![lease("other"), row(&bare)], is(&bare)),
        ] {
            assert_eq!(told(&rows).unwrap(), expected, "{rows:?}");
        }
    }
}
