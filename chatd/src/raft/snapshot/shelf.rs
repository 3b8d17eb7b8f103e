//! The snapshots on this pod's volume.

use super::manifest::CheckedManifest;
use super::{RaftSnapshot, SnapshotError};
use crate::failpoint::{FailPoint, pass_point};
use crate::store::{StoreError, copy_durably, sync_dir};
use quorate_core::proto::log;
use std::ffi::OsStr;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

const SNAPSHOTS: &str = "snapshots";
const INCOMING: &str = "incoming";
pub(super) const MANIFEST: &str = "manifest";
pub(super) const DATA: &str = "data";

/// A complete snapshot. Its files are kept as long as a clone of this handle exists.
#[derive(Clone)]
pub struct SnapshotData(Arc<KeptSnapshot>);

struct KeptSnapshot {
    dir: PathBuf,
    manifest: CheckedManifest,
    /// Set once a newer snapshot has replaced this one: the files are removed with the last handle.
    obsolete: AtomicBool,
}

impl Drop for KeptSnapshot {
    fn drop(&mut self) {
        if !self.obsolete.load(Ordering::Acquire) {
            return;
        }
        let dir = self.dir.clone();
        // Unlinking large files takes a while, and the last handle may be dropped on the async runtime. If this fails,
        // the rest is removed at the next start.
        let removal = std::thread::Builder::new().name("snapshot-removal".into()).spawn(move || {
            if let Err(error) = fs::remove_dir_all(&dir) {
                tracing::warn!(dir = %dir.display(), %error, "cannot remove an old snapshot");
            }
        });
        if let Err(error) = removal {
            tracing::warn!(%error, "cannot start removing an old snapshot");
        }
    }
}

impl fmt::Debug for SnapshotData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "snapshot {}", self.id())
    }
}

impl SnapshotData {
    pub(super) fn new(dir: PathBuf, manifest: CheckedManifest) -> Self {
        Self(Arc::new(KeptSnapshot { dir, manifest, obsolete: AtomicBool::new(false) }))
    }

    /// Returns the id of the snapshot, unique in the cluster.
    #[must_use]
    pub fn id(&self) -> &str {
        self.0.manifest.id()
    }

    /// Returns the size of the files, in bytes.
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        self.0.manifest.size()
    }

    /// Returns the index of the last entry that the snapshot covers.
    #[must_use]
    pub fn applied(&self) -> Option<u64> {
        self.0.manifest.last_applied().map(|id| id.index)
    }

    /// Returns the directory of the checkpoint.
    #[must_use]
    pub fn data_dir(&self) -> PathBuf {
        self.0.dir.join(DATA)
    }

    pub(super) fn manifest(&self) -> &CheckedManifest {
        &self.0.manifest
    }

    pub(crate) fn into_snapshot(self) -> Result<RaftSnapshot, SnapshotError> {
        Ok(RaftSnapshot { meta: self.0.manifest.meta()?, snapshot: self })
    }
}

/// Removes a directory with all its contents. If a node is closed and opened again within one process, the thread that
/// removes the closed node's old snapshot may come first.
fn remove_tree(dir: &Path) -> io::Result<()> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound && !dir.exists() => Ok(()),
        removed => removed,
    }
}

/// Returns a key that orders log ids as Raft does: by leader, then by index.
fn order_key(id: Option<log::LogId>) -> Option<(u64, u64, u64)> {
    id.map(|log::LogId { term, node_id, index }| (term, node_id, index))
}

/// Shelf of snapshots; see the [module](self). Clones are handles to the same shelf.
#[derive(Clone, Debug)]
pub struct SnapshotShelf {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    snapshots: PathBuf,
    incoming: PathBuf,
    newest: Mutex<Option<SnapshotData>>,
}

impl SnapshotShelf {
    /// Opens the shelf in the state's directory (snapshots share files with the state by links), and removes what a
    /// crash left incomplete. A snapshot that cannot be read is removed as well: it is a copy, and openraft has a new
    /// one built when it needs one.
    ///
    /// # Errors
    /// If the file system fails.
    pub fn open(state_dir: &Path) -> Result<Self, SnapshotError> {
        let snapshots = state_dir.join(SNAPSHOTS);
        let incoming = state_dir.join(INCOMING);
        for dir in [&snapshots, &incoming] {
            fs::create_dir_all(dir).map_err(StoreError::io("creating directory", dir))?;
        }
        let shelf = Self { inner: Arc::new(Inner { snapshots, incoming, newest: Mutex::default() }) };
        for dir in super::files::sorted_paths(&shelf.inner.snapshots)? {
            match open_complete(&dir) {
                Ok(found) => shelf.set_newest(found),
                Err(error) => {
                    tracing::warn!(dir = %dir.display(), %error, "removing an incomplete snapshot");
                    remove_tree(&dir).map_err(StoreError::io("removing", &dir))?;
                }
            }
        }
        Ok(shelf)
    }

    fn slot(&self) -> MutexGuard<'_, Option<SnapshotData>> {
        // Only written by single assignments, so a poisoned lock is still consistent.
        self.inner.newest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the newest complete snapshot.
    #[must_use]
    pub fn newest(&self) -> Option<SnapshotData> {
        self.slot().clone()
    }

    /// Returns the index of the last entry that the newest snapshot covers. The log may be purged up to this index and
    /// no further, so that snapshot and log together always hold everything.
    #[must_use]
    pub fn newest_applied(&self) -> Option<u64> {
        self.newest()?.applied()
    }

    /// Makes a complete snapshot the newest one, unless there is a newer one. The other of the two is removed once it
    /// is not in use.
    pub(crate) fn set_newest(&self, candidate: SnapshotData) {
        let mut newest = self.slot();
        let loser = match newest.take() {
            Some(kept) if kept.id() == candidate.id() => {
                *newest = Some(kept);
                return;
            }
            Some(kept)
                if order_key(kept.0.manifest.last_applied()) > order_key(candidate.0.manifest.last_applied()) =>
            {
                *newest = Some(kept);
                Some(candidate)
            }
            kept => {
                *newest = Some(candidate);
                kept
            }
        };
        drop(newest);
        if let Some(loser) = loser {
            loser.0.obsolete.store(true, Ordering::Release);
        }
    }

    pub(super) fn incoming(&self) -> &Path {
        &self.inner.incoming
    }

    /// Removes received files of snapshots that cover no more than `covered`: they will not be requested again.
    pub(super) fn discard_incoming(&self, covered: Option<log::LogId>) -> Result<(), StoreError> {
        for dir in super::files::sorted_paths(&self.inner.incoming)? {
            // A directory without a manifest has just been created, or is removed when the next transfer begins.
            let outdated = |manifest: CheckedManifest| order_key(manifest.last_applied()) <= order_key(covered);
            if CheckedManifest::load(&dir.join(MANIFEST)).is_ok_and(outdated) {
                fs::remove_dir_all(&dir).map_err(StoreError::io("removing", &dir))?;
            }
        }
        Ok(())
    }

    /// Creates an empty directory to build a snapshot in.
    pub(super) fn begin(&self, id: &str) -> Result<PathBuf, StoreError> {
        let dir = self.inner.snapshots.join(format!("{id}.tmp"));
        fs::create_dir(&dir).map_err(StoreError::io("creating directory", &dir))?;
        Ok(dir)
    }

    /// Gives a finished directory its name, from which point it is complete, even after a crash.
    pub(super) fn finish(&self, dir: &Path, manifest: CheckedManifest) -> Result<SnapshotData, StoreError> {
        let target = self.inner.snapshots.join(manifest.id());
        // Contents before the name, as a directory with its final name counts as complete.
        sync_dir(dir)?;
        fs::rename(dir, &target).map_err(StoreError::io("renaming into place", &target))?;
        pass_point(FailPoint::SnapshotRenamed);
        sync_dir(&self.inner.snapshots)?;
        pass_point(FailPoint::SnapshotKept);
        Ok(SnapshotData::new(target, manifest))
    }

    /// Adds a snapshot that is stored elsewhere: a received one by renaming it, any other by linking its files.
    pub(crate) fn adopt(&self, snapshot: &SnapshotData) -> Result<SnapshotData, SnapshotError> {
        let from = &snapshot.0.dir;
        let manifest = snapshot.manifest();
        if from.parent() == Some(&self.inner.snapshots) {
            return Ok(snapshot.clone());
        }
        let target = self.inner.snapshots.join(manifest.id());
        if target.is_dir() {
            return open_complete(&target);
        }
        if from.parent() == Some(&self.inner.incoming) {
            return Ok(self.finish(from, manifest.clone())?);
        }
        let dir = self.begin(manifest.id())?;
        let data = dir.join(DATA);
        fs::create_dir(&data).map_err(StoreError::io("creating directory", &data))?;
        for file in manifest.files() {
            link_or_copy(&snapshot.data_dir().join(&file.name), &data.join(&file.name))?;
        }
        sync_dir(&data)?;
        manifest.save(&dir.join(MANIFEST))?;
        Ok(self.finish(&dir, manifest.clone())?)
    }
}

/// Links a table file, which is never written again, and copies any other file.
pub(super) fn link_or_copy(from: &Path, to: &Path) -> Result<(), StoreError> {
    let linked = from.extension() == Some(OsStr::new("sst")) && fs::hard_link(from, to).is_ok();
    if linked { Ok(()) } else { copy_durably(from, to) }
}

/// Opens a directory that has its final name, and checks it against its manifest.
fn open_complete(dir: &Path) -> Result<SnapshotData, SnapshotError> {
    let manifest = CheckedManifest::load(&dir.join(MANIFEST))?;
    if dir.file_name() != Some(OsStr::new(manifest.id())) {
        return Err(SnapshotError::manifest(format!("it is that of {}", manifest.id())));
    }
    let data = dir.join(DATA);
    for file in manifest.files() {
        let path = data.join(&file.name);
        let found = fs::metadata(&path).map_err(StoreError::io("reading", &path))?;
        if found.len() != file.size {
            return Err(SnapshotError::manifest(format!("{} has another size", path.display())));
        }
    }
    Ok(SnapshotData::new(dir.to_owned(), manifest))
}
