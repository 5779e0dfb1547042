//! Links from a config to what it was built from: how one is made, moved and cut.

use std::collections::BTreeSet;

use bytes::Bytes;

use super::cache::put_marks;
use super::rows::{Standing, link_to, live, not_found};
use crate::domain::ConfigId;
use crate::domain::{Invalid, Namespace};
use crate::error::Error;
use crate::kv::{Batch, Guard, Key, Revision, Rows, Table, Versioned};
use crate::store::edit::{View, as_seen};
use crate::store::schema::{self, Link};
use crate::store::wire::{self, Marks};

/// Whether there is a row with some beginning beside one's own, as a write saw it.
#[derive(Clone, Debug)]
pub enum Others {
    /// This one is there.
    Some(Key, Revision),
    /// None starts so, at a revision.
    None(Key, Revision),
}

/// A parent that loses a child.
#[derive(Clone, Debug)]
pub struct Leaving {
    parent: Link,
    others: Others,
}

/// A config that is to get another parent, or none; and all that this depends on.
#[derive(Clone, Debug)]
pub struct Linking {
    child: Standing,
    leaving: Option<Leaving>,
    joining: Option<Link>,
    turn: Option<Versioned>,
    /// The config would be its own ancestor: the link cannot be made.
    pub closes_cycle: bool,
}

/// Has a batch give the config its other parent, if all is as it was seen; `false` where that is its parent
/// already, and there is nothing to write.
///
/// [`Error::Invalid`] where that would close a cycle.
pub fn plan_link(
    batch: &mut Batch,
    namespace: &Namespace,
    linking: &Linking,
) -> Result<bool, Error> {
    if linking.closes_cycle {
        let why = "is the config itself or was built from it; it would be its own ancestor";
        return Err(Invalid::new("parent", why).into());
    }
    let child = &linking.child;
    let before = &child.marks;
    // One that has lost its parent has none, and its marks still say that it had: it never was a beginning.
    if child.parent == linking.joining {
        return Ok(false);
    }
    let marks = schema::marks_key(namespace, &child.id);
    batch.guard(Guard::Unchanged(marks, child.revision));
    if let Some(old) = &before.parent {
        batch.delete(schema::child_key(namespace, old, &child.id));
    }
    if let Some(leaving) = &linking.leaving {
        leaving.plan(batch, namespace);
    }
    if let Some(parent) = &linking.joining {
        join(batch, namespace, parent, &child.id);
        let turn = schema::lineage_key(namespace);
        batch
            .guard(as_seen(turn.clone(), linking.turn.as_ref()))
            .put(turn, Bytes::new());
    }
    let after = Marks {
        parent: linking.joining,
        ..before.clone()
    };
    put_marks(
        batch,
        namespace,
        &child.id,
        &child.summary,
        Some(before),
        &after,
    );
    Ok(true)
}

/// Has a batch make a config the child of another one, if that is still there.
pub fn join(batch: &mut Batch, namespace: &Namespace, parent: &Link, child: &ConfigId) {
    must_be_there(batch, namespace, parent);
    batch
        .put(schema::child_key(namespace, parent, child), Bytes::new())
        .delete(schema::head_key(namespace, &parent.id));
}

/// Has a batch hold only while a link leads somewhere.
pub fn must_be_there(batch: &mut Batch, namespace: &Namespace, link: &Link) {
    let key = schema::summary_key(namespace, &link.id);
    batch.guard(Guard::Unchanged(key, link.made));
}

// === impl Linking ===

impl Linking {
    /// What a write takes turns for that gives a config another parent, or none.
    pub fn turns(namespace: &Namespace, child: &ConfigId, has_parent: bool) -> Vec<Key> {
        let mut turns = vec![schema::marks_key(namespace, child)];
        if has_parent {
            turns.push(schema::lineage_key(namespace));
        }
        turns
    }

    /// [`Error::NotFound`] for a parent that is not there.
    pub async fn look(
        view: &View<'_>,
        namespace: &Namespace,
        child: Standing,
        parent: Option<ConfigId>,
    ) -> Result<Self, Error> {
        let joining = match parent {
            None => None,
            Some(parent) => {
                let link = link_to(view, namespace, &parent).await?;
                Some(link.ok_or_else(|| not_found(namespace, &parent))?)
            }
        };
        let closes_cycle = match &joining {
            Some(parent) => leads_to(view, namespace, parent, &child.id).await?,
            None => false,
        };
        Ok(Self {
            leaving: Leaving::look(view, namespace, &child).await?,
            joining,
            turn: view.row(&schema::lineage_key(namespace)).await?,
            closes_cycle,
            child,
        })
    }

    /// The parent before, if it is still there.
    pub fn previous(&self) -> Option<ConfigId> {
        self.child.parent.map(|parent| parent.id)
    }

    pub fn child(&self) -> &Standing {
        &self.child
    }
}

/// Whether one comes to a config from another by going from parent to parent.
async fn leads_to(
    view: &View<'_>,
    namespace: &Namespace,
    from: &Link,
    wanted: &ConfigId,
) -> Result<bool, Error> {
    let mut passed = BTreeSet::new();
    let mut at = Some(*from);
    while let Some(link) = at {
        if link.id == *wanted {
            return Ok(true);
        }
        if !passed.insert(link.id) {
            return Err(Error::corrupt(format!(
                "config {} is its own ancestor",
                link.id
            )));
        }
        at = parent_of(view, namespace, &link.id).await?;
    }
    Ok(false)
}

/// The parent of a config, if it has one that is still there.
pub async fn parent_of(
    view: &View<'_>,
    namespace: &Namespace,
    id: &ConfigId,
) -> Result<Option<Link>, Error> {
    let row = view.row(&schema::marks_key(namespace, id)).await?;
    let row = row.ok_or_else(|| Error::corrupt(format!("config {id} has no marks")))?;
    let Some(parent) = wire::decode_marks(id, row.value)?.parent else {
        return Ok(None);
    };
    let is_there = live(view, namespace, &[parent]).await?[0];
    Ok(is_there.then_some(parent))
}

// === impl Leaving ===

impl Leaving {
    /// `None` where the child has no parent that is still there.
    pub async fn look(
        view: &View<'_>,
        namespace: &Namespace,
        child: &Standing,
    ) -> Result<Option<Self>, Error> {
        match child.parent {
            None => Ok(None),
            Some(parent) => Self::of(view, namespace, parent, &child.id).await.map(Some),
        }
    }

    /// Of a parent that is there.
    pub async fn of(
        view: &View<'_>,
        namespace: &Namespace,
        parent: Link,
        child: &ConfigId,
    ) -> Result<Self, Error> {
        let own = schema::child_row(&parent, child);
        let table = schema::children(namespace);
        let part = schema::link_part(&parent);
        Ok(Self {
            parent,
            others: Others::look(view, table, &part, &own).await?,
        })
    }

    /// The parent is a head again, if it has no other child.
    pub fn plan(&self, batch: &mut Batch, namespace: &Namespace) {
        must_be_there(batch, namespace, &self.parent);
        batch.guard(self.others.guard());
        if self.others.is_none() {
            let head = schema::head_key(namespace, &self.parent.id);
            batch.put(head, Bytes::new());
        }
    }
}

// === impl Others ===

impl Others {
    /// Looks for another row than one's own that starts so: the next one, so that those who leave at once do not
    /// all depend on the same.
    pub async fn look(
        view: &View<'_>,
        table: Table,
        part: &[u8],
        own: &Bytes,
    ) -> Result<Self, Error> {
        let all = Rows::starting_with(table.clone(), part);
        let next = view.scan(&all.clone().after(own.clone()), 1).await?;
        let mut found = next.rows;
        if found.is_empty() {
            found = view.scan(&all, 1).await?.rows;
        }
        let other = found.into_iter().find(|(row, _)| row != own);
        Ok(match other {
            Some((row, value)) => Self::Some(table.key(row), value.revision),
            None => Self::None(table.key(Bytes::copy_from_slice(part)), view.revision()),
        })
    }

    pub fn is_none(&self) -> bool {
        matches!(self, Self::None(..))
    }

    /// Holds while it is so.
    pub fn guard(&self) -> Guard {
        match self {
            Self::Some(key, revision) => Guard::Unchanged(key.clone(), *revision),
            Self::None(part, revision) => Guard::Quiet(part.clone(), *revision),
        }
    }
}
