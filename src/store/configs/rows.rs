//! Reading what is stored of configs, but for their bytes.

use std::collections::BTreeMap;

use super::link::must_be_there;
use super::{ConfigEntry, Configs};
use crate::domain::ConfigId;
use crate::domain::{Digest, Namespace, RunPlatform, Timestamp};
use crate::error::{Error, Subject};
use crate::kv::{Batch, Guard, Key, Revision, Rows, Versioned};
use crate::store::edit::View;
use crate::store::schema::{self, Link};
use crate::store::wire::{self, Marks, Summary};

/// A config that can be read, but for its bytes.
#[derive(Clone, Debug)]
pub struct Standing {
    pub id: ConfigId,
    pub summary: Summary,
    /// The revision of the summary's row.
    pub made: Revision,
    pub marks: Marks,
    /// The revision of the marks' row.
    pub revision: Revision,
    pub touched_at: Option<Timestamp>,
    /// The revision that wrote that.
    touched: Option<Revision>,
    /// The parent, if it is still there.
    pub parent: Option<Link>,
}

impl Standing {
    /// The link of its children to it.
    pub fn link(&self) -> Link {
        Link {
            id: self.id,
            made: self.made,
        }
    }

    /// Has a batch hold only while all that is known of it is so, as an answer tells it.
    pub fn must_stay(&self, batch: &mut Batch, namespace: &Namespace) {
        let marks = schema::marks_key(namespace, &self.id);
        let touched = schema::touched_key(namespace, &self.id);
        batch.guard(Guard::Unchanged(marks, self.revision));
        batch.guard(match self.touched {
            Some(revision) => Guard::Unchanged(touched, revision),
            None => Guard::Absent(touched),
        });
        if let Some(parent) = &self.parent {
            must_be_there(batch, namespace, parent);
        }
    }
}

/// A config that is there; `None` where there is none. When it was last used is nothing that others depend on:
/// where that cannot be read, it is not known.
///
/// [`Error::Corrupt`] where the rest cannot be read.
pub async fn standing(
    view: &View<'_>,
    namespace: &Namespace,
    id: &ConfigId,
) -> Result<Option<Standing>, Error> {
    let mut rows = view.get(&keys(namespace, id)).await?.into_iter();
    let mut next = || rows.next().flatten();
    let (summary, marks, touched) = (next(), next(), next());
    let (summary, marks) = match (summary, marks) {
        (Some(summary), Some(marks)) => (summary, marks),
        (Some(_), None) => return Err(Error::corrupt(format!("config {id} has no marks"))),
        (None, marks) => {
            let bytes = view.row(&schema::config_key(namespace, id)).await?;
            return match (bytes, marks) {
                (None, None) => Ok(None),
                _ => Err(Error::corrupt(format!("config {id} has no summary"))),
            };
        }
    };
    let mut standing = Standing {
        id: *id,
        made: summary.revision,
        summary: wire::decode_summary(id, summary.value)?,
        revision: marks.revision,
        marks: wire::decode_marks(id, marks.value)?,
        touched: touched.as_ref().map(|row| row.revision),
        touched_at: touched.and_then(|row| wire::decode_touched(id, row.value).ok()),
        parent: None,
    };
    if let Some(parent) = standing.marks.parent {
        let is_there = live(view, namespace, &[parent]).await?[0];
        standing.parent = is_there.then_some(parent);
    }
    Ok(Some(standing))
}

/// The same; [`Error::NotFound`] where there is none.
pub async fn existing(
    view: &View<'_>,
    namespace: &Namespace,
    id: &ConfigId,
) -> Result<Standing, Error> {
    let found = standing(view, namespace, id).await?;
    found.ok_or_else(|| not_found(namespace, id))
}

/// The link to a config as it is stored now; `None` where there is none.
pub async fn link_to(
    view: &View<'_>,
    namespace: &Namespace,
    id: &ConfigId,
) -> Result<Option<Link>, Error> {
    let row = view.row(&schema::summary_key(namespace, id)).await?;
    Ok(row.map(|row| Link {
        id: *id,
        made: row.revision,
    }))
}

/// For each link whether it leads somewhere.
pub async fn live(
    view: &View<'_>,
    namespace: &Namespace,
    links: &[Link],
) -> Result<Vec<bool>, Error> {
    let keys: Vec<Key> = links
        .iter()
        .map(|link| schema::summary_key(namespace, &link.id))
        .collect();
    let rows = view.get(&keys).await?;
    let is_live =
        |(link, row): (&Link, Option<Versioned>)| row.is_some_and(|row| row.revision == link.made);
    Ok(links.iter().zip(rows).map(is_live).collect())
}

/// What is linked to a config, in order.
pub async fn targets_of(
    view: &View<'_>,
    namespace: &Namespace,
    id: &ConfigId,
) -> Result<Vec<Digest>, Error> {
    let part = id.as_bytes();
    let mut rest = Rows::starting_with(schema::targeted(namespace), part);
    let mut targets = Vec::new();
    loop {
        let found = view.scan(&rest, Configs::MAX_TARGETS).await?;
        for (row, _) in &found.rows {
            targets.push(schema::parse_targeted_row(row)?.1);
        }
        let Some(more) = found.rest(rest) else {
            return Ok(targets);
        };
        rest = more;
    }
}

/// Configs by id, in the order of the ids; `None` for what is none. One that cannot be read is none the less
/// there, and says so.
pub async fn entries(
    view: &View<'_>,
    namespace: &Namespace,
    ids: &[ConfigId],
) -> Result<Vec<Option<ConfigEntry>>, Error> {
    let keys: Vec<Key> = ids.iter().flat_map(|id| keys(namespace, id)).collect();
    let rows = view.get(&keys).await?;
    let mut found = Vec::with_capacity(ids.len());
    let mut parents = BTreeMap::new();
    for (id, rows) in ids.iter().zip(rows.chunks_exact(KEYS)) {
        if rows[..2].iter().all(Option::is_none) {
            let bytes = schema::config_key(namespace, id);
            let is_there = view.row(&bytes).await?.is_some();
            found.push(is_there.then(|| (ConfigEntry::corrupt(namespace, id), None)));
            continue;
        }
        let read = read_entry(namespace, id, rows);
        if let Some(link) = read.1 {
            parents.insert(link, false);
        }
        found.push(Some(read));
    }
    let links: Vec<Link> = parents.keys().copied().collect();
    parents.extend(
        links
            .iter()
            .copied()
            .zip(live(view, namespace, &links).await?),
    );
    let with_parent = |(mut entry, link): (ConfigEntry, Option<Link>)| {
        let link = link.filter(|link| parents.get(link) == Some(&true));
        entry.parent = link.map(|link| link.id);
        entry
    };
    Ok(found
        .into_iter()
        .map(|found| found.map(with_parent))
        .collect())
}

/// The rows that an entry is read from.
const KEYS: usize = 3;

fn keys(namespace: &Namespace, id: &ConfigId) -> [Key; KEYS] {
    [
        schema::summary_key(namespace, id),
        schema::marks_key(namespace, id),
        schema::touched_key(namespace, id),
    ]
}

/// An entry, but for its parent, and the link to that.
fn read_entry(
    namespace: &Namespace,
    id: &ConfigId,
    rows: &[Option<Versioned>],
) -> (ConfigEntry, Option<Link>) {
    let mut entry = ConfigEntry::corrupt(namespace, id);
    let summary = rows[0]
        .clone()
        .map(|row| wire::decode_summary(id, row.value));
    let marks = rows[1].clone().map(|row| wire::decode_marks(id, row.value));
    let touched = rows[2]
        .clone()
        .map(|row| wire::decode_touched(id, row.value));
    entry.revision = rows[1].as_ref().map_or(Revision::ZERO, |row| row.revision);
    entry.is_corrupt = !matches!((&summary, &marks), (Some(Ok(_)), Some(Ok(_))));
    if let Some(Ok(summary)) = summary {
        entry.describe(summary);
    }
    let mut link = None;
    if let Some(Ok(marks)) = marks {
        entry.mark(&marks);
        link = marks.parent;
    }
    entry.touched_at = touched.and_then(Result::ok);
    (entry, link)
}

pub fn subject(namespace: &Namespace, id: &ConfigId) -> Subject {
    Subject::Config(namespace.clone(), id.to_string())
}

/// A config that is there, and is not what it was.
pub fn spoilt(id: &ConfigId) -> Error {
    let what = format!("config {id} is not what it was; delete it, and store it again");
    Error::corrupt(what)
}

pub fn not_found(namespace: &Namespace, id: &ConfigId) -> Error {
    Error::NotFound(subject(namespace, id))
}

// === impl ConfigEntry ===

impl ConfigEntry {
    /// One of which nothing can be read.
    pub(super) fn corrupt(namespace: &Namespace, id: &ConfigId) -> Self {
        Self {
            namespace: namespace.clone(),
            id: *id,
            size: 0,
            platform: RunPlatform::default(),
            created: None,
            parent: None,
            built_locally: false,
            touched_at: None,
            stored_at: Timestamp::UNIX_EPOCH,
            revision: Revision::ZERO,
            is_corrupt: true,
        }
    }

    /// One that is there, and has such marks.
    pub(super) fn of(namespace: &Namespace, standing: &Standing, marks: &Marks) -> Self {
        let mut entry = Self {
            parent: standing.parent.map(|parent| parent.id),
            touched_at: standing.touched_at,
            revision: standing.revision,
            is_corrupt: false,
            ..Self::corrupt(namespace, &standing.id)
        };
        entry.describe(standing.summary.clone());
        entry.mark(marks);
        entry
    }

    pub(super) fn describe(&mut self, summary: Summary) {
        self.size = summary.size;
        self.platform = summary.platform;
        self.created = summary.created;
    }

    pub(super) fn mark(&mut self, marks: &Marks) {
        self.built_locally = marks.built_locally;
        self.stored_at = marks.stored_at;
    }
}
