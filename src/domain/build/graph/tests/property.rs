//! What holds for any graph, against a search that takes its time.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::test_runner::TestCaseError;

use super::*;

/// Targets n0, n1, ... with their states and on which of each other they are built.
#[derive(Clone, Debug)]
struct Plain {
    states: Vec<State>,
    needs: Vec<BTreeSet<usize>>,
    selected: Vec<bool>,
}

impl Plain {
    fn targets(&self) -> Vec<(Target, State)> {
        let one = |n: usize| {
            let needs: Vec<_> = self.needs[n]
                .iter()
                .map(|need| format!("n{need}"))
                .collect();
            target(&format!("n{n}={}<-{}", self.states[n], needs.join(",")))
        };
        (0..self.states.len()).map(one).collect()
    }

    /// What can be reached from a target downwards by steps that may be taken; not itself, unless in a cycle.
    fn below(&self, n: usize, may: &dyn Fn(usize, usize) -> bool) -> BTreeSet<usize> {
        let mut found = BTreeSet::new();
        let mut open = vec![n];
        while let Some(at) = open.pop() {
            for &need in self.needs[at].iter().filter(|&&need| may(at, need)) {
                if found.insert(need) {
                    open.push(need);
                }
            }
        }
        found
    }

    fn is_to_build(&self, n: usize) -> bool {
        self.states[n] == State::ToBuild
    }

    fn wanted(&self) -> BTreeSet<usize> {
        let mut wanted = BTreeSet::new();
        for n in (0..self.states.len()).filter(|&n| self.selected[n] && self.is_to_build(n)) {
            wanted.insert(n);
            wanted.extend(self.below(n, &|_, need| self.is_to_build(need)));
        }
        wanted
    }

    /// Whether something failed below, with nothing between that is built.
    fn is_blocked(&self, n: usize) -> bool {
        let below = self.below(n, &|at, _| self.is_to_build(at));
        below.iter().any(|&need| self.states[need] == State::Error)
    }

    /// How many steps of the longest way down.
    fn depth(&self, n: usize, among: &BTreeSet<usize>) -> usize {
        let needs = self.needs[n].iter().filter(|need| among.contains(need));
        needs
            .map(|&need| 1 + self.depth(need, among))
            .max()
            .unwrap_or(0)
    }
}

fn number(key: &TargetKey) -> usize {
    key.name.as_str()[1..].parse().unwrap()
}

fn numbers<'a>(keys: impl IntoIterator<Item = &'a TargetKey>) -> Vec<usize> {
    keys.into_iter().map(number).collect()
}

fn any_graph(is_acyclic: bool) -> impl Strategy<Value = Plain> {
    (1..9usize).prop_flat_map(move |size| {
        let states = prop::collection::vec(
            prop::sample::select(vec![
                State::ToBuild,
                State::ToBuild,
                State::ToBuild,
                State::Built,
                State::Verified,
                State::Published,
                State::Error,
            ]),
            size,
        );
        let edges = prop::collection::vec((0..size, 0..size), 0..size * 2);
        let places = Just((0..size).collect::<Vec<_>>()).prop_shuffle();
        let selected = prop::collection::vec(any::<bool>(), size);
        (states, edges, places, selected).prop_map(move |(states, edges, places, selected)| {
            let mut needs = vec![BTreeSet::new(); states.len()];
            for (from, to) in edges {
                // Downwards in an order that is not that of the names.
                if !is_acyclic || places[from] > places[to] {
                    needs[from].insert(to);
                }
            }
            Plain {
                states,
                needs,
                selected,
            }
        })
    })
}

fn selection(plain: &Plain) -> impl Fn(&Target, State) -> bool {
    |target, _| plain.selected[number(target.key())]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn a_cycle_is_found_just_where_there_is_one(plain in any_graph(false)) {
        let in_cycle: BTreeSet<_> = (0..plain.states.len()).filter(|&n| plain.below(n, &|_, _| true).contains(&n)).collect();
        match Graph::new(plain.targets()) {
            Ok(_) => prop_assert!(in_cycle.is_empty()),
            Err(GraphError::Cycle(cycle)) => {
                let path = numbers(cycle.path());
                let distinct: BTreeSet<_> = path.iter().copied().collect();
                prop_assert_eq!(distinct.len(), path.len());
                prop_assert_eq!(distinct.first(), path.first());
                for (i, n) in path.iter().enumerate() {
                    prop_assert!(plain.needs[*n].contains(&path[(i + 1) % path.len()]));
                }
            }
            Err(other) => return Err(TestCaseError::fail(other.to_string())),
        }
    }

    #[test]
    fn waves_are_what_can_be_built_as_early_as_it_can(plain in any_graph(true)) {
        let order = Graph::new(plain.targets()).unwrap().build_order(selection(&plain));
        let (blocked, buildable): (BTreeSet<_>, BTreeSet<_>) = plain.wanted().into_iter().partition(|&n| plain.is_blocked(n));
        let mut expected: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for &n in &buildable {
            expected.entry(plain.depth(n, &buildable)).or_default().push(n);
        }
        let waves: Vec<_> = order.waves.iter().map(numbers).collect();
        prop_assert_eq!(waves, expected.into_values().collect::<Vec<_>>());
        prop_assert_eq!(order.blocked.iter().map(|b| number(&b.target)).collect::<BTreeSet<_>>(), blocked);
        for one in &order.blocked {
            let (target, failed) = (number(&one.target), number(&one.failed));
            prop_assert_eq!(plain.states[failed], State::Error);
            let through = one.through.as_ref().map_or(target, number);
            prop_assert!(through == target || plain.needs[target].contains(&through));
            prop_assert!(plain.below(through, &|at, _| plain.is_to_build(at)).contains(&failed));
        }
        let existing: BTreeSet<_> = buildable.iter().flat_map(|&n| &plain.needs[n]).filter(|need| !buildable.contains(need)).copied().collect();
        prop_assert_eq!(numbers(&order.existing).into_iter().collect::<BTreeSet<_>>(), existing);
    }

    #[test]
    fn nothing_is_removed_before_what_is_built_on_it(plain in any_graph(true)) {
        let order = numbers(&Graph::new(plain.targets()).unwrap().prune_order(selection(&plain)));
        let selected: Vec<_> = (0..plain.states.len()).filter(|&n| plain.selected[n]).collect();
        prop_assert_eq!(order.iter().copied().collect::<BTreeSet<_>>(), selected.into_iter().collect::<BTreeSet<_>>());
        for (i, removed) in order.iter().enumerate() {
            let below = plain.below(*removed, &|_, _| true);
            prop_assert!(order[..i].iter().all(|earlier| !below.contains(earlier)));
        }
    }

    #[test]
    fn dependents_are_all_from_which_it_is_reached(plain in any_graph(true), is_with_self in any::<bool>()) {
        let graph = Graph::new(plain.targets()).unwrap();
        for span in [Span::Direct, Span::Transitive] {
            let found = numbers(&graph.dependents(span, is_with_self, selection(&plain)));
            let expected: BTreeSet<_> = (0..plain.states.len()).filter(|&n| {
                let below = match span {
                    Span::Direct => plain.needs[n].clone(),
                    Span::Transitive => plain.below(n, &|_, _| true),
                };
                below.iter().any(|&below| plain.selected[below]) || (is_with_self && plain.selected[n])
            }).collect();
            prop_assert_eq!(found.iter().copied().collect::<BTreeSet<_>>(), expected);
            for (i, n) in found.iter().enumerate() {
                prop_assert!(plain.needs[*n].iter().all(|need| !found[i..].contains(need)));
            }
        }
    }

    #[test]
    fn workers_build_all_that_can_be_built_once_and_in_order(plain in any_graph(true), workers in 1..5usize, choices in prop::collection::vec(0..5usize, 64)) {
        let mut now = plain.clone();
        let (mut held, mut built) = (BTreeSet::new(), Vec::new());
        let graph = Graph::new(plain.targets()).unwrap();
        for choice in choices {
            let graph = graph.standing(|n| TargetStanding { is_held: held.contains(&n), ..now.states[n].into() });
            let claimable = graph.claimable(works(&[Work::Build]), selection(&plain));
            match claimable.ready.first() {
                Some(ready) if held.len() < workers => prop_assert!(held.insert(number(&ready.target))),
                _ => {
                    let Some(&done) = held.iter().nth(choice % held.len().max(1)) else { break };
                    prop_assert!(now.needs[done].iter().all(|&need| now.states[need].is_at_least(State::Built)));
                    held.remove(&done);
                    now.states[done] = State::Built;
                    built.push(done);
                }
            }
        }
        let buildable: Vec<_> = plain.wanted().into_iter().filter(|&n| !plain.is_blocked(n)).collect();
        built.sort_unstable();
        prop_assert_eq!(built, buildable);
    }

    #[test]
    fn what_can_be_claimed_is_as_by_looking_at_each(
        plain in any_graph(true),
        flags in prop::collection::vec((any::<bool>(), prop::bool::weighted(0.2), prop::bool::weighted(0.1)), 9),
        which in 1..8usize,
    ) {
        let all: Vec<Work> = Work::ALL.into_iter().enumerate().filter(|(n, _)| which & (1 << n) != 0).map(|(_, work)| work).collect();
        let standing = |n: usize| TargetStanding {
            state: plain.states[n],
            is_here: flags[n].0,
            is_held: flags[n].1,
            is_put_off: flags[n].2,
        };
        let graph = Graph::new(plain.targets()).unwrap().standing(standing);
        let claimable = graph.claimable(works(&all), selection(&plain));

        let last = *all.last().unwrap();
        let is_finished = |n: usize| match last {
            Work::Build => matches!(plain.states[n], State::Built | State::Verified | State::Published),
            Work::Verify => matches!(plain.states[n], State::Verified | State::Published),
            Work::Publish => plain.states[n] == State::Published,
        };
        let is_left = |n: usize| !is_finished(n) && plain.states[n] != State::Error;
        let mut wanted = BTreeSet::new();
        for n in (0..plain.states.len()).filter(|&n| plain.selected[n] && is_left(n)) {
            wanted.insert(n);
            wanted.extend(plain.below(n, &|_, need| is_left(need)));
        }
        let is_error = |n: &usize| plain.states[*n] == State::Error;
        let is_blocked = |n: usize| plain.below(n, &|at, _| is_left(at)).iter().any(is_error);
        let mut blocked: BTreeSet<_> = wanted.iter().copied().filter(|&n| is_blocked(n)).collect();
        blocked.extend((0..plain.states.len()).filter(|n| is_error(n) && plain.selected[*n]));
        blocked.extend(wanted.iter().flat_map(|&n| &plain.needs[n]).filter(|n| is_error(n)));
        prop_assert_eq!(claimable.blocked.iter().map(|one| number(&one.target)).collect::<BTreeSet<_>>(), blocked);
        let concerned = wanted.iter().flat_map(|&n| plain.needs[n].iter().copied().chain([n]));
        let running: BTreeSet<_> = concerned.filter(|&n| flags[n].1).collect();
        prop_assert_eq!(numbers(&claimable.running).into_iter().collect::<BTreeSet<_>>(), running);

        let (mut ready, mut waiting) = (BTreeMap::new(), BTreeMap::new());
        for n in wanted.into_iter().filter(|&n| !flags[n].1 && !is_blocked(n)) {
            let due = match plain.states[n] {
                State::Built if flags[n].0 => Work::Verify,
                State::Verified if flags[n].0 => Work::Publish,
                _ => Work::Build,
            };
            if !all.contains(&due) {
                waiting.insert(n, None);
                continue;
            }
            let is_ready = |need: &usize| match plain.states[*need] {
                State::Published => true,
                State::Verified => due != Work::Publish && flags[*need].0 && !flags[*need].1,
                State::Built => due != Work::Publish && flags[*need].0 && !flags[*need].1 && !all.contains(&Work::Verify),
                State::ToBuild | State::Error => false,
            };
            match plain.needs[n].iter().find(|need| !is_ready(need)) {
                Some(need) => { waiting.insert(n, Some(*need)); }
                None if flags[n].2 => { waiting.insert(n, None); }
                None => { ready.insert(n, due); }
            }
        }
        prop_assert_eq!(claimable.ready.iter().map(|one| (number(&one.target), one.work)).collect::<BTreeMap<_, _>>(), ready);
        prop_assert_eq!(claimable.waiting.iter().map(|one| (number(&one.target), one.on.as_ref().map(number))).collect::<BTreeMap<_, _>>(), waiting);
    }

    #[test]
    fn nothing_depends_on_the_order_in_which_targets_come(plain in any_graph(true), seed in prop::collection::vec(any::<u32>(), 9)) {
        let graph = Graph::new(plain.targets()).unwrap();
        let mut shuffled: Vec<_> = plain.targets().into_iter().zip(seed).collect();
        shuffled.sort_by_key(|(_, place)| *place);
        let other = Graph::new(shuffled.into_iter().map(|(target, _)| target)).unwrap();
        prop_assert_eq!(graph.build_order(selection(&plain)), other.build_order(selection(&plain)));
        prop_assert_eq!(graph.prune_order(selection(&plain)), other.prune_order(selection(&plain)));
        prop_assert_eq!(graph.claimable(works(&Work::ALL), all), other.claimable(works(&Work::ALL), all));
    }

    #[test]
    fn a_bump_is_of_all_dependents_each_after_what_it_is_built_on(plain in any_graph(true), root in any::<prop::sample::Index>()) {
        let root = root.index(plain.states.len());
        let graph = Graph::new(plain.targets()).unwrap();
        let bump = Bump { target: key_of(&format!("n{root}")), version: None, update_id: Default::default() };
        let bumped = graph.bump(&bump).unwrap();
        let of_root = |target: &Target, _| number(target.key()) == root;
        prop_assert_eq!(bumped.iter().map(|one| number(&one.target)).collect::<Vec<_>>(), numbers(&graph.dependents(Span::Transitive, true, of_root)));
        for (i, one) in bumped.iter().enumerate() {
            match &one.because {
                Because::Asked => prop_assert_eq!(number(&one.target), root),
                Because::DependsOn(below) => {
                    prop_assert!(plain.needs[number(&one.target)].contains(&number(below)));
                    prop_assert!(bumped[..i].iter().any(|earlier| earlier.target == *below));
                }
            }
        }
    }

    #[test]
    fn the_newest_version_that_suits_is_found_as_by_looking_at_each(
        versions in prop::collection::btree_set(0..12u32, 1..8),
        bounds in prop::collection::vec((0..5usize, 0..12u32), 0..3),
    ) {
        let dependencies: Vec<_> = match bounds.is_empty() {
            true => vec![String::from("a")],
            false => bounds.iter().map(|(relation, bound)| format!("a ({} 1.{bound})", Relation::ALL[*relation].sign())).collect(),
        };
        let mut set: Vec<_> = versions.iter().map(|version| format!("a@1.{version}")).collect();
        set.push(format!("b<-{}", dependencies.join(",")));
        let holds = |version: u32| bounds.iter().all(|(relation, bound)| match Relation::ALL[*relation] {
            Relation::Earlier => version < *bound,
            Relation::AtMost => version <= *bound,
            Relation::Exactly => version == *bound,
            Relation::AtLeast => version >= *bound,
            Relation::Later => version > *bound,
        });
        let expected = versions.iter().rev().find(|version| holds(**version)).map(|version| format!("a@1.{version}"));
        let found = Graph::new(targets(&set.join(";"))).ok().map(|graph| {
            let (_, _, needs) = graph.targets().find(|(target, _, _)| target.key().name.as_str() == "b").unwrap();
            needs.map(ToString::to_string).collect::<Vec<_>>()
        });
        prop_assert_eq!(found, expected.map(|key| vec![key]));
    }
}
