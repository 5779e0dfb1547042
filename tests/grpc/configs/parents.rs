//! Parents, and what else is known of a config beside its bytes.

use super::*;

#[tokio::test]
async fn a_parent_is_set_changed_and_forgotten_and_leaves_no_link_behind() {
    let server = Server::start().await;
    let mut configs = server.configs().await;
    let mut ids = Vec::new();
    for name in ["a", "b", "c", "d"] {
        ids.push(store(&mut configs, &Built::base(name)).await);
    }
    let [a, b, c, d] = &ids[..] else { panic!() };
    for (child, of) in [(b, a), (c, b), (d, c)] {
        let set = configs
            .set_parent(set_parent(child, of))
            .await
            .unwrap()
            .into_inner();
        assert_eq!((set.changed, set.previous.as_str()), (true, ""));
    }
    assert_eq!(
        ancestors(&mut configs, d).await,
        [c, b, a].map(String::clone)
    );
    assert_eq!(ancestors(&mut configs, a).await, [""; 0]);
    assert_eq!(listed(&mut configs, true).await, std::slice::from_ref(d));
    let again = configs
        .set_parent(set_parent(d, c))
        .await
        .unwrap()
        .into_inner();
    assert_eq!((again.changed, &again.previous), (false, c));

    let moved = configs
        .set_parent(set_parent(d, a))
        .await
        .unwrap()
        .into_inner();
    assert_eq!((moved.changed, &moved.previous), (true, c));
    assert_eq!(
        children(&mut configs, c).await,
        [""; 0],
        "moby kept the old link"
    );
    assert_eq!(
        children(&mut configs, a).await,
        sorted(vec![b.clone(), d.clone()])
    );
    assert_eq!(
        listed(&mut configs, true).await,
        sorted(vec![c.clone(), d.clone()])
    );

    let forgotten = configs
        .set_parent(set_parent(d, ""))
        .await
        .unwrap()
        .into_inner();
    assert_eq!((forgotten.changed, &forgotten.previous), (true, a));
    assert_eq!(parent(&mut configs, d).await, "");
    assert_eq!(children(&mut configs, a).await, std::slice::from_ref(b));
}

/// moby took them, and then Heads was empty and a look at the ancestors ended the daemon.
#[tokio::test]
async fn a_config_cannot_become_its_own_ancestor() {
    let server = Server::start().await;
    let mut configs = server.configs().await;
    let mut ids = Vec::new();
    for name in ["a", "b", "c"] {
        ids.push(store(&mut configs, &Built::base(name)).await);
    }
    configs
        .set_parent(set_parent(&ids[1], &ids[0]))
        .await
        .unwrap();
    configs
        .set_parent(set_parent(&ids[2], &ids[1]))
        .await
        .unwrap();
    let before = server.state().await;
    for (child, parent) in [(0, 0), (0, 1), (0, 2), (1, 2)] {
        let status = configs
            .set_parent(set_parent(&ids[child], &ids[parent]))
            .await
            .unwrap_err();
        let (code, reason) = (Code::InvalidArgument, "INVALID_FIELD");
        assert_refused(&status, code, reason, Some("parent"));
        assert_eq!(server.state().await, before);
    }
    let absent = digest("absent");
    for (child, parent) in [(&absent, &ids[0]), (&ids[0], &absent)] {
        let status = configs
            .set_parent(set_parent(child, parent))
            .await
            .unwrap_err();
        assert_refused(&status, Code::NotFound, "NOT_FOUND", None);
        assert_eq!(fact(&status, "name"), absent);
        assert_eq!(server.state().await, before);
    }
}

#[tokio::test]
async fn marks_change_alone_and_say_when() {
    let server = Server::start().await;
    let mut configs = server.configs().await;
    let id = store(&mut configs, &Built::base("debian")).await;
    let mark = |built_locally: Option<bool>, touch: bool| pb::MarkConfigRequest {
        id: id.clone(),
        built_locally,
        touch,
        ..Default::default()
    };
    for (request, changed, built_locally, touched) in [
        (mark(None, false), false, false, false),
        (mark(Some(false), false), false, false, false),
        (mark(Some(true), false), true, true, false),
        (mark(Some(true), false), false, true, false),
        (mark(None, true), true, true, true),
        (mark(Some(false), false), true, false, true),
    ] {
        let before = server.status().await.revision;
        let marked = configs.mark(request).await.unwrap().into_inner();
        assert_eq!(marked.changed, changed);
        let config = marked.config.unwrap();
        assert_eq!(config.built_locally, built_locally);
        assert_eq!(config.last_updated.is_some(), touched);
        let written = u64::from(changed);
        assert_eq!(server.status().await.revision, before + written);
        assert_eq!(read(&mut configs, &id).await.revision, config.revision);
    }
}
