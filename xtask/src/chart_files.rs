//! Copies of alert rules and dashboards in the operator's chart. Helm reads only files inside the chart, and symbolic
//! links out of it are refused by Argo CD and lost in an archive.

use anyhow::{Context as _, bail};
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

const SOURCE: &str = "dashboards";
const RULES: &str = "alerts.yaml";
const COPIES: &str = "charts/quorate-operator/files/monitoring";

type Contents = BTreeMap<PathBuf, String>;

/// Writes each copy that differs and removes those whose original is gone.
///
/// # Errors
/// Returns an error if a file cannot be read, written or removed.
pub fn write(root: &Path) -> anyhow::Result<()> {
    let (wanted, there) = (originals(root)?, copies(root)?);
    let folder = root.join(COPIES);
    fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    for name in there.keys().filter(|name| !wanted.contains_key(*name)) {
        fs::remove_file(folder.join(name)).with_context(|| format!("cannot remove {}", shown(name)))?;
        println!("removed {}", shown(name));
    }
    for (name, content) in wanted.iter().filter(|(name, content)| there.get(*name) != Some(content)) {
        fs::write(folder.join(name), content).with_context(|| format!("cannot write {}", shown(name)))?;
        println!("wrote {}", shown(name));
    }
    Ok(())
}

/// Checks that no copy differs, is missing, or has no original.
///
/// # Errors
/// Names the copies that fail the check.
pub fn check(root: &Path) -> anyhow::Result<()> {
    let (wanted, there) = (originals(root)?, copies(root)?);
    let drifted: Vec<String> = wanted
        .keys()
        .chain(there.keys().filter(|name| !wanted.contains_key(*name)))
        .filter(|name| wanted.get(*name) != there.get(*name))
        .map(|name| shown(name))
        .collect();
    if !drifted.is_empty() {
        bail!("out of date: {}; run `make generate` and commit the result", drifted.join(", "));
    }
    Ok(())
}

fn shown(name: &Path) -> String {
    format!("{COPIES}/{}", name.display())
}

/// Reads the rules and every dashboard, by name.
fn originals(root: &Path) -> anyhow::Result<Contents> {
    let folder = root.join(SOURCE);
    let is_wanted = |name: &Path| name == Path::new(RULES) || name.extension().is_some_and(|end| end == "json");
    read(&folder, is_wanted)
}

fn copies(root: &Path) -> anyhow::Result<Contents> {
    let folder = root.join(COPIES);
    if folder.exists() { read(&folder, |_| true) } else { Ok(Contents::new()) }
}

fn read(folder: &Path, is_wanted: impl Fn(&Path) -> bool) -> anyhow::Result<Contents> {
    let mut contents = Contents::new();
    for entry in fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))? {
        let path = entry.with_context(|| format!("cannot read {}", folder.display()))?.path();
        let Some(name) = path.file_name().map(PathBuf::from).filter(|name| path.is_file() && is_wanted(name)) else {
            continue;
        };
        let content = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        contents.insert(name, content);
    }
    Ok(contents)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree() -> tempfile::TempDir {
        let root = tempfile::tempdir().expect("a folder");
        fs::create_dir(root.path().join(SOURCE)).expect("a folder");
        for (name, content) in [(RULES, "groups: []"), ("one.json", "{}"), ("README.md", "words")] {
            fs::write(root.path().join(SOURCE).join(name), content).expect("written");
        }
        root
    }

    #[test]
    fn rules_and_dashboards_are_copied_and_nothing_else() {
        let root = tree();
        assert!(check(root.path()).is_err(), "nothing is there yet");
        write(root.path()).expect("written");
        check(root.path()).expect("all is there");
        let names: Vec<PathBuf> = copies(root.path()).expect("copies").into_keys().collect();
        assert_eq!(names, [PathBuf::from(RULES), PathBuf::from("one.json")]);
    }

    #[test]
    fn a_copy_that_was_changed_or_whose_original_is_gone_is_found_and_mended() {
        let root = tree();
        write(root.path()).expect("written");
        fs::write(root.path().join(COPIES).join(RULES), "changed").expect("written");
        fs::remove_file(root.path().join(SOURCE).join("one.json")).expect("removed");
        let error = check(root.path()).expect_err("both differ").to_string();
        assert!(error.contains(RULES) && error.contains("one.json"), "{error}");
        write(root.path()).expect("written");
        check(root.path()).expect("all is well again");
    }
}
