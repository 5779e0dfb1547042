//! Configs that are stored, read and listed.

use super::*;

fn timestamp(seconds: i64, nanos: i32) -> Option<Timestamp> {
    Some(Timestamp { seconds, nanos })
}

#[tokio::test]
async fn a_config_is_kept_byte_for_byte_under_the_digest_of_its_bytes() {
    let server = Server::start().await;
    let mut configs = server.configs().await;
    // What moby's tests store, and what no writer of JSON would make again.
    for (bytes, id) in [
        (
            r#"{"comment": "abc", "rootfs": {"type": "layers", "diff_ids": ["2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae"]}}"#,
            "sha256:8d25a9c45df515f9d0fe8e4a6b1c64dd3b965a84790ddbcc7954bb9bc89eb993",
        ),
        (
            r#"{"comment": "abc", "rootfs": {"type": "layers"}}"#,
            "sha256:f40b4ddcd4289be71c5f8f305c5b8babb4266ef2c39bc599ac968dfc6c8b720e",
        ),
    ] {
        let made = configs.create(create(bytes)).await.unwrap().into_inner();
        assert!(made.created && made.changed);
        let config = made.config.unwrap();
        assert_eq!((config.id.as_str(), config.comment.as_str()), (id, "abc"));
        assert_eq!(config.size, bytes.len() as i64);
        let got = configs.get(get(id)).await.unwrap().into_inner();
        assert_eq!(got.raw, bytes);
        assert_eq!((got.config, got.revision), (Some(config), made.revision));
    }
    for odd in [
        "{ \"rootfs\" : {\"diff_ids\":null}, \"b\":1,\n\"a\":2, \"a\":3 }\n",
        "{\"ROOTFS\":{},\"unknown\":{\"x\":[1e300]}}",
        "{\"rootfs\":{\"type\":\"layers+base\"},\"history\":null}",
        // What it calls its parent itself is nobody's word for it.
        "{\"rootfs\":{},\"parent\":\"sha256:8d25a9c45df515f9d0fe8e4a6b1c64dd3b965a84790ddbcc7954bb9bc89eb993\"}",
    ] {
        let made = configs.create(create(odd)).await.unwrap().into_inner();
        let config = made.config.unwrap();
        assert_eq!((config.id, config.parent.as_str()), (digest(odd), ""));
        let got = configs.get(get(&digest(odd))).await.unwrap().into_inner();
        assert_eq!(got.raw, odd);
    }
}

#[tokio::test]
async fn all_that_a_config_says_is_told() {
    let server = Server::start().await;
    let mut configs = server.configs().await;
    let layers = [digest("foo"), digest("bar"), digest("baz")];
    let config = json!({
        "os": "windows", "architecture": "arm64", "variant": "v8",
        "os.version": "10.0.17763.1", "os.features": ["win32k"],
        "created": "2026-11-21T10:00:00.123456789+01:00",
        "author": "me", "comment": "it is mine",
        "rootfs": {"type": "layers", "diff_ids": layers},
        "history": [
            {"created": "2020-01-01T00:00:00Z", "created_by": "one", "author": "a", "comment": "c"},
            {"created_by": "none", "empty_layer": true},
            {"created_by": "two"},
        ],
    });
    let parent = store(&mut configs, &Built::base("debian")).await;
    let request = pb::CreateConfigRequest {
        parent: parent.clone(),
        built_locally: true,
        targets: vec![digest("index"), digest("manifest")],
        ..create(config.to_string())
    };
    let made = configs.create(request).await.unwrap().into_inner();
    let config = made.config.unwrap();
    let said = config.platform.as_ref().unwrap();
    assert_eq!(
        (
            &*said.os,
            &*said.architecture,
            &*said.variant,
            &*said.os_version
        ),
        ("windows", "arm64", "v8", "10.0.17763.1")
    );
    assert_eq!(said.os_features, ["win32k"]);
    assert_eq!(config.created, timestamp(1_795_251_600, 123_456_789));
    assert_eq!((&*config.author, &*config.comment), ("me", "it is mine"));
    assert_eq!(config.parent, parent);
    assert!(config.built_locally && !config.is_corrupt);
    assert_eq!(config.last_updated, None);
    assert!(config.stored_at.is_some());
    assert_eq!(
        sorted(config.targets.clone()),
        sorted(vec![digest("index"), digest("manifest")])
    );
    assert_eq!(config.diff_ids, layers);
    // The known answers for these three layers.
    assert_eq!(
        config.chain_ids,
        [
            layers[0].as_str(),
            "sha256:9abe30faa5bc3b839df938728ef8d9af0bcbe042db6d46fc4d816ae64d60a786",
            "sha256:072cf3f52bccf5b529f11ecd03b16ec1edf2c4cb1a01a3660f26a18938f1a61c",
        ]
    );
    let [one, none, two] = &config.history[..] else {
        panic!("{:?}", config.history);
    };
    assert_eq!(
        (one.created, two.created),
        (timestamp(1_577_836_800, 0), None)
    );
    assert_eq!((&*one.author, &*one.comment), ("a", "c"));
    assert_eq!(
        [one, none, two].map(|step| (step.created_by.as_str(), step.empty_layer)),
        [("one", false), ("none", true), ("two", false)]
    );
    assert_eq!(config.revision, made.revision);
    assert_eq!(config.etag, made.revision.to_string());
    assert_eq!(read(&mut configs, &config.id).await, config);

    let list = |view: pb::ConfigView| pb::ListConfigsRequest {
        view: view.into(),
        heads_only: true,
        ..Default::default()
    };
    let full = configs.list(list(pb::ConfigView::Full)).await.unwrap();
    assert_eq!(full.into_inner().configs, std::slice::from_ref(&config));
    let basic = pb::Config {
        author: String::new(),
        comment: String::new(),
        targets: Vec::new(),
        diff_ids: Vec::new(),
        chain_ids: Vec::new(),
        history: Vec::new(),
        ..config
    };
    for view in [pb::ConfigView::Basic, pb::ConfigView::Unspecified] {
        let listed = configs.list(list(view)).await.unwrap().into_inner();
        assert_eq!(listed.configs, std::slice::from_ref(&basic));
    }
}

#[tokio::test]
async fn the_same_bytes_again_change_nothing() {
    let server = Server::start().await;
    let mut configs = server.configs().await;
    let base = store(&mut configs, &Built::base("debian")).await;
    let other = store(&mut configs, &Built::base("alpine")).await;
    let child = Built::base("debian").run("make");
    let first = configs
        .create(child.built_on(&base))
        .await
        .unwrap()
        .into_inner();
    let before = server.state().await;
    for again in [
        child.built_on(&base),
        child.create(),
        child.built_on(&other),
    ] {
        let again = configs.create(again).await.unwrap().into_inner();
        assert!(!again.created && !again.changed);
        assert_eq!(again.config, first.config);
    }
    assert_eq!(server.state().await, before);
    assert_eq!(server.status().await.configs, 3);

    // But for targets, which may come later.
    let linked = pb::CreateConfigRequest {
        targets: vec![digest("manifest")],
        ..child.create()
    };
    let again = configs.create(linked.clone()).await.unwrap().into_inner();
    assert!(!again.created && again.changed);
    let config = again.config.unwrap();
    assert_eq!(config.targets, [digest("manifest")]);
    assert_eq!((config.parent, config.built_locally), (base, true));
    let again = configs.create(linked).await.unwrap().into_inner();
    assert!(!again.changed);
}

#[tokio::test]
async fn configs_are_listed_by_id_in_pages_and_heads_have_no_children() {
    let server = Server::start().await;
    let mut configs = server.configs().await;
    assert_eq!(listed(&mut configs, false).await, [""; 0]);
    let base = store(&mut configs, &Built::base("debian")).await;
    let mut all = vec![base.clone()];
    for command in ["a", "b", "c", "d"] {
        let child = Built::base("debian").run(command);
        all.push(stored(&mut configs, child.built_on(&base)).await);
    }
    assert_eq!(listed(&mut configs, false).await, sorted(all.clone()));
    assert_eq!(listed(&mut configs, true).await, sorted(all[1..].to_vec()));
    assert_eq!(
        children(&mut configs, &base).await,
        sorted(all[1..].to_vec())
    );

    // A config that loses its last child is a head again.
    for child in &all[1..] {
        configs.delete(delete(child)).await.unwrap();
    }
    assert_eq!(listed(&mut configs, true).await, [base]);

    let page = pb::ListConfigsRequest {
        page_size: 1,
        ..Default::default()
    };
    stored(&mut configs, Built::base("alpine").create()).await;
    let first = configs.list(page.clone()).await.unwrap().into_inner();
    let misused = pb::ListConfigsRequest {
        heads_only: true,
        page_token: first.next_page_token.clone(),
        ..page.clone()
    };
    let status = configs.list(misused).await.unwrap_err();
    let (code, reason) = (Code::InvalidArgument, "INVALID_FIELD");
    assert_refused(&status, code, reason, Some("page_token"));
    let elsewhere = pb::ListConfigsRequest {
        namespace: "other".to_owned(),
        page_token: first.next_page_token,
        ..page
    };
    let status = configs.list(elsewhere).await.unwrap_err();
    assert_refused(&status, code, reason, Some("page_token"));
}

#[tokio::test]
async fn namespaces_keep_configs_apart_and_one_with_configs_is_not_empty() {
    let server = Server::start().await;
    let (mut configs, mut namespaces) = (server.configs().await, server.namespaces().await);
    let built = Built::base("debian");
    let elsewhere = pb::CreateConfigRequest {
        namespace: "team".to_owned(),
        ..built.create()
    };
    stored(&mut configs, elsewhere).await;
    let status = configs.get(get(&built.id())).await.unwrap_err();
    assert_refused(&status, Code::NotFound, "NOT_FOUND", None);
    let remove = |force: bool| pb::DeleteNamespaceRequest {
        name: "team".to_owned(),
        force,
        ..Default::default()
    };
    let status = namespaces.delete(remove(false)).await.unwrap_err();
    assert_refused(
        &status,
        Code::FailedPrecondition,
        "NAMESPACE_NOT_EMPTY",
        None,
    );
    namespaces.delete(remove(true)).await.unwrap();
    let inside = pb::GetConfigRequest {
        namespace: "team".to_owned(),
        ..get(&built.id())
    };
    let status = configs.get(inside).await.unwrap_err();
    assert_refused(&status, Code::NotFound, "NOT_FOUND", None);
}

#[tokio::test]
async fn configs_outlive_the_server() {
    let root = crate::common::folder();
    let built = Built::base("debian").run("make");
    let (id, before) = {
        let mut server = Server::at(root.path()).await;
        let mut configs = server.configs().await;
        let base = store(&mut configs, &Built::base("debian")).await;
        let id = stored(&mut configs, built.built_on(&base)).await;
        let before = configs.get(get(&id)).await.unwrap().into_inner();
        server.kill();
        (id, before)
    };
    let server = Server::at(root.path()).await;
    let mut configs = server.configs().await;
    let after = configs.get(get(&id)).await.unwrap().into_inner();
    assert_eq!(after.config, before.config);
    assert_eq!(after.raw, built.bytes());
}
