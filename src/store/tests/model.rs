//! Any sequence of calls, against a map.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::domain::{LeaseId, Resource};

#[derive(Clone, Debug)]
enum Step {
    Put {
        place: (u8, u8),
        content: u8,
        must_not_exist: bool,
    },
    Label {
        place: (u8, u8),
        value: Option<u8>,
    },
    Delete {
        place: (u8, u8),
    },
    Drop {
        namespace: u8,
        force: bool,
    },
    Lease {
        lease: (u8, u8),
    },
    Release {
        lease: (u8, u8),
    },
    Hold {
        lease: (u8, u8),
        resource: u8,
        add: bool,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let place = || (0..3u8, 0..4u8);
    let lease = || (0..3u8, 0..2u8);
    prop_oneof![
        6 => (place(), 0..3u8, prop::bool::weighted(0.2))
            .prop_map(|(place, content, must_not_exist)| Step::Put { place, content, must_not_exist }),
        2 => (place(), prop::option::of(0..3u8)).prop_map(|(place, value)| Step::Label { place, value }),
        3 => place().prop_map(|place| Step::Delete { place }),
        1 => (0..3u8, any::<bool>()).prop_map(|(namespace, force)| Step::Drop { namespace, force }),
        1 => lease().prop_map(|lease| Step::Lease { lease }),
        1 => lease().prop_map(|lease| Step::Release { lease }),
        3 => (lease(), 0..3u8, prop::bool::weighted(0.7))
            .prop_map(|(lease, resource, add)| Step::Hold { lease, resource, add }),
    ]
}

type Model = BTreeMap<(u8, u8), (u8, Option<u8>)>;

/// What each lease holds.
type Held = BTreeMap<(u8, u8), BTreeSet<Resource>>;

async fn apply(
    store: &Store,
    model: &mut Model,
    held: &mut Held,
    made: &mut BTreeSet<u8>,
    step: Step,
) {
    let ns = |n: u8| namespace(&format!("n{n}"));
    let img = |i: u8| name(&format!("i{i}"));
    match step {
        Step::Put {
            place,
            content,
            must_not_exist,
        } => {
            let old = model.get(&place).copied();
            let when = if must_not_exist {
                Precondition::MustNotExist
            } else {
                Precondition::None
            };
            // A label set before is part of what a replacement wipes.
            let put = PutImage {
                when,
                ..PutImage::new(img(place.1), replace(&content.to_string()))
            };
            let answer = store.images().put(&ns(place.0), put).await;
            if must_not_exist && old.is_some() {
                assert!(matches!(answer, Err(Error::Exists(_))));
                return;
            }
            let answer = answer.unwrap().value;
            assert_eq!(answer.created, old.is_none());
            assert_eq!(answer.changed, old != Some((content, None)));
            model.insert(place, (content, None));
            made.insert(place.0);
        }
        Step::Label { place, value } => {
            let edit = ImageEdit::Label("l".into(), value.map(|value| value.to_string()));
            let put = PutImage::new(img(place.1), ImageChange::Edit(vec![edit]));
            let answer = store.images().put(&ns(place.0), put).await;
            match model.get_mut(&place) {
                None => assert!(matches!(answer, Err(Error::NotFound(_)))),
                Some((_, label)) => {
                    assert_eq!(answer.unwrap().value.changed, *label != value);
                    *label = value;
                }
            }
        }
        Step::Delete { place } => {
            let answer = store
                .images()
                .delete(&ns(place.0), &DeleteImage::new(img(place.1)))
                .await;
            assert_eq!(answer.is_ok(), model.remove(&place).is_some());
        }
        Step::Drop { namespace, force } => {
            let holds = model.keys().any(|(n, _)| *n == namespace);
            let delete = DeleteNamespace {
                name: ns(namespace),
                force,
                when: Precondition::None,
                validate_only: false,
                request: None,
            };
            match store.namespaces().delete(&delete).await {
                Ok(_) => {
                    assert!(made.remove(&namespace) && (force || !holds));
                    model.retain(|(n, _), _| *n != namespace);
                    held.retain(|(n, _), _| *n != namespace);
                }
                Err(Error::NotFound(_)) => assert!(!made.contains(&namespace)),
                Err(Error::NotEmpty { .. }) => assert!(holds && !force),
                Err(other) => panic!("{other}"),
            }
        }
        Step::Lease { lease } => {
            let created = store
                .leases()
                .create(&ns(lease.0), &id(lease), BTreeMap::new())
                .await;
            assert_eq!(created.is_ok(), !held.contains_key(&lease));
            held.entry(lease).or_default();
            made.insert(lease.0);
        }
        Step::Release { lease } => {
            let deleted = store.leases().delete(&ns(lease.0), &id(lease)).await;
            assert_eq!(deleted.is_ok(), held.remove(&lease).is_some());
        }
        Step::Hold {
            lease,
            resource,
            add,
        } => {
            let resource = Resource::Ingest(resource.to_string().parse().unwrap());
            let (ns, id, leases) = (ns(lease.0), id(lease), store.leases());
            let done = if add {
                leases.add_resource(&ns, &id, &resource).await
            } else {
                leases.delete_resource(&ns, &id, &resource).await
            };
            assert_eq!(done.is_ok(), held.contains_key(&lease));
            if let Some(held) = held.get_mut(&lease) {
                if add {
                    held.insert(resource);
                } else {
                    held.remove(&resource);
                }
            }
        }
    }
}

fn id((_, lease): (u8, u8)) -> LeaseId {
    format!("l{lease}").parse().unwrap()
}

async fn holds_exactly(store: &Store, model: &Model, held: &Held) {
    for n in 0..3 {
        let ns = namespace(&format!("n{n}"));
        for l in 0..2 {
            let found = store.leases().resources(&ns, &id((n, l))).await.ok();
            let found = found.map(|found| found.value.into_iter().collect());
            assert_eq!(found.as_ref(), held.get(&(n, l)));
        }
    }

    let mut stream = store
        .images()
        .stream(ImageQuery::all(Scope::All))
        .await
        .unwrap();
    let mut found = Model::new();
    while let Some(chunk) = stream.next().await {
        for stored in chunk.unwrap().images {
            let digit = |text: &str| text[1..].parse::<u8>().unwrap();
            let place = (
                digit(stored.namespace.as_str()),
                digit(stored.record.name.as_str()),
            );
            let content = (0..3u8)
                .find(|c| target(&c.to_string()) == stored.record.target)
                .unwrap();
            let label = stored
                .record
                .labels
                .get("l")
                .map(|value| value.parse().unwrap());
            found.insert(place, (content, label));
        }
    }
    assert_eq!(&found, model);
    assert_eq!(store.verify().await.unwrap().problems, []);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]
    #[test]
    fn state_index_and_log_agree_with_a_map_after_any_sequence(steps in prop::collection::vec(step(), 1..60)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            for on in [On::memory().await, On::redb().await] {
                let (mut model, mut held) = (Model::new(), Held::new());
                let mut made = BTreeSet::new();
                for step in steps.clone() {
                    apply(&on.store, &mut model, &mut held, &mut made, step).await;
                }
                holds_exactly(&on.store, &model, &held).await;
            }
        });
    }
}
