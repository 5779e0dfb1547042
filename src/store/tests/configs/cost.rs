//! What a question about a config costs, counted in rows.

use super::references::tag;
use super::*;
use crate::domain::ContainerConfig;
use crate::store::Lookup;
use crate::store::tests::watched::{Touched, Watched};

/// What a question about one config reads, in a store with so many others.
async fn touched_beside(others: usize) -> Vec<(&'static str, Touched)> {
    let kv = Arc::new(Watched::new(Memory::new()));
    let on = On::kv(kv.clone(), None).await;
    let base = on.create(&draft(&["a"])).await;
    let step = draft(&["a", "b"]).built_by("make", 1);
    let built = on.build(&step, Some(base)).await;
    let top = on.create_from(&draft(&["a", "b", "c"]), built).await;
    tag(&on, "base:1", base.digest()).await;
    for i in 0..others {
        on.create(&draft(&[&format!("other{i}")])).await;
        let sibling = draft(&["a", &format!("sibling{i}")]).built_by(&format!("make {i}"), 1);
        on.build(&sibling, Some(base)).await;
    }
    let configs = on.store.configs();
    let step = |command: &str| {
        let config = serde_json::json!({"Cmd": ["/bin/sh", "-c", command]}).to_string();
        let config = ContainerConfig::parse(config.as_bytes(), "container_config").unwrap();
        Lookup::new(Some(base), config)
    };
    let mut touched = Vec::new();
    kv.take();
    let mut note = |what| touched.push((what, kv.take()));
    let by_id = reference(&top.to_string());
    let bases = configs
        .base_of(&ns(), &by_id, None, &first())
        .await
        .unwrap();
    assert_eq!(bases.page.items.len(), 2);
    note("base_of");
    let above = Descendants::of(reference(&built.to_string()));
    let above = configs.descendants(&ns(), &above).await.unwrap();
    assert_eq!(above.items.len(), 1);
    note("descendants");
    configs
        .resolve(&ns(), &reference("base:1"), None)
        .await
        .unwrap();
    note("resolve a name");
    configs
        .resolve(&ns(), &reference(&top.digest().hex()[..12]), None)
        .await
        .unwrap();
    note("resolve the beginning of an id");
    configs.children(&ns(), &built, &first()).await.unwrap();
    note("children");
    let one = PageRequest {
        size: 1,
        token: String::new(),
    };
    configs.list(&ns(), true, &one).await.unwrap();
    note("heads");
    let cache = on.store.build_cache();
    let hit = cache.lookup(&ns(), &step("make")).await.unwrap().value;
    assert_eq!(hit.found.unwrap().id, built);
    note("lookup, hit");
    let miss = cache.lookup(&ns(), &step("none")).await.unwrap().value;
    assert!(miss.found.is_err());
    note("lookup, miss");
    on.create_from(&draft(&["a", "new"]), base).await;
    note("create");
    on.remove(top).await.unwrap();
    note("delete");
    touched
}

/// In moby some of these are a search through all images, or through all children.
#[tokio::test]
async fn a_question_about_a_config_reads_as_much_among_many_as_among_few() {
    assert_eq!(touched_beside(1000).await, touched_beside(10).await);
}
