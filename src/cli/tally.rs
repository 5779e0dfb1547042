//! What became of the things of each namespace, for the reports of import and export.

use std::collections::BTreeMap;

use serde::Serialize;

use super::table::Table;

/// By namespace.
#[derive(Default, Serialize)]
#[serde(transparent)]
pub struct Tally(BTreeMap<String, Kinds>);

/// Of one namespace.
#[derive(Default, Serialize)]
pub struct Kinds {
    /// The namespace itself, with its labels.
    pub namespace: Counts,
    pub images: Counts,
    #[serde(skip_serializing_if = "Counts::is_nothing")]
    pub configs: Counts,
    pub leases: Counts,
}

#[derive(Clone, Copy, Default, Serialize)]
pub struct Counts {
    pub created: i64,
    pub changed: i64,
    pub unchanged: i64,
    pub deleted: i64,
}

impl Tally {
    pub fn of(&mut self, namespace: &str) -> &mut Kinds {
        self.0.entry(namespace.to_owned()).or_default()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// A row for each kind of which there was something.
    pub fn table(&self) -> Table {
        let header = [
            "NAMESPACE",
            "KIND",
            "CREATED",
            "CHANGED",
            "UNCHANGED",
            "DELETED",
        ];
        let mut table = Table::new(header);
        for (namespace, kinds) in &self.0 {
            for (kind, counts) in [
                ("namespace", kinds.namespace),
                ("images", kinds.images),
                ("configs", kinds.configs),
                ("leases", kinds.leases),
            ] {
                if counts.all() == 0 {
                    continue;
                }
                table.push([
                    namespace.as_str(),
                    kind,
                    &counts.created.to_string(),
                    &counts.changed.to_string(),
                    &counts.unchanged.to_string(),
                    &counts.deleted.to_string(),
                ]);
            }
        }
        table
    }
}

impl Counts {
    /// Notes a write by what its answer says.
    pub fn note(&mut self, created: bool, changed: bool) {
        match (created, changed) {
            (true, _) => self.created += 1,
            (false, true) => self.changed += 1,
            (false, false) => self.unchanged += 1,
        }
    }

    fn is_nothing(&self) -> bool {
        self.all() == 0
    }

    pub fn all(self) -> i64 {
        self.created + self.changed + self.unchanged + self.deleted
    }
}
