//! `$NAME`, `${NAME:-default}` and the like in a word, as Dockerfiles have them.

/// The longest text that comes out.
const MAX_BYTES: usize = 4096;
/// The longest text and the longest pattern where a pattern is looked for.
const MAX_MATCHED: usize = 256;
/// How deep defaults may stand in defaults.
const MAX_DEPTH: usize = 16;

/// A word with its variables filled in, without quotes.
#[derive(Debug, PartialEq, Eq)]
pub struct Expanded {
    pub text: String,
    /// The first variable that has no value; nothing stands in its place.
    pub missing: Option<String>,
}

/// Fails, with a reason, for what is no substitution, and for a text that gets too long.
pub fn expand(
    word: &str,
    escape: char,
    value: &dyn Fn(&str) -> Option<String>,
) -> Result<Expanded, String> {
    let mut expansion = Expansion {
        rest: word,
        escape,
        value,
        missing: None,
        depth: 0,
    };
    let text = expansion.until(None)?;
    Ok(Expanded {
        text,
        missing: expansion.missing,
    })
}

struct Expansion<'a> {
    rest: &'a str,
    escape: char,
    value: &'a dyn Fn(&str) -> Option<String>,
    missing: Option<String>,
    depth: usize,
}

impl Expansion<'_> {
    fn next(&mut self) -> Option<char> {
        let next = self.rest.chars().next()?;
        self.rest = &self.rest[next.len_utf8()..];
        Some(next)
    }

    fn skip(&mut self, expected: char) -> bool {
        match self.rest.strip_prefix(expected) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    /// All up to one of those characters, which is taken as well, or to the end where none is given.
    fn until(&mut self, ends: Option<char>) -> Result<String, String> {
        let mut text = String::new();
        let mut in_quotes = false;
        while let Some(c) = self.next() {
            match c {
                '\'' if !in_quotes => {
                    let Some((quoted, rest)) = self.rest.split_once('\'') else {
                        return Err("has a quote that is not closed".to_owned());
                    };
                    text.push_str(quoted);
                    self.rest = rest;
                }
                '"' => in_quotes = !in_quotes,
                '$' => text.push_str(&self.variable()?),
                c if c == self.escape => text.extend(self.next()),
                c if ends == Some(c) && !in_quotes => return Ok(text),
                c => text.push(c),
            }
            if text.len() > MAX_BYTES {
                return Err(format!("gets longer than {MAX_BYTES} bytes"));
            }
        }
        match (ends, in_quotes) {
            (None, false) => Ok(text),
            (_, true) => Err("has a quote that is not closed".to_owned()),
            (Some(end), false) => Err(format!("has a variable without its {end}")),
        }
    }

    fn name(&mut self) -> String {
        let is_inner = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let end = self.rest.find(|c| !is_inner(c)).unwrap_or(self.rest.len());
        let (name, rest) = self.rest.split_at(end);
        self.rest = rest;
        name.to_owned()
    }

    /// What stands for what follows a `$`.
    fn variable(&mut self) -> Result<String, String> {
        if !self.skip('{') {
            let name = self.name();
            return Ok(match name.is_empty() {
                true => "$".to_owned(),
                false => self.found(&name),
            });
        }
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(format!(
                "has more than {MAX_DEPTH} variables in one another"
            ));
        }
        let text = self.braced()?;
        self.depth -= 1;
        Ok(text)
    }

    /// The value of a variable that must have one.
    fn found(&mut self, name: &str) -> String {
        (self.value)(name).unwrap_or_else(|| {
            self.missing.get_or_insert_with(|| name.to_owned());
            String::new()
        })
    }

    /// What stands for what follows a `${`.
    fn braced(&mut self) -> Result<String, String> {
        let name = self.name();
        if name.is_empty() {
            return Err("has ${ without the name of a variable".to_owned());
        }
        if self.skip('}') {
            return Ok(self.found(&name));
        }
        let value = (self.value)(&name);
        let counts = match self.skip(':') {
            true => value.clone().filter(|value| !value.is_empty()),
            false => value.clone(),
        };
        match self.next() {
            Some('-') => {
                let outer = self.missing.clone();
                let default = self.until(Some('}'))?;
                Ok(match counts {
                    Some(value) => {
                        self.missing = outer;
                        value
                    }
                    None => default,
                })
            }
            Some('+') => {
                let outer = self.missing.clone();
                let instead = self.until(Some('}'))?;
                Ok(match counts {
                    Some(_) => instead,
                    None => {
                        self.missing = outer;
                        String::new()
                    }
                })
            }
            Some('?') => {
                self.until(Some('}'))?;
                Ok(counts.unwrap_or_else(|| {
                    self.missing.get_or_insert(name);
                    String::new()
                }))
            }
            Some(sign @ ('#' | '%')) => {
                let is_longest = self.skip(sign);
                let pattern = self.until(Some('}'))?;
                let value = self.found(&name);
                without(&value, &pattern, sign == '#', is_longest)
            }
            Some('/') => {
                let is_every = self.skip('/');
                let pattern = self.until(Some('/'))?;
                let by = self.until(Some('}'))?;
                let value = self.found(&name);
                replaced(&value, &pattern, &by, is_every)
            }
            Some(_) | None => Err(format!("has a ${{{name}... that is no substitution")),
        }
    }
}

/// The text without what matches at its start, or else at its end.
fn without(text: &str, pattern: &str, at_start: bool, is_longest: bool) -> Result<String, String> {
    let (mut text, mut pattern) = (chars(text)?, chars(pattern)?);
    if !at_start {
        text.reverse();
        pattern.reverse();
    }
    let mut matches = prefixes(&text, &pattern).into_iter();
    let cut = match is_longest {
        true => matches.next_back(),
        false => matches.next(),
    };
    let mut rest = text.split_off(cut.unwrap_or(0));
    if !at_start {
        rest.reverse();
    }
    Ok(rest.into_iter().collect())
}

fn replaced(text: &str, pattern: &str, by: &str, is_every: bool) -> Result<String, String> {
    let (text, pattern) = (chars(text)?, chars(pattern)?);
    let mut result = String::new();
    let (mut at, mut is_done) = (0, false);
    while at < text.len() {
        let longest = prefixes(&text[at..], &pattern).pop().unwrap_or(0);
        if longest == 0 || is_done {
            result.push(text[at]);
            at += 1;
        } else {
            result.push_str(by);
            at += longest;
            is_done = !is_every;
        }
        if result.len() > MAX_BYTES {
            return Err(format!("gets longer than {MAX_BYTES} bytes"));
        }
    }
    Ok(result)
}

fn chars(text: &str) -> Result<Vec<char>, String> {
    match text.len() > MAX_MATCHED {
        true => Err(format!(
            "looks for a pattern in more than {MAX_MATCHED} bytes"
        )),
        false => Ok(text.chars().collect()),
    }
}

/// How long the beginnings of a text are that match a pattern of `*` and `?`, the shortest first.
fn prefixes(text: &[char], pattern: &[char]) -> Vec<usize> {
    let mut ends = vec![false; text.len() + 1];
    ends[0] = true;
    for &sign in pattern {
        let mut next = vec![false; text.len() + 1];
        match sign {
            '*' => {
                let mut any = false;
                for (to, from) in next.iter_mut().zip(&ends) {
                    any |= from;
                    *to = any;
                }
            }
            sign => {
                for n in 0..text.len() {
                    next[n + 1] = ends[n] && (sign == '?' || sign == text[n]);
                }
            }
        }
        ends = next;
    }
    let ends = ends.into_iter().enumerate();
    ends.filter_map(|(n, is_end)| is_end.then_some(n)).collect()
}
