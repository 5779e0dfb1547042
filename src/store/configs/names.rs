//! The names of image records that stand for a config.

use std::collections::BTreeSet;

use super::Configs;
use super::rows::targets_of;
use crate::domain::ConfigId;
use crate::domain::{ImageName, Namespace};
use crate::error::Error;
use crate::kv::Rows;
use crate::store::edit::View;
use crate::store::schema;

/// The first names of those that stand for a config, and whether there are more. Costs a look for each of its
/// targets; says how many rows were looked at.
pub async fn names_of(
    view: &View<'_>,
    namespace: &Namespace,
    id: &ConfigId,
) -> Result<(Vec<ImageName>, bool, usize), Error> {
    let mut targets = targets_of(view, namespace, id).await?;
    targets.push(id.digest());
    let mut names = BTreeSet::new();
    let mut looked_at = 0;
    for target in &targets {
        let part = schema::digest_part(target);
        let rows = Rows::starting_with(schema::digests(namespace), &part);
        let found = view.scan(&rows, Configs::MAX_NAMES + 1).await?;
        looked_at += 1 + found.rows.len();
        for (row, _) in &found.rows {
            names.insert(schema::parse_digest_row(row)?.1);
            if names.len() > Configs::MAX_NAMES + 1 {
                names.pop_last();
            }
        }
    }
    let has_more = names.len() > Configs::MAX_NAMES;
    let names = names.into_iter().take(Configs::MAX_NAMES).collect();
    Ok((names, has_more, looked_at))
}
