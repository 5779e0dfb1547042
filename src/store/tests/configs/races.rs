//! Writes that overtake each other, and writes that fail: none leaves half a link.

use std::pin::pin;

use super::*;

/// A config of [`family`].
#[derive(Clone, Copy, Debug)]
enum Member {
    Parent,
    Child,
    Grandchild,
    Sibling,
    /// Of other ancestry, with layers of the child.
    Lone,
    /// Not there yet.
    New,
}

use Member::{Child, Grandchild, Lone, New, Parent, Sibling};

/// A change.
#[derive(Clone, Copy, Debug)]
enum Change {
    Create(Option<Member>),
    /// Of one that is there, with a target.
    CreateAgain(Member),
    Link(Member),
    Unlink(Member),
    SetParent(Member, Option<Member>),
    Delete(Member),
    DeleteHead(Member),
    Build(Member, bool),
    Touch(Member),
    DropAll,
    Sweep,
}

const CHANGES: [Change; 31] = [
    Change::Create(None),
    Change::Create(Some(Parent)),
    Change::Create(Some(Grandchild)),
    Change::CreateAgain(Parent),
    Change::CreateAgain(Grandchild),
    Change::Link(Child),
    Change::Unlink(Sibling),
    Change::SetParent(Child, Some(Sibling)),
    Change::SetParent(Sibling, Some(Grandchild)),
    Change::SetParent(Parent, Some(Lone)),
    Change::SetParent(Lone, Some(Parent)),
    Change::SetParent(Lone, Some(Grandchild)),
    Change::SetParent(Grandchild, Some(Parent)),
    Change::SetParent(Child, None),
    Change::SetParent(Sibling, None),
    Change::SetParent(Grandchild, None),
    Change::Delete(Parent),
    Change::Delete(Child),
    Change::Delete(Grandchild),
    Change::Delete(Sibling),
    Change::Delete(Lone),
    Change::DeleteHead(Parent),
    Change::DeleteHead(Grandchild),
    Change::DeleteHead(Lone),
    Change::Build(Child, true),
    Change::Build(Grandchild, false),
    Change::Build(Lone, true),
    Change::Touch(Child),
    Change::Touch(Lone),
    Change::DropAll,
    Change::Sweep,
];

fn member(member: Member) -> Draft {
    match member {
        Parent => draft(&["a"]).built_by("p", 1),
        Child => draft(&["a", "b"]).built_by("c", 2),
        Grandchild => draft(&["a", "b", "c"]).built_by("g", 3),
        Sibling => draft(&["a", "x"]).built_by("s", 4),
        Lone => draft(&["a", "b"]).saying("lone").built_by("l", 5),
        New => draft(&["a", "b", "n"]).built_by("n", 6),
    }
}

fn of(which: Member) -> ConfigId {
    member(which).id()
}

/// A parent with two children, one of which has a child; and one beside them.
async fn family(on: &On) {
    on.build(&member(Parent), None).await;
    on.build(&member(Child), Some(of(Parent))).await;
    on.build(&member(Grandchild), Some(of(Child))).await;
    on.create_from(&member(Sibling), of(Parent)).await;
    on.create(&member(Lone)).await;
    on.link(of(Sibling), *target("one").digest()).await;
}

/// What a change answers, but for revisions; an error where the store failed.
async fn change(store: &Store, change: Change) -> Result<String, Error> {
    let configs = store.configs();
    let create = |which, parent: Option<Member>, targets| CreateConfig {
        parent: parent.map(of),
        built_locally: true,
        targets,
        ..CreateConfig::new(member(which).bytes())
    };
    let one = *target("one").digest();
    let link = |which| LinkConfig::new(of(which), one);
    let told = |created: At<CreatedConfig>| {
        let CreatedConfig {
            mut stored,
            created,
            changed,
        } = created.value;
        stored.entry.revision = Revision::ZERO;
        format!(
            "{:?} {:?} {created} {changed}",
            stored.entry, stored.targets
        )
    };
    let shown = |marked: At<MarkedConfig>| {
        let mut entry = marked.value.entry;
        entry.revision = Revision::ZERO;
        format!("{entry:?} {}", marked.value.changed)
    };
    let answer = match change {
        Change::Create(parent) => {
            let request = create(New, parent, vec![]);
            configs.create(&ns(), &request).await.map(told)
        }
        Change::CreateAgain(which) => {
            let request = create(which, None, vec![one]);
            configs.create(&ns(), &request).await.map(told)
        }
        Change::Link(which) => {
            let linked = configs.link(&ns(), &link(which)).await;
            linked.map(|linked| format!("{}", linked.value))
        }
        Change::Unlink(which) => {
            let unlinked = configs.unlink(&ns(), &link(which)).await;
            unlinked.map(|unlinked| format!("{}", unlinked.value))
        }
        Change::SetParent(which, parent) => {
            let request = SetParent::new(of(which), parent.map(of));
            let set = configs.set_parent(&ns(), &request).await;
            set.map(|set| format!("{:?}", set.value))
        }
        Change::Delete(which) => {
            let deleted = configs.delete(&ns(), &DeleteConfig::new(of(which))).await;
            deleted.map(|deleted| format!("{:?}", deleted.value.unreferenced))
        }
        Change::DeleteHead(which) => {
            let request = DeleteConfig {
                must_be_head: true,
                ..DeleteConfig::new(of(which))
            };
            let deleted = configs.delete(&ns(), &request).await;
            deleted.map(|deleted| format!("{:?}", deleted.value.unreferenced))
        }
        Change::Build(which, built) => {
            let request = MarkConfig {
                built_locally: Some(built),
                ..MarkConfig::new(of(which))
            };
            let marked = configs.mark(&ns(), &request).await;
            marked.map(shown)
        }
        Change::Touch(which) => {
            let request = MarkConfig {
                touch: true,
                ..MarkConfig::new(of(which))
            };
            let marked = configs.mark(&ns(), &request).await;
            marked.map(shown)
        }
        Change::DropAll => {
            let request = DeleteNamespace {
                name: ns(),
                force: true,
                when: Precondition::None,
                validate_only: false,
                request: None,
            };
            let deleted = store.namespaces().delete(&request).await;
            deleted.map(|_| "dropped".to_owned())
        }
        Change::Sweep => store.sweep().await.map(|_| "swept".to_owned()),
    };
    match answer {
        Err(error @ (Error::OutcomeUnknown(_) | Error::Stopped(_) | Error::Contended { .. })) => {
            Err(error)
        }
        Err(refused) => Ok(refused.to_string()),
        answered => answered,
    }
}

/// All that can be seen, but for revisions.
async fn state(on: &On) -> String {
    assert_eq!(on.problems().await, [""; 0]);
    let mut state = format!("heads {:?}\n", on.heads().await);
    for id in on.ids().await {
        let mut stored = on.read(id).await.unwrap();
        stored.entry.revision = Revision::ZERO;
        let children = on.children(id).await;
        state += &format!("{:?} {:?} {children:?}\n", stored.entry, stored.targets);
    }
    state
}

/// The same store as another process would have it, which waits for nobody here.
async fn beside(kv: Arc<dyn Kv>) -> On {
    On::kv(kv, None).await
}

#[tokio::test]
async fn a_write_that_is_overtaken_does_what_it_would_have_done_afterwards() {
    let mut pairs = 0;
    for slow in CHANGES {
        for fast in CHANGES {
            let kv = Arc::new(Faulty::new(Memory::new()));
            let (one, other) = (beside(kv.clone()).await, beside(kv.clone()).await);
            family(&one).await;
            let slowly = change(&one.store, slow);
            let raced = overtaken(&kv, slowly, change(&other.store, fast)).await;
            let Some((slowly, fast_answer)) = raced else {
                continue;
            };
            let raced = (slowly.unwrap(), fast_answer.unwrap());
            let after = state(&one).await;

            let on = On::memory().await;
            family(&on).await;
            let first = change(&on.store, fast).await.unwrap();
            let in_turn = (change(&on.store, slow).await.unwrap(), first);
            assert_eq!(raced, in_turn, "{slow:?}, overtaken by {fast:?}");
            assert_eq!(after, state(&on).await, "{slow:?}, overtaken by {fast:?}");
            pairs += 1;
        }
    }
    assert!(pairs > 20 * CHANGES.len(), "{pairs} pairs");
}

#[tokio::test]
async fn a_write_that_fails_has_done_all_or_nothing() {
    for what in CHANGES {
        let kv = Arc::new(Faulty::new(Memory::new()));
        let on = beside(kv.clone()).await;
        family(&on).await;
        let before = state(&on).await;
        for fault in [Fault::Refuse, Fault::LoseWrite] {
            kv.plan(0, fault);
            if change(&on.store, what).await.is_ok() {
                // It had nothing to write, and the fault waits for the next one.
                assert!(kv.commit(Batch::new(0)).await.is_err(), "{what:?}");
            }
            assert_eq!(state(&on).await, before, "{what:?}");
        }
        let after = On::memory().await;
        family(&after).await;
        change(&after.store, what).await.unwrap();
        kv.plan(0, Fault::LoseAnswer);
        let _ = change(&on.store, what).await;
        assert_eq!(state(&on).await, state(&after).await, "{what:?}");
    }
}

#[tokio::test]
async fn links_that_together_would_close_a_cycle_are_not_all_made() {
    let kv = Arc::new(Faulty::new(Memory::new()));
    let on = beside(kv.clone()).await;
    let mut ids = Vec::new();
    for layer in ["a", "b", "c"] {
        ids.push(on.create(&draft(&[layer])).await);
    }
    let stores = [
        beside(kv.clone()).await,
        beside(kv.clone()).await,
        beside(kv.clone()).await,
    ];
    let until: [_; 2] = std::array::from_fn(|_| Arc::new(tokio::sync::Notify::new()));
    let mut first = pin!(stores[0].set_parent(ids[0], Some(ids[1])));
    let mut second = pin!(stores[1].set_parent(ids[1], Some(ids[2])));
    kv.plan(0, Fault::Stall(until[0].clone()));
    while kv.is_planned() {
        assert!(futures::poll!(&mut first).is_pending());
        tokio::task::yield_now().await;
    }
    kv.plan(0, Fault::Stall(until[1].clone()));
    while kv.is_planned() {
        assert!(futures::poll!(&mut second).is_pending());
        tokio::task::yield_now().await;
    }
    // All have looked, and none has seen another.
    let third = stores[2].set_parent(ids[2], Some(ids[0])).await;
    until[0].notify_one();
    let first = first.await;
    until[1].notify_one();
    let second = second.await;
    assert!(third.is_ok() && first.is_ok());
    let is_said = matches!(second, Err(Error::Invalid(invalid)) if invalid.field() == "parent");
    assert!(is_said);
    assert_eq!(on.ancestors(ids[2]).await, [ids[0], ids[1]]);
    on.must_be_sound().await;
}

#[tokio::test]
async fn of_two_that_go_at_once_the_last_says_that_their_layer_is_left_by_all() {
    let kv = Arc::new(Faulty::new(Memory::new()));
    let (one, other) = (beside(kv.clone()).await, beside(kv.clone()).await);
    let a = one.create(&draft(&["base", "a"])).await;
    let b = one.create(&draft(&["base", "b"])).await;
    let (a, b) = overtaken(&kv, one.remove(a), other.remove(b))
        .await
        .unwrap();
    let layers = |deleted: Result<DeletedConfig, Error>| -> Vec<String> {
        let layers = deleted.unwrap().unreferenced.into_iter();
        layers.map(|layer| layer.diff_id.to_string()).collect()
    };
    assert_eq!(
        (layers(b), layers(a)),
        (vec!["b".into()], vec!["a".into(), "base".into()])
    );
}

on_every_engine![
    many_changes_at_once_leave_the_store_sound,
    creators_under_one_parent_do_not_hold_each_other_up,
    siblings_that_go_at_once_leave_a_head,
];

async fn many_changes_at_once_leave_the_store_sound(on: &On) {
    for _ in 0..3 {
        family(on).await;
        let all = CHANGES.iter().cycle().take(3 * CHANGES.len());
        let all = all.filter(|what| !matches!(what, Change::DropAll));
        for answer in join_all(all.map(|what| change(&on.store, *what))).await {
            answer.unwrap();
        }
        state(on).await;
    }
}

async fn creators_under_one_parent_do_not_hold_each_other_up(on: &On) {
    let parent = on.create(&draft(&["a"])).await;
    let before = on.store.revision().await.unwrap();
    let create = async |i: usize| {
        let child = draft(&["a"]).then(&i.to_string());
        on.create_from(&child, parent).await
    };
    let mut ids = join_all((0..100).map(create)).await;
    ids.sort();
    assert_eq!(on.store.revision().await.unwrap().0, before.0 + 100);
    let page = PageRequest {
        size: 100,
        token: String::new(),
    };
    let children = on.store.configs().children(&ns(), &parent, &page).await;
    assert_eq!(children.unwrap().items, ids);
}

async fn siblings_that_go_at_once_leave_a_head(on: &On) {
    let parent = on.create(&draft(&["a"])).await;
    let mut ids = Vec::new();
    for i in 0..20 {
        let child = draft(&["a", "b"]).then(&i.to_string());
        ids.push(on.create_from(&child, parent).await);
    }
    let gone = join_all(ids.into_iter().map(|id| on.remove(id))).await;
    let layers = gone.into_iter().flat_map(|gone| gone.unwrap().unreferenced);
    assert_eq!(layers.count(), 1, "of all, one was the last");
    assert_eq!(on.heads().await, [parent]);
}
