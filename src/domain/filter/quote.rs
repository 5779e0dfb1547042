//! Quoted texts: where one ends and which bytes it stands for.

use std::str::Chars;

use super::Dialect;
use super::error::Fault;

/// A closed quote at the start of a text.
pub(super) struct Quoted {
    /// Its length in the text, with both quotes.
    pub len: usize,
    /// What it stands for; `None` where a numeric escape names no byte and no character.
    pub bytes: Option<Vec<u8>>,
}

/// Reads the quote that `text` starts with. The first fault inside is the one told, once the quote's end is known.
pub(super) fn read(text: &str, dialect: Dialect) -> Result<Quoted, Fault> {
    let mut rest = text.chars();
    let Some(quote) = rest.next() else {
        return Err(Fault::OpenQuote);
    };
    Reader {
        rest,
        quote,
        dialect,
        bytes: Vec::new(),
        overflowed: false,
        fault: None,
    }
    .read(text.len())
}

/// What a character means outside any token: two may not be written as they are.
pub(super) fn illegal(character: char) -> Option<Fault> {
    match character {
        '\0' => Some(Fault::Null),
        '\u{fffd}' => Some(Fault::ReplacementCharacter),
        _ => None,
    }
}

struct Reader<'t> {
    rest: Chars<'t>,
    quote: char,
    dialect: Dialect,
    bytes: Vec<u8>,
    overflowed: bool,
    fault: Option<Fault>,
}

impl Reader<'_> {
    fn read(mut self, total: usize) -> Result<Quoted, Fault> {
        let mut next = self.next();
        loop {
            next = match next {
                None | Some('\n') => return Err(self.fault.unwrap_or(Fault::OpenQuote)),
                Some(character) if character == self.quote => break,
                Some('\\') => self.escape(),
                Some(character) => {
                    self.push(character);
                    self.next()
                }
            };
        }
        match self.fault {
            Some(fault) => Err(fault),
            None => Ok(Quoted {
                len: total - self.rest.as_str().len(),
                bytes: (!self.overflowed).then_some(self.bytes),
            }),
        }
    }

    /// The next character; `None` at the end and at one that may not stand there.
    fn next(&mut self) -> Option<char> {
        let character = self.rest.next()?;
        match illegal(character) {
            None => Some(character),
            Some(fault) => {
                self.refuse(fault);
                None
            }
        }
    }

    fn refuse(&mut self, fault: Fault) {
        self.fault.get_or_insert(fault);
    }

    fn push(&mut self, character: char) {
        self.bytes
            .extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
    }

    /// Takes what follows a backslash, and returns the character after it.
    fn escape(&mut self) -> Option<char> {
        let named = self.next();
        let byte = match named {
            Some('a') => 0x07,
            Some('b') => 0x08,
            Some('f') => 0x0c,
            Some('n') => b'\n',
            Some('r') => b'\r',
            Some('t') => b'\t',
            Some('v') => 0x0b,
            Some('\\') => b'\\',
            Some('0'..='7') => return self.number(named, 8, 3, Self::push_byte),
            Some('x') => return self.hexadecimal(2, Self::push_byte),
            Some('u') => return self.hexadecimal(4, Self::push_code_point),
            Some('U') => return self.hexadecimal(8, Self::push_code_point),
            Some(quote) if quote == self.quote => {
                self.push(quote);
                return self.next();
            }
            _ => {
                self.refuse(Fault::UnknownEscape);
                return named;
            }
        };
        self.bytes.push(byte);
        self.next()
    }

    fn hexadecimal(&mut self, digits: u32, push: fn(&mut Self, u32)) -> Option<char> {
        let first = self.next();
        self.number(first, 16, digits, push)
    }

    fn number(
        &mut self,
        first: Option<char>,
        base: u32,
        digits: u32,
        push: fn(&mut Self, u32),
    ) -> Option<char> {
        let mut value: u32 = 0;
        let mut next = first;
        for _ in 0..digits {
            let Some(digit) = next.and_then(|character| character.to_digit(base)) else {
                self.refuse(Fault::ShortEscape);
                return next;
            };
            value = value.wrapping_mul(base) | digit;
            next = self.next();
        }
        push(self, value);
        next
    }

    fn push_byte(&mut self, value: u32) {
        match u8::try_from(value) {
            Ok(byte) => self.bytes.push(byte),
            Err(_) => self.overflowed = true,
        }
    }

    /// Containerd keeps code points in a signed number: the upper half of \U is a byte to it, and a surrogate U+FFFD.
    fn push_code_point(&mut self, value: u32) {
        match (char::from_u32(value), self.dialect) {
            (Some(character), _) => self.push(character),
            (None, Dialect::Containerd) if value > i32::MAX as u32 => {
                self.bytes.push(value.to_be_bytes()[3])
            }
            (None, Dialect::Containerd) if value <= 0xdfff => {
                self.push(char::REPLACEMENT_CHARACTER)
            }
            (None, _) => self.overflowed = true,
        }
    }
}
