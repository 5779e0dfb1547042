//! Builders against their generations, and pins against both.

use bytes::Bytes;

use super::super::Check;
use super::super::repair::Fix;
use crate::domain::Namespace;
use crate::domain::build::{BuilderKey, Sequence};
use crate::error::Error;
use crate::kv::{Guard, Revision};
use crate::store::wire::BuilderRow;
use crate::store::{schema, wire};

/// A builder that generations were looked at for.
struct Owner {
    key: BuilderKey,
    /// Its own row, where it is there; and what that says, where it can be read.
    row: Option<(Option<BuilderRow>, Revision)>,
}

impl Check {
    /// Each builder can be read.
    pub(super) async fn builders(&mut self, namespace: &Namespace) -> Result<(), Error> {
        let builders = schema::builders(namespace);
        let mut past = None;
        loop {
            let rows = self.next(&builders, &mut past).await?;
            if rows.is_empty() {
                return Ok(());
            }
            for (row, value) in rows {
                if value.revision > self.found.revision {
                    self.report(&builders, &row, "was written at a revision to come");
                }
                let key = schema::parse_builder(&row);
                if let Err(cause) = key.and_then(|key| wire::decode_builder(&key, value.value)) {
                    self.report(&builders, &row, cause.to_string());
                }
            }
        }
    }

    /// Each generation can be read, and is one of those that its builder has made.
    pub(super) async fn generations(&mut self, namespace: &Namespace) -> Result<(), Error> {
        let generations = schema::generations(namespace);
        let (mut past, mut last) = (None, None::<Owner>);
        loop {
            let rows = self.next(&generations, &mut past).await?;
            if rows.is_empty() {
                return Ok(());
            }
            for (row, value) in rows {
                let (key, sequence) = match schema::parse_builder_part(&row) {
                    Ok((key, number)) => (key, Sequence(number)),
                    Err(cause) => {
                        self.report_to_remove(&generations, row, value.revision, cause.to_string());
                        continue;
                    }
                };
                if let Err(cause) = wire::decode_generation(&key, sequence, value.value) {
                    self.report(&generations, &row, cause.to_string());
                }
                let owner = match last.take() {
                    Some(owner) if owner.key == key => owner,
                    _ => self.owner(namespace, key).await?,
                };
                match &owner.row {
                    None => {
                        let what = "is of a builder that is not there";
                        self.report_to_remove(&generations, row, value.revision, what);
                    }
                    Some((Some(own), revision)) if sequence > own.last || sequence.0 == 0 => {
                        let what = "has a number that its builder did not give";
                        self.report(&generations, &row, what);
                        let own = BuilderRow {
                            last: sequence,
                            ..own.clone()
                        };
                        self.mend_last(namespace, &owner.key, own, *revision);
                    }
                    Some(_) => {}
                }
                last = Some(owner);
            }
        }
    }

    /// The numbers are found in order, so that the highest is what is written in the end.
    fn mend_last(
        &mut self,
        namespace: &Namespace,
        key: &BuilderKey,
        own: BuilderRow,
        seen: Revision,
    ) {
        let key = schema::builder_key(namespace, key);
        if own.last.0 > 0
            && let Ok(value) = wire::encode_builder(&own)
        {
            let guard = Guard::Unchanged(key.clone(), seen);
            self.mend(Fix::put(guard, key, value));
        }
    }

    async fn owner(&self, namespace: &Namespace, key: BuilderKey) -> Result<Owner, Error> {
        let own = schema::builder_key(namespace, &key);
        let row = self.snapshot.get(&[own]).await?.remove(0);
        let row = row.map(|row| {
            let own = wire::decode_builder(&key, row.value).ok();
            (own, row.revision)
        });
        Ok(Owner { key, row })
    }

    /// Each pin can be read, and is on a generation that is there. One that is not may go: nobody can renew it.
    pub(super) async fn pins(&mut self, namespace: &Namespace) -> Result<(), Error> {
        let pins = schema::pins(namespace);
        let mut past = None;
        loop {
            let rows = self.next(&pins, &mut past).await?;
            if rows.is_empty() {
                return Ok(());
            }
            for (row, value) in rows {
                if let Some(what) = self.wrong_pin(namespace, &row, value.value).await? {
                    self.report_to_remove(&pins, row, value.revision, what);
                }
            }
        }
    }

    async fn wrong_pin(
        &self,
        namespace: &Namespace,
        row: &[u8],
        value: Bytes,
    ) -> Result<Option<String>, Error> {
        let (key, pin) = match (schema::parse_builder_part(row), wire::decode_pin(value)) {
            (Ok((key, _)), Ok(pin)) => (key, pin),
            (Err(cause), _) | (_, Err(cause)) => return Ok(Some(cause.to_string())),
        };
        let generation = schema::generation_key(namespace, &key, pin.generation);
        let is_there = self.has(&generation).await?;
        Ok((!is_there).then(|| "is on a generation that is not there".to_owned()))
    }
}
