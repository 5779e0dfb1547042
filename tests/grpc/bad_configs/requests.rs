//! Ids, references, platforms and pages that cannot be.

use super::*;

#[tokio::test]
async fn an_id_that_is_none_is_refused_wherever_it_stands() {
    let mut kept = Kept::new().await;
    let hex = "ab".repeat(32);
    for bad in [
        String::new(),
        hex.clone(),
        format!("sha256:{}", &hex[2..]),
        format!("sha256:{hex}ab"),
        format!("sha256:{}", hex.to_uppercase()),
        format!("sha256:{}g", &hex[1..]),
        format!("sha512:{}", "ab".repeat(64)),
        format!("md5:{}", "ab".repeat(16)),
        format!("sha256:{hex}\0"),
        "debian:12".to_owned(),
    ] {
        let id = || bad.clone();
        let answer = kept.configs.delete(delete(&bad)).await;
        kept.refused(answer, "id").await;
        let answer = kept.configs.set_parent(set_parent(&bad, &kept.id)).await;
        kept.refused(answer, "id").await;
        let request = pb::GetConfigParentRequest {
            id: id(),
            ..Default::default()
        };
        let answer = kept.configs.get_parent(request).await;
        kept.refused(answer, "id").await;
        let request = pb::ConfigChildrenRequest {
            id: id(),
            ..Default::default()
        };
        let answer = kept.configs.children(request).await;
        kept.refused(answer, "id").await;
        let request = pb::ConfigAncestorsRequest {
            id: id(),
            ..Default::default()
        };
        let answer = kept.configs.ancestors(request).await;
        kept.refused(answer, "id").await;
        let request = pb::MarkConfigRequest {
            id: id(),
            ..Default::default()
        };
        let answer = kept.configs.mark(request).await;
        kept.refused(answer, "id").await;
        let target = digest("target");
        let request = pb::LinkConfigRequest {
            id: id(),
            target: target.clone(),
            ..Default::default()
        };
        let answer = kept.configs.link(request).await;
        kept.refused(answer, "id").await;
        let request = pb::UnlinkConfigRequest {
            id: id(),
            target,
            ..Default::default()
        };
        let answer = kept.configs.unlink(request).await;
        kept.refused(answer, "id").await;
        if bad.is_empty() {
            continue;
        }
        let answer = kept.configs.set_parent(set_parent(&kept.id, &bad)).await;
        kept.refused(answer, "parent").await;
        let request = pb::CreateConfigRequest {
            parent: id(),
            ..Built::base("new").create()
        };
        let answer = kept.configs.create(request).await;
        kept.refused(answer, "parent").await;
    }
    let target = || "sha256:short".to_owned();
    let request = pb::LinkConfigRequest {
        id: kept.id.clone(),
        target: target(),
        ..Default::default()
    };
    let answer = kept.configs.link(request).await;
    kept.refused(answer, "target").await;
    let request = pb::UnlinkConfigRequest {
        id: kept.id.clone(),
        target: target(),
        ..Default::default()
    };
    let answer = kept.configs.unlink(request).await;
    kept.refused(answer, "target").await;
    let request = pb::CreateConfigRequest {
        targets: vec![digest("good"), target()],
        ..Built::base("new").create()
    };
    let answer = kept.configs.create(request).await;
    kept.refused(answer, "targets[1]").await;
    let request = pb::CreateConfigRequest {
        targets: (0..1001).map(|i| digest(&format!("target {i}"))).collect(),
        ..Built::base("new").create()
    };
    let answer = kept.configs.create(request).await;
    kept.refused(answer, "targets").await;
}

#[tokio::test]
async fn an_unknown_config_is_not_found_and_a_create_on_one_writes_nothing() {
    let mut kept = Kept::new().await;
    let absent = digest("absent");
    let target = digest("target");
    let id = || absent.clone();
    let request = pb::CreateConfigRequest {
        parent: id(),
        ..Built::base("new").create()
    };
    let create = kept.configs.create(request).await.map(drop);
    let request = pb::GetConfigParentRequest {
        id: id(),
        ..Default::default()
    };
    let get_parent = kept.configs.get_parent(request).await.map(drop);
    let request = pb::ConfigChildrenRequest {
        id: id(),
        ..Default::default()
    };
    let children = kept.configs.children(request).await.map(drop);
    let request = pb::ConfigAncestorsRequest {
        id: id(),
        ..Default::default()
    };
    let ancestors = kept.configs.ancestors(request).await.map(drop);
    let request = pb::MarkConfigRequest {
        id: id(),
        touch: true,
        ..Default::default()
    };
    let mark = kept.configs.mark(request).await.map(drop);
    let request = pb::LinkConfigRequest {
        id: id(),
        target: target.clone(),
        ..Default::default()
    };
    let link = kept.configs.link(request).await.map(drop);
    let request = pb::UnlinkConfigRequest {
        id: id(),
        target,
        ..Default::default()
    };
    let unlink = kept.configs.unlink(request).await.map(drop);
    let request = pb::BaseOfRequest {
        reference: id(),
        ..Default::default()
    };
    let base_of = kept.configs.base_of(request).await.map(drop);
    let request = pb::DescendantsRequest {
        reference: id(),
        ..Default::default()
    };
    let descendants = kept.configs.descendants(request).await.map(drop);
    let get = kept.configs.get(get(&absent)).await.map(drop);
    let delete = kept.configs.delete(delete(&absent)).await.map(drop);
    for answer in [
        create,
        get_parent,
        children,
        ancestors,
        mark,
        link,
        unlink,
        base_of,
        descendants,
        get,
        delete,
    ] {
        let status = answer.unwrap_err();
        assert_refused(&status, Code::NotFound, "NOT_FOUND", None);
        assert!(status.message().contains(&absent), "{status:?}");
    }
    assert_eq!(kept.server.state().await, kept.before);
}

#[tokio::test]
async fn a_platform_that_is_none_is_refused_by_its_part() {
    let mut kept = Kept::new().await;
    let features = |features: Vec<String>| pb::ConfigPlatform {
        os_features: features,
        ..platform("windows/amd64")
    };
    for (bad, field) in [
        (platform(""), "platform.architecture"),
        (platform("linux"), "platform.architecture"),
        (platform("lin ux/amd64"), "platform.os"),
        (platform("linux/amd\n64"), "platform.architecture"),
        (platform("linux/arm/v\u{e9}"), "platform.variant"),
        (
            pb::ConfigPlatform {
                os: "linux/amd64".to_owned(),
                ..platform("/amd64")
            },
            "platform.os",
        ),
        (
            pb::ConfigPlatform {
                os_version: "1 2".to_owned(),
                ..platform("windows/amd64")
            },
            "platform.os_version",
        ),
        (
            platform(&format!("linux/{}", "x".repeat(129))),
            "platform.architecture",
        ),
        (
            features(vec!["a".to_owned(), "b c".to_owned()]),
            "platform.os_features[1]",
        ),
        (features(vec!["a".to_owned(); 65]), "platform.os_features"),
    ] {
        let request = pb::GetConfigRequest {
            platform: Some(bad.clone()),
            ..get(&kept.id)
        };
        let answer = kept.configs.get(request).await;
        kept.refused(answer, field).await;
        let reference = kept.id.clone();
        let platform = Some(bad);
        let request = pb::ResolveConfigRequest {
            reference: reference.clone(),
            platform: platform.clone(),
            ..Default::default()
        };
        let answer = kept.configs.resolve(request).await;
        kept.refused(answer, field).await;
        let request = pb::BaseOfRequest {
            reference: reference.clone(),
            platform: platform.clone(),
            ..Default::default()
        };
        let answer = kept.configs.base_of(request).await;
        kept.refused(answer, field).await;
        let request = pb::DescendantsRequest {
            reference,
            platform,
            ..Default::default()
        };
        let answer = kept.configs.descendants(request).await;
        kept.refused(answer, field).await;
    }
}

#[tokio::test]
async fn pages_views_namespaces_and_request_ids_are_checked_as_elsewhere() {
    let mut kept = Kept::new().await;
    let list = pb::ListConfigsRequest::default;
    for (request, field) in [
        (
            pb::ListConfigsRequest {
                page_size: -1,
                ..list()
            },
            "page_size",
        ),
        (
            pb::ListConfigsRequest {
                page_token: "x".to_owned(),
                ..list()
            },
            "page_token",
        ),
        (pb::ListConfigsRequest { view: 9, ..list() }, "view"),
        (
            pb::ListConfigsRequest {
                namespace: "-".to_owned(),
                ..list()
            },
            "namespace",
        ),
        (
            pb::ListConfigsRequest {
                namespace: "a/b".to_owned(),
                ..list()
            },
            "namespace",
        ),
    ] {
        let answer = kept.configs.list(request).await;
        kept.refused(answer, field).await;
    }
    let (id, reference) = (kept.id.clone(), kept.id.clone());
    let page_token = || "AQ".to_owned();
    let request = pb::ConfigChildrenRequest {
        id: id.clone(),
        page_token: page_token(),
        ..Default::default()
    };
    let answer = kept.configs.children(request).await;
    kept.refused(answer, "page_token").await;
    let request = pb::ConfigAncestorsRequest {
        id,
        page_token: page_token(),
        ..Default::default()
    };
    let answer = kept.configs.ancestors(request).await;
    kept.refused(answer, "page_token").await;
    let request = pb::BaseOfRequest {
        reference: reference.clone(),
        page_token: page_token(),
        ..Default::default()
    };
    let answer = kept.configs.base_of(request).await;
    kept.refused(answer, "page_token").await;
    let request = pb::DescendantsRequest {
        reference,
        page_token: page_token(),
        ..Default::default()
    };
    let answer = kept.configs.descendants(request).await;
    kept.refused(answer, "page_token").await;
    for chain_id in [String::new(), "x".repeat(5000)] {
        let request = pb::LayerUsersRequest {
            chain_id,
            ..Default::default()
        };
        let answer = kept.configs.layer_users(request).await;
        kept.refused(answer, "chain_id").await;
    }
    let request = pb::CreateConfigRequest {
        request_id: "a b".to_owned(),
        ..Built::base("new").create()
    };
    let answer = kept.configs.create(request).await;
    kept.refused(answer, "request_id").await;
}
