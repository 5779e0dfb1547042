//! What vieter's builder images do here, and what they did wrong there.

mod backoff;
mod freshness;
mod generation;
mod property;
mod prune;

use std::collections::BTreeSet;
use std::time::Duration;

use super::*;
use crate::domain::build::{Claim, Location, Presence, Token, Ttl};
use crate::domain::{Algorithm, Descriptor, Digest, Size, Timestamp};

const HOUR: i64 = 3600;
const DAY: i64 = 24 * HOUR;

fn at(seconds: i64) -> Timestamp {
    Timestamp::new(1_700_000_000 + seconds, 0).unwrap()
}

fn seconds(seconds: i64) -> Duration {
    Duration::from_secs(seconds.try_into().unwrap())
}

fn digest(content: &str) -> Digest {
    Digest::of(Algorithm::Sha256, content.as_bytes())
}

fn place(name: &str) -> Location {
    name.parse().unwrap()
}

fn only(names: &[&str]) -> Reach {
    Reach::Only(names.iter().map(|name| place(name)).collect())
}

fn image(content: &str) -> Descriptor {
    let media_type = "application/vnd.oci.image.manifest.v1+json"
        .parse()
        .unwrap();
    Descriptor::new(media_type, digest(content), Size::try_from(7u64).unwrap())
}

fn built(location: &str, base: Option<&str>) -> Built {
    Built {
        image: image(location),
        base_digest: base.map(digest),
        location: place(location),
    }
}

/// Built at these times in `reg`.
fn generations(times: &[i64]) -> Generations {
    let mut generations = Generations::default();
    for time in times {
        generations.add(built("reg", Some("base")), at(*time));
    }
    generations
}

fn claim(holder: &str, token: u64, now: i64, ttl: i64) -> Claim {
    let ttl = Ttl::try_from(seconds(ttl)).unwrap();
    Claim::grant(None, holder.parse().unwrap(), Token(token), ttl, at(now)).unwrap()
}

#[test]
fn a_builder_is_of_a_base_a_platform_and_a_recipe_v9() {
    // vieter's images had none of the three in their names (V9), and its split took a port for a tag.
    let platform = |architecture: &str| RunPlatform {
        architecture: architecture.to_owned(),
        ..RunPlatform::default()
    };
    let base: ImageName = "host:5000/archlinux".parse().unwrap();
    let key = |architecture, recipe: &str| {
        BuilderKey::new(
            base.clone(),
            &platform(architecture),
            recipe.parse().unwrap(),
        )
        .unwrap()
    };
    assert_eq!(
        key("x86_64", "").to_string(),
        "host:5000/archlinux for linux/amd64"
    );
    assert_eq!(
        key("x86_64", "r1").to_string(),
        "host:5000/archlinux for linux/amd64 by r1"
    );
    assert_eq!(key("x86_64", "r1"), key("amd64", "r1"));
    assert_ne!(key("arm64", "r1"), key("amd64", "r1"));
    assert_ne!(key("amd64", "r2"), key("amd64", "r1"));
    assert!("a\0".parse::<Recipe>().is_err());
}

#[test]
fn a_policy_keeps_at_least_one_and_refreshes_before_it_expires() {
    for (keep_last, is_ok) in [(0, false), (1, true), (1000, true), (1001, false)] {
        assert_eq!(KeepLast::try_from(keep_last).is_ok(), is_ok, "{keep_last}");
    }
    let ages = |max_age: Option<i64>, refresh_after: Option<i64>| {
        Ages::new(max_age.map(seconds), refresh_after.map(seconds))
    };
    assert!(ages(Some(10), Some(10)).is_ok());
    assert!(ages(None, Some(10)).is_ok());
    assert_eq!(
        ages(Some(10), Some(11)).unwrap_err().field(),
        "refresh_after"
    );
    assert_eq!(Policy::default().ages.max_age(), Some(seconds(DAY)));
}
