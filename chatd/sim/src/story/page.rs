//! The file of a story: prose, steps (`> …`) and, indented below each step, what happened.

/// Prefix of a line that is a step.
pub const MARK: &str = "> ";
/// Prefix of a line that says what happened: everything so indented is written by the simulation.
pub const INDENT: &str = "  ";

/// A line that the story's author wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoryLine {
    /// Text for readers, or an empty line.
    Prose(String),
    /// Step to be carried out, without its mark.
    Step(String),
}

/// Returns the author's lines, without what happened last time.
#[must_use]
pub fn parse_lines(text: &str) -> Vec<StoryLine> {
    let written = text.lines().filter(|line| !line.starts_with(INDENT));
    let line = |line: &str| match line.strip_prefix(MARK) {
        Some(step) => StoryLine::Step(step.trim().to_owned()),
        None => StoryLine::Prose(line.trim_end().to_owned()),
    };
    written.map(line).collect()
}

/// Writer that puts a file together again.
#[derive(Default)]
pub struct StoryWriter(String);

impl StoryWriter {
    /// Appends a line as the author wrote it.
    pub fn prose(&mut self, line: &str) {
        self.0.push_str(line);
        self.0.push('\n');
    }

    /// Appends a step and, indented, what came of it.
    pub fn step(&mut self, step: &str, happened: &[String]) {
        self.prose(&format!("{MARK}{step}"));
        for line in happened {
            self.prose(&format!("{INDENT}{line}"));
        }
    }

    /// Returns the text of the file.
    #[must_use]
    pub fn into_text(self) -> String {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_happened_last_time_is_not_part_of_the_story() {
        let text = "A title\n\n> wait 1 ms\n  0.001 s  nothing\n  more\n> the end\n";
        let step = |text: &str| StoryLine::Step(text.to_owned());
        let prose = |text: &str| StoryLine::Prose(text.to_owned());
        assert_eq!(parse_lines(text), [prose("A title"), prose(""), step("wait 1 ms"), step("the end")]);
    }

    #[test]
    fn a_page_is_read_as_it_was_put_together() {
        let mut page = StoryWriter::default();
        page.prose("A title");
        page.step("the end", &["0.001 s  done".to_owned()]);
        let text = page.into_text();
        assert_eq!(text, "A title\n> the end\n  0.001 s  done\n");
        assert_eq!(parse_lines(&text).len(), 2);
    }
}
