//! Rows that are spoilt or lost: found, told, mended where the rest says how, and never in the way of a removal.

use super::*;
use crate::kv::Key;

/// A parent, a child that was built here and has a target and a child of its own.
struct Family {
    parent: ConfigId,
    id: ConfigId,
    child: ConfigId,
}

fn middle() -> Draft {
    draft(&["a", "b"]).built_by("b", 7)
}

async fn family(on: &On) -> Family {
    let parent = on.create(&draft(&["a"])).await;
    let id = on.build(&middle(), Some(parent)).await;
    on.link(id, *target("one").digest()).await;
    let touch = MarkConfig {
        touch: true,
        ..MarkConfig::new(id)
    };
    on.store.configs().mark(&ns(), &touch).await.unwrap();
    let child = on.create_from(&draft(&["a", "b", "c"]), id).await;
    Family { parent, id, child }
}

type Breakage<'a> = (&'static str, &'a dyn Fn(&mut Batch, &Family));

fn own(id: ConfigId) -> [Key; 4] {
    [
        schema::config_key(&ns(), &id),
        schema::summary_key(&ns(), &id),
        schema::marks_key(&ns(), &id),
        schema::touched_key(&ns(), &id),
    ]
}

const SPOILT: [Breakage; 12] = [
    ("bytes", &|batch, family| {
        let [bytes, ..] = own(family.id);
        batch.put(bytes, "spoilt");
    }),
    ("summary", &|batch, family| {
        let [_, summary, ..] = own(family.id);
        batch.put(summary, "spoilt");
    }),
    ("marks", &|batch, family| {
        let [_, _, marks, _] = own(family.id);
        batch.put(marks, "spoilt");
    }),
    ("touched", &|batch, family| {
        let [.., touched] = own(family.id);
        batch.put(touched, "spoilt");
    }),
    ("bytes and summary", &|batch, family| {
        let [bytes, summary, ..] = own(family.id);
        batch.put(bytes, "spoilt").put(summary, "spoilt");
    }),
    ("all", &|batch, family| {
        for key in own(family.id) {
            batch.put(key, "spoilt");
        }
    }),
    ("no bytes", &|batch, family| {
        let [bytes, ..] = own(family.id);
        batch.delete(bytes);
    }),
    ("no summary", &|batch, family| {
        let [_, summary, ..] = own(family.id);
        batch.delete(summary);
    }),
    ("no marks", &|batch, family| {
        let [_, _, marks, _] = own(family.id);
        batch.delete(marks);
    }),
    ("no bytes and no summary", &|batch, family| {
        let [bytes, summary, ..] = own(family.id);
        batch.delete(bytes).delete(summary);
    }),
    ("marks only", &|batch, family| {
        let [bytes, summary, _, touched] = own(family.id);
        batch.delete(bytes).delete(summary).delete(touched);
    }),
    ("bytes only", &|batch, family| {
        let [_, rest @ ..] = own(family.id);
        for key in rest {
            batch.delete(key);
        }
    }),
];

#[tokio::test]
async fn whatever_is_spoilt_of_a_config_it_is_told_and_can_be_removed() {
    for (what, spoil) in SPOILT {
        let on = On::memory().await;
        let family = family(&on).await;
        on.break_with(|batch| spoil(batch, &family)).await;
        assert_ne!(on.problems().await, [""; 0], "{what}");
        on.remove(family.id).await.unwrap();
        assert_eq!(on.problems().await, [""; 0], "{what}");
        assert_eq!(on.parent(family.child).await, None, "{what}");
        assert_eq!(on.children(family.parent).await, [], "{what}");
        on.store.sweep().await.unwrap();
        on.must_be_sound().await;
    }
}

#[tokio::test]
async fn whatever_is_spoilt_of_a_config_it_is_never_taken_for_whole() {
    for (what, spoil) in SPOILT {
        if what == "touched" {
            continue;
        }
        let on = On::memory().await;
        let family = family(&on).await;
        on.break_with(|batch| spoil(batch, &family)).await;
        let again = CreateConfig::new(middle().bytes());
        let again = on.store.configs().create(&ns(), &again).await;
        assert!(matches!(again, Err(Error::Corrupt(_))), "{what}: {again:?}");
        let read = on.read(family.id).await;
        assert!(matches!(read, Err(Error::Corrupt(_))), "{what}: {read:?}");
        on.remove(family.id).await.unwrap();
        on.create(&middle()).await;
        assert_eq!(on.read(family.id).await.unwrap().bytes, middle().bytes());
        assert_eq!(on.problems().await, [""; 0], "{what}");
    }
}

#[tokio::test]
async fn one_spoilt_config_is_in_no_others_way() {
    for (what, spoil) in SPOILT {
        let on = On::memory().await;
        let family = family(&on).await;
        on.break_with(|batch| spoil(batch, &family)).await;
        let configs = on.store.configs();
        for heads_only in [false, true] {
            let listed = configs.list(&ns(), heads_only, &first()).await;
            assert!(listed.is_ok(), "{what}: {listed:?}");
            let listed = configs.list_full(&ns(), heads_only, &first()).await;
            assert!(listed.is_ok(), "{what}: {listed:?}");
        }
        let text = family.parent.to_string();
        let above = Descendants::of(reference(&text));
        let above = configs.descendants(&ns(), &above).await.unwrap();
        assert!(
            above
                .items
                .iter()
                .any(|found| found.relative.entry.id == family.child),
            "{what}"
        );
        on.create(&draft(&["else"])).await;
        on.read(family.parent).await.unwrap();
        on.read(family.child).await.unwrap();
        on.remove(family.child).await.unwrap();
    }
}

/// All rows of the indexes.
async fn indexes(on: &On) -> Vec<(String, bytes::Bytes, bytes::Bytes)> {
    let view = on.store.snapshot().await.unwrap();
    let mut rows = Vec::new();
    for table in [
        schema::children(&ns()),
        schema::heads(&ns()),
        schema::layers(&ns()),
        schema::targets(&ns()),
        schema::targeted(&ns()),
        schema::cache(&ns()),
        schema::gone(&ns()),
    ] {
        let all = crate::kv::Rows::all(table.clone());
        let found = view.scan(&all, 999).await.unwrap().rows;
        let path = table.path();
        rows.extend(
            found
                .into_iter()
                .map(|(row, found)| (path.to_owned(), row, found.value)),
        );
    }
    rows
}

#[tokio::test]
async fn a_repair_makes_the_indexes_of_configs_what_they_were() {
    let on = On::memory().await;
    let family = family(&on).await;
    let one = *target("one").digest();
    let before = indexes(&on).await;
    assert_eq!(on.store.repair().await.unwrap(), 0);
    // Each row is lost, and each table has one too many.
    for (path, row, _) in &before {
        let table = crate::kv::Table::new(path.as_str());
        for is_lost in [true, false] {
            let mut other = row.to_vec();
            *other.last_mut().unwrap() ^= 1;
            on.break_with(|batch| {
                match is_lost {
                    true => batch.delete(table.key(row.clone())),
                    false => batch.put(table.key(other), ""),
                };
            })
            .await;
            let found = on.problems().await;
            assert_ne!(found, [""; 0], "{path} {is_lost}");
            on.store.repair().await.unwrap();
            assert_eq!(on.problems().await, [""; 0], "{path} {is_lost}");
            // Of targets, whatever one of the two indexes says counts.
            for target in on.read(family.id).await.unwrap().targets {
                if target != one {
                    let unlink = LinkConfig::new(family.id, target);
                    on.store.configs().unlink(&ns(), &unlink).await.unwrap();
                }
            }
            assert_eq!(indexes(&on).await, before, "{path} {is_lost}: {found:?}");
        }
    }
    // And all are.
    on.break_with(|batch| {
        for (path, row, _) in &before {
            batch.delete(crate::kv::Table::new(path.as_str()).key(row.clone()));
        }
    })
    .await;
    on.store.repair().await.unwrap();
    let targets = schema::targets(&ns()).path().to_owned();
    let targeted = schema::targeted(&ns()).path().to_owned();
    let mut left = before;
    // Nothing else tells what is linked to what.
    left.retain(|(path, ..)| *path != targets && *path != targeted);
    assert_eq!(indexes(&on).await, left);
    on.must_be_sound().await;
}

#[tokio::test]
async fn verify_finds_a_config_that_is_its_own_ancestor() {
    let on = On::memory().await;
    let family = family(&on).await;
    let keys = [
        schema::marks_key(&ns(), &family.parent),
        schema::summary_key(&ns(), &family.child),
    ];
    let rows = on.store.snapshot().await.unwrap().get(&keys).await.unwrap();
    let [Some(marks), Some(summary)] = &rows[..] else {
        panic!("they are there");
    };
    let link = schema::Link {
        id: family.child,
        made: summary.revision,
    };
    let mut marks = wire::decode_marks(&family.parent, marks.value.clone()).unwrap();
    marks.parent = Some(link);
    on.break_with(|batch| {
        batch
            .put(keys[0].clone(), wire::encode_marks(&marks))
            .put(schema::child_key(&ns(), &link, &family.parent), "")
            .delete(schema::head_key(&ns(), &family.child));
    })
    .await;
    assert_eq!(
        on.problems().await,
        ["v1/ns/marks: makes the config its own ancestor"]
    );
    let configs = on.store.configs();
    let ancestors = configs.ancestors(&ns(), &family.id, &first()).await;
    assert!(matches!(ancestors, Err(Error::Corrupt(_))));
    let other = on.create(&draft(&["else"])).await;
    let linked = on.set_parent(other, Some(family.id)).await;
    assert!(matches!(linked, Err(Error::Corrupt(_))));
    on.set_parent(family.id, None).await.unwrap();
    on.must_be_sound().await;
}

#[tokio::test]
async fn a_backup_holds_configs_and_all_that_is_known_of_them() {
    let on = On::memory().await;
    let family = family(&on).await;
    let mut bytes = Vec::new();
    let mut backup = on.store.backup().await.unwrap();
    while let Some(part) = backup.next().await {
        if let BackupPart::Chunk { bytes: chunk, .. } = part.unwrap() {
            bytes.extend_from_slice(&chunk);
        }
    }
    drop(backup);
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("new");
    restore(&root, &bytes[..], &surroundings().0, Options::default()).unwrap();
    let kv = Redb::open(&root, Options::default()).unwrap();
    let other = On::kv(Arc::new(kv), None).await;
    assert_eq!(indexes(&other).await, indexes(&on).await);
    for id in [family.parent, family.id, family.child] {
        assert_eq!(other.read(id).await.unwrap(), on.read(id).await.unwrap());
    }
    let again = other.create_from(&draft(&["a", "b", "d"]), family.id).await;
    assert_eq!(other.parent(again).await, Some(family.id));
    assert_eq!(other.children(family.id).await.len(), 2);
    other.must_be_sound().await;
}

/// One row too few and one too many were as many as there should be, and the second of them stayed.
#[tokio::test]
async fn a_lost_layer_and_a_strange_one_are_both_found_and_mended() {
    let on = On::memory().await;
    let family = family(&on).await;
    let before = indexes(&on).await;
    let layers = schema::layers(&ns());
    let mine = before.iter().find(|(path, ..)| *path == layers.path());
    let (_, lost, _) = mine.unwrap();
    let mut strange = lost.to_vec();
    strange[0] ^= 1;
    on.break_with(|batch| {
        batch
            .delete(layers.key(lost.clone()))
            .put(layers.key(strange), "");
    })
    .await;
    assert_eq!(on.problems().await.len(), 2);
    on.store.repair().await.unwrap();
    assert_eq!(indexes(&on).await, before);
    on.read(family.id).await.unwrap();
    on.must_be_sound().await;
}

/// What an earlier config of the same bytes left behind used up what was looked at.
#[tokio::test]
async fn a_damaged_config_loses_its_children_however_many_were_left_behind() {
    let on = On::memory().await;
    on.create(&draft(&["first"])).await;
    let parent = on.create(&draft(&["a"])).await;
    let child = on.create_from(&draft(&["a", "b"]), parent).await;
    let old = schema::Link {
        id: parent,
        made: Revision(1),
    };
    on.break_with(|batch| {
        batch.put(schema::gone_key(&ns(), &old), "");
        for i in 0..Configs::MAX_ORPHANS as u32 {
            let mut id = [0; 32];
            id[..4].copy_from_slice(&i.to_be_bytes());
            batch.put(
                schema::child_key(&ns(), &old, &ConfigId::from_bytes(id)),
                "",
            );
        }
        batch.put(schema::marks_key(&ns(), &parent), &b"\xff"[..]);
    })
    .await;
    on.remove(parent).await.unwrap();
    on.read(child).await.unwrap();
    on.must_be_sound().await;
}
