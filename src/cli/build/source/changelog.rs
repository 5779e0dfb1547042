//! Debian's changelogs: the name and version of an image, and a new entry above the others.

use crate::cli::build::config::Wrong;
use crate::domain::build::{TargetKey, TargetVersion};
use crate::domain::{Invalid, Timestamp};

/// The name and version of the newest entry, which stands first. What stands below it is not looked at.
pub fn newest(changelog: &[u8]) -> Result<TargetKey, Wrong> {
    let lines = changelog.split(|&b| b == b'\n').enumerate();
    let mut lines = lines.skip_while(|(_, line)| line.trim_ascii().is_empty());
    let Some((n, heading)) = lines.next() else {
        return Err(Wrong::from(
            "has no entry: NAME (VERSION) DISTRIBUTION; urgency=medium".to_owned(),
        ));
    };
    let wrong = |why: String| Wrong::at(n + 1, why);
    let heading = String::from_utf8_lossy(heading);
    let parts = heading.split_once(" (").and_then(|(name, rest)| {
        let (version, rest) = rest.split_once(')')?;
        let (distributions, _) = rest.split_once(';')?;
        (!distributions.trim().is_empty()).then_some((name, version))
    });
    let Some((name, version)) = parts else {
        return Err(wrong(
            "must be NAME (VERSION) DISTRIBUTION; urgency=medium".to_owned(),
        ));
    };
    let told = |why: Invalid| wrong(why.to_string());
    Ok(TargetKey {
        name: name.parse().map_err(told)?,
        version: version.parse().map_err(told)?,
    })
}

/// A new entry.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'a> {
    /// The version that there is; the name stays.
    pub old: &'a TargetKey,
    pub version: &'a TargetVersion,
    pub distribution: &'a str,
    /// One or more lines.
    pub reason: &'a str,
    /// `Name <mail>`.
    pub author: &'a str,
    pub now: Timestamp,
}

impl Entry<'_> {
    /// The entry above what there was, whose bytes stay as they are.
    pub fn above(&self, changelog: &[u8]) -> Vec<u8> {
        let Self {
            old: TargetKey { name, .. },
            version,
            distribution,
            author,
            ..
        } = self;
        let mut entry = format!("{name} ({version}) {distribution}; urgency=high\n\n");
        for line in self.reason.lines().map(str::trim_end) {
            // The three blanks keep a line from being read as a heading or as the end.
            match line {
                "" => entry.push('\n'),
                line => entry.push_str(&format!("   {line}\n")),
            }
        }
        entry.push_str(&format!("\n -- {author}  {}\n\n", date(self.now)));
        let mut bytes = entry.into_bytes();
        bytes.extend_from_slice(changelog);
        bytes
    }
}

/// As mail has it, in UTC.
fn date(at: Timestamp) -> String {
    let at = jiff::Timestamp::from_second(at.seconds()).unwrap_or(jiff::Timestamp::MAX);
    at.strftime("%a, %d %b %Y %H:%M:%S +0000").to_string()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_first_entry_is_the_newest() {
        for (text, expected) in [
            (
                "a (1.0) wikimedia; urgency=low\n\n  * x\n\n -- A <a@b>  date\n",
                "a@1.0",
            ),
            (
                "\n \nteam/a (1.0-s2) unstable; urgency=high\r\n",
                "team/a@1.0-s2",
            ),
            ("a (2) x y;\n\na (1) x;\n", "a@2"),
        ] {
            assert_eq!(newest(text.as_bytes()).unwrap().to_string(), expected);
        }
        // What is below it may be in any encoding.
        assert_eq!(
            newest(b"a (1) x;\n\n  * caf\xe9\n").unwrap().to_string(),
            "a@1"
        );
    }

    #[test]
    fn what_is_no_entry_is_refused_with_its_line() {
        for (text, line) in [
            ("", None),
            ("\n\n", None),
            ("\na 1.0", Some(2)),
            ("a (1.0)", Some(1)),
            ("a (1.0);", Some(1)),
            ("a (1:1.0) x;", Some(1)),
            ("A (1.0) x;", Some(1)),
            ("  * a (1.0) x;", Some(1)),
            ("a () x;", Some(1)),
        ] {
            assert_eq!(newest(text.as_bytes()).unwrap_err().line, line, "{text:?}");
        }
    }

    #[test]
    fn a_new_entry_stands_above_the_old_ones_and_keeps_their_bytes() {
        let mut old = Vec::new();
        for n in (0..300).rev() {
            let entry = format!(
                "base (1.{n}) stable; urgency=low\n\n  * number {n}\n\n -- X <x@y>  some day\n\n"
            );
            old.extend_from_slice(entry.as_bytes());
            old.extend_from_slice(b"\t\xff odd \r\n");
        }
        let key = newest(&old).unwrap();
        let entry = Entry {
            old: &key,
            version: &"1.299-s1".parse().unwrap(),
            distribution: "unstable",
            reason: "A reason\n\n-- of (two) lines;",
            author: "Jo Doe <jo@example>",
            now: Timestamp::new(1_000_000_000, 0).unwrap(),
        };
        let new = entry.above(&old);
        assert!(new.ends_with(&old));
        let entry = std::str::from_utf8(&new[..new.len() - old.len()]).unwrap();
        assert_eq!(
            entry,
            "base (1.299-s1) unstable; urgency=high\n\n   A reason\n\n   -- of (two) lines;\n\n \
             -- Jo Doe <jo@example>  Sun, 09 Sep 2001 01:46:40 +0000\n\n"
        );
        assert_eq!(newest(&new).unwrap().to_string(), "base@1.299-s1");
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = newest(&bytes);
        }

        #[test]
        fn an_entry_for_any_reason_is_the_newest(reason in "\\PC{0,40}(\n\\PC{0,40}){0,3}") {
            let key = "a@1".parse().unwrap();
            let version = "2".parse().unwrap();
            let entry = Entry {
                old: &key, version: &version, distribution: "x", reason: &reason, author: "a <b>",
                now: Timestamp::UNIX_EPOCH,
            };
            prop_assert_eq!(newest(&entry.above(b"a (1) x;\n")).unwrap().to_string(), "a@2");
        }
    }
}
