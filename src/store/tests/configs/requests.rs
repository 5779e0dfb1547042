//! Requests that are done once, and requests that only say what they would do.

use super::*;

on_every_engine![
    a_retry_of_anything_gets_the_first_answer,
    an_id_of_another_request_is_refused,
    what_only_validates_answers_alike_and_writes_nothing,
];

fn once(id: &str) -> Option<RequestId> {
    Some(RequestId::new(id, id.as_bytes()).unwrap())
}

/// Every change, as text, so that answers can be compared. The revision of what was written is told apart.
async fn change(
    on: &On,
    what: &str,
    ids: (ConfigId, ConfigId),
    request: Option<RequestId>,
    validate_only: bool,
) -> Result<String, Error> {
    let configs = on.store.configs();
    let (parent, id) = ids;
    let target = *target("one").digest();
    let link = LinkConfig {
        validate_only,
        request: request.clone(),
        ..LinkConfig::new(id, target)
    };
    Ok(match what {
        "create" => {
            let request = CreateConfig {
                parent: Some(parent),
                built_locally: true,
                targets: vec![target],
                validate_only,
                request,
                ..CreateConfig::new(draft(&["p", "new"]).bytes())
            };
            let mut created = configs.create(&ns(), &request).await?;
            if validate_only {
                assert_eq!(created.value.stored.entry.revision, Revision::ZERO);
            } else {
                assert_eq!(created.value.stored.entry.revision, created.revision);
            }
            created.value.stored.entry.revision = Revision::ZERO;
            format!("{:?}", created.value)
        }
        "set_parent" => {
            let request = SetParent {
                validate_only,
                request,
                ..SetParent::new(id, Some(parent))
            };
            format!("{:?}", configs.set_parent(&ns(), &request).await?.value)
        }
        "mark" => {
            let request = MarkConfig {
                built_locally: Some(true),
                touch: true,
                validate_only,
                request,
                ..MarkConfig::new(id)
            };
            let mut marked = configs.mark(&ns(), &request).await?.value;
            marked.entry.revision = Revision::ZERO;
            format!("{marked:?}")
        }
        "link" => format!("{:?}", configs.link(&ns(), &link).await?.value),
        "unlink" => format!("{:?}", configs.unlink(&ns(), &link).await?.value),
        "delete" => {
            let request = DeleteConfig {
                validate_only,
                request,
                ..DeleteConfig::new(id)
            };
            format!("{:?}", configs.delete(&ns(), &request).await?.value)
        }
        other => panic!("{other}"),
    })
}

const CHANGES: [&str; 6] = ["create", "set_parent", "mark", "link", "unlink", "delete"];

async fn configs(on: &On) -> (ConfigId, ConfigId) {
    let parent = on.create(&draft(&["p"])).await;
    (parent, on.create(&draft(&["p", "c", "d"])).await)
}

async fn a_retry_of_anything_gets_the_first_answer(on: &On) {
    let ids = configs(on).await;
    for what in CHANGES {
        let first = change(on, what, ids, once(what), false).await.unwrap();
        let before = on.store.revision().await.unwrap();
        on.at(2000);
        let again = change(on, what, ids, once(what), false).await.unwrap();
        assert_eq!(again, first, "{what}");
        assert_eq!(on.store.revision().await.unwrap(), before, "{what}");
        on.at(1000);
    }
    // Also where what it was about has gone since.
    on.remove(draft(&["p", "new"]).id()).await.unwrap();
    let again = change(on, "create", ids, once("create"), false).await;
    assert!(again.unwrap().contains("created: true"));
    let mark = change(on, "mark", ids, once("mark"), false).await;
    assert!(mark.unwrap().contains("changed: true"));
}

async fn an_id_of_another_request_is_refused(on: &On) {
    let ids = configs(on).await;
    change(on, "link", ids, once("x"), false).await.unwrap();
    let other = RequestId::new("x", b"something else").unwrap();
    for what in CHANGES {
        let refused = change(on, what, ids, Some(other.clone()), false).await;
        let is_said =
            matches!(&refused, Err(Error::Invalid(invalid)) if invalid.field() == "request_id");
        assert!(is_said, "{what}: {refused:?}");
    }
}

async fn what_only_validates_answers_alike_and_writes_nothing(on: &On) {
    let ids = configs(on).await;
    for what in CHANGES {
        let before = on.store.revision().await.unwrap();
        let told = change(on, what, ids, once("v"), true).await.unwrap();
        assert_eq!(on.store.revision().await.unwrap(), before, "{what}");
        let done = change(on, what, ids, None, false).await.unwrap();
        assert_eq!(told, done, "{what}");
        assert!(on.store.revision().await.unwrap() > before, "{what}");
    }
    let gone = change(on, "mark", ids, None, true).await;
    assert!(matches!(gone, Err(Error::NotFound(_))));
}
