//! Files that survive a power cut: content first, then the name, then the directory (`man 2 fsync`: a file's own fsync
//! does not make its directory entry durable).

use super::StoreError;
use crate::failpoint::{Point, pass};
use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;

/// Makes a directory's entries durable.
///
/// # Errors
/// When it cannot be opened or synced.
pub fn sync_dir(dir: &Path) -> Result<(), StoreError> {
    File::open(dir).and_then(|d| d.sync_all()).map_err(StoreError::io("syncing directory", dir))
}

/// Replaces a file's content as a whole: after a crash it is the old one or the new one.
///
/// # Errors
/// When the disk fails; the old content is still there.
pub fn write_durably(path: &Path, content: &[u8]) -> Result<(), StoreError> {
    let beside = path.with_extension("tmp");
    let write = || {
        let mut file = File::create(&beside)?;
        file.write_all(content)?;
        file.sync_all()
    };
    write().map_err(StoreError::io("writing", &beside))?;
    pass(Point::ContentSynced);
    fs::rename(&beside, path).map_err(StoreError::io("renaming into place", path))?;
    pass(Point::ContentRenamed);
    path.parent().map_or(Ok(()), sync_dir)
}

/// Copies a file and syncs the copy; the directory entry is the caller's to sync.
///
/// # Errors
/// When either file fails.
pub fn copy_durably(from: &Path, to: &Path) -> Result<(), StoreError> {
    let copy = || {
        let mut target = File::create(to)?;
        std::io::copy(&mut File::open(from)?, &mut target)?;
        target.sync_all()
    };
    copy().map_err(StoreError::io("copying to", to))
}
