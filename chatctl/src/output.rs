//! What goes to standard output, for people or for programs.

use crate::error::Error;
use clap::ValueEnum;
use serde::Serialize;
use std::io::{self, Write as _};

/// The form of everything that a command prints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Format {
    /// For people: may change between versions.
    #[default]
    Text,
    /// For programs: one JSON document, or one per line for streams; described in `docs/chatctl.md`.
    Json,
}

/// Standard output in one of the two forms.
#[derive(Debug, Clone, Copy)]
pub struct Out {
    format: Format,
}

impl Out {
    /// Prints in this form.
    #[must_use]
    pub fn new(format: Format) -> Self {
        Self { format }
    }

    /// Whether programs read it.
    #[must_use]
    pub fn is_json(self) -> bool {
        self.format == Format::Json
    }

    /// Prints `value` as one line of JSON, or `text()` for people.
    ///
    /// # Errors
    /// [`Error::OutputClosed`] when the reader has gone (`chatctl tail | head`), [`Error::Output`] otherwise.
    pub fn emit<T: Serialize>(self, value: &T, text: impl FnOnce() -> String) -> Result<(), Error> {
        let line = match self.format {
            Format::Json => serde_json::to_string(value).map_err(|e| Error::Output(e.into()))?,
            Format::Text => text(),
        };
        self.line(&line)
    }

    /// Prints one line as it is.
    ///
    /// # Errors
    /// As [`Self::emit`].
    pub fn line(self, line: &str) -> Result<(), Error> {
        let mut stdout = io::stdout().lock();
        let written = if line.is_empty() || line.ends_with('\n') {
            stdout.write_all(line.as_bytes())
        } else {
            writeln!(stdout, "{line}")
        };
        // Flushed per line: a stream is read while it goes on.
        written.and_then(|()| stdout.flush()).map_err(|e| match e.kind() {
            io::ErrorKind::BrokenPipe => Error::OutputClosed,
            _ => Error::Output(e),
        })
    }
}

/// Replaces control characters, so that a message cannot steer the reader's terminal.
#[must_use]
pub fn printable(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            '\n' => '⏎',
            // Direction overrides reorder what stands around them on the screen.
            '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => '\u{fffd}',
            c if c.is_control() => '\u{fffd}',
            c => c,
        })
        .collect()
}

/// Lays out rows under headings, each column as wide as its widest cell.
#[must_use]
pub fn table(headings: &[&str], rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        cells.chain(headings.get(column).map(|h| h.len())).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..headings.len()).map(width).collect();
    let render = |cells: &mut dyn Iterator<Item = &str>| {
        let padded = cells.zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        padded.collect::<Vec<_>>().join("  ").trim_end().to_owned() + "\n"
    };
    let mut text = render(&mut headings.iter().copied());
    for row in rows {
        text.push_str(&render(&mut row.iter().map(String::as_str)));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escape_sequences_lose_their_power() {
        assert_eq!(printable("a\u{1b}[2Jb\nc\u{202e}d"), "a\u{fffd}[2Jb⏎c\u{fffd}d");
    }

    #[test]
    fn columns_are_aligned_and_lines_have_no_trailing_blanks() {
        let rows = vec![vec!["longer".into(), "x".into()], vec!["s".into(), String::new()]];
        assert_eq!(table(&["A", "B"], &rows), "A       B\nlonger  x\ns\n");
    }
}
