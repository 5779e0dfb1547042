//! What is done with a store that nobody has open: making one of rows, and checking every page.

use std::fs;
use std::path::Path;

use super::files::{DATABASE_FILE, Files, JOURNAL_FILE, UNFINISHED_FILE, make_folder};
use super::lock::Lock;
use super::{CHANGES, Options, Redb, caught, is_internal, rows, view};
use crate::kv::{Change, Key, OpenError, Revision, Table, Versioned};

impl Redb {
    /// Makes a store of rows with the revisions that they have, in a folder that is empty or missing. Its
    /// next revision is the one after `at`; its change log begins there, with a change without effects.
    ///
    /// [`OpenError::NotEmpty`] where there is something already. After an error, or a crash, there is
    /// no store.
    pub fn restore<E: From<OpenError>>(
        root: &Path,
        options: Options,
        from: impl IntoIterator<Item = Result<(Key, Versioned), E>>,
        at: Revision,
        at_millis: i64,
    ) -> Result<(), E> {
        let files = Files {
            root: root.to_owned(),
            options,
        };
        // Looked at before anything is left in it, and again once nobody else can.
        if root.exists() {
            files.check_empty()?;
        }
        make_folder(root)?;
        let _lock = Lock::take(root)?;
        files.check_empty()?;
        let filled = files.fill(from, at, at_millis);
        if filled.is_err() {
            files.remove_unfinished(UNFINISHED_FILE);
        }
        filled?;
        files.name_whole()?;
        // Makes the journal too.
        files.open()?;
        Ok(())
    }

    /// Reads every page of a store that is not open, without changing anything. Returns its newest
    /// revision.
    ///
    /// [`OpenError::Corrupt`] when a page or the journal is not as it was written.
    pub fn check(root: &Path, options: Options) -> Result<Revision, OpenError> {
        let files = Files {
            root: root.to_owned(),
            options,
        };
        for name in [DATABASE_FILE, JOURNAL_FILE] {
            // Opening would make it.
            let path = root.join(name);
            fs::metadata(&path).map_err(files.io("find", &path))?;
        }
        let _lock = Lock::take(root)?;
        let mut database = files.open_shadow(Revision(u64::MAX))?;
        let checked = caught(|| database.check_integrity())
            .ok_or_else(|| files.corrupt("its pages make no sense"))?;
        match checked {
            Ok(true) => {}
            Ok(false) => return Err(files.corrupt("a page is not as it was written")),
            Err(redb::DatabaseError::Storage(cause)) => return Err(files.failed(cause.into())),
            Err(cause) => return Err(files.corrupt(cause)),
        }
        view::last_revision(&database).map_err(|cause| files.failed(cause))
    }
}

impl Files {
    /// What an attempt that failed left is nothing.
    fn check_empty(&self) -> Result<(), OpenError> {
        let read = |cause| self.io("read", &self.root)(cause);
        for entry in fs::read_dir(&self.root).map_err(read)? {
            let name = entry.map_err(read)?.file_name();
            if name != super::lock::LOCK_FILE && name != UNFINISHED_FILE {
                return Err(OpenError::NotEmpty {
                    path: self.root.clone(),
                    found: name,
                });
            }
        }
        Ok(())
    }

    /// Writes the unfinished database file, whole and durable.
    fn fill<E: From<OpenError>>(
        &self,
        from: impl IntoIterator<Item = Result<(Key, Versioned), E>>,
        at: Revision,
        at_millis: i64,
    ) -> Result<(), E> {
        let failed = |cause: redb::Error| E::from(self.failed(cause));
        let (database, _) = self.fresh_database(UNFINISHED_FILE)?;
        self.identity(&database).map_err(failed)?;
        // One transaction, so that no page is written twice.
        let mut txn = database.begin_write().map_err(|e| failed(e.into()))?;
        txn.set_quick_repair(true);
        {
            let open = |path: &str| txn.open_table(rows(path)).map_err(|e| failed(e.into()));
            let mut current: Option<(Table, super::apply::Open<'_>)> = None;
            for row in from {
                let (key, Versioned { revision, value }) = row?;
                if revision > at || is_internal(key.table.path()) {
                    let table = &key.table;
                    let why =
                        format!("a row of {table} at revision {revision} does not belong there");
                    return Err(self.corrupt(why).into());
                }
                let mut table = match current.take() {
                    Some((table, open)) if table == key.table => open,
                    _ => open(key.table.path())?,
                };
                table
                    .insert(&key.row[..], (revision.0, &value[..]))
                    .map_err(|e| failed(e.into()))?;
                current = Some((key.table, table));
            }
            drop(current);
            let begin = Change {
                revision: at,
                at_millis,
                effects: Vec::new(),
            };
            super::apply::write_log_row(&mut open(CHANGES)?, &[begin]).map_err(failed)?;
        }
        txn.commit().map_err(|e| failed(e.into()))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt;

    use super::*;
    use crate::kv::{Batch, Guard, Kv, Rows};

    const AT: Revision = Revision(1 << 40);

    fn images() -> Table {
        Table::logged("v1/a/images")
    }

    fn row(row: u64, revision: u64) -> Result<(Key, Versioned), OpenError> {
        let value = Versioned {
            revision: Revision(revision),
            value: vec![7; 500].into(),
        };
        Ok((images().key(format!("{row:06}")), value))
    }

    fn restore(
        root: &Path,
        rows: impl IntoIterator<Item = Result<(Key, Versioned), OpenError>>,
    ) -> Result<(), OpenError> {
        Redb::restore(root, Options::default(), rows, AT, 7)
    }

    fn open(root: &Path) -> Redb {
        Redb::open(root, Options::default()).unwrap()
    }

    #[tokio::test]
    async fn a_restored_store_has_the_rows_at_their_revisions_and_goes_on_after_its_own() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("new");
        let other = Ok((Table::new("v1/b").key("b"), row(0, 3).unwrap().1));
        restore(&root, (1..=100).map(|i| row(i, i)).chain([other])).unwrap();
        let kv = open(&root);
        let view = kv.snapshot().await.unwrap();
        assert_eq!(view.revision(), AT);
        assert_eq!(view.oldest_change().await.unwrap(), AT);
        assert_eq!(view.changes(AT, 9).await.unwrap(), []);
        assert_eq!(view.tables("").await.unwrap().len(), 2);
        let found = view.scan(&Rows::all(images()), 999).await.unwrap().rows;
        let wanted = (1..=100).map(|i| row(i, i).unwrap());
        let wanted: Vec<_> = wanted.map(|(key, value)| (key.row, value)).collect();
        assert_eq!(found, wanted);

        let mut batch = Batch::new(0);
        let first = images().key("000001");
        batch
            .guard(Guard::Unchanged(first.clone(), Revision(1)))
            .put(first, "2");
        assert_eq!(kv.commit(batch).await.unwrap(), AT.next());
        drop(kv);
        assert_eq!(Redb::check(&root, Options::default()).unwrap(), AT.next());
    }

    #[test]
    fn a_folder_with_something_in_it_is_refused_and_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("mine"), "1").unwrap();
        let refused = restore(dir.path(), [row(1, 1)]);
        assert!(matches!(refused, Err(OpenError::NotEmpty { found, .. }) if found == "mine"));
        assert_eq!(fs::read(dir.path().join("mine")).unwrap(), b"1");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);

        let root = dir.path().join("store");
        drop(open(&root));
        let refused = restore(&root, [row(1, 1)]);
        assert!(matches!(refused, Err(OpenError::NotEmpty { .. })));
        let _open = open(&root);
        let refused = restore(&root, []);
        assert!(
            matches!(refused, Err(OpenError::NotEmpty { .. })),
            "while it is open too"
        );
    }

    #[test]
    fn rows_that_end_with_an_error_leave_no_store_and_can_be_tried_again() {
        let dir = tempfile::tempdir().unwrap();
        let broken = || {
            Err(OpenError::Locked {
                path: "given".into(),
                holder: None,
            })
        };
        let refused = restore(dir.path(), [row(1, 1), broken()]);
        assert!(matches!(refused, Err(OpenError::Locked { .. })));
        // Of another store's engine, and of a later revision than the store's.
        let internal = Ok((Table::new("engine").key("x"), row(0, 1).unwrap().1));
        for rows in [vec![internal], vec![row(1, AT.0 + 1)]] {
            assert!(matches!(
                restore(dir.path(), rows),
                Err(OpenError::Corrupt { .. })
            ));
        }
        assert!(!dir.path().join(DATABASE_FILE).exists());
        assert!(!dir.path().join(UNFINISHED_FILE).exists());
        fs::write(dir.path().join(UNFINISHED_FILE), "what a crash left").unwrap();
        restore(dir.path(), [row(1, 1)]).unwrap();
        drop(open(dir.path()));
    }

    #[tokio::test]
    async fn a_check_changes_nothing_and_finds_every_page_that_was_changed() {
        let dir = tempfile::tempdir().unwrap();
        restore(dir.path(), (1..=2000).map(|i| row(i, i))).unwrap();
        let kv = open(dir.path());
        let mut batch = Batch::new(0);
        batch.put(images().key("in the journal"), "1");
        kv.commit(batch).await.unwrap();
        assert!(matches!(
            Redb::check(dir.path(), Options::default()),
            Err(OpenError::Locked { .. })
        ));
        // As a kill leaves it.
        let image = tempfile::tempdir().unwrap();
        for file in fs::read_dir(dir.path()).unwrap() {
            let file = file.unwrap();
            fs::copy(file.path(), image.path().join(file.file_name())).unwrap();
        }
        let path = image.path().join(DATABASE_FILE);
        let before = fs::read(&path).unwrap();
        let checked = Redb::check(image.path(), Options::default());
        assert_eq!(checked.unwrap(), AT.next());
        assert!(fs::read(&path).unwrap() == before);

        let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
        let mut damaged = 0;
        for page in (0..before.len()).step_by(4096) {
            // In the middle of a row's value, where nothing but a checksum sees it.
            let Some(at) = before[page..page + 4096]
                .windows(64)
                .position(|it| it == [7; 64])
            else {
                continue;
            };
            damaged += 1;
            if damaged % 20 != 0 {
                continue;
            }
            let at = (page + at + 32) as u64;
            file.write_all_at(&[8], at).unwrap();
            let checked = Redb::check(image.path(), Options::default());
            assert!(
                matches!(checked, Err(OpenError::Corrupt { .. })),
                "{at}: {checked:?}"
            );
            file.write_all_at(&[7], at).unwrap();
        }
        assert!(damaged > 100, "{damaged}");
    }

    #[test]
    fn a_check_makes_no_store() {
        let dir = tempfile::tempdir().unwrap();
        let checked = Redb::check(dir.path(), Options::default());
        assert!(matches!(checked, Err(OpenError::Io { .. })));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
