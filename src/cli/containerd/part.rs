//! The parts in which a list is read that is too large for one message.

use std::fmt::Write as _;
use std::sync::LazyLock;

/// A part of all names that a list can be asked for: those that have these bits. See [`split_filter`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Part {
    bits: Vec<bool>,
}

/// How often a list is halved.
const MAX_BITS: usize = 16;

impl Part {
    /// The two halves; `None` for a part that has been halved often enough.
    pub fn split(&self) -> Option<[Self; 2]> {
        let half = |bit| {
            let mut bits = self.bits.clone();
            bits.push(bit);
            Self { bits }
        };
        (self.bits.len() < MAX_BITS).then(|| [half(false), half(true)])
    }

    /// The names of the part; `None` for all.
    pub fn filter(&self) -> Option<String> {
        let filters: Vec<String> = self
            .bits
            .iter()
            .zip(CLASSES.iter())
            .map(|(bit, class)| split_filter(class, *bit))
            .collect();
        (!filters.is_empty()).then(|| filters.join(","))
    }
}

/// Names in which letters and digits of a class stand an even number of times, or an odd one.
///
/// containerd has no pages, and what names begin with is of no use to halve them: thousands share it, and
/// it takes a scan of all to find out. Whether the characters of a class are even in number depends on
/// the whole of a name, is in the power of a regular expression, and sixteen classes make a hash.
fn split_filter(class: &str, odd: bool) -> String {
    let first = if odd {
        format!("[^{class}]*[{class}]")
    } else {
        String::new()
    };
    format!("name~=\"^{first}([^{class}]*[{class}][^{class}]*[{class}])*[^{class}]*$\"")
}

/// Half of the letters and digits each, chosen without a pattern.
static CLASSES: LazyLock<Vec<String>> = LazyLock::new(|| {
    let characters = || ('0'..='9').chain('A'..='Z').chain('a'..='z');
    let is_in = |c: char, class: usize| {
        let mixed = (u64::from(c) + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        (mixed ^ (mixed >> 29)) >> (20 + class) & 1 == 1
    };
    (0..MAX_BITS)
        .map(|class| {
            characters()
                .filter(|c| is_in(*c, class))
                .fold(String::new(), |mut set, c| {
                    let _ = write!(set, "{c}");
                    set
                })
        })
        .collect()
});

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{
        Algorithm, Descriptor, Dialect, Digest, Filter, Image, Labels, Size, Timestamp,
    };

    /// The sizes of the parts of some names, each halved until it has at most so many.
    fn parts(names: &[String], most: usize) -> Vec<usize> {
        let mut sizes = Vec::new();
        let mut parts = vec![Part::default()];
        while let Some(part) = parts.pop() {
            let classes = part.bits.iter().zip(CLASSES.iter());
            let classes: Vec<(bool, &String)> = classes.map(|(bit, class)| (*bit, class)).collect();
            let is_in = |name: &&String| {
                classes.iter().all(|(odd, class)| {
                    name.chars().filter(|c| class.contains(*c)).count() % 2 == usize::from(*odd)
                })
            };
            match names.iter().filter(is_in).count() {
                few if few <= most => sizes.push(few),
                many => match part.split() {
                    Some(halves) => parts.extend(halves),
                    None => panic!("{many} names are not told apart"),
                },
            }
        }
        sizes
    }

    #[test]
    fn names_that_differ_by_a_number_fall_into_parts() {
        let names: Vec<String> = (0..20_000)
            .map(|number| format!("registry.k8s.io/app-{number:06}:v1"))
            .collect();
        let sizes = parts(&names, 1000);
        assert_eq!(sizes.iter().sum::<usize>(), names.len());
        assert!(sizes.len() < 200, "{}", sizes.len());
    }

    #[test]
    fn each_name_is_in_one_half_and_in_that_of_its_bit() {
        for name in [
            "a",
            "docker.io/library/alpine:3.18",
            "\u{e4}\n/",
            "0123456789",
        ] {
            let digest = Digest::of(Algorithm::Sha256, b"");
            let size = Size::try_from(1u64).unwrap();
            let image = Image {
                name: name.parse().unwrap(),
                target: Descriptor::new("a/b".parse().unwrap(), digest, size),
                labels: Labels::default(),
                created_at: Timestamp::UNIX_EPOCH,
                updated_at: Timestamp::UNIX_EPOCH,
            };
            for class in CLASSES.iter() {
                let is_odd = name.chars().filter(|c| class.contains(*c)).count() % 2 == 1;
                for odd in [false, true] {
                    let filter = split_filter(class, odd);
                    let filter = Filter::parse::<Image>(&[filter], Dialect::Containerd).unwrap();
                    assert_eq!(filter.matches(&image), odd == is_odd, "{name:?} {class}");
                }
            }
        }
    }
}
