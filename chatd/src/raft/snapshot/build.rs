//! Builds a snapshot while entries are still being applied.

use super::files::{self, KnownChecksums};
use super::manifest::CheckedManifest;
use super::shelf::{DATA, MANIFEST, SnapshotData, SnapshotShelf};
use super::{RaftSnapshot, SnapshotError};
use crate::failpoint::{FailPoint, pass_point};
use crate::raft::observe::MachineObserver;
use crate::raft::threading::{ThreadingModel, off_the_runtime};
use crate::raft::types::TypeConfig;
use crate::store::{StateStore, sync_dir};
use openraft::storage::RaftSnapshotBuilder;
use quorate_core::proto::log;
use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

/// Builder of snapshots of one store.
pub struct SnapshotBuilder<S> {
    drive: ThreadingModel,
    store: S,
    shelf: SnapshotShelf,
    observer: Arc<dyn MachineObserver>,
}

impl<S: StateStore> SnapshotBuilder<S> {
    pub(crate) fn new(
        drive: ThreadingModel,
        store: S,
        shelf: SnapshotShelf,
        observer: Arc<dyn MachineObserver>,
    ) -> Self {
        Self { drive, store, shelf, observer }
    }
}

impl<S: StateStore> RaftSnapshotBuilder<TypeConfig> for SnapshotBuilder<S> {
    type SnapshotData = SnapshotData;

    /// Builds a snapshot. An error would stop openraft, and with it a pod that can still serve; so if building fails,
    /// the previous snapshot is returned again, if there is one. Nothing is lost by this, as purging is bounded by the
    /// snapshot that really exists.
    async fn build_snapshot(&mut self) -> Result<RaftSnapshot, io::Error> {
        let store = self.store.clone();
        let shelf = self.shelf.clone();
        let started = Instant::now();
        let built = off_the_runtime(self.drive, move || build_newest(&store, &shelf)).await;
        let built = built.unwrap_or_else(|error| Err(error.into()));
        let snapshot = match (built, self.shelf.newest()) {
            (Ok(snapshot), _) => {
                self.observer.snapshot_built(started.elapsed(), snapshot.size_bytes());
                snapshot
            }
            (Err(error), previous) => {
                self.observer.snapshot_failed();
                tracing::error!(%error, "failed to build a snapshot");
                previous.ok_or_else(|| io::Error::other(error))?
            }
        };
        snapshot.into_snapshot().map_err(io::Error::other)
    }
}

/// Builds a snapshot and makes it the newest on the shelf; does nothing if the newest one is of the same log position.
pub(super) fn build_newest<S: StateStore>(store: &S, shelf: &SnapshotShelf) -> Result<SnapshotData, SnapshotError> {
    let previous = shelf.newest();
    let applied = store.applied().log_id;
    if let Some(newest) = previous.as_ref().filter(|newest| newest.manifest().last_applied() == applied) {
        return Ok(newest.clone());
    }
    let id = fresh_id(applied);
    let dir = shelf.begin(&id)?;
    pass_point(FailPoint::SnapshotBegun);
    let built = fill_directory(store, shelf, &id, &dir, previous.as_ref());
    match &built {
        Ok(snapshot) => {
            shelf.set_newest(snapshot.clone());
            pass_point(FailPoint::SnapshotInFront);
            // This pod has come this far without the rest of a broken transfer.
            shelf.discard_incoming(snapshot.manifest().last_applied())?;
        }
        Err(_) => {
            // The next start removes the directory if this fails.
            let _ = fs::remove_dir_all(&dir);
        }
    }
    built
}

fn fill_directory<S: StateStore>(
    store: &S,
    shelf: &SnapshotShelf,
    id: &str,
    dir: &Path,
    previous: Option<&SnapshotData>,
) -> Result<SnapshotData, SnapshotError> {
    let data = dir.join(DATA);
    store.checkpoint(&data)?;
    pass_point(FailPoint::CheckpointMade);
    // The extent is read from the checkpoint itself, because entries were applied while it was made.
    let contents = store.inspect(&data)?;
    let known = previous.map(|one| KnownChecksums::of(&one.data_dir(), one.manifest().files())).unwrap_or_default();
    let files = files::list_files(&data, &known)?;
    sync_dir(&data)?;
    pass_point(FailPoint::CheckpointListed);
    let manifest = CheckedManifest::describe(id.to_owned(), &contents, files);
    manifest.save(&dir.join(MANIFEST))?;
    pass_point(FailPoint::SnapshotDescribed);
    Ok(shelf.finish(dir, manifest)?)
}

/// Returns a new id, which shows people what the snapshot covers. The random part distinguishes two snapshots of the
/// same position, whose files differ.
fn fresh_id(applied: Option<log::LogId>) -> String {
    let log::LogId { term, index, .. } = applied.unwrap_or_default();
    format!("{index:012}-{term}-{:016x}", rand::random::<u64>())
}
