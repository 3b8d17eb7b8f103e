//! Standard output of the commands, for people or for programs.

use crate::error::Error;
use clap::ValueEnum;
use serde::Serialize;
use std::io::{self, Write as _};

/// Output format of everything that a command prints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum OutputFormat {
    /// Text for people, which may change between versions
    #[default]
    Text,
    /// JSON for programs: one document, or one per line for streams; described in `docs/chatctl.md`
    Json,
}

/// Standard output in one of the two output formats.
#[derive(Debug, Clone, Copy)]
pub struct CommandOutput {
    format: OutputFormat,
}

impl CommandOutput {
    /// Creates an output in this format.
    #[must_use]
    pub fn new(format: OutputFormat) -> Self {
        Self { format }
    }

    /// Returns `true` if the output is JSON, to be read by programs.
    #[must_use]
    pub fn is_json(self) -> bool {
        self.format == OutputFormat::Json
    }

    /// Prints `value` as one line of JSON, or `text()` for people.
    ///
    /// # Errors
    /// [`Error::OutputClosed`] if the reader is gone (`chatctl tail | head`), [`Error::Output`] otherwise.
    pub fn emit<T: Serialize>(self, value: &T, text: impl FnOnce() -> String) -> Result<(), Error> {
        let line = match self.format {
            OutputFormat::Json => inert_json(&serde_json::to_string(value).map_err(|e| Error::Output(e.into()))?),
            // Most texts are made printable where they are built; this catches the others.
            OutputFormat::Text => printable_lines(&text()),
        };
        self.line(&line)
    }

    /// Prints `line` as it is, adding a line break if it lacks one.
    pub fn line(self, line: &str) -> Result<(), Error> {
        let mut stdout = io::stdout().lock();
        let written = if line.is_empty() || line.ends_with('\n') {
            stdout.write_all(line.as_bytes())
        } else {
            writeln!(stdout, "{line}")
        };
        // Flushed after each line, because a stream is read while it is being written.
        written.and_then(|()| stdout.flush()).map_err(Error::from_output)
    }
}

/// Returns `true` if `c` can steer a terminal: a control character (C0, DEL or C1), or a directional formatting
/// character, which reorders the text around it on the screen.
fn is_steering(c: char) -> bool {
    c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Replaces control characters, so that a message cannot steer the reader's terminal. The result is one line.
#[must_use]
pub fn printable_line(text: &str) -> String {
    text.chars().map(|c| if c == '\n' { '⏎' } else { inert_char(c) }).collect()
}

/// Replaces control characters as [`printable_line`] does, but keeps line breaks and tabs.
#[must_use]
pub fn printable_lines(text: &str) -> String {
    text.chars().map(|c| if matches!(c, '\n' | '\t') { c } else { inert_char(c) }).collect()
}

fn inert_char(c: char) -> char {
    if is_steering(c) { '\u{fffd}' } else { c }
}

/// Escapes the control characters that JSON allows unescaped (U+007F, C1, directional formatting characters). They
/// occur inside strings only, so a program that reads the text gets the same strings.
#[must_use]
pub fn inert_json(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for c in json.chars() {
        // The only C0 characters here are the line breaks of indented JSON, which stand outside strings and cannot be
        // escaped.
        if is_steering(c) && u32::from(c) > 0x1f {
            out.push_str(&format!("\\u{:04x}", u32::from(c)));
        } else {
            out.push(c);
        }
    }
    out
}

/// Lays out rows under headings, each column as wide as its widest cell.
#[must_use]
pub fn format_table(headings: &[&str], rows: &[Vec<String>]) -> String {
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
        assert_eq!(printable_line("a\u{1b}[2Jb\nc\u{202e}d"), "a\u{fffd}[2Jb⏎c\u{fffd}d");
    }

    #[test]
    fn json_carries_the_same_strings_without_control_characters() {
        let value = serde_json::json!({ "a\u{7f}": "x\u{9b}2J\u{202e}y\n\u{1b}é" });
        let text = inert_json(&value.to_string());
        assert!(!text.chars().any(is_steering), "{text:?}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&text).unwrap(), value);
    }

    #[test]
    fn columns_are_aligned_and_lines_have_no_trailing_blanks() {
        let rows = vec![vec!["longer".into(), "x".into()], vec!["s".into(), String::new()]];
        assert_eq!(format_table(&["A", "B"], &rows), "A       B\nlonger  x\ns\n");
    }
}
