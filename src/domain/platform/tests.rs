//! Which images run on which platforms.

use proptest::prelude::*;

use super::RunPlatform;

/// `OS[(VERSION)]/ARCHITECTURE[/VARIANT]`, any part may be empty.
fn platform(text: &str) -> RunPlatform {
    let mut parts = text.split('/');
    let os = parts.next().unwrap();
    let (os, os_version) = os.split_once('(').unwrap_or((os, ")"));
    RunPlatform {
        os: os.to_owned(),
        os_version: os_version.trim_end_matches(')').to_owned(),
        architecture: parts.next().unwrap().to_owned(),
        variant: parts.next().unwrap_or_default().to_owned(),
        os_features: Vec::new(),
    }
}

fn with_features(text: &str, features: &[&str]) -> RunPlatform {
    let os_features = features.iter().map(|&f| f.to_owned()).collect();
    RunPlatform {
        os_features,
        ..platform(text)
    }
}

#[test]
fn an_image_runs_where_containerd_runs_it() {
    let table: &[(&str, &[&str], &[&str])] = &[
        (
            "linux/amd64",
            &[
                "linux/amd64",
                "linux/amd64/v1",
                "linux/386",
                "linux/i386",
                "Linux/AMD64",
                "linux/x86_64",
                "linux/x86-64",
                "/amd64",
                "linux(6.1)/amd64",
            ],
            &[
                "linux/amd64/v2",
                "linux/arm/v7",
                "linux/arm64",
                "windows/amd64",
                "darwin/amd64",
                "linux/",
                "/",
                "linux/amd64/other",
            ],
        ),
        ("linux/x86_64", &["Linux/AMD64"], &["linux/aarch64"]),
        ("/amd64", &["linux/amd64"], &["windows/amd64"]),
        ("macos/arm64", &["darwin/arm64"], &["linux/arm64"]),
        (
            "linux/amd64/v3",
            &[
                "linux/amd64",
                "linux/amd64/v1",
                "linux/amd64/v2",
                "linux/amd64/v3",
                "linux/386",
            ],
            &["linux/amd64/v4", "linux/amd64/v0"],
        ),
        (
            "linux/386",
            &["linux/386", "linux/i386/v2"],
            &["linux/amd64"],
        ),
        (
            "linux/arm/v8",
            &[
                "linux/arm",
                "linux/arm/v5",
                "linux/arm/v6",
                "linux/arm/7",
                "linux/arm/v8",
                "linux/armhf",
                "linux/armel",
            ],
            &["linux/arm/v4", "linux/arm64", "linux/arm/v9"],
        ),
        (
            "linux/arm",
            &["linux/arm/v7", "linux/arm", "linux/arm/v6", "linux/arm/v5"],
            &["linux/arm/v8", "linux/arm/v4"],
        ),
        (
            "linux/arm/v6",
            &["linux/arm/v6", "linux/arm/v5", "linux/armel/v8"],
            &["linux/arm", "linux/arm/v7"],
        ),
        (
            "linux/arm/v4",
            &["linux/arm/v4"],
            &["linux/arm/v5", "linux/arm/v3", "linux/arm"],
        ),
        (
            "linux/arm64",
            &[
                "linux/arm64/v8",
                "linux/arm64/8",
                "linux/arm64/v8.0",
                "linux/aarch64",
                "linux/arm",
                "linux/arm/v8",
                "linux/arm/v7",
                "linux/arm/v6",
                "linux/arm/v5",
            ],
            &[
                "linux/arm/v4",
                "linux/arm/v9",
                "linux/arm64/v8.1",
                "linux/arm64/v9",
                "linux/amd64",
            ],
        ),
        (
            "linux/arm64/v8.2",
            &[
                "linux/arm64",
                "linux/arm64/v8.1",
                "linux/arm64/v8.2",
                "linux/arm/v7",
            ],
            &["linux/arm64/v8.3", "linux/arm64/v8.10", "linux/arm64/v9"],
        ),
        (
            "linux/arm64/v9",
            &[
                "linux/arm64",
                "linux/arm64/v8",
                "linux/arm64/v8.1",
                "linux/arm64/v8.5",
                "linux/arm64/9",
                "linux/arm64/9.0",
                "linux/arm64/v9.0",
                "linux/arm/v8",
            ],
            &["linux/arm64/v8.6", "linux/arm64/v9.1", "linux/arm/v4"],
        ),
        (
            "linux/arm64/v9.2",
            &["linux/arm64/v9", "linux/arm64/v9.1", "linux/arm64/v8.7"],
            &["linux/arm64/v8.8", "linux/arm64/v9.3", "linux/arm64/v10"],
        ),
        (
            "linux/arm64/v9.7",
            &["linux/arm64/v8.9"],
            &["linux/arm64/v8.10"],
        ),
        (
            "linux/arm64/other",
            &["linux/arm64/other"],
            &[
                "linux/arm64",
                "linux/arm64/v8",
                "linux/arm",
                "linux/arm/v7",
                "linux/arm/v5",
            ],
        ),
        (
            "linux/ppc64le/power10",
            &["linux/ppc64le/power9", "linux/ppc64le"],
            &["linux/ppc64le/power11", "linux/ppc64/power9"],
        ),
        (
            "linux/riscv64",
            &["linux/riscv64"],
            &["linux/riscv64/rva20u64"],
        ),
        (
            "linux/riscv64/rva23u64",
            &["linux/riscv64/rva20u64"],
            &["linux/riscv64/rva20u32"],
        ),
        (
            "linux/loong64/v1.2",
            &[
                "linux/loong64/v1.1",
                "linux/loong64/v1",
                "linux/loong64/v1.2.0",
            ],
            &[
                "linux/loong64/v1.3",
                "linux/loong64/v2",
                "linux/loong64/v1.2.1",
            ],
        ),
        ("linux/s390x", &["linux/s390x"], &["linux/amd64"]),
    ];
    for (host, run, others) in table {
        for image in *run {
            assert!(
                platform(host).accepts(&platform(image)),
                "{host} runs {image}"
            );
        }
        for image in *others {
            assert!(
                !platform(host).accepts(&platform(image)),
                "{host} does not run {image}"
            );
        }
    }
}

#[test]
fn an_image_of_no_platform_runs_nowhere() {
    // Not even where a system that says nothing asks.
    let unknown = RunPlatform::default();
    assert!(!platform("linux/amd64").accepts(&unknown));
    assert!(!unknown.accepts(&unknown));
}

#[test]
fn of_a_version_of_windows_only_major_and_minor_count() {
    // Docker missed its cache after each update of the host (#47307).
    let host = platform("windows(10.0.17763.5122)/amd64");
    for image in [
        "windows(10.0.17763.1)/amd64",
        "windows(10.0.20348)/amd64",
        "Windows/amd64",
    ] {
        assert!(host.accepts(&platform(image)), "{image}");
    }
    for image in [
        "windows(10.1.17763.5122)/amd64",
        "windows(6.3.9600)/amd64",
        "windows(10.0)/amd64",
    ] {
        assert!(!host.accepts(&platform(image)), "{image}");
    }
    for host in ["windows/amd64", "windows(10.0)/amd64"] {
        assert!(
            platform(host).accepts(&platform("windows(6.3.9600)/amd64")),
            "{host}"
        );
    }
    let linux = platform("linux(5.10.1)/amd64");
    assert!(linux.accepts(&platform("linux(6.1.0)/amd64")));
}

#[test]
fn an_image_runs_where_all_features_are_that_it_needs() {
    let host = with_features("linux/amd64", &["b", "a", "c"]);
    assert!(host.accepts(&with_features("linux/amd64", &[])));
    assert!(host.accepts(&with_features("linux/amd64", &["c", "a", "c"])));
    assert!(host.accepts(&with_features("linux/amd64", &["b", "c", "a"])));
    assert!(!host.accepts(&with_features("linux/amd64", &["a", "d"])));
    assert!(!host.accepts(&with_features("linux/amd64", &["", "a"])));
    assert!(!host.accepts(&with_features("linux/amd64", &["a", "bb", "c"])));
    assert!(!platform("linux/amd64").accepts(&with_features("linux/amd64", &["win32k"])));
    assert!(platform("windows/amd64").accepts(&with_features("windows/amd64", &["win32k"])));
}

#[test]
fn the_best_of_several_is_the_nearest_to_the_platform() {
    for (host, ordered) in [
        (
            "linux/amd64/v3",
            &[
                "linux/amd64/v3",
                "linux/amd64/v2",
                "linux/amd64",
                "linux/386",
            ][..],
        ),
        (
            "linux/arm64/v9.1",
            &[
                "linux/arm64/v9.1",
                "linux/arm64/v9",
                "linux/arm64/v8.6",
                "linux/arm64/v8.1",
                "linux/arm64",
                "linux/arm/v8",
                "linux/arm/v7",
                "linux/arm/v5",
            ],
        ),
        (
            "linux/ppc64le/power10",
            &[
                "linux/ppc64le/power10",
                "linux/ppc64le/power9",
                "linux/ppc64le",
            ],
        ),
        (
            "windows(10.0.20348.1)/amd64",
            &[
                "windows(10.0.20348.10)/amd64",
                "windows(10.0.20348.9)/amd64",
                "windows/amd64",
            ],
        ),
    ] {
        let host = platform(host);
        let preferences: Vec<_> = ordered
            .iter()
            .map(|image| host.preference(&platform(image)).unwrap())
            .collect();
        assert!(preferences.is_sorted_by(|a, b| a < b), "{preferences:?}");
    }
    let host = with_features("linux/amd64", &["a", "b"]);
    let more = host.preference(&with_features("linux/amd64", &["a", "b"]));
    let less = host.preference(&with_features("linux/amd64", &["b"]));
    assert!(more.unwrap() < less.unwrap());
}

#[test]
fn a_platform_has_one_way_to_be_written() {
    for (text, normalized) in [
        ("/X86-64/V1", "linux/amd64"),
        ("macOS/aarch64/v8.0", "darwin/arm64"),
        ("linux/arm64/9.0", "linux/arm64/v9"),
        ("linux/arm", "linux/arm/v7"),
        ("linux/armel/v7", "linux/arm/v6"),
        ("/", "linux/"),
    ] {
        assert_eq!(platform(text).normalized(), platform(normalized), "{text}");
    }
    let features = with_features("linux/amd64", &["b", "a", "b"]);
    assert_eq!(
        features.normalized(),
        with_features("linux/amd64", &["a", "b"])
    );
}

#[test]
fn ways_to_write_one_platform_are_as_good_as_each_other() {
    let host = platform("linux/arm64");
    let ways = ["linux/arm64", "Linux/AArch64/v8", "/arm64/8"];
    let preferences = ways.map(|image| host.preference(&platform(image)).unwrap());
    assert!(preferences.iter().all(|p| *p == preferences[0]));
}

fn any_platform() -> impl Strategy<Value = RunPlatform> {
    let os = proptest::sample::select(vec!["", "linux", "Windows", "macos", "freebsd"]);
    let architecture = proptest::sample::select(vec![
        "", "amd64", "x86_64", "i386", "386", "arm", "armhf", "armel", "ARM64", "aarch64",
        "ppc64le", "riscv64",
    ]);
    let variant = proptest::prop_oneof![
        Just(String::new()),
        "v?[0-9]{1,2}",
        "v[0-9]\\.[0-9]{1,2}",
        "[a-zA-Z0-9.é]{0,12}",
    ];
    let version = proptest::prop_oneof![
        Just(String::new()),
        "[0-9]{1,2}\\.[0-9]\\.[0-9]{1,5}(\\.[0-9]{1,5})?",
        "[0-9.a]{0,8}",
    ];
    let features = proptest::collection::vec("a|b|win32k", 0..4);
    (os, architecture, variant, version, features).prop_map(
        |(os, architecture, variant, os_version, os_features)| RunPlatform {
            os: os.to_owned(),
            architecture: architecture.to_owned(),
            variant,
            os_version,
            os_features,
        },
    )
}

proptest! {
    #[test]
    fn a_platform_runs_its_own_images(platform in any_platform()) {
        prop_assert!(platform.normalized().accepts(&platform.normalized()));
        prop_assert_eq!(platform.accepts(&platform), !platform.is_unknown());
    }

    #[test]
    fn normalizing_twice_is_normalizing_once(platform in any_platform()) {
        let once = platform.normalized();
        prop_assert_eq!(once.normalized(), once);
    }

    #[test]
    fn how_a_platform_is_written_changes_nothing(host in any_platform(), image in any_platform()) {
        prop_assume!(!image.is_unknown());
        prop_assert_eq!(host.preference(&image), host.normalized().preference(&image.normalized()));
    }

    #[test]
    fn nothing_suits_a_platform_better_than_itself(
        host in any_platform(), image in any_platform(),
    ) {
        // Versions and features aside, of which an image may say more or less than the host.
        let plain = |p: &RunPlatform| RunPlatform { os_version: String::new(), os_features: vec![], ..p.clone() };
        let (host, image) = (plain(&host.normalized()), plain(&image.normalized()));
        if let Some(preference) = host.preference(&image) {
            prop_assert!(host.preference(&host).unwrap() <= preference);
        }
    }
}
