//! Counts that show how names and documentation read. People print and compare them; only a name that too many public
//! types share is a finding of `cargo xtask tidy`.
//!
//! Tests, generated code and vendored code are left out. The rules of counting are simple on purpose, so that the same
//! counts can be taken of any Rust project.

mod scan;

use crate::sources::rust_files;
use anyhow::Context as _;
use scan::{FileWords, scan_source};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;

/// Counts of a whole workspace.
#[derive(Debug, Default)]
pub struct WordCounts {
    lines: usize,
    public_types: ItemShare,
    free_functions: ItemShare,
    public_functions: ItemShare,
    repeated_types: ItemShare,
    subjectless_docs: ItemShare,
    short_docs: ItemShare,
    pair_bindings: usize,
    reasons: usize,
}

/// Number of items that count, out of all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct ItemShare {
    counted: usize,
    all: usize,
}

impl ItemShare {
    fn add(&mut self, counts: bool) {
        self.counted += usize::from(counts);
        self.all += 1;
    }
}

impl fmt::Display for ItemShare {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tenths = (self.counted * 1000).checked_div(self.all).unwrap_or_default();
        write!(out, "{:>3}.{} %  ({} of {})", tenths / 10, tenths % 10, self.counted, self.all)
    }
}

/// Number of files that may define a public type of the same name. The name says little once more do: a reader has to
/// find out each time which of them is meant.
const MAX_HOMES: usize = 3;

/// Counts what stands in the Rust files of a workspace.
///
/// # Errors
/// Returns an error if a file cannot be read.
pub fn count_words(root: &Path) -> anyhow::Result<WordCounts> {
    let mut counts = WordCounts::default();
    let mut homes = BTreeMap::<String, BTreeSet<String>>::new();
    for (name, found) in scan_workspace(root)? {
        for (of_type, _) in &found.types {
            homes.entry(of_type.clone()).or_default().insert(name.clone());
        }
        counts.add(&found);
    }
    homes.values().for_each(|files| counts.repeated_types.add(files.len() >= 3));
    Ok(counts)
}

/// Returns one sentence for each name that public types in more than [`MAX_HOMES`] files share.
///
/// # Errors
/// Returns an error if a file cannot be read.
pub fn overused_types(root: &Path) -> anyhow::Result<Vec<String>> {
    let mut homes = BTreeMap::<String, BTreeSet<String>>::new();
    for (name, found) in scan_workspace(root)? {
        for (of_type, _) in found.types.into_iter().filter(|(_, is_public)| *is_public) {
            homes.entry(of_type).or_default().insert(name.clone());
        }
    }
    let overused = homes.into_iter().filter(|(_, files)| files.len() > MAX_HOMES);
    let finding = |(name, files): (String, BTreeSet<String>)| {
        let files = Vec::from_iter(files).join(", ");
        format!("{name}: public types in more than {MAX_HOMES} files have this name, which says too little: {files}")
    };
    Ok(overused.map(finding).collect())
}

/// Scans the Rust files of a workspace that are not left out; returns the path of each below the root, and what it has.
fn scan_workspace(root: &Path) -> anyhow::Result<Vec<(String, FileWords)>> {
    let mut scanned = Vec::new();
    for path in rust_files(root)? {
        let name = path.strip_prefix(root).unwrap_or(&path).to_string_lossy().into_owned();
        if is_left_out(&name) {
            continue;
        }
        let source = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        scanned.push((name, scan_source(&source)));
    }
    Ok(scanned)
}

fn is_left_out(path: &str) -> bool {
    let of_tests = ["/tests/", "/tests.rs", "/benches/", "/fuzz/", "/examples/", "vendor/"];
    of_tests.iter().any(|part| path.contains(part)) || path.starts_with("tests/")
}

impl WordCounts {
    fn add(&mut self, found: &FileWords) {
        self.lines += found.code_lines;
        self.pair_bindings += found.pair_bindings;
        self.reasons += found.reasons;
        for (name, is_public) in &found.types {
            if *is_public {
                self.public_types.add(scan::is_one_word_type(name));
            }
        }
        for (name, is_public) in found.functions.iter().filter(|(name, _)| name != "main") {
            self.free_functions.add(!name.contains('_'));
            if *is_public {
                self.public_functions.add(!name.contains('_'));
            }
        }
        for block in &found.docs {
            self.subjectless_docs.add(scan::opens_without_subject(block));
            self.short_docs.add(block.split_whitespace().count() <= 3);
        }
    }
}

impl fmt::Display for WordCounts {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let per_100 = (self.reasons * 1000).checked_div(self.lines).unwrap_or_default();
        writeln!(out, "lines of code                                  {}", self.lines)?;
        writeln!(out, "public types of a single word                  {}", self.public_types)?;
        writeln!(out, "free functions of a single word                {}", self.free_functions)?;
        writeln!(out, "  of these, visible outside their module       {}", self.public_functions)?;
        writeln!(out, "type names defined in three or more files      {}", self.repeated_types)?;
        writeln!(out, "doc blocks that open without a subject         {}", self.subjectless_docs)?;
        writeln!(out, "doc blocks of three words or fewer             {}", self.short_docs)?;
        writeln!(out, "`let (a, b) = (…)`                             {}", self.pair_bindings)?;
        write!(out, "comments in code, per 100 lines                {}.{}", per_100 / 10, per_100 % 10)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(root: &Path, path: &str, source: &str) {
        let path = root.join(path);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        std::fs::write(path, source).expect("written");
    }

    #[test]
    fn a_name_counts_as_repeated_from_three_files_on_and_tests_are_left_out() {
        let root = tempfile::tempdir().expect("a folder");
        for path in ["chatd/src/one.rs", "chatd/src/two.rs", "bench/src/lib.rs", "bench/tests/it.rs"] {
            write(root.path(), path, "pub struct Found;\npub(crate) struct RoomSummary;\n");
        }
        write(root.path(), "bench/tests/more.rs", "struct OfATest;\n");
        write(
            root.path(),
            "chatctl/src/lib.rs",
            "struct RoomSummary;\nfn main() {}\nfn answer() {}\nfn send_one() {}\n",
        );
        let counts = count_words(root.path()).expect("counted");
        assert_eq!(counts.repeated_types, ItemShare { counted: 2, all: 2 });
        assert_eq!(counts.public_types, ItemShare { counted: 3, all: 6 });
        assert_eq!(counts.free_functions, ItemShare { counted: 1, all: 2 });
        assert_eq!(counts.public_functions, ItemShare::default());
    }

    #[test]
    fn a_public_type_name_in_more_than_three_files_is_a_finding() {
        let root = tempfile::tempdir().expect("a folder");
        for file in ["one", "two", "three"] {
            write(root.path(), &format!("chatd/src/{file}.rs"), "pub struct Found;\nstruct Page;\n");
        }
        write(root.path(), "bench/src/lib.rs", "struct Found;\nstruct Page;\n");
        write(root.path(), "bench/tests/it.rs", "pub struct Found;\n");
        assert_eq!(overused_types(root.path()).expect("scanned"), Vec::<String>::new());

        write(root.path(), "chatd/src/four.rs", "pub(super) enum Found {}\n");
        let findings = overused_types(root.path()).expect("scanned");
        assert_eq!(findings.len(), 1, "{findings:?}");
        assert!(findings[0].starts_with("Found: ") && findings[0].contains("chatd/src/four.rs"), "{findings:?}");
    }

    #[test]
    fn shares_are_printed_with_one_digit() {
        assert_eq!(ItemShare { counted: 1, all: 3 }.to_string(), " 33.3 %  (1 of 3)");
        assert_eq!(ItemShare::default().to_string(), "  0.0 %  (0 of 0)");
    }
}
