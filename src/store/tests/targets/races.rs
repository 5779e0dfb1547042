//! Writes that overtake each other, and writes that fail.

use super::*;

/// A change to [`family`].
#[derive(Clone, Copy, Debug)]
enum Change {
    Apply(&'static str),
    Replace(&'static str),
    Move,
    Delete(&'static str),
    Happen(&'static str, EventKind),
    /// Under the claim on it.
    Finish(&'static str, EventKind),
    Renew,
    Release(Option<u64>),
    Claim(&'static str, &'static [Work]),
    Reset,
    Observe(&'static str, Presence, Presence),
    Bump(&'static str),
    DropAll,
}

use Change::{
    Apply, Bump, Claim, Delete, DropAll, Finish, Happen, Move, Observe, Release, Renew, Replace,
    Reset,
};
use EventKind::{BuildFailed, BuildOk, Lost, VerifyOk};

const CHANGES: [Change; 30] = [
    Apply("new<-top"),
    Apply("mid<-base,X"),
    Apply("base<-other"),
    Apply("other<-mid"),
    Apply("other"),
    Replace("base; mid<-base; bad"),
    Move,
    Delete("top"),
    Delete("mid"),
    Delete("other"),
    Happen("base", Lost),
    Happen("base", VerifyOk),
    Happen("other", BuildOk),
    Happen("other", BuildFailed),
    Happen("mid", BuildOk),
    Happen("bad", EventKind::Reset),
    Finish("mid", BuildOk),
    Finish("mid", BuildFailed),
    Renew,
    Release(None),
    Release(Some(60)),
    Claim("host:a", BUILD),
    Claim("host:b", BUILD),
    Claim("host:b", &Work::ALL),
    Reset,
    Observe("base", Presence::Absent, Presence::Absent),
    Observe("other", Presence::Present(None), Presence::Absent),
    Observe("mid", Presence::Absent, Presence::Unknown),
    Bump("base"),
    DropAll,
];

/// What is built on each other, in all states; somebody is at `mid`.
async fn family(on: &On) -> Token {
    on.declare("base; mid<-base; top<-mid; other; bad").await;
    on.bring("base", State::Built).await;
    on.bring("bad", State::Error).await;
    let request = ClaimTarget {
        selector: globbed("mid:*"),
        ..claiming("w", BUILD)
    };
    match on.next(&request).await {
        NextTarget::Claimed(claimed) => token(&claimed),
        NextTarget::Idle(idle) => panic!("{idle:?}"),
    }
}

/// An entry without what depends on when it was written.
fn timeless(mut entry: TargetEntry) -> String {
    entry.revision = Revision::ZERO;
    if let Some(claim) = &mut entry.claim {
        claim.token = Token(0);
    }
    format!("{entry:?}")
}

/// What a change answers, but for revisions; an error where the store failed.
async fn change(store: &Store, change: Change, token: Token) -> Result<String, Error> {
    let calls = store.build_targets();
    let apply = async |request: ApplyTargets| {
        let applied = calls.apply(&ns(), &request).await;
        applied.map(|applied| {
            let applied = AppliedTargets {
                graph_revision: Revision::ZERO,
                ..applied.value
            };
            format!("{applied:?}")
        })
    };
    let transition = async |request: TransitionTarget| {
        let told = calls.transition(&ns(), &request).await;
        told.map(|told| format!("{} {}", told.value.changed, timeless(told.value.entry)))
    };
    let mid = key_of("mid");
    let answer = match change {
        Apply(text) => apply(ApplyTargets::new(targets(text))).await,
        Replace(text) => {
            let request = ApplyTargets {
                replace_all: true,
                ..ApplyTargets::new(targets(text))
            };
            apply(request).await
        }
        Move => {
            let moved = Target::new(
                mid,
                "elsewhere.example/mid:1".parse().unwrap(),
                Default::default(),
                Labels::default(),
            );
            apply(ApplyTargets::new(vec![moved.unwrap()])).await
        }
        Delete(key) => {
            let request = DeleteTarget::new(key_of(key));
            let gone = calls.delete(&ns(), &request).await;
            gone.map(|gone| timeless(gone.value))
        }
        Happen(key, kind) => transition(TransitionTarget::new(key_of(key), event(kind))).await,
        Finish(key, kind) => {
            let request = TransitionTarget {
                token: Some(token),
                ..TransitionTarget::new(key_of(key), event(kind))
            };
            transition(request).await
        }
        Renew => {
            let request = RenewTarget { target: mid, token };
            let renewed = calls.renew(&ns(), &request).await;
            renewed.map(|renewed| format!("{:?}", renewed.value.deadline))
        }
        Release(after) => {
            let request = ReleaseTarget {
                target: mid,
                token,
                retry_after: after.map(Duration::from_secs),
            };
            let released = calls.release(&ns(), &request).await;
            released.map(|_| "released".to_owned())
        }
        Claim(location, works) => {
            let request = ClaimTarget {
                location: place(location),
                ..claiming("x", works)
            };
            let next = calls.claim_next(&ns(), &request).await;
            next.map(|next| match next.value {
                NextTarget::Claimed(claimed) => {
                    format!(
                        "{:?} {:?} {}",
                        claimed.work,
                        claimed.dependencies,
                        timeless(claimed.entry)
                    )
                }
                NextTarget::Idle(idle) => format!("{idle:?}"),
            })
        }
        Reset => {
            let reset = calls.reset(&ns(), &ResetTargets::default()).await;
            reset.map(|reset| format!("{:?}", reset.value))
        }
        Observe(key, local, published) => {
            let observation = TargetObservation {
                target: key_of(key),
                seen: Observation {
                    location: place("host:a"),
                    local,
                    published,
                },
                if_etag: None,
            };
            let request = ObserveTargets::new(Mode::RegistryFirst, vec![observation]);
            let observed = calls.observe(&ns(), &request).await;
            observed.map(|observed| format!("{:?}", observed.value))
        }
        Bump(key) => {
            let request = BumpTarget::new(key_of(key), "CVE-1");
            let bumped = calls.bump(&ns(), &request).await;
            bumped.map(|bumped| format!("{:?}", bumped.value.bumped))
        }
        DropAll => {
            let request = DeleteNamespace {
                name: ns(),
                force: true,
                when: Precondition::None,
                validate_only: false,
                request: None,
            };
            let deleted = store.namespaces().delete(&request).await;
            deleted.map(|_| "dropped".to_owned())
        }
    };
    match answer {
        Err(error @ (Error::OutcomeUnknown(_) | Error::Stopped(_) | Error::Contended { .. })) => {
            Err(error)
        }
        Err(refused) => Ok(refused.to_string()),
        answered => answered,
    }
}

/// All that can be seen, but for revisions and tokens.
async fn state(on: &On) -> String {
    assert_eq!(on.store.verify().await.unwrap().problems, []);
    let all = on.selected(&all()).await.into_iter().map(timeless);
    let all: Vec<_> = all.collect();
    // What is loaded anew is what was kept.
    let order = on
        .store
        .build_targets()
        .build_order(&ns(), &self::all())
        .await;
    format!("{}\n{:?}", all.join("\n"), order.unwrap().value.value)
}

/// What two changes answer one after the other, and what is there then.
async fn in_turn(first: Change, second: Change) -> (String, String, String) {
    let on = On::memory().await;
    let token = family(&on).await;
    let first = change(&on.store, first, token).await.unwrap();
    let second = change(&on.store, second, token).await.unwrap();
    (first, second, state(&on).await)
}

#[tokio::test]
async fn writes_that_overtake_each_other_do_what_they_would_have_done_in_some_order() {
    let mut pairs = 0;
    for slow in CHANGES {
        for fast in CHANGES {
            let kv = Arc::new(Faulty::new(Memory::new()));
            let one = On::kv(kv.clone(), None).await;
            let other = On::kv(kv.clone(), None).await;
            let token = family(&one).await;
            // Both have loaded the graph before.
            state(&other).await;
            let slowly = change(&one.store, slow, token);
            let raced = overtaken(&kv, slowly, change(&other.store, fast, token)).await;
            let Some((slowly, fast_answer)) = raced else {
                continue;
            };
            let (slowly, fast_answer) = (slowly.unwrap(), fast_answer.unwrap());
            let after = state(&one).await;
            assert_eq!(
                after,
                state(&other).await,
                "{slow:?}, overtaken by {fast:?}"
            );
            let (first, second, later) = in_turn(fast, slow).await;
            if (&fast_answer, &slowly, &after) != (&first, &second, &later) {
                let (first, second, later) = in_turn(slow, fast).await;
                assert_eq!(slowly, first, "{slow:?}, overtaken by {fast:?}");
                assert_eq!(fast_answer, second, "{slow:?}, overtaken by {fast:?}");
                assert_eq!(after, later, "{slow:?}, overtaken by {fast:?}");
            }
            pairs += 1;
        }
    }
    assert!(pairs > 15 * CHANGES.len(), "{pairs} pairs");
}

#[tokio::test]
async fn a_write_that_fails_has_done_all_or_nothing() {
    for what in CHANGES {
        let kv = Arc::new(Faulty::new(Memory::new()));
        let on = On::kv(kv.clone(), None).await;
        let token = family(&on).await;
        let before = state(&on).await;
        for fault in [Fault::Refuse, Fault::LoseWrite] {
            kv.plan(0, fault);
            if change(&on.store, what, token).await.is_ok() {
                // It had nothing to write, and the fault waits for the next one.
                assert!(kv.commit(Batch::new(0)).await.is_err(), "{what:?}");
            }
            assert_eq!(state(&on).await, before, "{what:?}");
        }
        let after = On::memory().await;
        let its = family(&after).await;
        change(&after.store, what, its).await.unwrap();
        kv.plan(0, Fault::LoseAnswer);
        let _ = change(&on.store, what, token).await;
        assert_eq!(state(&on).await, state(&after).await, "{what:?}");
    }
}

on_every_engine![many_changes_at_once_leave_the_store_sound];

async fn many_changes_at_once_leave_the_store_sound(on: &On) {
    for _ in 0..3 {
        let drop_all = change(&on.store, DropAll, Token(0)).await;
        assert!(drop_all.is_ok());
        let token = family(on).await;
        let all = CHANGES.iter().cycle().take(3 * CHANGES.len());
        let all = all.filter(|what| !matches!(what, DropAll));
        for answer in join_all(all.map(|what| change(&on.store, *what, token))).await {
            answer.unwrap();
        }
        state(on).await;
    }
}

#[tokio::test]
async fn whoever_looked_before_a_target_was_claimed_is_never_given_its_token() {
    for finishes in [false, true] {
        let kv = Arc::new(Faulty::new(Memory::new()));
        let one = On::kv(kv.clone(), None).await;
        let other = On::kv(kv.clone(), None).await;
        one.declare("a").await;
        one.bring("a", State::Built).await;
        let verify = claiming("slow", &[Work::Verify]);
        let fast = async {
            let token = token(&other.claimed("fast", &[Work::Verify]).await);
            match finishes {
                // It is there already: the target stays as it is.
                true => {
                    let told = other
                        .happen_under("a", EventKind::BuildOk, Some(token))
                        .await;
                    assert!(!told.unwrap().changed);
                }
                false => other.let_go("a", token, None).await.unwrap(),
            }
            other.store.sweep().await.unwrap();
            token
        };
        let (slow, fast) = overtaken(&kv, one.next(&verify), fast).await.unwrap();
        let NextTarget::Claimed(slow) = slow else {
            panic!("{slow:?}")
        };
        assert!(token(&slow) > fast);
    }
}
