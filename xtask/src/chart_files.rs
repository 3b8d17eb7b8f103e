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

type FolderContents = BTreeMap<PathBuf, String>;

/// Writes each copy that differs and removes those whose original is gone.
///
/// # Errors
/// Returns an error if a file cannot be read, written or removed.
pub fn write_copies(root: &Path) -> anyhow::Result<()> {
    let (wanted, there) = (read_originals(root)?, read_copies(root)?);
    let folder = root.join(COPIES);
    fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    for name in there.keys().filter(|name| !wanted.contains_key(*name)) {
        fs::remove_file(folder.join(name)).with_context(|| format!("cannot remove {}", copy_path(name)))?;
        println!("removed {}", copy_path(name));
    }
    for (name, content) in wanted.iter().filter(|(name, content)| there.get(*name) != Some(content)) {
        fs::write(folder.join(name), content).with_context(|| format!("cannot write {}", copy_path(name)))?;
        println!("wrote {}", copy_path(name));
    }
    Ok(())
}

/// Checks that no copy differs, is missing, or has no original.
///
/// # Errors
/// Names the copies that fail the check.
pub fn check_copies(root: &Path) -> anyhow::Result<()> {
    let (wanted, there) = (read_originals(root)?, read_copies(root)?);
    let drifted: Vec<String> = wanted
        .keys()
        .chain(there.keys().filter(|name| !wanted.contains_key(*name)))
        .filter(|name| wanted.get(*name) != there.get(*name))
        .map(|name| copy_path(name))
        .collect();
    if !drifted.is_empty() {
        bail!("out of date: {}; run `make generate` and commit the result", drifted.join(", "));
    }
    Ok(())
}

fn copy_path(name: &Path) -> String {
    format!("{COPIES}/{}", name.display())
}

/// Reads the rules and every dashboard, by name.
fn read_originals(root: &Path) -> anyhow::Result<FolderContents> {
    let folder = root.join(SOURCE);
    let is_wanted = |name: &Path| name == Path::new(RULES) || name.extension().is_some_and(|end| end == "json");
    read_folder(&folder, is_wanted)
}

fn read_copies(root: &Path) -> anyhow::Result<FolderContents> {
    let folder = root.join(COPIES);
    if folder.exists() { read_folder(&folder, |_| true) } else { Ok(FolderContents::new()) }
}

fn read_folder(folder: &Path, is_wanted: impl Fn(&Path) -> bool) -> anyhow::Result<FolderContents> {
    let mut contents = FolderContents::new();
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
        assert!(check_copies(root.path()).is_err(), "nothing is there yet");
        write_copies(root.path()).expect("written");
        check_copies(root.path()).expect("all is there");
        let names: Vec<PathBuf> = read_copies(root.path()).expect("copies").into_keys().collect();
        assert_eq!(names, [PathBuf::from(RULES), PathBuf::from("one.json")]);
    }

    #[test]
    fn a_copy_that_was_changed_or_whose_original_is_gone_is_found_and_mended() {
        let root = tree();
        write_copies(root.path()).expect("written");
        fs::write(root.path().join(COPIES).join(RULES), "changed").expect("written");
        fs::remove_file(root.path().join(SOURCE).join("one.json")).expect("removed");
        let error = check_copies(root.path()).expect_err("both differ").to_string();
        assert!(error.contains(RULES) && error.contains("one.json"), "{error}");
        write_copies(root.path()).expect("written");
        check_copies(root.path()).expect("all is well again");
    }
}
