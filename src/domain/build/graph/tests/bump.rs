//! New versions for all that is built on a target, or for none.

use super::*;

fn bump(graph: &Graph, key: &str, version: Option<&str>) -> Result<String, String> {
    let bump = Bump {
        target: key_of(key),
        version: version.map(|version| version.parse().unwrap()),
        update_id: Default::default(),
    };
    let one = |bumped: &Bumped| {
        let because = match &bumped.because {
            Because::Asked => String::new(),
            Because::DependsOn(below) => format!(" by {}", short(below)),
        };
        format!("{} to {}{because}", short(&bumped.target), bumped.version)
    };
    match graph.bump(&bump) {
        Ok(bumped) => Ok(bumped.iter().map(one).collect::<Vec<_>>().join(", ")),
        Err(refused) => Err(refused.to_string()),
    }
}

#[test]
fn all_that_is_built_on_it_gets_a_new_version_and_knows_why() {
    let graph = graph("a@0.1; b@2-s9=published<-a; c@3<-b; d@4=error<-a,c,f; f@5; g@6<-f");
    assert_eq!(
        bump(&graph, "a@0.1", None).unwrap(),
        "a@0.1 to 0.1-s1, b@2-s9 to 2-s10 by a@0.1, c@3 to 3-s1 by b@2-s9, d@4 to 4-s1 by a@0.1"
    );
    assert_eq!(
        bump(&graph, "a@0.1", Some("0.2"))
            .unwrap()
            .split(',')
            .next(),
        Some("a@0.1 to 0.2")
    );
    assert_eq!(bump(&graph, "g@6", None).unwrap(), "g@6 to 6-s1");
}

#[test]
fn all_get_one_or_none_does() {
    // docker-pkg had written half of the changelogs when it met the first that it could not read.
    let graph = graph("a; b@v1<-a; c<-b; d@latest<-c");
    let refused = bump(&graph, "a", None).unwrap_err();
    let subjects: Vec<_> = refused
        .split("; ")
        .filter_map(|one| one.split_once(": "))
        .map(|(key, _)| key)
        .collect();
    assert_eq!(subjects, ["b@v1", "d@latest"], "{refused}");
    // An explicit version is for the target only.
    assert!(bump(&graph, "a", Some("2")).is_err());
    assert!(bump(&graph, "d@latest", Some("2")).is_ok());
}

#[test]
fn what_is_not_there_and_what_is_there_already_are_refused() {
    let graph = graph("a; a@1-s1; b<-a");
    assert_eq!(
        bump(&graph, "x", None).unwrap_err(),
        "x@1: there is no such target"
    );
    for version in [None, Some("1-s1"), Some("1")] {
        assert!(
            bump(&graph, "a", version)
                .unwrap_err()
                .contains("is there already")
        );
    }
    assert_eq!(
        bump(&graph, "a@1-s1", None).unwrap(),
        "a@1-s1 to 1-s2, b to 1-s1 by a@1-s1"
    );
}

#[test]
fn the_name_is_exact() {
    // docker-pkg's glob for python took foo-python as well.
    let graph = graph("python; foo-python; a<-python; b<-foo-python");
    assert_eq!(
        bump(&graph, "python", None).unwrap(),
        "python to 1-s1, a to 1-s1 by python"
    );
}

#[test]
fn who_asks_for_another_version_does_not_follow() {
    let graph = graph("a; b<-a (= 1); c<-b; d<-a (>= 1); e<-a (<= 1); f<-a; g<-a (>= 1),a (<= 1)");
    assert_eq!(
        bump(&graph, "a", None).unwrap(),
        "a to 1-s1, d to 1-s1 by a, f to 1-s1 by a"
    );
}

#[test]
fn of_two_lines_of_a_name_each_goes_on_by_itself() {
    let graph =
        graph("base; py@3.8<-base; py@3.8-s1<-base; py@3.9<-base; app<-py (<< 3.9); web<-py");
    assert_eq!(
        bump(&graph, "base", None).unwrap(),
        "base to 1-s1, py@3.8-s1 to 3.8-s2 by base, py@3.9 to 3.9-s1 by base, app to 1-s1 by py@3.8-s1, \
         web to 1-s1 by py@3.9"
    );
}
