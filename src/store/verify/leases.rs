//! Leases against what they hold, what counts that, and the index of when they expire.

use bytes::Bytes;

use super::repair::Fix;
use super::{Check, STEP};
use crate::domain::{Lease, LeaseId, Namespace};
use crate::error::Error;
use crate::kv::{Guard, Key, Revision, Rows};
use crate::store::edit::as_seen;
use crate::store::wire::Holds;
use crate::store::{schema, wire};

impl Check {
    /// Each lease can be read, is said to hold what it does, and is in the index if it expires.
    pub(super) async fn leases(&mut self, namespace: &Namespace) -> Result<(), Error> {
        let leases = schema::leases(namespace);
        let mut past = None;
        loop {
            let rows = self.next(&leases, &mut past).await?;
            if rows.is_empty() {
                return Ok(());
            }
            for (row, value) in rows {
                if value.revision > self.found.revision {
                    self.report(&leases, &row, "was written at a revision to come");
                }
                let revision = value.revision;
                let id = schema::parse_lease(&row);
                match id.and_then(|id| wire::decode_lease(id, value.value)) {
                    Ok(lease) => self.lease(namespace, &lease, revision).await?,
                    Err(cause) => self.report(&leases, &row, cause.to_string()),
                }
            }
        }
    }

    async fn lease(
        &mut self,
        namespace: &Namespace,
        lease: &Lease,
        made: Revision,
    ) -> Result<(), Error> {
        let key = schema::lease_key(namespace, &lease.id);
        let mut keys = vec![schema::held_key(namespace, &lease.id)];
        keys.extend(
            lease
                .expires_at()
                .map(|at| schema::expiring_key(namespace, at, &lease.id)),
        );
        let found = self.snapshot.get(&keys).await?;
        let holds = self.holds(namespace, &lease.id).await?;
        let counted = found[0].as_ref();
        let said = counted.map(|row| wire::decode_holds(&lease.id, row.value.clone()));
        let wrong = match said {
            None => Some("is not said how much it holds".to_owned()),
            Some(Err(cause)) => Some(cause.to_string()),
            Some(Ok(said)) => (said != holds).then(|| {
                format!(
                    "counts {} resources of {} bytes, and holds {} of {}",
                    said.resources, said.bytes, holds.resources, holds.bytes
                )
            }),
        };
        if let Some(what) = wrong {
            self.report(&keys[0].table, &keys[0].row, what);
            let guard = as_seen(keys[0].clone(), counted);
            let fix = Fix::put(guard, keys[0].clone(), wire::encode_holds(holds));
            self.mend(fix);
        }
        if let Some(expiring) = keys.pop_if(|_| found.len() == 2 && found[1].is_none()) {
            self.report(
                &key.table,
                &key.row,
                "expires and is not in the index of those",
            );
            self.mend(Fix::add(Guard::Unchanged(key, made), expiring));
        }
        Ok(())
    }

    /// How much the rows say that a lease holds.
    async fn holds(&self, namespace: &Namespace, id: &LeaseId) -> Result<Holds, Error> {
        let part = schema::leased_part(id);
        let mut rest = Rows::starting_with(schema::leased(namespace), &part);
        let mut holds = Holds::default();
        loop {
            let found = self.snapshot.scan(&rest, STEP).await?;
            let Some((last, _)) = found.rows.last() else {
                return Ok(holds);
            };
            rest = rest.after(last.clone());
            // One that cannot be read is told of elsewhere.
            let rows = found.rows.iter().map(|(row, _)| row);
            holds = rows
                .filter(|row| schema::parse_leased_row(row).is_ok())
                .fold(holds, |holds, row| holds.with(row));
            if found.is_end {
                return Ok(holds);
            }
        }
    }

    /// Each row of what leases hold can be read, and is of a lease that is there.
    pub(super) async fn leased(&mut self, namespace: &Namespace) -> Result<(), Error> {
        let leased = schema::leased(namespace);
        let (mut past, mut last) = (None, None::<(LeaseId, bool)>);
        loop {
            let rows = self.next(&leased, &mut past).await?;
            if rows.is_empty() {
                return Ok(());
            }
            for (row, _) in rows {
                let id = match schema::parse_leased_row(&row) {
                    Ok((id, _)) => id,
                    Err(cause) => {
                        self.report(&leased, &row, cause.to_string());
                        continue;
                    }
                };
                let key = schema::lease_key(namespace, &id);
                let is_there = match &last {
                    Some((last, is_there)) if *last == id => *is_there,
                    _ => self.is_there(&key).await?,
                };
                last = Some((id, is_there));
                if !is_there {
                    self.report(&leased, &row, "is of a lease that is not there");
                    self.mend(Fix::remove(Guard::Absent(key), leased.key(row)));
                }
            }
        }
    }

    /// Each row that counts is of a lease that is there; what it counts has been checked with that.
    pub(super) async fn held(&mut self, namespace: &Namespace) -> Result<(), Error> {
        let (leases, held) = (schema::leases(namespace), schema::held(namespace));
        let mut past = None;
        loop {
            let rows = self.next(&held, &mut past).await?;
            if rows.is_empty() {
                return Ok(());
            }
            for (row, _) in rows {
                let key = leases.key(row.clone());
                if !self.is_there(&key).await? {
                    self.report(&held, &row, "counts for a lease that is not there");
                    self.mend(Fix::remove(Guard::Absent(key), held.key(row)));
                }
            }
        }
    }

    /// Each row of the index of leases that expire leads to one that expires then.
    pub(super) async fn expiring(&mut self, namespace: &Namespace) -> Result<(), Error> {
        let expiring = schema::expiring(namespace);
        let mut past = None;
        loop {
            let rows = self.next(&expiring, &mut past).await?;
            if rows.is_empty() {
                return Ok(());
            }
            for (row, value) in rows {
                if !self.expires(namespace, &row).await? {
                    let what = "names a lease that does not expire then";
                    self.report_to_remove(&expiring, row, value.revision, what);
                }
            }
        }
    }

    async fn expires(&self, namespace: &Namespace, row: &Bytes) -> Result<bool, Error> {
        let Ok((at, id)) = schema::parse_expiring_row(row) else {
            return Ok(false);
        };
        let key = schema::lease_key(namespace, &id);
        let found = self.snapshot.get(&[key]).await?.remove(0);
        let lease = found.map(|found| wire::decode_lease(id, found.value));
        Ok(matches!(lease, Some(Ok(lease)) if lease.expires_at() == Some(at)))
    }

    async fn is_there(&self, key: &Key) -> Result<bool, Error> {
        let found = self.snapshot.get(std::slice::from_ref(key)).await?;
        Ok(found[0].is_some())
    }
}
