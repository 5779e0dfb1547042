//! Requests with an id, and requests that only ask.

use super::*;

on_every_engine![
    a_retry_of_anything_gets_the_first_answer,
    an_id_of_another_request_is_refused,
    what_only_validates_answers_alike_and_writes_nothing,
];

fn once(what: &str) -> Option<RequestId> {
    Some(RequestId::new(format!("id-{what}"), what.as_bytes()).unwrap())
}

const CHANGES: [&str; 7] = [
    "apply",
    "transition",
    "unchanged",
    "observe",
    "reset",
    "bump",
    "delete",
];

async fn change(
    on: &On,
    what: &str,
    request: Option<RequestId>,
    validate_only: bool,
) -> Result<String, Error> {
    let calls = on.store.build_targets();
    Ok(match what {
        "apply" => {
            let asked = ApplyTargets {
                validate_only,
                request,
                ..ApplyTargets::new(targets("new<-base"))
            };
            let mut applied = calls.apply(&ns(), &asked).await?;
            if !validate_only {
                assert_eq!(applied.value.graph_revision, applied.revision);
            }
            applied.value.graph_revision = Revision::ZERO;
            format!("{:?}", applied.value)
        }
        "transition" | "unchanged" => {
            let key = if what == "unchanged" { "done" } else { "base" };
            let asked = TransitionTarget {
                validate_only,
                request,
                ..TransitionTarget::new(key_of(key), event(EventKind::BuildOk))
            };
            let mut told = calls.transition(&ns(), &asked).await?.value;
            assert_eq!(told.changed, key == "base");
            told.entry.revision = Revision::ZERO;
            format!("{told:?}")
        }
        "observe" => {
            let one = |key: &str, published| TargetObservation {
                target: key_of(key),
                seen: Observation {
                    location: place("host:a"),
                    local: Presence::Absent,
                    published,
                },
                if_etag: None,
            };
            let seen = vec![
                one("seen", Presence::Present(None)),
                one("unsure", Presence::Unknown),
                one("nowhere", Presence::Absent),
                one("bad", Presence::Absent),
            ];
            let asked = ObserveTargets {
                validate_only,
                request,
                ..ObserveTargets::new(Mode::RegistryFirst, seen)
            };
            format!("{:?}", calls.observe(&ns(), &asked).await?.value)
        }
        "reset" => {
            let asked = ResetTargets {
                selector: all(),
                validate_only,
                request,
            };
            format!("{:?}", calls.reset(&ns(), &asked).await?.value)
        }
        "bump" => {
            let asked = BumpTarget {
                validate_only,
                request,
                ..BumpTarget::new(key_of("base"), "CVE-1")
            };
            let mut bumped = calls.bump(&ns(), &asked).await?.value;
            bumped.graph_revision = Revision::ZERO;
            format!("{bumped:?}")
        }
        "delete" => {
            let asked = DeleteTarget {
                validate_only,
                request,
                ..DeleteTarget::new(key_of("top"))
            };
            format!("{:?}", calls.delete(&ns(), &asked).await?.value)
        }
        other => panic!("{other}"),
    })
}

async fn set(on: &On) {
    on.declare("base; top<-base; done; seen; unsure; bad").await;
    on.bring("done", State::Built).await;
    on.bring("bad", State::Error).await;
}

async fn a_retry_of_anything_gets_the_first_answer(on: &On) {
    set(on).await;
    for what in CHANGES {
        let first = change(on, what, once(what), false).await.unwrap();
        let before = on.store.revision().await.unwrap();
        on.at(2000);
        let again = change(on, what, once(what), false).await.unwrap();
        assert_eq!(again, first, "{what}");
        assert_eq!(on.store.revision().await.unwrap(), before, "{what}");
        on.at(1000);
    }
    // Also where what it was about has gone since.
    let gone = change(on, "delete", once("delete"), false).await.unwrap();
    assert!(gone.contains("top@1"));
}

async fn an_id_of_another_request_is_refused(on: &On) {
    set(on).await;
    change(on, "apply", once("x"), false).await.unwrap();
    for what in CHANGES {
        let other = RequestId::new("id-x", b"something else").unwrap();
        let refused = change(on, what, Some(other), false).await;
        let is_said =
            matches!(&refused, Err(Error::Invalid(invalid)) if invalid.field() == "request_id");
        assert!(is_said, "{what}: {refused:?}");
    }
}

async fn what_only_validates_answers_alike_and_writes_nothing(on: &On) {
    set(on).await;
    for what in CHANGES {
        let before = on.store.revision().await.unwrap();
        let told = change(on, what, once("v"), true).await.unwrap();
        assert_eq!(on.store.revision().await.unwrap(), before, "{what}");
        let done = change(on, what, None, false).await.unwrap();
        assert_eq!(told, done, "{what}");
        let after = on.store.revision().await.unwrap();
        assert_eq!(after > before, what != "unchanged", "{what}");
    }
}
