//! Reports: the results as people read them.

pub(crate) mod markdown;
pub(crate) mod page;
pub(crate) mod plot;

use crate::results::RunResults;
use anyhow::Context as _;
use std::fs;
use std::path::Path;

/// Writes `results.json`, `table.md` and `performance.svg`.
///
/// # Errors
/// Fails if the directory cannot be written.
pub(crate) fn write_reports(results: &RunResults, dir: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))?;
    let put = |name: &str, text: String| {
        let path = dir.join(name);
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
    };
    put("results.json", serde_json::to_string_pretty(results).context("cannot serialize the results")? + "\n")?;
    put("table.md", markdown::render_tables(results))?;
    put("performance.svg", plot::render_plot(results))
}
