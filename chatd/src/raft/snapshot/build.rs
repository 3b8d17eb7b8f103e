//! Building a snapshot while applying goes on.

use super::SnapshotError;
use super::files::{self, Known};
use super::manifest::Manifest;
use super::shelf::{DATA, MANIFEST, Shelf, SnapshotData};
use crate::failpoint::{Point, pass};
use crate::raft::machine::{Drive, MachineObserver, Snapshot, off_the_runtime};
use crate::raft::types::TypeConfig;
use crate::store::{StateStore, sync_dir};
use openraft::storage::RaftSnapshotBuilder;
use quorate_core::proto::log;
use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

/// Builds snapshots of one store.
pub struct Builder<S> {
    drive: Drive,
    store: S,
    shelf: Shelf,
    observer: Arc<dyn MachineObserver>,
}

impl<S: StateStore> Builder<S> {
    pub(crate) fn new(drive: Drive, store: S, shelf: Shelf, observer: Arc<dyn MachineObserver>) -> Self {
        Self { drive, store, shelf, observer }
    }
}

impl<S: StateStore> RaftSnapshotBuilder<TypeConfig> for Builder<S> {
    type SnapshotData = SnapshotData;

    /// An error would stop openraft, and with it a pod that can still serve; so the snapshot before is given again where
    /// there is one. Purging is bounded by the snapshot that really exists, so nothing is lost by it.
    async fn build_snapshot(&mut self) -> Result<Snapshot, io::Error> {
        let (store, shelf) = (self.store.clone(), self.shelf.clone());
        let started = Instant::now();
        let built = off_the_runtime(self.drive, move || build(&store, &shelf)).await;
        let built = built.unwrap_or_else(|error| Err(error.into()));
        let snapshot = match (built, self.shelf.newest()) {
            (Ok(snapshot), _) => {
                self.observer.snapshot_built(started.elapsed(), snapshot.size_bytes());
                snapshot
            }
            (Err(error), previous) => {
                self.observer.snapshot_failed();
                tracing::error!(%error, "building a snapshot failed");
                previous.ok_or_else(|| io::Error::other(error))?
            }
        };
        snapshot.into_snapshot().map_err(io::Error::other)
    }
}

/// Builds one and puts it in front on the shelf; nothing to do when the newest is of the same log position.
pub(super) fn build<S: StateStore>(store: &S, shelf: &Shelf) -> Result<SnapshotData, SnapshotError> {
    let previous = shelf.newest();
    let applied = store.applied().log_id;
    if let Some(newest) = previous.as_ref().filter(|newest| newest.manifest().last_applied() == applied) {
        return Ok(newest.clone());
    }
    let id = fresh_id(applied);
    let dir = shelf.begin(&id)?;
    pass(Point::SnapshotBegun);
    let built = fill(store, shelf, &id, &dir, previous.as_ref());
    match &built {
        Ok(snapshot) => {
            shelf.set_newest(snapshot.clone());
            pass(Point::SnapshotInFront);
            // This pod has come so far without the rest of a transfer that broke.
            shelf.discard_incoming(snapshot.manifest().last_applied())?;
        }
        Err(_) => {
            // The next start removes it if this does not.
            let _ = fs::remove_dir_all(&dir);
        }
    }
    built
}

fn fill<S: StateStore>(
    store: &S,
    shelf: &Shelf,
    id: &str,
    dir: &Path,
    previous: Option<&SnapshotData>,
) -> Result<SnapshotData, SnapshotError> {
    let data = dir.join(DATA);
    store.checkpoint(&data)?;
    pass(Point::CheckpointMade);
    // What it covers is read from the checkpoint itself: applying went on while it was made.
    let contents = store.inspect(&data)?;
    let known = previous.map(|one| Known::of(&one.data_dir(), one.manifest().files())).unwrap_or_default();
    let files = files::list(&data, &known)?;
    sync_dir(&data)?;
    pass(Point::CheckpointListed);
    let manifest = Manifest::describe(id.to_owned(), &contents, files);
    manifest.save(&dir.join(MANIFEST))?;
    pass(Point::SnapshotDescribed);
    Ok(shelf.finish(dir, manifest)?)
}

/// Says for people what it covers; the random part tells two of the same position apart, whose files differ.
fn fresh_id(applied: Option<log::LogId>) -> String {
    let log::LogId { term, index, .. } = applied.unwrap_or_default();
    format!("{index:012}-{term}-{:016x}", rand::random::<u64>())
}
