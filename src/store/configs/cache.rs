//! Which row of the index of build steps a config has.

use bytes::Bytes;

use crate::domain::ConfigId;
use crate::domain::Namespace;
use crate::kv::{Batch, Key};
use crate::store::schema::{self, CacheRow};
use crate::store::wire::{self, Marks, Summary};

/// The row of a config in the index of build steps, derived from what is known of it: of one that was built here,
/// by a step that it tells, at a time and for a platform that it tells.
pub fn cache_entry(
    namespace: &Namespace,
    id: &ConfigId,
    summary: &Summary,
    marks: &Marks,
) -> Option<(Key, Bytes)> {
    if !marks.built_locally || summary.platform.is_unknown() {
        return None;
    }
    let row = CacheRow {
        parent: marks.parent,
        fingerprint: summary.fingerprint?,
        created: summary.created?,
        id: *id,
    };
    let platform = summary.platform.normalized();
    Some((
        schema::cache_key(namespace, &row),
        wire::encode_cache(&platform),
    ))
}

/// Writes the marks of a config, and moves its row of the index of build steps. The parent that it has afterwards
/// must be guarded, if it gets a row there: what has gone gets no more rows.
pub fn put_marks(
    batch: &mut Batch,
    namespace: &Namespace,
    id: &ConfigId,
    summary: &Summary,
    before: Option<&Marks>,
    after: &Marks,
) {
    let old = before.and_then(|before| cache_entry(namespace, id, summary, before));
    let new = cache_entry(namespace, id, summary, after);
    if old != new {
        old.map(|(key, _)| batch.delete(key));
        new.map(|(key, value)| batch.put(key, value));
    }
    batch.put(schema::marks_key(namespace, id), wire::encode_marks(after));
}
