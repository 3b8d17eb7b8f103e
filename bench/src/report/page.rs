//! Page *Performance* of the book: the part between two marks is replaced by the newest tables.

use super::{markdown, plot};
use crate::results::RunResults;
use anyhow::Context as _;
use std::fs;
use std::path::Path;

const BEGIN: &str = "<!-- bench:begin -->";
const END: &str = "<!-- bench:end -->";
const PAGE: &str = "performance.md";
const PLOT: &str = "performance.svg";

/// Puts tables and plot into the book.
///
/// # Errors
/// Fails if there is no such page, or if it has no place for them.
pub(crate) fn update_page(results: &RunResults, docs: &Path) -> anyhow::Result<()> {
    let page = docs.join(PAGE);
    let text = fs::read_to_string(&page).with_context(|| format!("cannot read {}", page.display()))?;
    let text = replace_tables(&text, &markdown::render_tables(results))
        .with_context(|| format!("{} has no bench:begin and bench:end markers", page.display()))?;
    fs::write(&page, text).with_context(|| format!("cannot write {}", page.display()))?;
    fs::write(docs.join(PLOT), plot::render_plot(results)).context("cannot write the plot")
}

fn replace_tables(page: &str, tables: &str) -> Option<String> {
    let (before, rest) = page.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{BEGIN}\n![Quorate and its peers]({PLOT})\n\n{tables}{END}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_stands_between_the_marks_is_replaced() {
        let page = format!("# Performance\n{BEGIN}\nold\n{END}\nrest\n");
        let new = replace_tables(&page, "| new |\n").unwrap();
        assert!(new.starts_with("# Performance\n") && new.ends_with("rest\n"));
        assert!(new.contains("| new |") && !new.contains("old"));
        assert_eq!(replace_tables(&new, "| new |\n").unwrap(), new, "again changes nothing");
        assert_eq!(replace_tables("# Performance\n", ""), None);
    }
}
