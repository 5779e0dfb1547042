//! What is told of the targets that there are: lists, names, orders.

use super::*;

on_every_engine![
    targets_are_listed_by_name_and_age_of_the_version,
    names_stand_for_the_newest_version_that_suits,
    orders_are_those_of_the_graph_as_it_stands,
    a_graph_is_as_it_is_after_any_other_write,
];

#[tokio::test]
async fn a_name_of_many_versions_hides_none_behind_it() {
    let on = On::memory().await;
    let many: Vec<String> = (1..=10_400).map(|n| format!("aa@1.{n}")).collect();
    on.declare(&format!("{}; bb; cc", many.join("; "))).await;
    on.declare("zz; zy").await;
    on.happen("bb", EventKind::BuildFailed).await.unwrap();
    let failed = TargetSelector {
        states: [State::Error].into(),
        ..all()
    };
    assert_eq!(on.selected(&failed).await.len(), 1);
    let mut page = PageRequest {
        size: 1000,
        token: String::new(),
    };
    let mut found = Vec::new();
    loop {
        let targets = on.store.build_targets();
        let next = targets.list(&ns(), &all(), &page).await.unwrap();
        found.extend(
            next.items
                .iter()
                .map(|entry| entry.target.key().to_string()),
        );
        page.token = next.next_token;
        if page.token.is_empty() {
            break;
        }
    }
    let expected = many.into_iter();
    let expected = expected.chain(["bb@1", "cc@1", "zy@1", "zz@1"].map(String::from));
    assert_eq!(found, expected.collect::<Vec<_>>());
}

async fn targets_are_listed_by_name_and_age_of_the_version(on: &On) {
    on.declare("b@1.10; b@1.9; b@1.2; a-b; a@2; a@10; a.x; c")
        .await;
    assert_eq!(on.keys().await, "a@2 a@10 a-b a.x b@1.2 b@1.9 b@1.10 c");
    on.bring("c", State::Error).await;
    on.bring("b@1.9", State::Built).await;
    let listed = async |selector: &TargetSelector| {
        let found = on.selected(selector).await;
        line(found.iter().map(|entry| entry.target.key()))
    };
    assert_eq!(listed(&globbed("b:*")).await, "b@1.2 b@1.9 b@1.10");
    let states = [State::Error, State::Built].into();
    let selector = TargetSelector { states, ..all() };
    assert_eq!(listed(&selector).await, "b@1.9 c");
    let page = PageRequest {
        size: 1,
        token: String::new(),
    };
    let targets = on.store.build_targets();
    let token = targets.list(&ns(), &all(), &page).await.unwrap().next_token;
    let elsewhere = targets
        .list(&ns(), &selector, &PageRequest { size: 1, token })
        .await;
    assert!(
        matches!(elsewhere, Err(Error::Invalid(_))),
        "a token is of its request"
    );
}

async fn names_stand_for_the_newest_version_that_suits(on: &On) {
    on.declare("a@1.9; a@1.10; a@2; b; a-b@7").await;
    let resolve = async |names: &[&str]| {
        let names: Vec<Dependency> = names.iter().map(|name| name.parse().unwrap()).collect();
        on.store.build_targets().resolve(&ns(), &names).await
    };
    let found = resolve(&["b", "a", "a (<< 2)", "a@1.9", "a"])
        .await
        .unwrap();
    let found: Vec<_> = found
        .value
        .iter()
        .map(|label| label.version().to_owned())
        .collect();
    assert_eq!(found, ["1", "2", "1.10", "1.9", "2"]);
    // docker-pkg took the colon of the port for that of the tag, and found nothing.
    let label = &resolve(&["b"]).await.unwrap().value[0];
    assert_eq!(label.as_str(), "reg.example:5000/b:1");
    for unknown in ["c", "a (>> 2)"] {
        let refused = resolve(&["b", unknown]).await;
        assert!(matches!(refused, Err(Error::NotFound(_))), "{unknown}");
    }
    assert!(matches!(resolve(&[]).await, Err(Error::Invalid(_))));
}

async fn orders_are_those_of_the_graph_as_it_stands(on: &On) {
    on.declare("a; b<-a; c<-b; d<-a,c; e<-X").await;
    let targets = on.store.build_targets();
    let waves = async |selector: &TargetSelector| {
        let order = targets
            .build_order(&ns(), selector)
            .await
            .unwrap()
            .value
            .value;
        let waves: Vec<_> = order.waves.iter().map(line).collect();
        waves.join(" | ")
    };
    assert_eq!(waves(&all()).await, "a e | b | c | d");
    assert_eq!(waves(&globbed("c:*")).await, "a | b | c");
    on.bring("a", State::Built).await;
    assert_eq!(waves(&all()).await, "b e | c | d");
    on.bring("b", State::Error).await;
    let order = targets
        .build_order(&ns(), &all())
        .await
        .unwrap()
        .value
        .value;
    assert_eq!((order.waves.len(), order.blocked.len()), (1, 2));
    let pruned = targets
        .prune_order(&ns(), &globbed("[abd]:*"))
        .await
        .unwrap();
    assert_eq!(line(&pruned.value.value), "d b a");
    let of = |of| async move {
        let targets = on.store.build_targets();
        targets
            .dependents(&ns(), &of, Span::Transitive, false)
            .await
    };
    let above = of(Dependents::Of(key_of("b"))).await.unwrap();
    assert_eq!(line(&above.value.value), "c d");
    let above = of(Dependents::OfSelected(globbed("?:*"))).await.unwrap();
    assert_eq!(line(&above.value.value), "b c d");
    let unknown = of(Dependents::Of(key_of("x"))).await;
    assert!(matches!(unknown, Err(Error::NotFound(_))));
    // docker-pkg set states to find an order in which to prune.
    assert_eq!(on.entry("b").await.progress.state, State::Error);
}

async fn a_graph_is_as_it_is_after_any_other_write(on: &On) {
    let targets = on.store.build_targets();
    let waves = async || {
        let order = targets
            .build_order(&ns(), &all())
            .await
            .unwrap()
            .value
            .value;
        order.waves.len()
    };
    assert_eq!(waves().await, 0);
    on.declare("a; b<-a").await;
    assert_eq!(waves().await, 2);
    on.bring("a", State::Built).await;
    assert_eq!(waves().await, 1);
    on.happen("a", EventKind::Lost).await.unwrap();
    assert_eq!(waves().await, 2);
    on.declare("b; c<-b").await;
    assert_eq!(waves().await, 2);
    on.declare("a<-c").await;
    assert_eq!(waves().await, 3);
}
