//! Directories under `state/`: which one is the database, and how that changes so that a crash at any moment loses
//! nothing.

use super::live::{LiveDatabase, OpenMode};
use super::settings::RocksEngine;
use crate::failpoint::{FailPoint, pass_point};
use crate::store::{StoreError, copy_durably, sync_dir, write_durably};
use std::ffi::OsStr;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// File that names the live directory.
const CURRENT: &str = "CURRENT";
const LIVE: &str = "live-";
/// Suffix of a directory that is being filled.
const UNFINISHED: &str = ".tmp";

/// Root directory of the state. See the [module](self).
#[derive(Debug)]
pub(super) struct StateLayout {
    root: PathBuf,
}

impl StateLayout {
    /// Finds the live directory, creating an empty database if there is none, and removes the leftovers of a crash.
    pub(super) fn open(root: &Path, engine: &RocksEngine) -> Result<(Self, PathBuf), StoreError> {
        fs::create_dir_all(root).map_err(StoreError::io("creating directory", root))?;
        let layout = Self { root: root.to_owned() };
        let dir = match layout.current()? {
            Some(dir) => dir,
            None => layout.create(engine)?,
        };
        for other in layout.live_dirs()? {
            if other != dir {
                fs::remove_dir_all(&other).map_err(StoreError::io("removing", &other))?;
            }
        }
        Ok((layout, dir))
    }

    /// Returns the directory that `CURRENT` names, or `None` if `CURRENT` does not exist.
    fn current(&self) -> Result<Option<PathBuf>, StoreError> {
        let path = self.root.join(CURRENT);
        let name = match fs::read_to_string(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) if error.kind() == ErrorKind::InvalidData => {
                return Err(StoreError::damaged(&path, "it is not text"));
            }
            read => read.map_err(StoreError::io("reading", &path))?,
        };
        let name = name.strip_suffix('\n').unwrap_or_default();
        if dir_number(OsStr::new(name)).is_none() {
            return Err(StoreError::damaged(&path, format!("it names {name:?}, which is not a state directory")));
        }
        let dir = self.root.join(name);
        if !dir.is_dir() {
            return Err(StoreError::damaged(&path, format!("it names {name}, which does not exist")));
        }
        Ok(Some(dir))
    }

    /// Creates the first database. An empty one without a name in `CURRENT` comes from a crash between creating and
    /// naming it, and is removed. One with entries means that `CURRENT` was lost, so that nothing tells which directory
    /// was in use; that is an error.
    fn create(&self, engine: &RocksEngine) -> Result<PathBuf, StoreError> {
        for dir in self.live_dirs()? {
            let unfinished = dir.extension() == Some(OsStr::new("tmp"));
            if !unfinished && LiveDatabase::open(&dir, engine, OpenMode::ReadOnly)?.applied().log_id.is_some() {
                let what = format!("it is missing, but {} is not empty", dir.display());
                return Err(StoreError::damaged(&self.root.join(CURRENT), what));
            }
            fs::remove_dir_all(&dir).map_err(StoreError::io("removing", &dir))?;
        }
        let dir = self.root.join(dir_name(1));
        let beside = unfinished_path(&dir);
        drop(LiveDatabase::open(&beside, engine, OpenMode::New)?);
        pass_point(FailPoint::FirstStateMade);
        fs::rename(&beside, &dir).map_err(StoreError::io("renaming", &beside))?;
        // The name must be durable before `CURRENT` has it: a name without a directory counts as damage.
        sync_dir(&self.root)?;
        pass_point(FailPoint::FirstStateRenamed);
        self.make_current(&dir)?;
        Ok(dir)
    }

    /// Fills the next directory from a checkpoint. Table files are never written to again and are hard-linked; the few
    /// other files are small and are copied, because RocksDB may append to them.
    pub(super) fn prepare_next(&self, checkpoint: &Path) -> Result<PathBuf, StoreError> {
        let greatest = self.live_dirs()?.iter().filter_map(|dir| dir_number(dir.file_name()?)).max();
        let dir = self.root.join(dir_name(greatest.unwrap_or(0) + 1));
        let beside = unfinished_path(&dir);
        if beside.exists() {
            fs::remove_dir_all(&beside).map_err(StoreError::io("removing", &beside))?;
        }
        fs::create_dir(&beside).map_err(StoreError::io("creating directory", &beside))?;
        for file in sorted_entries(checkpoint)? {
            let target = beside.join(file.file_name().unwrap_or_default());
            if file.extension() == Some(OsStr::new("sst")) {
                fs::hard_link(&file, &target).map_err(StoreError::io("linking", &file))?;
            } else {
                copy_durably(&file, &target)?;
            }
        }
        sync_dir(&beside)?;
        pass_point(FailPoint::NextStateFilled);
        fs::rename(&beside, &dir).map_err(StoreError::io("renaming", &beside))?;
        // As in `create`: durable before `CURRENT` names it.
        sync_dir(&self.root)?;
        pass_point(FailPoint::NextStateRenamed);
        Ok(dir)
    }

    /// Makes `dir` the state, durably: from here on it is the state after a crash, too.
    pub(super) fn make_current(&self, dir: &Path) -> Result<(), StoreError> {
        let name = dir.file_name().unwrap_or_default().to_string_lossy();
        write_durably(&self.root.join(CURRENT), format!("{name}\n").as_bytes())
    }

    /// Returns the directories of all databases, finished or not.
    fn live_dirs(&self) -> Result<Vec<PathBuf>, StoreError> {
        let is_live = |path: &PathBuf| path.file_stem().and_then(dir_number).is_some() && path.is_dir();
        Ok(sorted_entries(&self.root)?.into_iter().filter(is_live).collect())
    }
}

fn dir_name(number: u64) -> String {
    format!("{LIVE}{number:06}")
}

fn dir_number(name: &OsStr) -> Option<u64> {
    name.to_str()?.strip_prefix(LIVE)?.parse().ok()
}

fn unfinished_path(dir: &Path) -> PathBuf {
    let mut name = dir.as_os_str().to_owned();
    name.push(UNFINISHED);
    name.into()
}

/// Returns the paths of a directory's entries, ordered by name.
fn sorted_entries(dir: &Path) -> Result<Vec<PathBuf>, StoreError> {
    let list = || fs::read_dir(dir)?.map(|entry| Ok(entry?.path())).collect::<std::io::Result<Vec<_>>>();
    let mut paths = list().map_err(StoreError::io("listing", dir))?;
    paths.sort();
    Ok(paths)
}
