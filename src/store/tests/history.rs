//! What a name was: generations, rollback, reading at a revision, and how long they are kept.

use super::*;
use crate::domain::HistoryLimit;

on_every_engine![
    what_a_put_or_delete_supersedes_is_in_history_newest_first,
    a_page_of_history_goes_on_where_the_last_one_ended,
    a_name_is_read_as_it_was_at_each_revision,
    what_a_name_was_before_the_oldest_kept_generation_is_said_to_be_trimmed,
    a_rollback_puts_an_older_generation_again_as_a_new_one,
    a_rollback_brings_back_a_deleted_name_with_its_age,
    a_rollback_to_what_is_not_kept_changes_nothing,
    history_is_trimmed_to_the_namespaces_limit_in_the_write_itself,
    a_limit_of_none_keeps_none,
    what_was_kept_before_a_limit_of_none_goes_or_expires,
    what_was_not_kept_between_two_that_were_is_said_to_be_trimmed,
    what_a_name_was_whose_whole_history_was_dropped_is_said_to_be_trimmed,
    what_a_name_was_whose_whole_history_expired_is_said_to_be_trimmed,
    history_of_a_deleted_name_expires_and_that_of_a_standing_one_does_not,
    a_history_of_large_records_expires_piece_by_piece,
    a_removal_of_a_namespace_takes_its_history_along,
];

/// Each generation of a name, newest first: its content, the revision that made it, and how it ended.
async fn history(on: &On, size: u32) -> Vec<(Descriptor, u64, Option<(u64, EndedBy)>)> {
    let mut page = PageRequest {
        size,
        token: String::new(),
    };
    let mut all = Vec::new();
    loop {
        let images = on.store.images();
        let found = images
            .history(&namespace("ns"), &name("a"), &page)
            .await
            .unwrap();
        assert!(size == 0 || found.items.len() <= size as usize);
        all.extend(found.items.into_iter().map(|generation| {
            let ended = generation.ended.map(|end| (end.revision.0, end.by));
            let stored = generation.stored;
            (stored.record.target, stored.revision.0, ended)
        }));
        if found.next_token.is_empty() {
            return all;
        }
        page.token = found.next_token;
    }
}

async fn limit(on: &On, limit: Option<u32>) {
    let limit = limit.map(|limit| HistoryLimit::try_from(limit).unwrap());
    on.put("ns/other", "x").await;
    let put = PutNamespace {
        name: namespace("ns"),
        change: NamespaceChange::Edit(vec![NamespaceEdit::HistoryLimit(limit)]),
        dating: Dating::Changes,
        when: Precondition::None,
        validate_only: false,
        request: None,
    };
    on.store.namespaces().put(&put).await.unwrap();
}

async fn what_a_put_or_delete_supersedes_is_in_history_newest_first(on: &On) {
    let first = on.put("ns/a", "one").await.revision.0;
    let second = on.put("ns/a", "two").await.revision.0;
    on.at(2000);
    let ns = namespace("ns");
    let images = on.store.images().for_caller(Some("uid:7"));
    let removed = images
        .delete(&ns, &DeleteImage::new(name("a")))
        .await
        .unwrap()
        .revision
        .0;
    let third = on.put("ns/a", "three").await.revision.0;
    assert_eq!(
        history(on, 0).await,
        [
            (target("three"), third, None),
            (target("two"), second, Some((removed, EndedBy::Delete))),
            (target("one"), first, Some((second, EndedBy::Put))),
        ]
    );
    let page = PageRequest::default();
    let found = images.history(&ns, &name("a"), &page).await.unwrap();
    let end = found.items[1].ended.clone().unwrap();
    assert_eq!(
        (end.at.seconds(), end.caller.as_deref()),
        (2000, Some("uid:7"))
    );
    assert_eq!(found.items[2].ended.clone().unwrap().caller, None);
    let missing = images.history(&ns, &name("b"), &page).await;
    assert!(matches!(missing, Err(Error::NotFound(_))));
}

async fn a_page_of_history_goes_on_where_the_last_one_ended(on: &On) {
    for i in 0..7 {
        on.put("ns/a", &i.to_string()).await;
        on.put("ns/ab", &i.to_string()).await;
    }
    let all = history(on, 0).await;
    assert_eq!(all.len(), 7);
    for size in 1..8 {
        assert_eq!(history(on, size).await, all, "pages of {size}");
    }
    let images = on.store.images();
    let first = PageRequest {
        size: 1,
        token: String::new(),
    };
    let token = images
        .history(&namespace("ns"), &name("a"), &first)
        .await
        .unwrap()
        .next_token;
    let elsewhere = PageRequest { size: 1, token };
    let refused = images
        .history(&namespace("ns"), &name("ab"), &elsewhere)
        .await;
    assert!(matches!(refused, Err(Error::Invalid(invalid)) if invalid.field() == "page_token"));
}

async fn a_name_is_read_as_it_was_at_each_revision(on: &On) {
    let mut then: Vec<(u64, Option<Descriptor>)> = Vec::new();
    on.put("ns/other", "x").await;
    then.push((on.put("ns/other", "y").await.revision.0, None));
    for content in ["one", "two", "-", "three", "-", "four"] {
        let now = if content == "-" {
            (on.delete("ns/a").await.unwrap().revision.0, None)
        } else {
            let put = on.put("ns/a", content).await;
            (put.revision.0, Some(target(content)))
        };
        then.push(now.clone());
        let between = on.put("ns/other", content).await.revision.0;
        then.push((between, now.1));
    }
    for (revision, wanted) in then {
        let images = on.store.images();
        let got = images
            .get_at(&namespace("ns"), &name("a"), Revision(revision))
            .await;
        match wanted {
            Some(target) => assert_eq!(got.unwrap().value.record.target, target, "{revision}"),
            None => assert!(
                matches!(got, Err(Error::NotFound(_))),
                "{revision}: {got:?}"
            ),
        }
    }
    let images = on.store.images();
    let newest = on.store.status().await.unwrap().revision;
    let future = images
        .get_at(&namespace("ns"), &name("a"), newest.next())
        .await;
    assert!(matches!(future, Err(Error::UnknownRevision { .. })));
}

async fn what_a_name_was_before_the_oldest_kept_generation_is_said_to_be_trimmed(on: &On) {
    limit(on, Some(2)).await;
    let mut made = Vec::new();
    for i in 0..6 {
        made.push(on.put("ns/a", &i.to_string()).await.revision);
    }
    let images = on.store.images();
    let at = async |revision| images.get_at(&namespace("ns"), &name("a"), revision).await;
    assert!(matches!(
        at(made[1]).await,
        Err(Error::HistoryTrimmed { oldest, .. }) if oldest == made[3]
    ));
    assert_eq!(at(made[3]).await.unwrap().value.record.target, target("3"));
    limit(on, Some(0)).await;
    on.put("ns/a", "6").await;
    on.put("ns/a", "7").await;
    let last = on.put("ns/a", "8").await.revision;
    assert!(matches!(
        at(made[5]).await,
        Err(Error::HistoryTrimmed { oldest, .. }) if oldest == last
    ));
}

async fn a_rollback_puts_an_older_generation_again_as_a_new_one(on: &On) {
    let ns = namespace("ns");
    let one = on.put("ns/a", "one").await.revision;
    on.put("ns/a", "two").await;
    on.put("ns/a", "three").await;
    let images = on.store.images();
    let before = RollbackImage::new(name("a"));
    let back = images.rollback(&ns, before.clone()).await.unwrap();
    assert_eq!(back.value.stored.record.target, target("two"));
    assert!(back.value.changed && !back.value.created);
    assert_eq!(back.value.stored.revision, back.revision);
    let to_one = RollbackImage {
        to: Some(one),
        ..before.clone()
    };
    let would = RollbackImage {
        validate_only: true,
        ..to_one.clone()
    };
    let would = images.rollback(&ns, would).await.unwrap();
    assert_eq!(would.value.stored.record.target, target("one"));
    assert_eq!(on.get("ns/a").await.unwrap().record.target, target("two"));
    let stale = RollbackImage {
        when: Precondition::Matches {
            etag: Some(one),
            target: None,
        },
        ..to_one.clone()
    };
    let stale = images.rollback(&ns, stale).await;
    assert!(matches!(stale, Err(Error::EtagMismatch { .. })));
    images.rollback(&ns, to_one).await.unwrap();
    let contents: Vec<_> = history(on, 0).await.into_iter().map(|(t, ..)| t).collect();
    assert_eq!(
        contents,
        ["one", "two", "three", "two", "one"].map(target),
        "nothing is rewritten"
    );
    let current = on.get("ns/a").await.unwrap().revision;
    let nowhere = RollbackImage {
        to: Some(current),
        ..before
    };
    assert!(!images.rollback(&ns, nowhere).await.unwrap().value.changed);
    assert_eq!(on.find(&one_digest("one")).await, ["ns/a"]);
}

fn one_digest(content: &str) -> ImageQuery {
    one("ns").pointing_to(DigestQuery::Is(*target(content).digest()))
}

async fn a_rollback_brings_back_a_deleted_name_with_its_age(on: &On) {
    let ns = namespace("ns");
    let made = on.put("ns/a", "one").await.value.stored.record;
    on.at(2000);
    on.delete("ns/a").await.unwrap();
    on.at(3000);
    let images = on.store.images();
    let back = images
        .rollback(&ns, RollbackImage::new(name("a")))
        .await
        .unwrap()
        .value;
    assert!(back.created && back.changed);
    assert_eq!(back.stored.record.target, made.target);
    assert_eq!(back.stored.record.created_at, made.created_at);
    assert_eq!(back.stored.record.updated_at.seconds(), 3000);
}

async fn a_rollback_to_what_is_not_kept_changes_nothing(on: &On) {
    let ns = namespace("ns");
    let images = on.store.images();
    let missing = images.rollback(&ns, RollbackImage::new(name("a"))).await;
    assert!(matches!(
        missing,
        Err(Error::NotFound(Subject::Generation(..)))
    ));
    let only = on.put("ns/a", "one").await;
    let never = RollbackImage {
        to: Some(Revision(only.revision.0 + 100)),
        ..RollbackImage::new(name("a"))
    };
    for request in [never, RollbackImage::new(name("a"))] {
        let refused = images.rollback(&ns, request).await;
        assert!(matches!(
            refused,
            Err(Error::NotFound(Subject::Generation(..)))
        ));
    }
    assert_eq!(on.get("ns/a").await.unwrap(), only.value.stored);
}

async fn history_is_trimmed_to_the_namespaces_limit_in_the_write_itself(on: &On) {
    for i in 0..70 {
        on.put("ns/a", &i.to_string()).await;
    }
    let kept = history(on, 0).await;
    assert_eq!(kept.len(), 1 + 64, "the default");
    assert_eq!(kept[64].0, target("5"));
    limit(on, Some(3)).await;
    for i in 0..9 {
        on.put("ns/a", &format!("x{i}")).await;
    }
    let kept = history(on, 0).await;
    let contents: Vec<_> = kept.into_iter().map(|(target, ..)| target).collect();
    assert_eq!(contents, ["x8", "x7", "x6", "x5"].map(target));
    on.delete("ns/a").await.unwrap();
    on.put("ns/a", "y").await;
    on.put("ns/a", "z").await;
    let contents: Vec<_> = history(on, 0).await.into_iter().map(|(t, ..)| t).collect();
    assert_eq!(contents, ["z", "y", "x8", "x7"].map(target));
}

async fn a_limit_of_none_keeps_none(on: &On) {
    limit(on, Some(0)).await;
    on.put("ns/a", "one").await;
    on.put("ns/a", "two").await;
    assert_eq!(history(on, 0).await.len(), 1);
    on.delete("ns/a").await.unwrap();
    let images = on.store.images();
    let page = PageRequest::default();
    let gone = images.history(&namespace("ns"), &name("a"), &page).await;
    assert!(matches!(gone, Err(Error::NotFound(_))));
}

async fn what_was_not_kept_between_two_that_were_is_said_to_be_trimmed(on: &On) {
    on.put("ns/a", "one").await;
    on.delete("ns/a").await.unwrap();
    let away = on.put("ns/other", "x").await.revision;
    limit(on, Some(0)).await;
    let lost = on.put("ns/a", "two").await.revision;
    let now = on.put("ns/a", "three").await.revision;
    let images = on.store.images();
    let at = async |revision| images.get_at(&namespace("ns"), &name("a"), revision).await;
    for revision in [away, lost] {
        // Of what there was between, only that there was something is known.
        let got = at(revision).await;
        assert!(
            matches!(got, Err(Error::HistoryTrimmed { oldest, .. }) if oldest == now),
            "{got:?}"
        );
    }
}

/// Until when what a name was is no longer known, when it is asked for at a revision.
async fn trimmed(on: &On, called: &str, at: Revision) -> Option<Revision> {
    let images = on.store.images();
    match images.get_at(&namespace("ns"), &name(called), at).await {
        Err(Error::HistoryTrimmed { oldest, .. }) => Some(oldest),
        Err(Error::NotFound(_)) => None,
        other => panic!("{other:?}"),
    }
}

async fn what_a_name_was_whose_whole_history_was_dropped_is_said_to_be_trimmed(on: &On) {
    limit(on, Some(0)).await;
    let before = on.put("ns/other", "y").await.revision;
    let made = on.put("ns/a", "one").await.revision;
    assert_eq!(trimmed(on, "a", before).await, None);
    let removed = on.delete("ns/a").await.unwrap().revision;
    for at in [before, made] {
        assert_eq!(trimmed(on, "a", at).await, Some(removed), "{at}");
    }
    assert_eq!(trimmed(on, "a", removed).await, None);
    // Its generations are counted anew.
    let again = on.put("ns/a", "two").await.revision;
    assert_eq!(trimmed(on, "a", made).await, Some(removed));
    assert_eq!(trimmed(on, "a", removed).await, None);
    on.put("ns/b", "one").await;
    on.delete("ns/b").await.unwrap();
    assert_eq!(trimmed(on, "a", made).await, Some(again));
    assert_eq!(on.get("ns/a").await.unwrap().revision, again);
}

async fn what_a_name_was_whose_whole_history_expired_is_said_to_be_trimmed(on: &On) {
    const DAY: i64 = 24 * 3600;
    let made = on.put("ns/a", "one").await.revision;
    on.put("ns/b", "one").await;
    let later = on.delete("ns/b").await.unwrap().revision;
    let removed = on.delete("ns/a").await.unwrap().revision;
    on.put("ns/c", "one").await;
    on.at(1000 + 31 * DAY);
    assert_eq!(on.store.sweep().await.unwrap().names, 2);
    for at in [made, later] {
        assert_eq!(trimmed(on, "a", at).await, Some(removed), "{at}");
    }
    assert_eq!(trimmed(on, "a", removed).await, None);
    assert_eq!(trimmed(on, "c", removed).await, None, "it was not there");

    // What was dropped later counts, whichever way.
    on.at(0);
    on.put("ns/a", "two").await;
    on.delete("ns/a").await.unwrap();
    limit(on, Some(0)).await;
    let last = on.delete("ns/c").await.unwrap().revision;
    on.at(1000 + 31 * DAY);
    assert_eq!(on.store.sweep().await.unwrap().names, 1);
    assert_eq!(trimmed(on, "a", removed).await, Some(last));
}

async fn what_was_kept_before_a_limit_of_none_goes_or_expires(on: &On) {
    const DAY: i64 = 24 * 3600;
    for i in 0..20 {
        on.put("ns/a", &i.to_string()).await;
        if i < 3 {
            on.put("ns/few", &i.to_string()).await;
        }
    }
    limit(on, Some(0)).await;
    on.delete("ns/few").await.unwrap();
    on.delete("ns/a").await.unwrap();
    let images = on.store.images();
    let page = PageRequest::default();
    let gone = images.history(&namespace("ns"), &name("few"), &page).await;
    assert!(matches!(gone, Err(Error::NotFound(_))));
    let left = history(on, 0).await;
    assert_eq!(left[0].0, target("19"), "it ends with the removal");
    assert_eq!(on.store.verify().await.unwrap().problems, []);
    on.at(1000 + 31 * DAY);
    assert_eq!(on.store.sweep().await.unwrap().names, 1);
    let gone = images.history(&namespace("ns"), &name("a"), &page).await;
    assert!(matches!(gone, Err(Error::NotFound(_))));
}

async fn history_of_a_deleted_name_expires_and_that_of_a_standing_one_does_not(on: &On) {
    const DAY: i64 = 24 * 3600;
    on.put("ns/a", "one").await;
    on.put("ns/a", "two").await;
    on.put("ns/b", "one").await;
    on.put("ns/b", "two").await;
    on.put("ns/c", "one").await;
    on.at(DAY);
    on.delete("ns/a").await.unwrap();
    on.delete("ns/c").await.unwrap();
    on.put("ns/c", "again").await;
    on.at(31 * DAY);
    assert_eq!(on.store.sweep().await.unwrap(), Swept::default());
    assert_eq!(history(on, 0).await.len(), 2);
    on.at(31 * DAY + 1);
    assert_eq!(on.store.sweep().await.unwrap().names, 1);
    let images = on.store.images();
    let page = PageRequest::default();
    let gone = images.history(&namespace("ns"), &name("a"), &page).await;
    assert!(matches!(gone, Err(Error::NotFound(_))));
    for standing in ["b", "c"] {
        let kept = images
            .history(&namespace("ns"), &name(standing), &page)
            .await;
        assert_eq!(kept.unwrap().items.len(), 2, "{standing}");
    }
}

async fn a_history_of_large_records_expires_piece_by_piece(on: &On) {
    const DAY: i64 = 24 * 3600;
    let ns = namespace("ns");
    let images = on.store.images();
    for content in ["one", "two", "three", "four", "five", "six"] {
        let mut put = heavy("a");
        if let ImageChange::Replace { target, .. } = &mut put.change {
            *target = super::target(content);
        }
        images.put(&ns, put).await.unwrap();
    }
    on.delete("ns/a").await.unwrap();
    on.at(1000 + 31 * DAY);
    let mut sweeps = 0;
    loop {
        sweeps += 1;
        let swept = on.store.sweep().await.unwrap();
        assert_eq!(on.store.verify().await.unwrap().problems, []);
        if !swept.has_more {
            assert_eq!(swept.names, 1);
            break;
        }
    }
    assert!(sweeps > 1);
    let gone = images
        .history(&ns, &name("a"), &PageRequest::default())
        .await;
    assert!(matches!(gone, Err(Error::NotFound(_))));
}

async fn a_removal_of_a_namespace_takes_its_history_along(on: &On) {
    on.put("ns/a", "one").await;
    on.put("ns/a", "two").await;
    on.delete("ns/a").await.unwrap();
    let delete = DeleteNamespace {
        name: namespace("ns"),
        force: false,
        when: Precondition::None,
        validate_only: false,
        request: None,
    };
    on.store.namespaces().delete(&delete).await.unwrap();
    on.put("ns/b", "one").await;
    let images = on.store.images();
    let page = PageRequest::default();
    let gone = images.history(&namespace("ns"), &name("a"), &page).await;
    assert!(matches!(gone, Err(Error::NotFound(_))));
}
