//! Pages, their tokens and their limits; what can be asked for.

use futures::StreamExt;
use futures::stream;
use imagestore::proto::v1 as pb;
use tonic::Code;

use crate::common::{Server, assert_refused, digest, put, target};

/// Puts names that each point to a target of their own.
pub async fn fill(server: &Server, names: impl IntoIterator<Item = String>) {
    let images = server.images().await;
    let puts = names.into_iter().map(|name| {
        let mut images = images.clone();
        async move { images.put(put(&name, &name)).await.unwrap() }
    });
    stream::iter(puts)
        .buffer_unordered(64)
        .for_each(|_| async {})
        .await;
}

/// A record that takes `bytes` and a bit.
pub fn heavy(name: &str, bytes: usize) -> pb::PutImageRequest {
    let mut request = put(name, name);
    let target = request.image.as_mut().unwrap().target.as_mut().unwrap();
    target
        .annotations
        .insert("weight".to_owned(), "x".repeat(bytes));
    request
}

fn list() -> pb::ListImagesRequest {
    pb::ListImagesRequest::default()
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_default_to_100_are_capped_at_1000_and_lead_to_every_record_once() {
    let server = Server::start().await;
    let names: Vec<String> = (0..1005).map(|i| format!("n{i:04}")).collect();
    fill(&server, names.clone()).await;
    let mut images = server.images().await;

    let first = images.list(list()).await.unwrap().into_inner();
    assert_eq!(first.images.len(), 100);
    assert_eq!(first.revision, server.status().await.revision);
    let capped = pb::ListImagesRequest {
        page_size: i32::MAX,
        ..list()
    };
    assert_eq!(
        images.list(capped).await.unwrap().into_inner().images.len(),
        1000
    );

    let mut found = Vec::new();
    let mut request = list();
    // The size of a page is no part of what a token belongs to.
    for page_size in [0, 7, 1000, 333].into_iter().cycle() {
        request.page_size = page_size;
        let page = images.list(request.clone()).await.unwrap().into_inner();
        found.extend(page.images.into_iter().map(|image| image.name));
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() {
            break;
        }
    }
    assert_eq!(found, names);
}

#[tokio::test]
async fn a_negative_page_size_is_refused() {
    let server = Server::start().await;
    let negative = pb::ListImagesRequest {
        page_size: -1,
        ..list()
    };
    let status = server.images().await.list(negative).await.unwrap_err();
    assert_refused(
        &status,
        Code::InvalidArgument,
        "INVALID_FIELD",
        Some("page_size"),
    );
    let negative = pb::ListNamespacesRequest {
        page_size: i32::MIN,
        ..Default::default()
    };
    let status = server.namespaces().await.list(negative).await.unwrap_err();
    assert_refused(
        &status,
        Code::InvalidArgument,
        "INVALID_FIELD",
        Some("page_size"),
    );
}

#[tokio::test]
async fn a_page_token_is_for_its_own_request_and_store_only() {
    let (server, other) = (Server::start().await, Server::start().await);
    for server in [&server, &other] {
        fill(server, ["a1", "a2", "a3"].map(str::to_owned)).await;
    }
    let mut images = server.images().await;
    let page = pb::ListImagesRequest {
        page_size: 1,
        ..list()
    };
    let token = images
        .list(page.clone())
        .await
        .unwrap()
        .into_inner()
        .next_page_token;
    let foreign = other
        .images()
        .await
        .list(page.clone())
        .await
        .unwrap()
        .into_inner()
        .next_page_token;
    let spaces = pb::ListNamespacesRequest {
        page_size: 1,
        ..Default::default()
    };
    let spaces = server
        .namespaces()
        .await
        .list(spaces)
        .await
        .unwrap()
        .into_inner();

    let next = |page_token: &str| pb::ListImagesRequest {
        page_token: page_token.to_owned(),
        ..page.clone()
    };
    let mut tampered = token.clone();
    tampered.replace_range(0..2, "ff");
    let refused = [
        next(&foreign),
        next(&spaces.next_page_token),
        next("garbage"),
        next("é"),
        next("00"),
        next(&token[..20]),
        next(&token[1..]),
        next(&tampered),
        next(&"0".repeat(100_000)),
        pb::ListImagesRequest {
            name_prefix: "a".to_owned(),
            ..next(&token)
        },
        pb::ListImagesRequest {
            namespace: "-".to_owned(),
            ..next(&token)
        },
        pb::ListImagesRequest {
            namespace: "other".to_owned(),
            ..next(&token)
        },
        pb::ListImagesRequest {
            digest: digest("a1"),
            ..next(&token)
        },
        pb::ListImagesRequest {
            digest_prefix: "abcd".to_owned(),
            ..next(&token)
        },
        pb::ListImagesRequest {
            filters: vec!["name==a1".to_owned()],
            ..next(&token)
        },
    ];
    let before = server.status().await.revision;
    for request in refused {
        assert!(!request.page_token.is_empty());
        let status = images
            .list(request.clone())
            .await
            .expect_err(&format!("{request:?}"));
        assert_refused(
            &status,
            Code::InvalidArgument,
            "INVALID_FIELD",
            Some("page_token"),
        );
        let message = status.message();
        assert!(
            message.contains("first page"),
            "says what to do next: {message}"
        );
    }
    assert_eq!(server.status().await.revision, before);
    let second = images.list(next(&token)).await.unwrap().into_inner();
    assert_eq!(second.images[0].name, "a2");
}

#[tokio::test]
async fn a_token_still_leads_on_after_a_restart_and_after_the_record_went() {
    let root = crate::common::folder();
    let mut server = Server::at(root.path()).await;
    fill(&server, ["a", "b", "c"].map(str::to_owned)).await;
    let page = pb::ListImagesRequest {
        page_size: 2,
        ..list()
    };
    let token = server
        .images()
        .await
        .list(page)
        .await
        .unwrap()
        .into_inner()
        .next_page_token;
    server
        .images()
        .await
        .delete(crate::common::delete("b"))
        .await
        .unwrap();
    server.kill();
    let server = Server::at(root.path()).await;
    let rest = pb::ListImagesRequest {
        page_token: token,
        ..list()
    };
    let rest = server.images().await.list(rest).await.unwrap().into_inner();
    assert_eq!(
        rest.images
            .iter()
            .map(|i| i.name.as_str())
            .collect::<Vec<_>>(),
        ["c"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn no_page_and_no_chunk_is_over_1_mib_and_none_is_lost_by_that() {
    let server = Server::start().await;
    let mut images = server.images().await;
    for i in 0..12 {
        images
            .put(heavy(&format!("h{i:02}"), 200_000))
            .await
            .unwrap();
    }
    let mut request = list();
    let mut found = 0;
    loop {
        let page = images.list(request.clone()).await.unwrap().into_inner();
        assert!(prost::Message::encoded_len(&page) <= 1 << 20);
        assert!(!page.images.is_empty());
        found += page.images.len();
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
    }
    assert_eq!(found, 12);

    let mut stream = images
        .stream(pb::StreamImagesRequest::default())
        .await
        .unwrap()
        .into_inner();
    let mut names = Vec::new();
    let mut revisions = Vec::new();
    while let Some(chunk) = stream.message().await.unwrap() {
        assert!(prost::Message::encoded_len(&chunk) <= 1 << 20);
        revisions.push(chunk.revision);
        names.extend(chunk.images.into_iter().map(|image| image.name));
        // The stream is of one revision, whatever is written meanwhile.
        images
            .put(put(&format!("later{}", names.len()), "x"))
            .await
            .unwrap();
    }
    assert_eq!(
        names,
        (0..12).map(|i| format!("h{i:02}")).collect::<Vec<_>>()
    );
    revisions.dedup();
    assert_eq!(revisions.len(), 1);
}

#[tokio::test]
async fn prefix_digest_and_filters_choose_the_same_records_in_list_stream_and_count() {
    let server = Server::start().await;
    fill(&server, ["a/1", "a/2", "b/1"].map(str::to_owned)).await;
    let mut images = server.images().await;
    let mut big = put("big", "a/1");
    big.image.as_mut().unwrap().target = Some(pb::Descriptor {
        size: 5 << 30,
        ..target("a/1")
    });
    big.image
        .as_mut()
        .unwrap()
        .labels
        .insert("team".to_owned(), "x".to_owned());
    images.put(big).await.unwrap();

    let (whole, start) = (
        digest("a/1"),
        digest("b/1")[.."sha256:".len() + 6].to_owned(),
    );
    let by = |prefix: &str, whole: &str, start: &str, filters: &[&str]| pb::ListImagesRequest {
        name_prefix: prefix.to_owned(),
        digest: whole.to_owned(),
        digest_prefix: start.to_owned(),
        filters: filters.iter().map(|filter| (*filter).to_owned()).collect(),
        ..Default::default()
    };
    for (request, wanted) in [
        (by("a/", "", "", &[]), &["a/1", "a/2"][..]),
        (by("", &whole, "", &[]), &["a/1", "big"]),
        (by("a", &whole, "", &[]), &["a/1"]),
        (by("", "", &start, &[]), &["b/1"]),
        (by("", "", "", &["target.size>4GiB"]), &["big"]),
        (
            by("", "", "", &["target.size<=1GB", "labels.team==x"]),
            &["a/1", "a/2", "b/1", "big"],
        ),
        (by("", "", "", &["name~=1$,!labels.team"]), &["a/1", "b/1"]),
        (by("", "", "", &["created_at<2000-01-01"]), &[]),
        (by("a/", "", "", &["name==b/1"]), &[]),
        (
            by("", "", "", &[&format!("target.digest=={whole}")]),
            &["a/1", "big"],
        ),
    ] {
        let names = |images: Vec<pb::Image>| images.into_iter().map(|i| i.name).collect::<Vec<_>>();
        let listed = images.list(request.clone()).await.unwrap().into_inner();
        assert_eq!(names(listed.images), wanted, "{request:?}");
        let stream = pb::StreamImagesRequest {
            namespace: String::new(),
            name_prefix: request.name_prefix.clone(),
            digest: request.digest.clone(),
            digest_prefix: request.digest_prefix.clone(),
            filters: request.filters.clone(),
        };
        let mut stream = images.stream(stream).await.unwrap().into_inner();
        let chunk = stream
            .message()
            .await
            .unwrap()
            .expect("an empty stream says its revision");
        assert_eq!(names(chunk.images), wanted);
        assert_eq!(chunk.revision, listed.revision);
        let count = pb::CountImagesRequest {
            namespace: String::new(),
            name_prefix: request.name_prefix,
            digest: request.digest,
            digest_prefix: request.digest_prefix,
            filters: request.filters,
        };
        let counted = images.count(count).await.unwrap().into_inner();
        assert_eq!(counted.count, wanted.len() as i64);
    }
}
