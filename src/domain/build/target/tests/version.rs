//! The version of the next update.

use super::*;

fn bumped(text: &str, id: &str) -> Result<String, NotBumpable> {
    let next = version(text).bumped(&id.parse().unwrap())?;
    Ok(next.as_str().to_owned())
}

#[test]
fn the_next_version_is_docker_pkgs() {
    for (old, id, new) in [
        ("0.1.2", "s", "0.1.2-s1"),
        ("0.1.2-1", "s", "0.1.2-1-s1"),
        ("0.1.2-s9", "s", "0.1.2-s10"),
        ("0.1.2-s09", "s", "0.1.2-s10"),
        ("0.1.2-1-s8", "s", "0.1.2-1-s9"),
        ("12", "s", "12-s1"),
        ("0.1.2", "", "0.1.2-1"),
        ("0.1.2-1", "", "0.1.2-2"),
        ("1.63.0-1-20241211", "", "1.63.0-1-20241212"),
        ("0.1.2-s99", "s", "0.1.2-s100"),
        ("0.1.2-s0", "s", "0.1.2-s1"),
        (
            "0.1.2-s18446744073709551615",
            "s",
            "0.1.2-s18446744073709551616",
        ),
        ("1-wmf3", "wmf", "1-wmf4"),
    ] {
        assert_eq!(bumped(old, id).unwrap(), new, "{old} {id}");
    }
    assert_eq!(UpdateId::default().as_str(), "s");
}

#[test]
fn what_has_another_form_is_refused() {
    for (old, id) in [
        ("v1.0", "s"),
        ("1.0-s3", "L"),
        ("1.0-s3", ""),
        ("1.0-s", "s"),
        ("latest", "s"),
        ("1.0-s3-s4", "s"),
        ("1_0", "s"),
        ("s1", "s"),
    ] {
        let refused = bumped(old, id).unwrap_err();
        assert_eq!(
            refused,
            NotBumpable::OtherForm(version(old), id.parse().unwrap())
        );
    }
    // These cannot be versions in the first place.
    for old in ["0.1.2-1~wmf2", "1.0+b1", "1:1.0", ""] {
        assert!(old.parse::<TargetVersion>().is_err(), "{old}");
    }
    let long = "1".repeat(127);
    assert_eq!(
        bumped(&long, "s"),
        Err(NotBumpable::TooLong(version(&long)))
    );
}

#[test]
fn an_update_id_is_letters() {
    // docker-pkg put it into a regular expression as it was.
    for bad in ["s1", "1", "-", ".", "(", "é", &"s".repeat(17)] {
        assert_eq!(
            bad.parse::<UpdateId>().unwrap_err().field(),
            "update_id",
            "{bad}"
        );
    }
}

proptest! {
    #[test]
    fn the_rule_is_that_of_the_expression(text in "[0-9.sL-]{1,8}", id in "s|L||sL") {
        prop_assume!(text.parse::<TargetVersion>().is_ok());
        let expression = regex::Regex::new(&format!(r"^([0-9\-\.]+?)(-{id}([0-9]+))?$")).unwrap();
        let expected = expression.captures(&text).map(|found| {
            let number: u64 = found.get(3).map_or(0, |number| number.as_str().parse().unwrap());
            format!("{}-{id}{}", &found[1], number + 1)
        });
        prop_assert_eq!(bumped(&text, &id).ok(), expected);
    }

    #[test]
    fn a_next_version_is_newer(text in "[0-9][0-9.-]{0,6}(-s[0-9]{1,3})?") {
        let old = version(&text);
        let new = old.bumped(&UpdateId::default()).unwrap();
        prop_assert!(old < new, "{} {}", old, new);
    }
}
