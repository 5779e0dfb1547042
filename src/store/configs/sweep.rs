//! Removing what stands under links that lead nowhere any more.

use crate::domain::Namespace;
use crate::error::Error;
use crate::kv::{Batch, Rows, Snapshot};
use crate::store::{Store, schema};

/// What a sweep removed of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SweptLinks {
    /// Links with all that stood under them.
    pub links: usize,
    /// Whether there is more to remove at once.
    pub has_more: bool,
}

/// Links that a sweep looks at in each namespace at most.
const LINKS: usize = 200;

/// Rows that a sweep removes in each namespace at most: in one batch.
const ROWS: usize = 10_000;

/// Removes a bounded piece of what stands under links of a namespace that lead nowhere. Nothing is added there any
/// more, so that what was seen is all there is.
pub async fn sweep_links(
    store: &Store,
    snapshot: &dyn Snapshot,
    namespace: &Namespace,
) -> Result<SweptLinks, Error> {
    let mut swept = SweptLinks::default();
    let gone = schema::gone(namespace);
    let found = snapshot.scan(&Rows::all(gone.clone()), LINKS).await?;
    let mut batch = Batch::new(store.now().millis());
    let mut left = ROWS;
    for (row, _) in &found.rows {
        let mut is_empty = true;
        for table in [schema::children(namespace), schema::cache(namespace)] {
            if left == 0 {
                is_empty = false;
                break;
            }
            let under = Rows::starting_with(table.clone(), row);
            let under = snapshot.scan(&under, left).await?;
            left -= under.rows.len();
            is_empty &= under.is_end;
            for (row, _) in under.rows {
                batch.delete(table.key(row));
            }
        }
        if !is_empty {
            swept.has_more = true;
            break;
        }
        batch.delete(gone.key(row.clone()));
        swept.links += 1;
    }
    swept.has_more |= !found.is_end && swept.links > 0;
    if !batch.is_empty() {
        batch.frees_space();
        store.inner.kv.commit(batch).await?;
    }
    Ok(swept)
}
