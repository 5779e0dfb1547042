//! Aligned columns and labelled blocks of text that is safe on a terminal.

use std::fmt::{self, Write as _};

/// Spaces between columns.
const GAP: usize = 2;

/// Rows under a header, left aligned.
pub struct Table {
    rows: Vec<Vec<String>>,
}

/// One thing's properties, a line each.
#[derive(Default)]
pub struct Block {
    lines: Vec<(&'static str, String)>,
}

/// Text with its control characters written as escapes, so that a name can neither break a line
/// nor drive the terminal, nor turn its direction.
pub fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        let turns = matches!(
            c,
            '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{2069}' | '\u{feff}'
        );
        match c.is_control() || turns {
            true => shown.extend(c.escape_default()),
            false => shown.push(c),
        }
    }
    shown
}

// === impl Table ===

impl Table {
    pub fn new<'a>(header: impl IntoIterator<Item = &'a str>) -> Self {
        Self {
            rows: vec![header.into_iter().map(str::to_owned).collect()],
        }
    }

    /// Adds a row of as many cells as the header has.
    pub fn push<'a>(&mut self, row: impl IntoIterator<Item = &'a str>) {
        self.rows.push(row.into_iter().map(printable).collect());
    }

    /// Puts the rows in the order of their cells.
    pub fn sort(&mut self) {
        self.rows[1..].sort();
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut widths = vec![0; self.rows[0].len()];
        for row in &self.rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count());
            }
        }
        for row in &self.rows {
            let mut line = String::new();
            for (width, cell) in widths.iter().zip(row) {
                write!(line, "{cell:<0$}", width + GAP)?;
            }
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

// === impl Block ===

impl Block {
    /// Adds a line. One without text is left out.
    pub fn push(&mut self, label: &'static str, text: impl AsRef<str>) {
        let text = printable(text.as_ref());
        if !text.is_empty() {
            self.lines.push((label, text));
        }
    }

    /// Adds a line for each pair, under one label.
    pub fn push_pairs<'a>(
        &mut self,
        label: &'static str,
        pairs: impl IntoIterator<Item = (&'a String, &'a String)>,
    ) {
        for (i, (key, value)) in pairs.into_iter().enumerate() {
            let label = if i == 0 { label } else { "" };
            self.push(label, format!("{key}={value}"));
        }
    }
}

impl fmt::Display for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let widest = self.lines.iter().map(|(label, _)| label.len()).max();
        let width = widest.unwrap_or(0) + 1 + GAP;
        for (label, text) in &self.lines {
            let label = match *label {
                "" => String::new(),
                label => format!("{label}:"),
            };
            writeln!(f, "{label:<width$}{text}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_align_by_characters_and_lines_end_where_their_text_ends() {
        let mut table = Table::new(["NAME", "TAG"]);
        table.push(["übung", "1"]);
        table.push(["a", ""]);
        assert_eq!(table.to_string(), "NAME   TAG\nübung  1\na\n");
    }

    #[test]
    fn a_name_can_neither_break_a_row_nor_drive_the_terminal() {
        let mut table = Table::new(["NAME"]);
        table.push(["a\nb\x1b[31m\u{202e}\u{9b}"]);
        assert_eq!(
            table.to_string(),
            "NAME\na\\nb\\u{1b}[31m\\u{202e}\\u{9b}\n"
        );
    }

    #[test]
    fn a_block_aligns_its_texts_and_leaves_out_what_is_empty() {
        let labels = [
            ("k".to_owned(), "v".to_owned()),
            ("l".to_owned(), String::new()),
        ];
        let mut block = Block::default();
        block.push("Name", "n");
        block.push("Platform", "");
        block.push_pairs("Labels", labels.iter().map(|(k, v)| (k, v)));
        assert_eq!(block.to_string(), "Name:    n\nLabels:  k=v\n         l=\n");
    }
}
