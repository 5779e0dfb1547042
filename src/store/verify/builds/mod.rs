//! Claims and pins against what they are on, and builders against their generations.

mod builders;

use bytes::Bytes;

use super::Check;
use super::repair::Fix;
use crate::domain::Namespace;
use crate::domain::build::Graph;
use crate::error::Error;
use crate::kv::{Key, Table};
use crate::store::edit::as_seen;
use crate::store::{schema, wire};

impl Check {
    /// The build side of a namespace.
    pub(super) async fn builds(&mut self, namespace: &Namespace) -> Result<(), Error> {
        self.builders(namespace).await?;
        self.generations(namespace).await?;
        self.pins(namespace).await?;
        let on_builder = |row: &[u8]| {
            let key = schema::parse_builder(row)?;
            Ok(schema::builder_key(namespace, &key))
        };
        let claims = schema::builder_claims(namespace);
        self.claims(&claims, on_builder).await?;
        self.build_targets(namespace).await?;
        let on_target = |row: &[u8]| {
            let key = schema::parse_build_target(row)?;
            Ok(schema::build_target_key(namespace, &key))
        };
        let claims = schema::build_claims(namespace);
        self.claims(&claims, on_target).await
    }

    /// The note of the time that claims go by can be read.
    pub(super) async fn steady(&mut self) -> Result<(), Error> {
        let Key { table, row } = schema::steady();
        let key = table.key(row.clone());
        let found = self.snapshot.get(&[key]).await?.remove(0);
        let Some(found) = found else {
            return Ok(());
        };
        if let Err(cause) = wire::decode_steady(found.value) {
            self.report_to_remove(&table, row, found.revision, cause.to_string());
        }
        Ok(())
    }

    /// Each claim can be read, is on something that is there, and was granted at a revision that was. One that is not
    /// may go: whoever holds it is refused, and the next token is larger all the same.
    async fn claims(
        &mut self,
        claims: &Table,
        on: impl Fn(&[u8]) -> Result<Key, Error>,
    ) -> Result<(), Error> {
        let mut past = None;
        loop {
            let rows = self.next(claims, &mut past).await?;
            if rows.is_empty() {
                return Ok(());
            }
            for (row, value) in rows {
                let newest = self.found.revision;
                let wrong = match (on(&row), wire::decode_claim(value.value)) {
                    (Err(cause), _) | (_, Err(cause)) => Some(cause.to_string()),
                    (Ok(on), Ok(claim)) => {
                        if !self.has(&on).await? {
                            Some("is on what is not there".to_owned())
                        } else if !(1..=newest.0).contains(&claim.token.0) {
                            let token = claim.token.0;
                            Some(format!("has the token {token}, which nobody was given"))
                        } else {
                            None
                        }
                    }
                };
                if let Some(what) = wrong {
                    self.report_to_remove(claims, row, value.revision, what);
                }
            }
        }
    }

    /// Each target can be read, and all make a graph, which has a row. What cannot be read may go, since whoever declared
    /// it declares it again: while it is there nothing can be declared.
    async fn build_targets(&mut self, namespace: &Namespace) -> Result<(), Error> {
        let targets = schema::build_targets(namespace);
        let (mut past, mut nodes) = (None, Vec::new());
        let (mut is_any, mut has_unreadable) = (false, false);
        loop {
            let rows = self.next(&targets, &mut past).await?;
            if rows.is_empty() {
                break;
            }
            is_any = true;
            for (row, value) in rows {
                if value.revision > self.found.revision {
                    self.report(&targets, &row, "was written at a revision to come");
                }
                let key = schema::parse_build_target(&row);
                match key.and_then(|key| wire::decode_target(key, value.value)) {
                    Ok(read) => nodes.push((read.target, read.progress.state)),
                    Err(cause) => {
                        self.report_to_remove(&targets, row, value.revision, cause.to_string());
                        has_unreadable = true;
                    }
                }
            }
        }
        let Key { table, row } = schema::build_graph_key(namespace);
        if let Err(cause) = Graph::new(nodes) {
            self.report(
                &table,
                &row,
                format!("is of targets that make no graph: {cause}"),
            );
        }
        let graph = table.key(row.clone());
        let seen = self
            .snapshot
            .get(std::slice::from_ref(&graph))
            .await?
            .remove(0);
        if is_any && seen.is_none() {
            self.report(&table, &row, "is missing, and there are targets");
        }
        if has_unreadable || (is_any && seen.is_none()) {
            let guard = as_seen(graph.clone(), seen.as_ref());
            self.mend(Fix::put(guard, graph, Bytes::new()));
        }
        Ok(())
    }

    async fn has(&self, key: &Key) -> Result<bool, Error> {
        let found = self.snapshot.get(std::slice::from_ref(key)).await?;
        Ok(found[0].is_some())
    }
}
