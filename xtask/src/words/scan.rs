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
    /// Number of bindings of a tuple pattern to a tuple literal: `let (a, b) = (…)`.
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
    let lines: Vec<&str> = outside_tests(source).collect();
    for (number, text) in lines.iter().copied().enumerate() {
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
                found.pair_bindings += usize::from(binds_tuple_literal(lines.get(number..).unwrap_or_default()));
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

/// Returns `true` if the first line begins a binding such as `let (a, b) = (…)`. The value may begin, and end, on a
/// later line; it is no tuple literal if it goes on after its parentheses, as in `let (a, b) = (0..9).partition(…)`.
fn binds_tuple_literal(lines: &[&str]) -> bool {
    if !lines.first().is_some_and(|line| line.trim_start().starts_with("let (")) {
        return false;
    }
    let statement = lines.join("\n");
    let value = after_parentheses(&statement)
        .filter(|rest| !rest.starts_with(';'))
        .and_then(|rest| rest.split_once('='))
        .map(|(_, value)| value.trim_start());
    let rest = value.filter(|value| value.starts_with('(')).and_then(after_parentheses).map(str::trim_start);
    rest.is_some_and(|rest| rest.starts_with(';') || rest.starts_with("else"))
}

/// Returns what follows the first pair of parentheses. Parentheses in strings count as well.
fn after_parentheses(text: &str) -> Option<&str> {
    let mut depth = 0_usize;
    let closes = |c: char| {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ => return false,
        }
        depth == 0
    };
    let end = text.find(closes)?;
    text.get(end..)?.strip_prefix(')')
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
        let keyword = words.next().unwrap_or_default();
        let name = words.next().unwrap_or_default();
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
            "//! The file.\n//! Its second line.\n\n/// A room.\npub(crate) struct Room {\n    // Because.\n    // Still.\n    n: u8,\n}\n\
             impl Room {\n    type Item = u8;\n    fn method(&self) {}\n}\npub const fn room_of() {\n    let (a, b) = (1, 2);\n}\n\
             async fn go() {}\npublish!(x);\n#[cfg(test)]\nmod tests {\n    struct Fake;\n}\n",
        );
        assert_eq!(found.types, [("Room".to_owned(), true)]);
        assert_eq!(found.functions, [("room_of".to_owned(), true), ("go".to_owned(), false)]);
        assert_eq!(found.docs, ["The file. Its second line.", "A room."]);
        assert_eq!((found.reasons, found.pair_bindings, found.code_lines), (1, 1, 12));
    }

    #[test]
    fn tests_in_a_file_of_their_own_do_not_end_the_scan() {
        let found = scan_source("#[cfg(test)]\nmod tests;\n\npub struct RoomNews;\n");
        assert_eq!(found.types, [("RoomNews".to_owned(), true)]);
    }

    #[test]
    fn only_tuple_literals_count_as_pair_bindings() {
        for (source, count) in [
            ("let (a, b) = (1, (2, 3));", 1),
            ("    let (mut a, (b, _)): (u8, (u8, u8)) = (1, two(&x));", 1),
            ("let (a, b) = (\n    first(x),\n    second(y),\n);", 1),
            ("let (a, b) =\n    (first(x), second(y));", 1),
            ("let (Some(a), Some(b)) = (x, y) else { return };", 1),
            ("let (a, b) = split(x);", 0),
            ("let (a, b) = x.split_at(1);\nlet c = (1, 2);", 0),
            ("let (a, b): (Vec<_>, Vec<_>) = (0..9).partition(|n| n % 2 == 0);", 0),
            ("let (a, b) = &(1, 2);", 0),
            ("let (a, b);\nlet c = (1, 2);", 0),
            ("let a = (1, 2);", 0),
            ("if let (Some(a), Some(b)) = (x, y) {}", 0),
        ] {
            assert_eq!(scan_source(source).pair_bindings, count, "{source}");
        }
    }

    #[test]
    fn words_of_a_name_and_openings_of_a_sentence_are_told_apart() {
        for (name, one) in [("Room", true), ("RoomNews", false), ("B10", true), ("LSM", true), ("Grpc", true)] {
            assert_eq!(is_one_word_type(name), one, "{name}");
        }
        for (block, without) in [
            ("What of then.", true),
            ("It is in front.", true),
            ("`None`: nothing.", false),
            ("Returns the rooms.", false),
            ("The room.", false),
            ("*Whether* it does.", true),
            ("", false),
        ] {
            assert_eq!(opens_without_subject(block), without, "{block}");
        }
    }
}
