//! Which configs are built on which, though nobody said so.

use imagestore::proto::v1 as pb;
use imagestore::proto::v1::configs_client::ConfigsClient;
use tonic::Code;
use tonic::transport::Channel;

use crate::common::configs::{Built, platform};
use crate::common::{Server, assert_refused, delete, digest, put};
use crate::configs::{self, sorted, store};

/// A relative as its id, how many layers lie between, and its names.
type Told = (String, i32, Vec<String>);

fn told(relative: &pb::Relative) -> Told {
    let config = relative.config.as_ref().unwrap();
    assert!(
        config.history.is_empty() && config.diff_ids.is_empty(),
        "the basic view"
    );
    assert!(!relative.has_more_names);
    (config.id.clone(), relative.layers, relative.names.clone())
}

async fn bases(configs: &mut ConfigsClient<Channel>, reference: &str) -> Vec<Told> {
    let mut request = pb::BaseOfRequest {
        reference: reference.to_owned(),
        page_size: 2,
        ..Default::default()
    };
    let mut all = Vec::new();
    loop {
        let page = configs.base_of(request.clone()).await.unwrap().into_inner();
        assert!(page.bases.len() <= 2);
        all.extend(page.bases.iter().map(told));
        if page.next_page_token.is_empty() {
            return all;
        }
        request.page_token = page.next_page_token;
    }
}

async fn relatives(
    configs: &mut ConfigsClient<Channel>,
    mut request: pb::DescendantsRequest,
) -> Vec<pb::Relative> {
    request.page_size = 2;
    let mut all = Vec::new();
    loop {
        let page = configs
            .descendants(request.clone())
            .await
            .unwrap()
            .into_inner();
        assert!(page.descendants.len() <= 2);
        all.extend(page.descendants);
        if page.next_page_token.is_empty() {
            return all;
        }
        request.page_token = page.next_page_token;
    }
}

fn descendants_of(reference: &str) -> pb::DescendantsRequest {
    pb::DescendantsRequest {
        reference: reference.to_owned(),
        ..Default::default()
    }
}

async fn descendants(configs: &mut ConfigsClient<Channel>, reference: &str) -> Vec<Told> {
    let found = relatives(configs, descendants_of(reference)).await;
    found.iter().map(told).collect()
}

/// Stores a config whose manifest is the digest of a text, as a pull does.
async fn pulled(configs: &mut ConfigsClient<Channel>, built: &Built, manifest: &str) -> String {
    let request = pb::CreateConfigRequest {
        targets: vec![digest(manifest)],
        ..built.create()
    };
    configs::stored(configs, request).await
}

#[tokio::test]
async fn what_was_pulled_knows_what_it_is_built_on_and_what_is_built_on_it() {
    let server = Server::start().await;
    let (mut configs, mut images) = (server.configs().await, server.images().await);
    let debian = Built::base("debian");
    let python = debian.clone().run("python").note("CMD python");
    let app = python.clone().run("copy").run("build");
    let other = debian.clone().run("nginx");
    let debian_id = pulled(&mut configs, &debian, "debian").await;
    let app_id = pulled(&mut configs, &app, "app").await;
    let python_id = pulled(&mut configs, &python, "python").await;
    let other_id = pulled(&mut configs, &other, "nginx").await;
    store(&mut configs, &Built::base("alpine")).await;
    for (name, manifest) in [
        ("debian:12", "debian"),
        ("debian:latest", "debian"),
        ("app:1", "app"),
    ] {
        images.put(put(name, manifest)).await.unwrap();
    }
    let names =
        |names: &[&str]| -> Vec<String> { names.iter().map(|name| (*name).to_owned()).collect() };
    let debian_told = (debian_id.clone(), names(&["debian:12", "debian:latest"]));
    assert_eq!(
        bases(&mut configs, "app:1").await,
        [
            (python_id.clone(), 2, names(&[])),
            (debian_told.0.clone(), 3, debian_told.1.clone()),
        ]
    );
    assert_eq!(bases(&mut configs, &debian_id).await, []);
    let found = descendants(&mut configs, "debian:12").await;
    let (near, far) = found.split_at(2);
    let ids = near.iter().map(|told| told.0.clone()).collect();
    assert_eq!(sorted(ids), sorted(vec![python_id.clone(), other_id]));
    assert!(near.iter().all(|told| told.1 == 1));
    assert_eq!(far, [(app_id, 3, names(&["app:1"]))]);
    assert_eq!(descendants(&mut configs, "app:1").await, []);

    // What is removed is related to nothing.
    configs.delete(configs::delete(&python_id)).await.unwrap();
    assert_eq!(
        bases(&mut configs, "app:1").await,
        [(debian_told.0, 3, debian_told.1)]
    );
}

#[tokio::test]
async fn with_the_same_layers_the_one_with_the_longer_history_is_built_on_the_other() {
    let server = Server::start().await;
    let mut configs = server.configs().await;
    let lower = Built::base("debian");
    let upper = lower.clone().note("ENV a=b");
    let twin = lower.clone().created("2000-01-01T00:00:00Z");
    let lower_id = store(&mut configs, &lower).await;
    let upper_id = store(&mut configs, &upper).await;
    let twin_id = store(&mut configs, &twin).await;
    let found = bases(&mut configs, &upper_id).await;
    let ids = found
        .iter()
        .map(|told| (told.0.clone(), told.1))
        .collect::<Vec<_>>();
    let mut wanted = vec![(lower_id.clone(), 0), (twin_id.clone(), 0)];
    wanted.sort();
    assert_eq!(ids, wanted);
    for id in [&lower_id, &twin_id] {
        assert_eq!(
            descendants(&mut configs, id).await,
            [(upper_id.clone(), 0, vec![])]
        );
        assert_eq!(bases(&mut configs, id).await, []);
    }
}

#[tokio::test]
async fn a_name_tells_what_is_built_on_what_it_was_before() {
    let server = Server::start().await;
    let (mut configs, mut images) = (server.configs().await, server.images().await);
    let (old, new) = (Built::base("debian 12.1"), Built::base("debian 12.2"));
    let old_id = pulled(&mut configs, &old, "old").await;
    let new_id = pulled(&mut configs, &new, "new").await;
    let stale = pulled(&mut configs, &old.clone().run("app"), "stale").await;
    let fresh = pulled(&mut configs, &new.clone().run("app"), "fresh").await;
    images.put(put("debian:12", "old")).await.unwrap();
    images.put(put("app:1", "stale")).await.unwrap();
    let moved = images
        .put(put("debian:12", "new"))
        .await
        .unwrap()
        .into_inner();
    let earlier = pb::DescendantsRequest {
        earlier_generations: true,
        ..descendants_of("debian:12")
    };
    let found = relatives(&mut configs, earlier).await;
    let seen: Vec<_> = found
        .iter()
        .map(|relative| {
            let id = relative.config.as_ref().unwrap().id.as_str();
            (
                id,
                relative.base.as_str(),
                relative.is_outdated,
                relative.names.len(),
            )
        })
        .collect();
    assert_eq!(
        seen,
        [
            (fresh.as_str(), new_id.as_str(), false, 0),
            (stale.as_str(), old_id.as_str(), true, 1),
        ]
    );
    assert_eq!(found[0].base_generation, moved.revision);
    assert!(found[1].base_generation < moved.revision);
    let now = descendants(&mut configs, "debian:12").await;
    assert_eq!(now, [(fresh, 1, vec![])]);
}

#[tokio::test]
async fn a_name_of_several_platforms_tells_of_all_unless_one_is_asked_for() {
    let server = Server::start().await;
    let (mut configs, mut images) = (server.configs().await, server.images().await);
    let amd64 = Built::base("debian");
    let arm64 = Built::base("debian-arm").on("linux/arm64");
    pulled(&mut configs, &amd64, "index").await;
    pulled(&mut configs, &arm64, "index").await;
    let on_amd64 = store(&mut configs, &amd64.clone().run("app")).await;
    let on_arm64 = store(&mut configs, &arm64.clone().run("app")).await;
    images.put(put("debian:12", "index")).await.unwrap();
    let ids = |found: &[pb::Relative]| {
        let id = |relative: &pb::Relative| relative.config.as_ref().unwrap().id.clone();
        found.iter().map(id).collect::<Vec<_>>()
    };
    let found = relatives(&mut configs, descendants_of("debian:12")).await;
    assert_eq!(
        sorted(ids(&found)),
        sorted(vec![on_amd64, on_arm64.clone()])
    );
    let one = pb::DescendantsRequest {
        platform: Some(platform("linux/arm64")),
        ..descendants_of("debian:12")
    };
    let found = relatives(&mut configs, one).await;
    assert_eq!(ids(&found), [on_arm64]);
    assert_eq!(found[0].base, arm64.id());
    let request = pb::BaseOfRequest {
        reference: "debian:12".to_owned(),
        ..Default::default()
    };
    let status = configs.base_of(request).await.unwrap_err();
    assert_refused(&status, Code::FailedPrecondition, "AMBIGUOUS", None);
    images.delete(delete("debian:12")).await.unwrap();
    let status = configs
        .descendants(descendants_of("debian:12"))
        .await
        .unwrap_err();
    assert_refused(&status, Code::NotFound, "NOT_FOUND", None);
}

#[tokio::test]
async fn the_users_of_a_layer_are_those_that_have_it_whoever_removed_another() {
    let server = Server::start().await;
    let mut configs = server.configs().await;
    let debian = Built::base("debian");
    let base = store(&mut configs, &debian).await;
    let app = store(&mut configs, &debian.clone().run("app").run("more")).await;
    let mid = store(&mut configs, &debian.clone().run("other")).await;
    let users = |chain_id: &str| pb::LayerUsersRequest {
        chain_id: chain_id.to_owned(),
        page_size: 2,
        ..Default::default()
    };
    let first = configs
        .layer_users(users(&debian.layers()[0]))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(first.ids, [base.clone(), mid.clone()]);
    let rest = pb::LayerUsersRequest {
        page_token: first.next_page_token,
        ..users(&debian.layers()[0])
    };
    let rest = configs.layer_users(rest).await.unwrap().into_inner();
    assert_eq!((rest.ids, rest.next_page_token.as_str()), (vec![app], ""));
    let none = configs
        .layer_users(users("sha256:nothing"))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(none.ids, [""; 0]);
}
