//! File operations that survive a power failure. The order is content, name, directory: syncing a file does not make
//! its directory entry durable (`man 2 fsync`).

use super::StoreError;
use crate::failpoint::{FailPoint, pass_point};
use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;

/// Makes the entries of a directory durable.
///
/// # Errors
/// Returns an error if the directory cannot be opened or synced.
pub fn sync_dir(dir: &Path) -> Result<(), StoreError> {
    File::open(dir).and_then(|d| d.sync_all()).map_err(StoreError::io("syncing directory", dir))
}

/// Replaces the content of a file atomically: after a crash the file holds the old content or the new one, as a whole.
///
/// # Errors
/// Returns an error if the disk fails; the old content is then still there.
pub fn write_durably(path: &Path, content: &[u8]) -> Result<(), StoreError> {
    let beside = path.with_extension("tmp");
    let write = || {
        let mut file = File::create(&beside)?;
        file.write_all(content)?;
        file.sync_all()
    };
    write().map_err(StoreError::io("writing", &beside))?;
    pass_point(FailPoint::ContentSynced);
    fs::rename(&beside, path).map_err(StoreError::io("renaming into place", path))?;
    pass_point(FailPoint::ContentRenamed);
    path.parent().map_or(Ok(()), sync_dir)
}

/// Copies a file and syncs the copy; syncing the directory is left to the caller.
///
/// # Errors
/// Returns an error if reading or writing fails.
pub fn copy_durably(from: &Path, to: &Path) -> Result<(), StoreError> {
    let copy = || {
        let mut target = File::create(to)?;
        std::io::copy(&mut File::open(from)?, &mut target)?;
        target.sync_all()
    };
    copy().map_err(StoreError::io("copying to", to))
}
