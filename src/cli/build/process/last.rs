//! The last words of a command, as many as the service keeps.

use std::collections::VecDeque;

/// What of a command's words stands in the error that the service keeps.
pub const MAX_LAST_BYTES: usize = 3072;

/// The last lines of what is said.
#[derive(Default)]
pub struct Last {
    lines: VecDeque<String>,
    bytes: usize,
}

impl Last {
    pub fn push(&mut self, line: &str) {
        let line = line.replace('\0', "\u{fffd}");
        let line = end_of(&line, MAX_LAST_BYTES - 1).to_owned();
        self.bytes += line.len() + 1;
        self.lines.push_back(line);
        while self.bytes > MAX_LAST_BYTES {
            let Some(first) = self.lines.pop_front() else {
                return;
            };
            self.bytes -= first.len() + 1;
        }
    }

    pub fn text(self) -> String {
        Vec::from(self.lines).join("\n")
    }
}

/// The last bytes of a text, from where a character begins.
pub fn end_of(text: &str, most: usize) -> &str {
    let mut from = text.len().saturating_sub(most);
    while !text.is_char_boundary(from) {
        from += 1;
    }
    &text[from..]
}

/// As much of a reason as the service keeps.
pub fn clipped(why: &str) -> &str {
    const MOST: usize = 4096;
    let mut end = why.len().min(MOST);
    while !why.is_char_boundary(end) {
        end -= 1;
    }
    &why[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_is_kept_than_the_service_takes() {
        let mut last = Last::default();
        last.push(&"ü".repeat(4000));
        assert!(last.text().len() < MAX_LAST_BYTES);
        assert_eq!(clipped(&"€".repeat(2000)).len(), 4095);
        assert_eq!(clipped("short"), "short");
    }
}
