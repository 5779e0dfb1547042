//! What the store is and how it fares.

use std::sync::Arc;

use tokio::sync::watch;
use tokio::task::coop;

use super::backup::LastBackup;
use super::namespaces::Namespaces;
use super::{Store, StoreId, schema};
use crate::domain::Timestamp;
use crate::error::Error;
use crate::kv::Revision;

/// What the store is and how it fares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    pub id: StoreId,
    pub schema_version: u32,
    /// The newest revision.
    pub revision: Revision,
    /// The oldest revision whose change is still in the change log.
    pub oldest_revision: Revision,
    pub namespaces: u64,
    pub images: u64,
    pub configs: u64,
    pub builders: u64,
    /// Build targets.
    pub targets: u64,
    /// Records of all kinds: namespaces, images, generations in history, leases, configs, builders, build targets.
    pub records: u64,
    pub tables: u64,
    /// Bytes on disk.
    pub size_bytes: u64,
    /// Those of them that hold nothing; [`Store::compact`] gives them back.
    pub reusable_bytes: u64,
    /// Bytes free on the file system.
    pub free_bytes: u64,
    /// Why writes are refused; `None` while they are not.
    pub stopped: Option<Arc<str>>,
    pub opened_at: Timestamp,
    /// `redb`, `memory`.
    pub engine: &'static str,
    pub last_backup: Option<LastBackup>,
}

/// What is counted in the tables.
#[derive(Default)]
struct Counts {
    revision: Revision,
    oldest_revision: Revision,
    namespaces: u64,
    images: u64,
    generations: u64,
    leases: u64,
    configs: u64,
    builders: u64,
    targets: u64,
    tables: u64,
    last_backup: Option<LastBackup>,
}

impl Store {
    /// Costs a look at each namespace's tables, and none at their rows.
    pub async fn status(&self) -> Result<Status, Error> {
        let disk = self.inner.kv.disk().await;
        let stopped = self.stopped().borrow().clone();
        let counts = match self.counts().await {
            // What cannot be counted is no reason not to say why.
            Err(_) if stopped.is_some() => Counts::default(),
            counts => counts?,
        };
        Ok(Status {
            id: self.id(),
            schema_version: schema::VERSION,
            revision: counts.revision,
            oldest_revision: counts.oldest_revision,
            namespaces: counts.namespaces,
            images: counts.images,
            configs: counts.configs,
            builders: counts.builders,
            targets: counts.targets,
            records: counts.namespaces
                + counts.images
                + counts.generations
                + counts.leases
                + counts.configs
                + counts.builders
                + counts.targets,
            tables: counts.tables,
            size_bytes: disk.size_bytes,
            reusable_bytes: disk.reusable_bytes,
            free_bytes: disk.free_bytes,
            stopped,
            opened_at: self.inner.opened_at,
            engine: disk.engine,
            last_backup: counts.last_backup,
        })
    }

    async fn counts(&self) -> Result<Counts, Error> {
        let snapshot = self.snapshot().await?;
        let names = Namespaces::names(&*snapshot).await?;
        let mut counts = Counts {
            revision: snapshot.revision(),
            namespaces: names.len() as u64,
            ..Counts::default()
        };
        for name in &names {
            coop::consume_budget().await;
            for (count, table) in [
                (&mut counts.images, schema::images(name)),
                (&mut counts.generations, schema::history(name)),
                (&mut counts.leases, schema::leases(name)),
                (&mut counts.configs, schema::configs(name)),
                (&mut counts.builders, schema::builders(name)),
                (&mut counts.targets, schema::build_targets(name)),
            ] {
                *count += snapshot.count(&table).await?;
            }
        }
        counts.oldest_revision = snapshot.oldest_change().await?;
        counts.tables = snapshot.tables("").await?.len() as u64;
        let last_backup = snapshot.get(&[schema::last_backup()]).await?.remove(0);
        counts.last_backup = last_backup
            .map(|row| schema::parse_last_backup(&row.value))
            .transpose()?;
        Ok(counts)
    }

    /// Why writes are refused, as it changes; `None` while they are not.
    pub fn stopped(&self) -> watch::Receiver<Option<Arc<str>>> {
        self.inner.kv.stopped()
    }
}
