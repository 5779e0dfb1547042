//! What the checker is worth: small histories by hand, of which it takes the good ones and rejects the
//! bad ones with the calls that contradict each other.

use crate::by_hand::{
    changed, created, delete, label, labelled, left, put, put_new, read, record, refused, wrote,
};
use crate::check::{Tally, Violation, check};
use crate::history::{Answer, Asked, Condition, History, Item, Refusal, Why};

/// Checks what kind of violation it is, and that its words name the calls.
macro_rules! rejected {
    ($history:expr, $kind:pat, $($named:literal),*) => {{
        let violation = check(&$history).unwrap_err();
        assert!(matches!(violation, $kind), "{violation:?}");
        let said = violation.to_string();
        $(assert!(said.contains($named), "no {:?} in: {said}", $named);)*
    }};
}

#[test]
fn a_history_that_has_an_order_is_taken() {
    // While the second Put is under way, reads may show either state; but none the first after one
    // that showed the second.
    let history = History::with_a_changed()
        .get(3, 4, "a", read(record("x", 1), 1))
        .get(6, 7, "a", read(record("y", 2), 2))
        .one(8, 9, put("a", "y"), wrote(vec![left(record("y", 2))], 2))
        .one(10, 11, put_new("a", "z"), refused(Why::Exists))
        .cut(12, Asked::One(delete("a")))
        .cut(13, Asked::One(delete("a")))
        .logged(7, &[("a", None)])
        .get(14, 15, "a", refused(Why::NotFound));
    let tally = Tally {
        reads: 3,
        writes: 2,
        idle: 1,
        refused: 1,
        happened: 1,
        vanished: 1,
    };
    assert_eq!(check(&history), Ok(tally));
}

#[test]
fn a_read_of_a_state_before_an_acknowledged_write_is_rejected() {
    let history = History::with_a_changed().get(6, 7, "a", read(record("x", 1), 1));
    rejected!(
        history,
        Violation::TooOld { .. },
        "client 2",
        "client 1",
        "get a"
    );
}

#[test]
fn a_read_that_shows_another_state_than_its_revision_has_is_rejected() {
    let history = History::with_a_changed().get(6, 7, "a", read(record("x", 1), 2));
    rejected!(
        history,
        Violation::WrongAnswer { .. },
        "client 2",
        "{y {} of 2}"
    );
}

#[test]
fn reads_that_go_back_are_rejected_though_the_write_is_still_under_way() {
    let history = History::with_a()
        .one(2, 9, put("a", "y"), wrote(vec![changed(record("y", 2))], 2))
        .logged(2, &[("a", Some(record("y", 2)))])
        .get(3, 4, "a", read(record("y", 2), 2))
        .get(5, 6, "a", read(record("x", 1), 1));
    rejected!(history, Violation::TooOld { .. }, "client 3", "client 2");
}

#[test]
fn a_lost_update_is_rejected() {
    // Both edits were decided on revision 1, and the second one overwrote the first.
    let first = labelled("x", &["p"], 2);
    let second = labelled("x", &["q"], 3);
    let history = History::with_a()
        .one(
            2,
            4,
            label("a", "p"),
            wrote(vec![changed(first.clone())], 2),
        )
        .one(
            3,
            5,
            label("a", "q"),
            wrote(vec![changed(second.clone())], 3),
        )
        .logged(2, &[("a", Some(first))])
        .logged(3, &[("a", Some(second))]);
    rejected!(
        history,
        Violation::WrongAnswer { .. },
        "client 2",
        "label a q=1",
        "\"p\": \"1\""
    );
}

#[test]
fn a_revision_that_two_writes_have_is_rejected() {
    let b = record("x", 1);
    let history = History::with_a().one(2, 3, put("b", "x"), wrote(vec![created(b)], 1));
    rejected!(
        history,
        Violation::IssuedTwice { revision: 1, .. },
        "client 0",
        "client 1"
    );
}

#[test]
fn a_write_whose_revision_is_below_that_of_an_earlier_one_is_rejected() {
    let (a, b) = (record("x", 2), record("x", 1));
    let history = History::default()
        .one(0, 1, put("a", "x"), wrote(vec![created(a.clone())], 2))
        .one(2, 3, put("b", "x"), wrote(vec![created(b.clone())], 1))
        .logged(1, &[("b", Some(b))])
        .logged(2, &[("a", Some(a))]);
    rejected!(history, Violation::TooOld { .. }, "client 1", "client 0");
}

#[test]
fn a_write_at_a_revision_that_was_read_before_it_began_is_rejected() {
    let history = History::with_a()
        .get(2, 3, "a", read(record("x", 1), 2))
        .one(4, 5, put("b", "x"), wrote(vec![created(record("x", 2))], 2))
        .logged(2, &[("b", Some(record("x", 2)))]);
    rejected!(
        history,
        Violation::TooOld { floor: 2, .. },
        "client 2",
        "client 1"
    );
}

#[test]
fn half_a_batch_is_rejected() {
    let (a, b) = (record("x", 1), record("x", 1));
    let both = Asked::Batch(vec![put("a", "x"), put("b", "x")]);
    let answer = wrote(vec![created(a.clone()), created(b.clone())], 1);
    let half = History::default().logged(1, &[("a", Some(a.clone()))]);
    let acknowledged = half.clone().call(0, 1, both.clone(), answer.clone());
    rejected!(
        acknowledged,
        Violation::OtherLogged { .. },
        "client 0",
        "apply [put a"
    );
    let cut = half.cut(0, both.clone());
    rejected!(cut, Violation::Unasked { .. }, "client 0", "apply [put a");

    let whole = History::default().logged(1, &[("a", Some(a.clone())), ("b", Some(b))]);
    let whole = whole.call(0, 1, both, answer);
    let one_missing = whole.clone().get(2, 3, "b", refused(Why::NotFound));
    rejected!(
        one_missing,
        Violation::Unexplained { .. },
        "client 1",
        "get b"
    );
    assert!(check(&whole.get(2, 3, "a", read(a, 1))).is_ok());
}

#[test]
fn a_batch_that_goes_on_after_an_item_that_fails_is_rejected() {
    let both = Asked::Batch(vec![put_new("a", "y"), put("b", "y")]);
    let done = vec![left(record("x", 1)), created(record("y", 2))];
    let history = History::with_a()
        .call(2, 3, both.clone(), wrote(done, 2))
        .logged(2, &[("b", Some(record("y", 2)))]);
    rejected!(
        history,
        Violation::WrongAnswer { .. },
        "client 1",
        "item 0 refused: already exists"
    );
    let blamed = Answer::Refused(Refusal {
        item: 1,
        why: Why::Exists,
    });
    let history = History::with_a().call(2, 3, both, blamed);
    rejected!(history, Violation::Unexplained { .. }, "client 1", "item 1");
}

#[test]
fn an_acknowledged_write_that_the_log_does_not_have_is_rejected() {
    let mut history = History::with_a_changed();
    history.log.truncate(1);
    rejected!(history, Violation::NotLogged { .. }, "client 1", "put a y");
    history.newest = 1;
    rejected!(history, Violation::NeverWas { newest: 1, .. }, "client 1");
}

#[test]
fn a_log_that_goes_back_is_rejected() {
    let again = History::with_a().logged(1, &[("a", None)]);
    let wanted = Violation::Disordered {
        before: 1,
        revision: 1,
    };
    assert_eq!(check(&again), Err(wanted));
}

#[test]
fn what_nobody_asked_for_is_rejected() {
    let nobody = History::with_a().logged(2, &[("a", None)]);
    rejected!(nobody, Violation::Unasked { .. }, "revision 2: a removed");
    // One that was cut off happens once at most, and not before it began.
    let once = History::with_a_changed().cut(3, Asked::One(delete("a")));
    let twice = once.clone().logged(3, &[("a", None)]);
    let twice = twice.one(6, 7, put("a", "x"), wrote(vec![created(record("x", 4))], 4));
    let twice = twice.logged(4, &[("a", Some(record("x", 4)))]);
    assert!(check(&twice).is_ok());
    let twice = twice.logged(5, &[("a", None)]);
    rejected!(
        twice,
        Violation::Unasked { .. },
        "revision 5",
        "client 2",
        "delete a"
    );
    let early = History::with_a()
        .one(2, 3, put("a", "y"), wrote(vec![changed(record("y", 3))], 3))
        .cut(4, Asked::One(put("b", "x")))
        .logged(2, &[("b", Some(record("x", 2)))])
        .logged(3, &[("a", Some(record("y", 3)))]);
    rejected!(
        early,
        Violation::Unasked { .. },
        "revision 2",
        "client 2",
        "put b x"
    );
}

#[test]
fn calls_that_were_cut_off_are_told_apart_where_one_could_have_made_what_another_did() {
    // The first one could have made both revisions, and the second one only the first of them.
    let conditional = Item {
        when: Condition::Etag(1),
        ..delete("a")
    };
    let history = History::with_a()
        .cut(2, Asked::One(delete("a")))
        .cut(3, Asked::One(conditional))
        .logged(2, &[("a", None)])
        .one(4, 5, put("a", "x"), wrote(vec![created(record("x", 3))], 3))
        .logged(3, &[("a", Some(record("x", 3)))])
        .logged(4, &[("a", None)]);
    let tally = check(&history).unwrap();
    assert_eq!((tally.happened, tally.vanished), (2, 0));
}

#[test]
fn a_refusal_that_no_revision_of_its_time_explains_is_rejected() {
    let a = |why| History::with_a_changed().one(6, 7, put_new("b", "x"), refused(why));
    rejected!(
        a(Why::Exists),
        Violation::Unexplained { floor: 2, .. },
        "client 2"
    );
    let stale = |etag, why| {
        let item = Item {
            when: Condition::Etag(etag),
            ..put("a", "z")
        };
        History::with_a_changed().one(6, 7, item, refused(why))
    };
    assert!(check(&stale(1, Why::Etag(2))).is_ok());
    // Refused for what had long been overwritten; and for what is so.
    rejected!(
        stale(2, Why::Etag(1)),
        Violation::Unexplained { .. },
        "if etag 2"
    );
    rejected!(
        stale(2, Why::Etag(2)),
        Violation::Unexplained { .. },
        "if etag 2"
    );
    let odd = stale(2, Why::Other("internal".to_owned()));
    rejected!(odd, Violation::Unexplained { .. }, "internal");
}

#[test]
fn refusals_that_contradict_each_other_are_rejected() {
    // `a` was gone for the first, so it cannot be back for the second, which began later: the Delete
    // is the newest write.
    let history = History::with_a()
        .one(2, 9, delete("a"), wrote(vec![changed(record("x", 1))], 2))
        .logged(2, &[("a", None)])
        .get(3, 4, "a", refused(Why::NotFound))
        .one(5, 6, put_new("a", "y"), refused(Why::Exists));
    rejected!(
        history,
        Violation::Unexplained { floor: 2, .. },
        "client 3",
        "put a y"
    );
}

#[test]
fn a_write_that_should_have_been_refused_or_idle_is_rejected() {
    let again = wrote(vec![changed(record("y", 2))], 2);
    let taken = History::with_a().one(2, 3, put_new("a", "y"), again);
    let taken = taken.logged(2, &[("a", Some(record("y", 2)))]);
    rejected!(
        taken,
        Violation::WrongAnswer { .. },
        "client 1",
        "already exists"
    );
    let same = wrote(vec![changed(record("x", 2))], 2);
    let idle = History::with_a().one(2, 3, put("a", "x"), same);
    let idle = idle.logged(2, &[("a", Some(record("x", 2)))]);
    rejected!(
        idle,
        Violation::WrongAnswer { .. },
        "client 1",
        "left {x {} of 1}"
    );
    let old =
        History::with_a_changed().one(6, 7, put("a", "x"), wrote(vec![left(record("x", 1))], 1));
    rejected!(old, Violation::TooOld { .. }, "client 2", "client 1");
}
