//! What a reference stands for: ids, their beginnings, and names.

use super::*;

#[tokio::test]
async fn a_config_is_found_by_whole_id_by_name_and_by_the_beginning_of_its_id() {
    let server = Server::start().await;
    let mut configs = server.configs().await;
    // Two whose ids begin with the same four digits, found by trying.
    let (mut seen, mut pair) = (std::collections::HashMap::new(), None);
    for i in 0.. {
        let text = format!(r#"{{"rootfs":{{}},"n":{i}}}"#);
        let id = digest(&text);
        if let Some(first) = seen.insert(id[..11].to_owned(), (text.clone(), id.clone())) {
            pair = Some([first, (text, id)]);
            break;
        }
    }
    let pair = pair.unwrap();
    let mut ids = Vec::new();
    for (text, id) in &pair {
        assert_eq!(&stored(&mut configs, create(text.clone())).await, id);
        ids.push(id.clone());
    }
    let ids = sorted(ids);
    let apart = (11..).find(|end| ids[0][..*end] != ids[1][..*end]).unwrap();
    let resolve = |reference: &str| pb::ResolveConfigRequest {
        reference: reference.to_owned(),
        ..Default::default()
    };
    for id in &ids {
        for end in [apart, apart + 1, 40, 70, 71] {
            for reference in [&id[..end], &id[7..end]] {
                let found = configs.resolve(resolve(reference)).await.unwrap();
                assert_eq!(&found.into_inner().id, id, "{reference}");
            }
        }
        for end in 11..apart {
            for reference in [&id[..end], &id[7..end]] {
                let status = configs.resolve(resolve(reference)).await.unwrap_err();
                assert_refused(&status, Code::FailedPrecondition, "AMBIGUOUS", None);
                assert_eq!(fact(&status, "candidates"), ids.join(","));
                assert!(status.message().contains(&ids[1]), "{status:?}");
            }
        }
    }
    let (code, reason) = (Code::InvalidArgument, "INVALID_FIELD");
    for bad in [
        "",
        "sha256:",
        "abc",
        "sha256:abc",
        &"x".repeat(4097),
        "a\0b",
    ] {
        let status = configs.resolve(resolve(bad)).await.unwrap_err();
        assert_refused(&status, code, reason, Some("reference"));
    }
    let upper = ids[0][7..20].to_uppercase();
    for unknown in [
        &digest("absent")[..],
        &digest("absent")[7..],
        "debian:12",
        &upper,
    ] {
        let status = configs.resolve(resolve(unknown)).await.unwrap_err();
        assert_refused(&status, Code::NotFound, "NOT_FOUND", None);
    }
}

#[tokio::test]
async fn a_name_stands_for_the_config_that_its_target_leads_to() {
    let server = Server::start().await;
    let (mut configs, mut images) = (server.configs().await, server.images().await);
    let amd64 = Built::base("debian");
    let arm64 = Built::base("debian-arm").on("linux/arm64/v8");
    for built in [&amd64, &arm64] {
        let request = pb::CreateConfigRequest {
            targets: vec![digest("index")],
            ..built.create()
        };
        stored(&mut configs, request).await;
    }
    images.put(put("debian:12", "index")).await.unwrap();
    let get_for = |text: &str| pb::GetConfigRequest {
        platform: (!text.is_empty()).then(|| platform(text)),
        ..get("debian:12")
    };
    for (asked, wanted) in [
        ("linux/amd64", amd64.id()),
        ("linux/x86_64", amd64.id()),
        ("linux/arm64", arm64.id()),
    ] {
        let got = configs.get(get_for(asked)).await.unwrap().into_inner();
        assert_eq!(got.config.unwrap().id, wanted, "{asked}");
    }
    let status = configs.get(get_for("linux/s390x")).await.unwrap_err();
    assert_refused(&status, Code::NotFound, "NOT_FOUND", None);
    let status = configs.get(get_for("")).await.unwrap_err();
    assert_refused(&status, Code::FailedPrecondition, "AMBIGUOUS", None);

    // A name before the beginning of an id that reads like it.
    let hexish = &amd64.id()[7..15];
    images.put(put(hexish, "other")).await.unwrap();
    let link = pb::LinkConfigRequest {
        id: arm64.id(),
        target: digest("other"),
        ..Default::default()
    };
    assert!(
        configs
            .link(link.clone())
            .await
            .unwrap()
            .into_inner()
            .changed
    );
    assert!(!configs.link(link).await.unwrap().into_inner().changed);
    assert_eq!(read(&mut configs, hexish).await.id, arm64.id());
    let unlink = pb::UnlinkConfigRequest {
        id: arm64.id(),
        target: digest("other"),
        ..Default::default()
    };
    assert!(
        configs
            .unlink(unlink.clone())
            .await
            .unwrap()
            .into_inner()
            .changed
    );
    assert!(!configs.unlink(unlink).await.unwrap().into_inner().changed);
    let status = configs.get(get(hexish)).await.unwrap_err();
    assert_refused(&status, Code::NotFound, "NOT_FOUND", None);
}

#[tokio::test]
async fn a_record_that_points_to_the_config_itself_needs_no_link() {
    let server = Server::start().await;
    let (mut configs, mut images) = (server.configs().await, server.images().await);
    let built = Built::base("debian");
    let id = store(&mut configs, &built).await;
    let mut request = put("saved:1", "unused");
    let target = request.image.as_mut().unwrap().target.as_mut().unwrap();
    target.digest = id.clone();
    images.put(request).await.unwrap();
    assert_eq!(read(&mut configs, "saved:1").await.id, id);
}
