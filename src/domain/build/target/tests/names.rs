//! What names, versions, labels and dependencies may be.

use super::*;

#[test]
fn a_name_is_a_repository_path() {
    for good in [
        "a",
        "foo",
        "foo-bar",
        "a.b_c__d---e",
        "releng/ci",
        "0ad",
        &"x".repeat(255),
    ] {
        assert_eq!(good.parse::<TargetName>().unwrap().as_str(), good);
        assert!(good.parse::<Repository>().is_ok());
    }
    for bad in [
        "",
        "Foo",
        "foo_",
        "-a",
        "a..b",
        "a___b",
        "a._b",
        "a//b",
        "/a",
        "a/",
        "a:b",
        "a@b",
        "a b",
        "é",
        "a|b",
        &"x".repeat(256),
    ] {
        assert_eq!(
            bad.parse::<TargetName>().unwrap_err().field(),
            "name",
            "{bad:?}"
        );
    }
}

#[test]
fn a_version_can_be_a_tag() {
    for good in [
        "1",
        "1.0",
        "0.1.2-1-s8",
        "v1.0",
        "latest",
        "_x",
        "20241211",
        &"1".repeat(128),
    ] {
        assert_eq!(version(good).as_str(), good);
    }
    // A Debian version that docker-pkg could not push.
    for bad in [
        "",
        "0.1.2-1~wmf2",
        "1.0+b1",
        "1:1.0",
        ".1",
        "-1",
        "a b",
        "é",
        &"1".repeat(129),
    ] {
        assert_eq!(
            bad.parse::<TargetVersion>().unwrap_err().field(),
            "version",
            "{bad:?}"
        );
    }
}

#[test]
fn versions_are_ordered_by_the_numbers_in_them() {
    let ordered = [
        "0.9",
        "0.10",
        "0.10-1",
        "0.10-1-s1",
        "0.10-2",
        "0.10-s1",
        "0.10-s9",
        "0.10-s10",
        "0.10.1",
        "1",
    ];
    for (i, one) in ordered.iter().enumerate() {
        for (j, other) in ordered.iter().enumerate() {
            assert_eq!(
                version(one).cmp(&version(other)),
                i.cmp(&j),
                "{one} and {other}"
            );
        }
    }
    assert_ne!(
        version("1.0").cmp(&version("1.00")),
        std::cmp::Ordering::Equal
    );
}

#[test]
fn a_key_is_a_name_and_a_version() {
    assert_eq!(key("releng/ci@1.0-s1").to_string(), "releng/ci@1.0-s1");
    for bad in ["a", "a@", "@1", "a@1@2", "a:1"] {
        assert!(bad.parse::<TargetKey>().is_err(), "{bad}");
    }
}

#[test]
fn a_registry_with_a_port_is_a_registry_d1() {
    // docker-pkg and vieter split at the first colon.
    for (text, registry, repository, version) in [
        ("foo:1.0", None, "foo", "1.0"),
        ("ns/foo:1.0", None, "ns/foo", "1.0"),
        ("host:5000/foo:1.0", Some("host:5000"), "foo", "1.0"),
        ("reg.io/ns/foo:1", Some("reg.io"), "ns/foo", "1"),
        ("reg.io:443/a/b/foo:1", Some("reg.io:443"), "a/b/foo", "1"),
        ("localhost/foo:1", Some("localhost"), "foo", "1"),
        ("localhost:5000", None, "localhost", "5000"),
        ("REG/foo:1", Some("REG"), "foo", "1"),
        ("127.0.0.1:5000/foo:1", Some("127.0.0.1:5000"), "foo", "1"),
        ("[::1]:5000/foo:1", Some("[::1]:5000"), "foo", "1"),
        ("[2001:db8::1]/foo:1", Some("[2001:db8::1]"), "foo", "1"),
    ] {
        let label: Label = text.parse().unwrap();
        let parts = (label.registry(), label.repository(), label.version());
        assert_eq!(parts, (registry, repository, version), "{text}");
        assert_eq!(label.as_str(), text);
    }
    for bad in [
        "",
        "foo",
        ":1",
        "foo:",
        "host:5000/foo",
        "host:/foo:1",
        "host:0/foo:1",
        "host:65536/foo:1",
        "host:+80/foo:1",
        "host:a/foo:1",
        "-a.b/foo:1",
        "a..b/foo:1",
        "[::1/foo:1",
        "::1/foo:1",
        "[a.b]/foo:1",
        "foo:1:2",
        "foo@sha256:00",
        "/foo:1",
        "a.b//foo:1",
        "Foo:1",
    ] {
        assert!(bad.parse::<Label>().is_err(), "{bad}");
    }
}

#[test]
fn a_label_is_put_together_from_its_parts() {
    let registry: Registry = "host:5000".parse().unwrap();
    let namespace: Repository = "a/b".parse().unwrap();
    let key = key("foo@1.0");
    for (registry, namespace, text) in [
        (None, None, "foo:1.0"),
        (None, Some(&namespace), "a/b/foo:1.0"),
        (Some(&registry), None, "host:5000/foo:1.0"),
        (Some(&registry), Some(&namespace), "host:5000/a/b/foo:1.0"),
    ] {
        let label = Label::new(registry, namespace, &key).unwrap();
        assert_eq!(label.as_str(), text);
        assert_eq!(label, text.parse().unwrap());
        assert!(label.is_of(&key));
    }
    let long = "x".repeat(255).parse().unwrap();
    assert!(Label::new(None, Some(&long), &key).is_err());
    // It would come back as part of the path.
    assert!("reg".parse::<Registry>().is_err());
}

#[test]
fn a_target_has_a_label_of_its_own_name() {
    let labelled = |label: &str| {
        let label = label.parse().unwrap();
        Target::new(key("foo@1.0"), label, BTreeSet::new(), Labels::default())
    };
    assert_eq!(
        labelled("reg.io/ns/foo:1.0").unwrap().short_label(),
        "foo:1.0"
    );
    for other in ["foo:1.1", "bar:1.0", "xfoo:1.0", "foo/bar:1.0", "foo/x:1.0"] {
        assert!(labelled(other).is_err(), "{other}");
    }
}

#[test]
fn a_dependency_may_ask_for_versions_as_debian_does() {
    for (text, shown) in [
        ("a", "a"),
        ("a/b", "a/b"),
        ("a@1.0", "a (= 1.0)"),
        ("a (= 1.0)", "a (= 1.0)"),
        ("a(>=1.0)", "a (>= 1.0)"),
        ("a (<< 1.0)", "a (<< 1.0)"),
        ("a (<= 1.0 )", "a (<= 1.0)"),
        ("a (>> 1.0)", "a (>> 1.0)"),
    ] {
        let dependency: Dependency = text.parse().unwrap();
        assert_eq!(dependency.to_string(), shown);
        assert_eq!(dependency, shown.parse().unwrap());
    }
    for bad in [
        "",
        "a | b",
        "a (1.0)",
        "a (> 1.0)",
        "a (=> 1.0)",
        "a (>= 1.0",
        "a (>=)",
        "a ()",
        "A",
        "a@",
    ] {
        assert_eq!(
            bad.parse::<Dependency>().unwrap_err().field(),
            "dependency",
            "{bad}"
        );
    }
}

#[test]
fn a_target_has_at_most_1000_dependencies() {
    let of = |count: usize| {
        let names = (0..count).map(|n| format!("d{n}").parse().unwrap());
        Target::new(
            key("a@1"),
            "a:1".parse().unwrap(),
            names.collect(),
            Labels::default(),
        )
    };
    assert!(of(1000).is_ok());
    assert_eq!(of(1001).unwrap_err().field(), "dependencies");
}

#[test]
fn the_labels_of_a_target_are_texts_without_nul() {
    let of = |name: &str, value: &str| {
        let mut labels = Labels::default();
        labels.set(name.to_owned(), value.to_owned()).unwrap();
        let label = "a:1".parse().unwrap();
        Target::new(key("a@1"), label, BTreeSet::new(), labels)
    };
    assert!(of("team", "a\nb").is_ok());
    for (name, value) in [("te\0am", "a"), ("team", "a\0")] {
        assert_eq!(of(name, value).unwrap_err().field(), "labels");
    }
}

proptest! {
    #[test]
    fn a_label_and_its_text_are_one(text in "([a-zA-Z0-9.:\\[\\]-]{1,6}/)?([a-z0-9._-]{1,4}/){0,2}[a-z0-9._-]{1,4}:[a-zA-Z0-9._-]{1,4}") {
        if let Ok(label) = text.parse::<Label>() {
            prop_assert_eq!(label.as_str(), &text);
            let registry = label.registry().map(|registry| format!("{registry}/")).unwrap_or_default();
            let joined = format!("{registry}{}:{}", label.repository(), label.version());
            prop_assert_eq!(joined, text);
        }
    }
}
