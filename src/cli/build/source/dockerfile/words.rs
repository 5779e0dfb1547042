//! The words of an instruction: divided by blanks that are not in quotes.

use std::ops::Range;

/// Where the words stand, with their quotes. None where a quote is not closed.
pub fn words(text: &str, escape: char) -> Option<Vec<Range<usize>>> {
    let mut words = Vec::new();
    let mut begin = None;
    let mut quote = None;
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        if c.is_whitespace() && quote.is_none() {
            words.extend(begin.take().map(|begin| begin..at));
            continue;
        }
        begin.get_or_insert(at);
        match quote {
            // Nothing has a meaning between single quotes.
            Some('\'') if c == '\'' => quote = None,
            Some('\'') => {}
            Some(_) | None if c == escape => drop(chars.next()),
            Some(open) if c == open => quote = None,
            Some(_) => {}
            None if c == '"' || c == '\'' => quote = Some(c),
            None => {}
        }
    }
    words.extend(begin.map(|begin| begin..text.len()));
    quote.is_none().then_some(words)
}

/// A part of a text without the quotes around all of it.
pub fn within_quotes(text: &str, word: Range<usize>) -> Range<usize> {
    let inner = &text[word.clone()];
    let is_quoted = ['"', '\'']
        .into_iter()
        .any(|quote| inner.len() >= 2 && inner.starts_with(quote) && inner.ends_with(quote));
    match is_quoted {
        true => word.start + 1..word.end - 1,
        false => word,
    }
}
