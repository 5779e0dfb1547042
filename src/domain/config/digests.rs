//! Digests of the beginnings of a history, so that one history can be compared with another without reading it.

use sha2::{Digest as _, Sha256};

use super::{HistoryEntry, ImageConfig};

impl ImageConfig {
    /// For each entry of the history the digest of it and of all before it. Those of two configs are equal where
    /// their histories are, up to that entry.
    pub fn history_digests(&self) -> Vec<[u8; 32]> {
        let mut below = [0; 32];
        let mut digests = Vec::with_capacity(self.history().len());
        for entry in self.history() {
            below = digest(&below, entry);
            digests.push(below);
        }
        digests
    }
}

/// Of an entry and of what is below it. Each text says its own length, so that no two entries read the same.
fn digest(below: &[u8; 32], entry: &HistoryEntry) -> [u8; 32] {
    let mut hash = Sha256::new_with_prefix(below);
    match entry.created {
        None => hash.update([0]),
        Some(created) => {
            hash.update([1]);
            hash.update(created.seconds().to_be_bytes());
            hash.update(created.nanos().to_be_bytes());
        }
    }
    for text in [&entry.created_by, &entry.author, &entry.comment] {
        hash.update((text.len() as u64).to_be_bytes());
        hash.update(text);
    }
    hash.update([u8::from(entry.empty_layer)]);
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digests(history: &str) -> Vec<[u8; 32]> {
        let config = format!(r#"{{"rootfs":{{"diff_ids":["a","b"]}},"history":[{history}]}}"#);
        ImageConfig::parse(config.as_bytes())
            .unwrap()
            .history_digests()
    }

    #[test]
    fn equal_beginnings_have_equal_digests_and_any_difference_counts_from_there_on() {
        let all = digests(r#"{"created_by":"x"},{"created_by":"y"}"#);
        assert_eq!(all[..1], digests(r#"{"created_by":"x"}"#));
        for other in [
            r#"{"created_by":"z"}"#,
            r#"{"author":"x"}"#,
            r#"{"comment":"x"}"#,
            r#"{"created_by":"x","empty_layer":true}"#,
            r#"{"created_by":"x","created":"2020-01-01T00:00:00Z"}"#,
            r#"{"created_by":"x","created":"1970-01-01T00:00:00Z"}"#,
        ] {
            let others = digests(&format!(r#"{other},{{"created_by":"y"}}"#));
            assert!(all[0] != others[0] && all[1] != others[1], "{other}");
        }
    }

    #[test]
    fn instants_count_and_not_how_they_are_written() {
        let of = |created: &str| digests(&format!(r#"{{"created":"{created}"}}"#));
        assert_eq!(of("2020-01-01T00:00:00Z"), of("2020-01-01T01:00:00+01:00"));
    }

    #[test]
    fn a_text_is_not_taken_for_another_that_runs_into_the_next() {
        let one = digests(r#"{"created_by":"ab","author":"c"}"#);
        assert_ne!(one, digests(r#"{"created_by":"a","author":"bc"}"#));
    }
}
