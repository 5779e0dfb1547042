//! From RE2's syntax, as Go reads it, to that of our engine, which gives some of the same texts another meaning.
//!
//! Only whether a text matches is asked, so that groups need not capture and greed may be dropped.

mod set;

use std::collections::BTreeSet;

use regex_syntax::is_meta_character;

/// The largest count of a repetition.
const MAX_COUNT: u32 = 1000;

/// Rewrites a pattern. Refuses what RE2 refuses and says why.
pub(super) fn translate(pattern: &str) -> Result<String, &'static str> {
    let mut translation = Translation {
        rest: pattern,
        out: String::with_capacity(pattern.len() * 2),
        depth: 0,
        repeatable: false,
        repeated: false,
        flags: String::new(),
        unclosed: false,
    };
    while let Some(character) = translation.take() {
        translation.step(character)?;
    }
    if translation.depth > 0 {
        return Err("a group is not closed");
    }
    Ok(translation.out)
}

struct Translation<'p> {
    rest: &'p str,
    out: String,
    depth: usize,
    /// Something stands before that a repetition can apply to.
    repeatable: bool,
    /// It is itself a repetition.
    repeated: bool,
    /// Flags that stand after it, to be written before what comes next: a repetition repeats what is before them.
    flags: String,
    /// No `:]` is left to close a `[:`; kept so that many of these are not searched for in vain.
    unclosed: bool,
}

impl<'p> Translation<'p> {
    fn step(&mut self, character: char) -> Result<(), &'static str> {
        match character {
            '*' | '+' | '?' => return self.repetition(character.encode_utf8(&mut [0; 4])),
            '{' => {
                if let Some((written, least, most)) = self.count() {
                    if least > MAX_COUNT
                        || most.is_some_and(|most| most > MAX_COUNT || most < least)
                    {
                        return Err("a repetition counts up to 1000, from the lower to the higher");
                    }
                    return self.repetition(&format!("{{{written}}}"));
                }
                self.write_flags();
                self.literal(character);
            }
            '(' => return self.open(),
            _ => {
                self.write_flags();
                return self.other(character);
            }
        }
        self.item();
        Ok(())
    }

    fn other(&mut self, character: char) -> Result<(), &'static str> {
        match character {
            ')' => {
                self.depth = self
                    .depth
                    .checked_sub(1)
                    .ok_or("a group is closed that was not opened")?;
                self.out.push(')');
            }
            '|' => {
                self.out.push('|');
                self.repeatable = false;
                self.repeated = false;
                return Ok(());
            }
            '[' => self.class()?,
            '\\' => return self.escape(),
            '.' | '^' | '$' => self.out.push(character),
            literal => self.literal(literal),
        }
        self.item();
        Ok(())
    }

    fn write_flags(&mut self) {
        self.out.push_str(&self.flags);
        self.flags.clear();
    }

    /// Something that can be repeated has been written.
    fn item(&mut self) {
        self.repeatable = true;
        self.repeated = false;
    }

    fn take(&mut self) -> Option<char> {
        let mut characters = self.rest.chars();
        let character = characters.next()?;
        self.rest = characters.as_str();
        Some(character)
    }

    fn take_if(&mut self, prefix: &str) -> bool {
        let rest = self.rest.strip_prefix(prefix);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn literal(&mut self, character: char) {
        if is_meta_character(character) {
            self.out.push('\\');
        }
        self.out.push(character);
    }

    fn repetition(&mut self, written: &str) -> Result<(), &'static str> {
        if !self.repeatable {
            return Err("a repetition has nothing to repeat");
        }
        self.take_if("?");
        if self.repeated {
            return Err("a repetition is repeated; put it in a group");
        }
        self.repeated = true;
        self.out.push_str(written);
        // Greed does not matter, and a `?` that follows flags is a repetition of its own.
        self.out.push('?');
        Ok(())
    }

    /// Takes the rest of `{n}`, `{n,}` or `{n,m}` after its brace, and returns it with its bounds. Anything else leaves
    /// the brace a literal.
    fn count(&mut self) -> Option<(&'p str, u32, Option<u32>)> {
        let end = self
            .rest
            .find(|next: char| next != ',' && !next.is_ascii_digit())?;
        let (inside, after) = self.rest.split_at(end);
        let after = after.strip_prefix('}')?;
        let (least, most) = inside.split_once(',').unwrap_or((inside, inside));
        let least = plain_number(least)?;
        let most = if most.is_empty() {
            None
        } else {
            Some(plain_number(most)?)
        };
        self.rest = after;
        Some((inside, least, most))
    }

    fn open(&mut self) -> Result<(), &'static str> {
        if !self.take_if("?") {
            return self.group();
        }
        if self.take_if("P<") || self.take_if("<") {
            let (name, rest) = self
                .rest
                .split_once('>')
                .ok_or("a group's name is not closed")?;
            let proper = !name.is_empty()
                && name
                    .bytes()
                    .all(|byte| byte == b'_' || byte.is_ascii_alphanumeric());
            if !proper {
                return Err("a group's name is letters, digits and _");
            }
            self.rest = rest;
            return self.group();
        }
        self.flags()
    }

    fn group(&mut self) -> Result<(), &'static str> {
        self.write_flags();
        self.out.push_str("(?:");
        self.depth += 1;
        self.repeatable = false;
        self.repeated = false;
        Ok(())
    }

    /// Flags for the rest of the group, or for a group of their own. `U` only swaps greed.
    fn flags(&mut self) -> Result<(), &'static str> {
        const WRONG: &str = "after (? come the flags i m s U, P< or :";
        let (mut on, mut off) = (BTreeSet::new(), BTreeSet::new());
        let mut negative = false;
        let mut named = false;
        let grouped = loop {
            match self.take().ok_or(WRONG)? {
                flag @ ('i' | 'm' | 's' | 'U') if negative => {
                    named = true;
                    on.remove(&flag);
                    off.insert(flag);
                }
                flag @ ('i' | 'm' | 's' | 'U') => {
                    on.insert(flag);
                }
                '-' if !negative => {
                    negative = true;
                }
                end @ (':' | ')') if named || !negative => break end == ':',
                _ => return Err(WRONG),
            }
        };
        on.remove(&'U');
        off.remove(&'U');
        if on.is_empty() && off.is_empty() && !grouped {
            self.repeated = false;
            return Ok(());
        }
        self.flags.push_str("(?");
        self.flags.extend(on);
        if !off.is_empty() {
            self.flags.push('-');
            self.flags.extend(off);
        }
        if grouped {
            self.flags.push(':');
            self.write_flags();
            self.depth += 1;
            self.repeatable = false;
        } else {
            self.flags.push(')');
        }
        self.repeated = false;
        Ok(())
    }

    fn escape(&mut self) -> Result<(), &'static str> {
        if self.take_if("Q") {
            let (quoted, rest) = self.rest.split_once(r"\E").unwrap_or((self.rest, ""));
            self.rest = rest;
            quoted.chars().for_each(|character| self.literal(character));
            self.repeatable |= !quoted.is_empty();
            self.repeated = false;
            return Ok(());
        }
        if self.take_if("A") {
            self.out.push_str(r"\A");
        } else if self.take_if("z") {
            self.out.push_str(r"\z");
        } else if self.take_if("b") {
            self.out.push_str(r"(?-u:\b)");
        } else if self.take_if("B") {
            self.out.push_str(r"(?-u:\B)");
        } else if !self.set_escape()? {
            let character = self.character_escape()?;
            self.literal(character);
        }
        self.item();
        Ok(())
    }

    /// What follows a backslash where one character is meant.
    fn character_escape(&mut self) -> Result<char, &'static str> {
        const UNKNOWN: &str = "unknown escape";
        match self.take().ok_or("a backslash is last")? {
            'a' => Ok('\x07'),
            'f' => Ok('\x0c'),
            'n' => Ok('\n'),
            'r' => Ok('\r'),
            't' => Ok('\t'),
            'v' => Ok('\x0b'),
            'x' => self.hexadecimal(),
            first @ '0'..='7' => {
                if first != '0' && !self.rest.starts_with(|next| matches!(next, '0'..='7')) {
                    return Err("a group cannot be referred to");
                }
                let mut value = u32::from(first) - u32::from('0');
                for _ in 0..2 {
                    let Some(digit) = self.rest.chars().next().and_then(|next| next.to_digit(8))
                    else {
                        break;
                    };
                    self.take();
                    value = value * 8 + digit;
                }
                char::from_u32(value).ok_or(UNKNOWN)
            }
            punctuation if punctuation.is_ascii() && !punctuation.is_ascii_alphanumeric() => {
                Ok(punctuation)
            }
            _ => Err(UNKNOWN),
        }
    }

    fn hexadecimal(&mut self) -> Result<char, &'static str> {
        const WRONG: &str =
            r"\x is followed by two hexadecimal digits, or by the code of a character in braces";
        let digits = if self.take_if("{") {
            let (digits, rest) = self.rest.split_once('}').ok_or(WRONG)?;
            self.rest = rest;
            digits
        } else {
            let digits = self.rest.get(..2).ok_or(WRONG)?;
            self.rest = &self.rest[2..];
            digits
        };
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(WRONG);
        }
        let digits = digits.trim_start_matches('0');
        let code = if digits.is_empty() {
            Ok(0)
        } else {
            u32::from_str_radix(digits, 16)
        };
        code.ok().and_then(char::from_u32).ok_or(WRONG)
    }
}

/// A decimal number without leading zeros, capped far beyond what counts.
fn plain_number(text: &str) -> Option<u32> {
    let plain = !text.is_empty()
        && text.bytes().all(|byte| byte.is_ascii_digit())
        && (text == "0" || !text.starts_with('0'));
    plain.then(|| text.parse().unwrap_or(u32::MAX))
}
