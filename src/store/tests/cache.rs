//! The build cache: what a lookup finds whatever lies in the tables, and what it leaves behind.

mod answers;
mod local;

use serde_json::json;

use super::*;
use crate::domain::{ConfigId, ContainerConfig, RunPlatform};
use crate::store::{
    CreateConfig, CreatedConfig, DeleteConfig, HitKind, LocalMiss, Lookup, Miss, RequestId,
    SetParent,
};

on_every_engine!(
    many_lookups_at_once_restore_one_config,
    a_lookup_while_its_source_goes_leaves_nothing_half_done,
    lookups_find_what_a_search_through_all_children_finds,
);

fn default() -> Namespace {
    namespace("default")
}

fn amd64() -> RunPlatform {
    RunPlatform {
        os: "linux".to_owned(),
        architecture: "amd64".to_owned(),
        ..RunPlatform::default()
    }
}

fn words(command: &str) -> ContainerConfig {
    let text = json!({"Cmd": ["/bin/sh", "-c", command]}).to_string();
    ContainerConfig::parse(text.as_bytes(), "container_config").unwrap()
}

/// A config of linux/amd64 that was made by these steps, each with a layer.
fn image(commands: &[&str]) -> serde_json::Value {
    let layers: Vec<String> = (1..=commands.len())
        .map(|n| Digest::of(Algorithm::Sha256, commands[..n].join("\n").as_bytes()).text())
        .collect();
    let history: Vec<_> = commands
        .iter()
        .map(|command| json!({"created_by": format!("/bin/sh -c {command}")}))
        .collect();
    json!({
        "os": "linux", "architecture": "amd64", "created": "2026-01-01T00:00:00Z",
        "rootfs": {"diff_ids": layers}, "history": history,
        "container_config": {"Cmd": ["/bin/sh", "-c", commands.last().unwrap_or(&"")]},
    })
}

impl On {
    async fn config(&self, config: &serde_json::Value, parent: Option<ConfigId>) -> ConfigId {
        let create = CreateConfig {
            parent,
            built_locally: parent.is_some(),
            ..CreateConfig::new(config.to_string())
        };
        let made: At<CreatedConfig> = self
            .store
            .configs()
            .create(&default(), &create)
            .await
            .unwrap();
        made.value.stored.entry.id
    }

    /// What was built here by a step.
    async fn built_here(&self, parent: ConfigId, command: &str) -> Result<ConfigId, LocalMiss> {
        let lookup = Lookup::new(Some(parent), words(command));
        let looked = self
            .store
            .build_cache()
            .lookup(&default(), &lookup)
            .await
            .unwrap();
        match looked.value.found {
            Ok(hit) => {
                assert_eq!(hit.kind, HitKind::Local);
                Ok(hit.id)
            }
            Err(Miss { local, .. }) => Err(local),
        }
    }

    async fn write(&self, change: impl FnOnce(&mut Batch)) {
        let mut batch = Batch::new(0);
        change(&mut batch);
        self.store.inner.kv.commit(batch).await.unwrap();
    }
}

/// A lookup reads so much of its sources, says what it left out, and says the same when it is rehearsed.
#[tokio::test]
async fn sources_past_16_mib_are_left_out_and_told() {
    let on = On::memory().await;
    let base = on.config(&image(&["base"]), None).await;
    let mut sources = Vec::new();
    for i in 0..25 {
        let mut large = image(&["base", &format!("other {i}")]);
        large["comment"] = json!("x".repeat(900_000));
        sources.push(on.config(&large, None).await.to_string());
    }
    let last = on.config(&image(&["base", "make", "install"]), None).await;
    sources.push(last.to_string());
    let mut lookup = Lookup {
        cache_from: sources.clone(),
        request: Some(RequestId::new("l1", b"asked").unwrap()),
        ..Lookup::new(Some(base), words("make"))
    };
    for validate_only in [true, false] {
        lookup.validate_only = validate_only;
        let looked = on
            .store
            .build_cache()
            .lookup(&default(), &lookup)
            .await
            .unwrap()
            .value;
        let missed = looked.found.unwrap_err();
        assert_eq!(missed.sources.len(), 19);
        assert_eq!(looked.sources.len(), 19);
        let told: Vec<String> = looked
            .skipped
            .into_iter()
            .map(|skipped| skipped.reference)
            .collect();
        assert_eq!(told, sources[19..]);
    }
    lookup.cache_from.rotate_right(1);
    lookup.request = None;
    let looked = on
        .store
        .build_cache()
        .lookup(&default(), &lookup)
        .await
        .unwrap()
        .value;
    assert_eq!(
        looked.found.unwrap().kind,
        HitKind::Restored { source: last }
    );
}

async fn many_lookups_at_once_restore_one_config(on: &On) {
    let base = on.config(&image(&["base"]), None).await;
    let source = on.config(&image(&["base", "make", "install"]), None).await;
    let lookup = Lookup {
        cache_from: vec![source.to_string()],
        ..Lookup::new(Some(base), words("make"))
    };
    let all = (0..32).map(|_| async {
        let looked = on
            .store
            .build_cache()
            .lookup(&default(), &lookup)
            .await
            .unwrap();
        looked.value.found.unwrap()
    });
    let hits = join_all(all).await;
    assert!(hits.iter().all(|hit| hit.id == hits[0].id));
    assert!(
        hits.iter()
            .all(|hit| hit.kind == HitKind::Restored { source })
    );
    assert_eq!(
        hits.iter().filter(|hit| hit.changed).count(),
        1,
        "only one made it"
    );
    let all = on
        .store
        .configs()
        .list(&default(), false, &PageRequest::default())
        .await
        .unwrap();
    assert_eq!(all.items.len(), 3);
    assert!(all.items.iter().all(|entry| !entry.built_locally));
}

async fn a_lookup_while_its_source_goes_leaves_nothing_half_done(on: &On) {
    let base = on.config(&image(&["base"]), None).await;
    for round in 0..20 {
        let install = format!("install {round}");
        let make = format!("make {round}");
        let source = on.config(&image(&["base", &make, &install]), None).await;
        let lookup = Lookup {
            cache_from: vec![source.to_string()],
            ..Lookup::new(Some(base), words(&make))
        };
        let (namespace, delete) = (default(), DeleteConfig::new(source));
        let (looked, deleted) = tokio::join!(
            async {
                on.store
                    .build_cache()
                    .lookup(&default(), &lookup)
                    .await
                    .unwrap()
            },
            async {
                on.store
                    .configs()
                    .delete(&namespace, &delete)
                    .await
                    .unwrap()
            },
        );
        let Ok(hit) = &looked.value.found else {
            assert_eq!(looked.value.sources, []);
            assert_eq!(looked.value.skipped.len(), 1);
            continue;
        };
        assert!(looked.revision != deleted.revision);
        let parent = on
            .store
            .configs()
            .parent(&default(), &hit.id)
            .await
            .unwrap();
        assert_eq!(parent.value, Some(base));
    }
}

#[tokio::test]
async fn a_lookup_that_could_not_write_has_written_nothing_and_a_lost_answer_comes_again() {
    let kv = Arc::new(Faulty::new(Memory::new()));
    let on = On::kv(kv.clone(), None).await;
    let base = on.config(&image(&["base"]), None).await;
    let source = on.config(&image(&["base", "make", "install"]), None).await;
    let lookup = Lookup {
        cache_from: vec![source.to_string(), "nosuchtag".to_owned()],
        request: Some(RequestId::new("l1", b"asked").unwrap()),
        ..Lookup::new(Some(base), words("make"))
    };
    let before = on.store.revision().await.unwrap();
    kv.plan(0, Fault::Refuse);
    let cache = on.store.build_cache();
    cache.lookup(&default(), &lookup).await.unwrap_err();
    assert_eq!(on.store.revision().await.unwrap(), before);
    kv.plan(0, Fault::LoseAnswer);
    let lost = cache.lookup(&default(), &lookup).await.unwrap_err();
    assert!(matches!(lost, Error::OutcomeUnknown(_)), "{lost:?}");
    // What it depended on may have gone since.
    on.store
        .configs()
        .delete(&default(), &DeleteConfig::new(source))
        .await
        .unwrap();
    let again = cache.lookup(&default(), &lookup).await.unwrap();
    assert_eq!(again.revision, before.next());
    assert_eq!(again.value.skipped.len(), 1);
    let hit = again.value.found.unwrap();
    assert_eq!(
        (hit.kind, hit.changed),
        (HitKind::Restored { source }, true)
    );
    on.must_be_sound().await;
}

/// moby's search, with its rule for labels put right: each child is looked at, and the newest wins.
struct Child {
    id: ConfigId,
    parent: usize,
    command: usize,
    created: usize,
    architecture: &'static str,
    built_locally: bool,
}

async fn lookups_find_what_a_search_through_all_children_finds(on: &On) {
    const ARCHITECTURES: [&str; 3] = ["amd64", "386", "s390x"];
    let mut bases = Vec::new();
    for base in ["a", "b"] {
        bases.push(on.config(&image(&[base]), None).await);
    }
    let mut children: Vec<Child> = Vec::new();
    // Some numbers that look random and are always the same.
    let mut state = 7_u64;
    let mut next = |below: usize| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        usize::try_from(state >> 33).unwrap() % below
    };
    for step in 0..120 {
        if step % 5 == 4 {
            let gone = children.swap_remove(next(children.len()));
            let delete = DeleteConfig::new(gone.id);
            on.store
                .configs()
                .delete(&default(), &delete)
                .await
                .unwrap();
        } else {
            let child = Child {
                id: ConfigId::of(b""),
                parent: next(2),
                command: next(3),
                created: next(4),
                architecture: ARCHITECTURES[next(3)],
                built_locally: next(4) > 0,
            };
            let base = ["a", "b"][child.parent];
            let mut config = image(&[base, &format!("command {}", child.command)]);
            config["created"] = json!(format!("2026-01-0{}T00:00:00Z", child.created + 1));
            config["architecture"] = json!(child.architecture);
            config["comment"] = json!(step.to_string());
            let create = CreateConfig {
                parent: Some(bases[child.parent]),
                built_locally: child.built_locally,
                ..CreateConfig::new(config.to_string())
            };
            let made = on
                .store
                .configs()
                .create(&default(), &create)
                .await
                .unwrap();
            let id = made.value.stored.entry.id;
            children.push(Child { id, ..child });
        }
        let (parent, command) = (next(2), next(3));
        let asked = RunPlatform {
            os: "linux".to_owned(),
            architecture: ARCHITECTURES[next(3)].to_owned(),
            ..RunPlatform::default()
        };
        let runs = |child: &Child| {
            child.architecture == asked.architecture
                || (asked.architecture == "amd64" && child.architecture == "386")
        };
        let of_step = |child: &&Child| {
            child.parent == parent && child.command == command && child.built_locally
        };
        let newest = children
            .iter()
            .filter(of_step)
            .filter(|child| runs(child))
            .min_by_key(|child| (std::cmp::Reverse(child.created), child.id));
        let wanted = newest.map(|child| child.id).ok_or({
            match children.iter().any(|child| of_step(&child)) {
                true => LocalMiss::OtherPlatform,
                false => LocalMiss::NoSuchStep,
            }
        });
        let lookup = Lookup {
            platform: Some(asked),
            ..Lookup::new(Some(bases[parent]), words(&format!("command {command}")))
        };
        let looked = on
            .store
            .build_cache()
            .lookup(&default(), &lookup)
            .await
            .unwrap();
        let found = looked
            .value
            .found
            .map(|hit| hit.id)
            .map_err(|miss| miss.local);
        assert_eq!(found, wanted);
    }
}
