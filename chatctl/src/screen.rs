//! Screen of text that is refreshed in place and leaves the terminal as it was.

use crate::output::printable_line;
use clap::builder::styling::{AnsiColor, Style};
use std::io::{self, Write as _};

/// Switches to the alternate screen and hides the cursor (xterm control sequences, which every current terminal
/// supports).
const ENTER: &str = "\x1b[?1049h\x1b[?25l";
const LEAVE: &str = "\x1b[?25h\x1b[?1049l";
const HOME: &str = "\x1b[H";
/// Clears the rest of the line, left over from an older, longer one.
const CLEAR_LINE: &str = "\x1b[K";
/// Clears the rest of the screen, left over from an older, longer one.
const CLEAR_BELOW: &str = "\x1b[J";

/// Style of a line on the screen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LineTone {
    /// Ordinary text without emphasis.
    #[default]
    Plain,
    /// Heading, shown in bold.
    Strong,
    /// Healthy state, shown in green.
    Good,
    /// State that needs attention, shown in red.
    Bad,
}

/// One line of the screen.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ScreenLine {
    pub tone: LineTone,
    /// Text of the line, without control characters.
    pub text: String,
}

impl ScreenLine {
    /// Creates a line, replacing control characters in the text so that they cannot steer the terminal.
    #[must_use]
    pub fn new(tone: LineTone, text: impl AsRef<str>) -> Self {
        Self { tone, text: printable_line(text.as_ref()) }
    }
}

/// The whole terminal, restored when dropped.
#[derive(Debug)]
pub struct TerminalScreen {
    colours: bool,
}

impl TerminalScreen {
    /// Takes over the terminal on standard output. Colours are used unless `NO_COLOR` is set (<https://no-color.org>).
    ///
    /// # Errors
    /// Returns an error if the terminal cannot be written to.
    pub fn open() -> io::Result<Self> {
        let colours = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        write_stdout(ENTER)?;
        Ok(Self { colours })
    }

    /// Replaces the content of the screen by `lines`, cut to the size of the terminal.
    pub fn show(&mut self, lines: &[ScreenLine]) -> io::Result<()> {
        let size = terminal_size::terminal_size();
        let (columns, rows) = size.map_or((80, 24), |(width, height)| (width.0.into(), height.0.into()));
        write_stdout(&render_frame(lines, columns, rows, self.colours))
    }
}

impl Drop for TerminalScreen {
    fn drop(&mut self) {
        // A terminal that is gone need not be restored.
        let _ = write_stdout(LEAVE);
    }
}

fn write_stdout(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    stdout.flush()
}

/// Renders the whole screen as one text: a single write does not flicker.
fn render_frame(lines: &[ScreenLine], columns: usize, rows: usize, colours: bool) -> String {
    let mut text = String::from(HOME);
    for (number, line) in lines.iter().take(rows).enumerate() {
        if number > 0 {
            text.push_str("\r\n");
        }
        let shown: String = line.text.chars().take(columns).collect();
        let style = if colours { tone_style(line.tone) } else { Style::new() };
        text.push_str(&format!("{style}{shown}{style:#}{CLEAR_LINE}"));
    }
    text + CLEAR_BELOW
}

fn tone_style(tone: LineTone) -> Style {
    match tone {
        LineTone::Plain => Style::new(),
        LineTone::Strong => Style::new().bold(),
        LineTone::Good => AnsiColor::Green.on_default(),
        LineTone::Bad => AnsiColor::Red.on_default().bold(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_cut_to_the_terminal_and_clears_what_was_there() {
        let lines = ["wide line", "second", "third"].map(|text| ScreenLine::new(LineTone::Plain, text));
        assert_eq!(render_frame(&lines, 4, 2, false), "\x1b[Hwide\x1b[K\r\nseco\x1b[K\x1b[J");
    }

    #[test]
    fn bad_lines_are_coloured_and_the_colour_ends_with_them() {
        let shown = render_frame(&[ScreenLine::new(LineTone::Bad, "x\x1b[2J")], 80, 24, true);
        assert!(shown.contains("x\u{fffd}[2J\x1b[0m\x1b[K"), "{shown:?}");
    }
}
