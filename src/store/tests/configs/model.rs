//! Any sequence of calls, against a map.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::domain::{ChainId, ImageConfig};
use crate::kv::Rows;

#[derive(Clone, Debug)]
enum Step {
    Create {
        which: usize,
        parent: Option<usize>,
        built: bool,
        target: Option<u8>,
    },
    SetParent {
        which: usize,
        parent: Option<usize>,
    },
    Delete {
        which: usize,
        must_be_head: bool,
    },
    Mark {
        which: usize,
        built: bool,
    },
    Link {
        which: usize,
        target: u8,
        add: bool,
    },
    Sweep,
}

/// What is known of a config that is there.
#[derive(Clone, Debug, Default, PartialEq)]
struct Entry {
    parent: Option<usize>,
    /// It had one, which has gone.
    is_orphan: bool,
    built: bool,
    targets: BTreeSet<u8>,
}

type Model = BTreeMap<usize, Entry>;

/// Configs that share layers, histories, steps.
fn drafts() -> Vec<Draft> {
    vec![
        draft(&["a"]),
        draft(&["a", "b"]),
        draft(&["a", "b", "c"]).built_by("x", 5),
        draft(&["a"]).then("x"),
        draft(&["a"]).then("x").then("y").built_by("y", 9),
        draft(&["a", "b"]).saying("other"),
        draft(&["d"]).built_by("x", 5),
        draft(&["d", "b"]).built_by("x", 7),
        draft(&[]),
        draft(&[]).then("s").built_by("x", 5),
    ]
}

fn step() -> impl Strategy<Value = (Step, bool)> {
    let which = || 0..drafts().len();
    let maybe = || prop::option::weighted(0.7, 0..drafts().len());
    let step = prop_oneof![
        6 => (which(), maybe(), any::<bool>(), prop::option::of(0..3u8))
            .prop_map(|(which, parent, built, target)| Step::Create { which, parent, built, target }),
        5 => (which(), maybe()).prop_map(|(which, parent)| Step::SetParent { which, parent }),
        4 => (which(), prop::bool::weighted(0.2))
            .prop_map(|(which, must_be_head)| Step::Delete { which, must_be_head }),
        2 => (which(), any::<bool>()).prop_map(|(which, built)| Step::Mark { which, built }),
        2 => (which(), 0..3u8, any::<bool>())
            .prop_map(|(which, target, add)| Step::Link { which, target, add }),
        1 => Just(Step::Sweep),
    ];
    (step, prop::bool::weighted(0.15))
}

fn digest(target: u8) -> Digest {
    *super::target(&target.to_string()).digest()
}

fn chain(which: usize) -> Vec<ChainId> {
    let config = ImageConfig::parse(&drafts()[which].bytes()).unwrap();
    config.chain_ids()
}

fn children(model: &Model, of: usize) -> usize {
    let parents = model.values().filter(|entry| entry.parent == Some(of));
    parents.count()
}

/// Whether one comes from a config to another by going from parent to parent.
fn leads_to(model: &Model, from: usize, to: usize) -> bool {
    let mut at = Some(from);
    while let Some(which) = at {
        if which == to {
            return true;
        }
        at = model[&which].parent;
    }
    false
}

async fn apply(store: &Store, model: &mut Model, (step, validate_only): (Step, bool)) {
    let before = model.clone();
    let revision = store.revision().await.unwrap();
    take(store, model, step, validate_only).await;
    if validate_only {
        *model = before;
        assert_eq!(store.revision().await.unwrap(), revision);
    }
}

async fn take(store: &Store, model: &mut Model, step: Step, validate_only: bool) {
    let all = drafts();
    let id = |which: usize| all[which].id();
    let configs = store.configs();
    match step {
        Step::Create {
            which,
            parent,
            built,
            target,
        } => {
            let request = CreateConfig {
                bytes: all[which].bytes(),
                parent: parent.map(id),
                built_locally: built,
                targets: target.map(digest).into_iter().collect(),
                validate_only,
                request: None,
            };
            let created = configs.create(&ns(), &request).await;
            if let Some(entry) = model.get_mut(&which) {
                let is_new = target.is_some_and(|target| entry.targets.insert(target));
                let created = created.unwrap().value;
                assert_eq!((created.created, created.changed), (false, is_new));
                assert_eq!(created.stored.entry.parent, entry.parent.map(id));
                return;
            }
            if parent.is_some_and(|parent| !model.contains_key(&parent)) {
                assert!(matches!(created, Err(Error::NotFound(_))));
                return;
            }
            let created = created.unwrap().value;
            assert!(created.created && created.changed);
            let entry = Entry {
                parent,
                is_orphan: false,
                built,
                targets: target.into_iter().collect(),
            };
            model.insert(which, entry);
        }
        Step::SetParent { which, parent } => {
            let request = SetParent {
                validate_only,
                ..SetParent::new(id(which), parent.map(id))
            };
            let set = configs.set_parent(&ns(), &request).await;
            let is_there = |which: &usize| model.contains_key(which);
            if !is_there(&which) || !parent.iter().all(is_there) {
                assert!(matches!(set, Err(Error::NotFound(_))));
                return;
            }
            if parent.is_some_and(|parent| leads_to(model, parent, which)) {
                let is_said =
                    matches!(set, Err(Error::Invalid(invalid)) if invalid.field() == "parent");
                assert!(is_said);
                return;
            }
            let entry = model.get_mut(&which).unwrap();
            let set = set.unwrap().value;
            assert_eq!(set.previous, entry.parent.map(id));
            assert_eq!(set.changed, entry.parent != parent);
            if set.changed {
                entry.parent = parent;
                entry.is_orphan = false;
            }
        }
        Step::Delete {
            which,
            must_be_head,
        } => {
            let request = DeleteConfig {
                must_be_head,
                validate_only,
                ..DeleteConfig::new(id(which))
            };
            let deleted = configs.delete(&ns(), &request).await;
            if !model.contains_key(&which) {
                assert!(matches!(deleted, Err(Error::NotFound(_))));
                return;
            }
            let orphans = children(model, which);
            if must_be_head && orphans > 0 {
                assert!(matches!(deleted, Err(Error::HasChildren(_))));
                return;
            }
            model.remove(&which);
            for entry in model
                .values_mut()
                .filter(|entry| entry.parent == Some(which))
            {
                entry.parent = None;
                entry.is_orphan = true;
            }
            let left: BTreeSet<ChainId> = model.keys().flat_map(|which| chain(*which)).collect();
            let mut gone = chain(which);
            gone.reverse();
            gone.retain(|layer| !left.contains(layer));
            let deleted = deleted.unwrap();
            let told = deleted.value.unreferenced.into_iter();
            assert_eq!(told.map(|layer| layer.chain_id).collect::<Vec<_>>(), gone);
            assert_eq!(deleted.value.orphans, orphans as u64);
        }
        Step::Mark { which, built } => {
            let request = MarkConfig {
                built_locally: Some(built),
                validate_only,
                ..MarkConfig::new(id(which))
            };
            let marked = configs.mark(&ns(), &request).await;
            let Some(entry) = model.get_mut(&which) else {
                assert!(matches!(marked, Err(Error::NotFound(_))));
                return;
            };
            assert_eq!(marked.unwrap().value.changed, entry.built != built);
            entry.built = built;
        }
        Step::Link { which, target, add } => {
            let request = LinkConfig {
                validate_only,
                ..LinkConfig::new(id(which), digest(target))
            };
            let changed = match add {
                true => configs.link(&ns(), &request).await,
                false => configs.unlink(&ns(), &request).await,
            };
            let Some(entry) = model.get_mut(&which) else {
                assert!(matches!(changed, Err(Error::NotFound(_))));
                return;
            };
            let wanted = match add {
                true => entry.targets.insert(target),
                false => entry.targets.remove(&target),
            };
            assert_eq!(changed.unwrap().value, wanted);
        }
        Step::Sweep if validate_only => {}
        Step::Sweep => {
            store.sweep().await.unwrap();
        }
    }
}

/// The upper config's distance to the lower one, if it is built on it.
fn distance(upper: usize, lower: usize) -> Option<u32> {
    let all = drafts();
    let (upper, lower) = (&all[upper], &all[lower]);
    if lower.layers.is_empty() || !upper.layers.starts_with(&lower.layers) {
        return None;
    }
    let layers = upper.layers.len() - lower.layers.len();
    let goes_on =
        upper.history.len() > lower.history.len() && upper.history.starts_with(&lower.history);
    (layers > 0 || goes_on).then_some(u32::try_from(layers).unwrap())
}

async fn is_exactly(on: &On, model: &Model) {
    let all = drafts();
    let id = |which: usize| all[which].id();
    let sorted = |mut ids: Vec<ConfigId>| {
        ids.sort();
        ids
    };
    assert_eq!(
        on.ids().await,
        sorted(model.keys().copied().map(id).collect())
    );
    let heads = model.keys().filter(|which| children(model, **which) == 0);
    assert_eq!(on.heads().await, sorted(heads.copied().map(id).collect()));
    for (which, entry) in model {
        let stored = on.read(id(*which)).await.unwrap();
        assert_eq!(stored.bytes, all[*which].bytes());
        assert_eq!(stored.entry.parent, entry.parent.map(id));
        assert_eq!(stored.entry.built_locally, entry.built);
        let mut targets: Vec<Digest> = entry.targets.iter().copied().map(digest).collect();
        targets.sort();
        assert_eq!(stored.targets, targets);
        let mine = model
            .iter()
            .filter(|(_, child)| child.parent == Some(*which));
        let mine = sorted(mine.map(|(child, _)| id(*child)).collect());
        assert_eq!(on.children(id(*which)).await, mine);
        let mut ancestors = Vec::new();
        let mut at = entry.parent;
        while let Some(parent) = at {
            ancestors.push(id(parent));
            at = model[&parent].parent;
        }
        assert_eq!(on.ancestors(id(*which)).await, ancestors);
        let told = |found: Vec<(u32, ConfigId)>| {
            let mut found = found;
            found.sort();
            found
        };
        let bases = model
            .keys()
            .filter_map(|lower| Some((distance(*which, *lower)?, id(*lower))));
        let text = id(*which).to_string();
        let found = on.store.configs();
        let found = found
            .base_of(&ns(), &reference(&text), None, &first())
            .await
            .unwrap();
        let found = found.page.items.into_iter();
        let found: Vec<_> = found.map(|base| (base.layers, base.entry.id)).collect();
        assert_eq!(found, told(bases.collect()));
        let above = model
            .keys()
            .filter_map(|upper| Some((distance(*upper, *which)?, id(*upper))));
        let found = on.store.configs();
        let found = found
            .descendants(&ns(), &Descendants::of(reference(&text)))
            .await
            .unwrap();
        let found = found.items.into_iter().map(|found| found.relative);
        let found: Vec<_> = found.map(|upper| (upper.layers, upper.entry.id)).collect();
        assert_eq!(found, told(above.collect()));
    }
    assert_eq!(steps(on).await, wanted_steps(model));
}

/// A build step that can be found: its parent, what was run, when, and what it came to.
type Found = (Option<ConfigId>, String, u32, ConfigId);

fn wanted_steps(model: &Model) -> BTreeSet<Found> {
    let all = drafts();
    let step = |(which, entry): (&usize, &Entry)| {
        let draft = &all[*which];
        let is_found = entry.built && !entry.is_orphan;
        let (command, created) = (draft.container.clone()?, draft.created?);
        let parent = entry.parent.map(|parent| all[parent].id());
        is_found.then_some((parent, command, created, draft.id()))
    };
    model.iter().filter_map(step).collect()
}

/// The rows of the index of build steps, but for those under what has gone.
async fn steps(on: &On) -> BTreeSet<Found> {
    let commands = ["x", "y"].map(|command| {
        let config = ImageConfig::parse(&draft(&[]).built_by(command, 1).bytes()).unwrap();
        (config.container_config().unwrap().fingerprint(), command)
    });
    let view = on.store.snapshot().await.unwrap();
    let rows = view
        .scan(&Rows::all(schema::cache(&ns())), 999)
        .await
        .unwrap()
        .rows;
    let mut steps = BTreeSet::new();
    for (row, _) in rows {
        let row = schema::parse_cache_row(&row).unwrap();
        if let Some(parent) = &row.parent {
            let gone = schema::gone_key(&ns(), parent);
            if view.get(&[gone]).await.unwrap()[0].is_some() {
                continue;
            }
        }
        let command = commands
            .iter()
            .find(|(fingerprint, _)| *fingerprint == row.fingerprint);
        let created = u32::try_from(row.created.seconds() - 1_767_225_600).unwrap();
        let parent = row.parent.map(|parent| parent.id);
        steps.insert((parent, command.unwrap().1.to_owned(), created, row.id));
    }
    steps
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]
    #[test]
    fn configs_links_layers_and_steps_agree_with_a_map_after_any_sequence(
        sequence in prop::collection::vec(step(), 1..50),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            for (on, each) in [(On::memory().await, true), (On::redb().await, false)] {
                let mut model = Model::new();
                for step in sequence.clone() {
                    apply(&on.store, &mut model, step).await;
                    if each {
                        assert_eq!(on.problems().await, [""; 0]);
                    }
                }
                is_exactly(&on, &model).await;
                on.must_be_sound().await;
            }
        });
    }
}
