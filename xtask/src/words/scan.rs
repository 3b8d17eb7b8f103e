//! Scan of one file: its types, functions, documentation and comments, found line by line.

/// Findings in one file.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct FileWords {
    /// Types: their names, and `true` if they are visible outside their module.
    pub(super) types: Vec<(String, bool)>,
    /// Free functions: their names, and `true` if they are visible outside their module.
    pub(super) functions: Vec<(String, bool)>,
    /// Blocks of documentation, each as one line.
    pub(super) docs: Vec<String>,
    /// Number of lines that are neither empty nor a comment.
    pub(super) code_lines: usize,
    /// Number of comments that are no documentation: blocks, not lines.
    pub(super) reasons: usize,
    /// Number of bindings such as `let (a, b) = …`.
    pub(super) pair_bindings: usize,
}

/// Words that stand before a subject, or in place of one.
const NO_SUBJECTS: [&str; 44] = [
    "it", "its", "they", "their", "this", "these", "those", "that", "he", "his", "she", "her", "we", "our", "you",
    "your", "what", "who", "whom", "whose", "which", "where", "when", "whether", "why", "how", "of", "to", "from",
    "for", "by", "in", "on", "at", "as", "with", "without", "and", "or", "but", "so", "then", "else", "whoever",
];

pub(super) fn scan_source(source: &str) -> FileWords {
    let mut found = FileWords::default();
    let mut previous = SourceLine::Code;
    for text in outside_tests(source) {
        let line = SourceLine::of(text);
        match line {
            SourceLine::Doc(doc) => match (previous, found.docs.last_mut()) {
                (SourceLine::Doc(_), Some(block)) => {
                    block.push(' ');
                    block.push_str(doc.trim());
                }
                _ => found.docs.push(doc.trim().to_owned()),
            },
            SourceLine::Comment if previous != SourceLine::Comment => found.reasons += 1,
            SourceLine::Comment | SourceLine::Empty => {}
            SourceLine::Code => {
                found.code_lines += 1;
                found.pair_bindings += usize::from(text.trim_start().starts_with("let ("));
                found.note_item(text);
            }
        }
        previous = line;
    }
    found
}

/// Returns the lines before the unit tests, which stand at the end of a file.
fn outside_tests(source: &str) -> impl Iterator<Item = &str> {
    let mut lines = source.lines().peekable();
    std::iter::from_fn(move || {
        let line = lines.next()?;
        let begins_tests = line == "#[cfg(test)]" && lines.peek().is_some_and(|next| next.ends_with('{'));
        (!begins_tests).then_some(line)
    })
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SourceLine<'l> {
    Empty,
    Doc(&'l str),
    Comment,
    Code,
}

impl<'l> SourceLine<'l> {
    fn of(text: &'l str) -> Self {
        let text = text.trim();
        let doc = text.strip_prefix("//!").or_else(|| text.strip_prefix("///"));
        match doc {
            Some(doc) => Self::Doc(doc),
            None if text.is_empty() => Self::Empty,
            None if text.starts_with("//") => Self::Comment,
            None => Self::Code,
        }
    }
}

impl FileWords {
    fn note_item(&mut self, line: &str) {
        let (visible, rest) = split_visibility(line.trim_start());
        let mut words = rest.split_whitespace().skip_while(|word| ["const", "async", "unsafe"].contains(word));
        let (keyword, name) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let name: String = name.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
        match keyword {
            "struct" | "enum" | "trait" | "union" | "type" if begins_type(&name, line) => {
                self.types.push((name, visible));
            }
            "fn" if !line.starts_with(' ') && !name.is_empty() => self.functions.push((name, visible)),
            _ => {}
        }
    }
}

/// Returns `true` if the line begins a type. Associated types stand within a block and are no types of their own.
fn begins_type(name: &str, line: &str) -> bool {
    name.starts_with(char::is_uppercase) && !line.starts_with(' ')
}

fn split_visibility(line: &str) -> (bool, &str) {
    let Some(rest) = line.strip_prefix("pub") else { return (false, line) };
    match rest.strip_prefix('(') {
        Some(within) => (true, within.split_once(')').map_or("", |(_, rest)| rest)),
        None => (rest.starts_with(' '), rest),
    }
}

/// Returns `true` if the name has one capital letter, or nothing but capitals.
pub(super) fn is_one_word_type(name: &str) -> bool {
    let capitals = name.chars().filter(|c| c.is_uppercase()).count();
    capitals <= 1 || name.chars().all(|c| c.is_uppercase() || c.is_numeric())
}

pub(super) fn opens_without_subject(block: &str) -> bool {
    let first = block.split_whitespace().next().unwrap_or_default();
    let first = first.trim_matches(|c: char| !c.is_alphanumeric()).to_lowercase();
    NO_SUBJECTS.contains(&first.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_functions_docs_and_comments_of_a_file_are_found() {
        let found = scan_source(
            "//! The file.\n//! Its second line.\n\n/// A door.\npub(crate) struct Door {\n    // Because.\n    // Still.\n    n: u8,\n}\n\
             impl Door {\n    type Item = u8;\n    fn method(&self) {}\n}\npub const fn door_of() {\n    let (a, b) = (1, 2);\n}\n\
             async fn go() {}\npublish!(x);\n#[cfg(test)]\nmod tests {\n    struct Fake;\n}\n",
        );
        assert_eq!(found.types, [("Door".to_owned(), true)]);
        assert_eq!(found.functions, [("door_of".to_owned(), true), ("go".to_owned(), false)]);
        assert_eq!(found.docs, ["The file. Its second line.", "A door."]);
        assert_eq!((found.reasons, found.pair_bindings, found.code_lines), (1, 1, 12));
    }

    #[test]
    fn tests_in_a_file_of_their_own_do_not_end_the_scan() {
        let found = scan_source("#[cfg(test)]\nmod tests;\n\npub struct RoomNews;\n");
        assert_eq!(found.types, [("RoomNews".to_owned(), true)]);
    }

    #[test]
    fn words_of_a_name_and_openings_of_a_sentence_are_told_apart() {
        for (name, one) in [("Door", true), ("RoomNews", false), ("B10", true), ("LSM", true), ("Grpc", true)] {
            assert_eq!(is_one_word_type(name), one, "{name}");
        }
        for (block, without) in [
            ("What of then.", true),
            ("It is in front.", true),
            ("`None`: nothing.", false),
            ("Returns the rooms.", false),
            ("The door.", false),
            ("*Whether* it does.", true),
            ("", false),
        ] {
            assert_eq!(opens_without_subject(block), without, "{block}");
        }
    }
}
