//! A screen of text that is refreshed in place and leaves the terminal as it was.

use crate::output::printable;
use clap::builder::styling::{AnsiColor, Style};
use std::io::{self, Write as _};

/// The alternate screen, without a cursor (xterm control sequences, which every terminal of today knows).
const ENTER: &str = "\x1b[?1049h\x1b[?25l";
const LEAVE: &str = "\x1b[?25h\x1b[?1049l";
const HOME: &str = "\x1b[H";
/// What is left of an older, longer line; of an older, longer screen.
const CLEAR_LINE: &str = "\x1b[K";
const CLEAR_BELOW: &str = "\x1b[J";

/// How a line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Tone {
    /// As any.
    #[default]
    Plain,
    /// A heading.
    Strong,
    /// As it should be.
    Good,
    /// Wants somebody's attention.
    Bad,
}

/// One line.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Line {
    /// How it looks.
    pub tone: Tone,
    /// Without control characters.
    pub text: String,
}

impl Line {
    /// Control characters in it lose their power.
    #[must_use]
    pub fn new(tone: Tone, text: impl AsRef<str>) -> Self {
        Self { tone, text: printable(text.as_ref()) }
    }
}

/// The whole terminal, given back when dropped.
#[derive(Debug)]
pub struct Screen {
    colours: bool,
}

impl Screen {
    /// Takes the terminal that standard output is. Colours unless `NO_COLOR` is set (<https://no-color.org>).
    ///
    /// # Errors
    /// When it cannot be written to.
    pub fn open() -> io::Result<Self> {
        let colours = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        write(ENTER)?;
        Ok(Self { colours })
    }

    /// Replaces what is shown, cut to the size of the terminal.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn show(&mut self, lines: &[Line]) -> io::Result<()> {
        let size = terminal_size::terminal_size();
        let (columns, rows) = size.map_or((80, 24), |(width, height)| (width.0.into(), height.0.into()));
        write(&frame(lines, columns, rows, self.colours))
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // A terminal that is gone needs nothing back.
        let _ = write(LEAVE);
    }
}

fn write(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    stdout.flush()
}

/// One write for all of it, so that nothing flickers.
fn frame(lines: &[Line], columns: usize, rows: usize, colours: bool) -> String {
    let mut text = String::from(HOME);
    for (number, line) in lines.iter().take(rows).enumerate() {
        if number > 0 {
            text.push_str("\r\n");
        }
        let shown: String = line.text.chars().take(columns).collect();
        let style = if colours { style(line.tone) } else { Style::new() };
        text.push_str(&format!("{style}{shown}{style:#}{CLEAR_LINE}"));
    }
    text + CLEAR_BELOW
}

fn style(tone: Tone) -> Style {
    match tone {
        Tone::Plain => Style::new(),
        Tone::Strong => Style::new().bold(),
        Tone::Good => AnsiColor::Green.on_default(),
        Tone::Bad => AnsiColor::Red.on_default().bold(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_cut_to_the_terminal_and_clears_what_was_there() {
        let lines = ["wide line", "second", "third"].map(|text| Line::new(Tone::Plain, text));
        assert_eq!(frame(&lines, 4, 2, false), "\x1b[Hwide\x1b[K\r\nseco\x1b[K\x1b[J");
    }

    #[test]
    fn bad_lines_are_coloured_and_the_colour_ends_with_them() {
        let shown = frame(&[Line::new(Tone::Bad, "x\x1b[2J")], 80, 24, true);
        assert!(shown.contains("x\u{fffd}[2J\x1b[0m\x1b[K"), "{shown:?}");
    }
}
