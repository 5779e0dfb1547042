//! Reading builders.

use bytes::Bytes;

use super::rows::{LookAt, entry};
use super::{BuilderEntry, Builders, StoredBuilder};
use crate::domain::Namespace;
use crate::domain::build::BuilderKey;
use crate::error::Error;
use crate::kv::Rows;
use crate::store::edit::Look;
use crate::store::page::{Page, PageRequest, Pages};
use crate::store::walk::Cursor;
use crate::store::{At, schema, wire};

impl Builders<'_> {
    /// A builder with its generations, its claim and its pins; [`Error::NotFound`] when there is none.
    pub async fn get(
        &self,
        namespace: &Namespace,
        key: &BuilderKey,
    ) -> Result<At<StoredBuilder>, Error> {
        let snapshot = self.store.snapshot().await?;
        let look = LookAt::all(namespace, key);
        let seen = look.look(&self.store.view(&*snapshot)).await?;
        let (own, revision) = seen.own()?;
        Ok(At {
            value: seen.whole(own, revision),
            revision: snapshot.revision(),
        })
    }

    /// A page of the builders whose bases start so, by base, platform and recipe.
    ///
    /// [`Error::Invalid`] for a page token of another request or store.
    pub async fn list(
        &self,
        namespace: &Namespace,
        base_prefix: &str,
        page: &PageRequest,
    ) -> Result<Page<BuilderEntry>, Error> {
        let asked = ["builders", namespace.as_str(), base_prefix];
        let page = Pages::parse(self.store.id(), &asked, page)?;
        let snapshot = self.store.snapshot().await?;
        let view = self.store.view(&*snapshot);
        let table = schema::builders(namespace);
        let mut wanted = Rows::starting_with(table, base_prefix.as_bytes());
        if let Some(after) = &page.after {
            wanted = wanted.after(after.row.clone());
        }
        let found = view.scan(&wanted, page.items).await?;
        let keys = found.rows.iter().map(|(row, _)| schema::parse_builder(row));
        let keys: Vec<BuilderKey> = keys.collect::<Result<_, _>>()?;
        let claims = keys
            .iter()
            .map(|key| schema::builder_claim_key(namespace, key));
        let claims = view.get(&claims.collect::<Vec<_>>()).await?;
        let mut items = Vec::with_capacity(keys.len());
        let mut last = Bytes::new();
        for (((row, value), key), claim) in found.rows.into_iter().zip(keys).zip(claims) {
            let claim = claim.map(|row| wire::decode_claim(row.value)).transpose()?;
            let own = wire::decode_builder(&key, value.value)?;
            let place = (namespace, &key);
            items.push(entry(
                place,
                (&own, value.revision),
                claim,
                view.moment.steady,
            ));
            last = row;
        }
        let next_token = match items.is_empty() || found.is_end {
            true => String::new(),
            false => page.token_after(&Cursor {
                namespace: namespace.clone(),
                row: last,
            }),
        };
        Ok(Page {
            items,
            next_token,
            revision: snapshot.revision(),
        })
    }
}
