//! A Dockerfile as instructions: continued lines are one, comments and the bodies of here-documents are none.

use std::ops::Range;

use super::words::words;
use crate::cli::build::config::Wrong;

/// A Dockerfile divided into instructions.
#[derive(Debug)]
pub struct Split {
    /// What joins lines and takes the meaning off a character: `\` or a backtick.
    pub escape: char,
    pub instructions: Vec<Instruction>,
}

#[derive(Debug)]
pub struct Instruction {
    /// Where it begins, from 1.
    pub line: usize,
    /// In capitals.
    pub keyword: String,
    /// What follows the keyword.
    pub arguments: Joined,
}

/// The text of an instruction without what joins its lines.
#[derive(Debug, Default)]
pub struct Joined {
    pub text: String,
    /// Where in the file each byte of the text stands.
    at: Vec<usize>,
}

/// A line without its end, and where it begins in the file.
#[derive(Clone, Copy)]
struct Line<'a> {
    text: &'a str,
    at: usize,
}

/// A here-document that a line began.
struct Heredoc {
    end: String,
    strips_tabs: bool,
}

const BYTE_ORDER_MARK: char = '\u{feff}';
/// The instructions that may be followed by here-documents, on their own or after ONBUILD.
const WITH_HEREDOCS: [&str; 3] = ["RUN", "COPY", "ADD"];

/// Fails for an escape that is none, and for a here-document without its end.
pub fn split(file: &str) -> Result<Split, Wrong> {
    let lines = lines(file);
    let (escape, first) = directives(&lines)?;
    let mut instructions = Vec::new();
    let mut next = first;
    while let Some(line) = lines.get(next) {
        if is_comment(line.text) || line.text.trim().is_empty() {
            next += 1;
            continue;
        }
        let begin = next;
        let mut joined = Joined::default();
        let mut goes_on = joined.take(*line, escape);
        next += 1;
        while goes_on {
            let Some(line) = lines.get(next) else { break };
            next += 1;
            if !is_comment(line.text) && !line.text.trim().is_empty() {
                goes_on = joined.take(*line, escape);
            }
        }
        let (keyword, arguments) = joined.keyword();
        for heredoc in heredocs(&keyword, &arguments.text, escape) {
            let rest = &lines[next..];
            let Some(end) = rest.iter().position(|line| heredoc.ends_with(line.text)) else {
                let reason = format!(
                    "the here-document has no end: {} stands nowhere below",
                    heredoc.end
                );
                return Err(Wrong::at(begin + 1, reason));
            };
            next += end + 1;
        }
        instructions.push(Instruction {
            line: begin + 1,
            keyword,
            arguments,
        });
    }
    Ok(Split {
        escape,
        instructions,
    })
}

fn lines(file: &str) -> Vec<Line<'_>> {
    let mut at = 0;
    let lines = file.split_inclusive('\n').map(|line| {
        let begin = at;
        at += line.len();
        let text = line.strip_suffix('\n').unwrap_or(line);
        let text = text.strip_suffix('\r').unwrap_or(text);
        match text.strip_prefix(BYTE_ORDER_MARK) {
            Some(text) if begin == 0 => Line {
                text,
                at: BYTE_ORDER_MARK.len_utf8(),
            },
            Some(_) | None => Line { text, at: begin },
        }
    });
    lines.collect()
}

fn is_comment(line: &str) -> bool {
    line.trim_start().starts_with('#')
}

/// The escape, and the first line that is no directive.
fn directives(lines: &[Line<'_>]) -> Result<(char, usize), Wrong> {
    let mut escape = None;
    for (n, line) in lines.iter().enumerate() {
        let Some((name, value)) = directive(line.text) else {
            return Ok((escape.unwrap_or('\\'), n));
        };
        match (name.to_ascii_lowercase().as_str(), value, escape) {
            ("escape", "\\", None) => escape = Some('\\'),
            ("escape", "`", None) => escape = Some('`'),
            ("escape", _, None) => return Err(Wrong::at(n + 1, "escape must be \\ or `")),
            ("escape", _, Some(_)) => return Err(Wrong::at(n + 1, "escape is said twice")),
            ("syntax" | "check", ..) => {}
            // A comment like any other, with which the directives end.
            _ => return Ok((escape.unwrap_or('\\'), n)),
        }
    }
    Ok((escape.unwrap_or('\\'), lines.len()))
}

fn directive(line: &str) -> Option<(&str, &str)> {
    let (name, value) = line.trim_start().strip_prefix('#')?.split_once('=')?;
    let (name, value) = (name.trim(), value.trim());
    let is_name = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric());
    (is_name && !value.is_empty()).then_some((name, value))
}

fn heredocs(keyword: &str, arguments: &str, escape: char) -> Vec<Heredoc> {
    let keyword = match keyword {
        "ONBUILD" => arguments
            .split_whitespace()
            .next()
            .unwrap_or_default()
            .to_ascii_uppercase(),
        own => own.to_owned(),
    };
    if !WITH_HEREDOCS.contains(&keyword.as_str()) {
        return Vec::new();
    }
    let words = words(arguments, escape).unwrap_or_default();
    let heredocs = words.into_iter().filter_map(|word| {
        let word = arguments[word].trim_start_matches(|c: char| c.is_ascii_digit());
        let name = word.strip_prefix("<<")?;
        let (name, strips_tabs) = match name.strip_prefix('-') {
            Some(name) => (name, true),
            None => (name, false),
        };
        let unquoted = ['"', '\''].into_iter().find_map(|quote| {
            let inner = name.strip_prefix(quote)?;
            inner.strip_suffix(quote)
        });
        let end = unquoted.unwrap_or(name);
        (!end.is_empty() && !end.contains('<')).then(|| Heredoc {
            end: end.to_owned(),
            strips_tabs,
        })
    });
    heredocs.collect()
}

impl Heredoc {
    fn ends_with(&self, line: &str) -> bool {
        let line = match self.strips_tabs {
            true => line.trim_start_matches('\t'),
            false => line,
        };
        line == self.end
    }
}

// === impl Joined ===

impl Joined {
    /// Adds a line, and says whether the next one belongs to it.
    fn take(&mut self, line: Line<'_>, escape: char) -> bool {
        let end = line.text.trim_end_matches([' ', '\t']);
        let continued = end
            .strip_suffix(escape)
            .filter(|rest| !rest.ends_with(escape));
        let text = continued.unwrap_or(line.text);
        self.text.push_str(text);
        self.at.extend(line.at..line.at + text.len());
        continued.is_some()
    }

    /// The first word, and what follows it.
    fn keyword(self) -> (String, Self) {
        let begin = self.text.len() - self.text.trim_start().len();
        let end = self.text[begin..]
            .find(char::is_whitespace)
            .map_or(self.text.len(), |n| begin + n);
        let keyword = self.text[begin..end].to_ascii_uppercase();
        let rest = self.text[end..].trim();
        let from = match rest.is_empty() {
            true => self.text.len(),
            false => self.text.len() - self.text[end..].trim_start().len(),
        };
        let arguments = Self {
            text: rest.to_owned(),
            at: self.at[from..from + rest.len()].to_vec(),
        };
        (keyword, arguments)
    }

    /// Where in the file a part of the text stands, with what joins its lines. Not for an empty part.
    pub fn in_file(&self, part: Range<usize>) -> Range<usize> {
        self.at[part.start]..self.at[part.end - 1] + 1
    }
}
