//! State in RocksDB.
//!
//! ```text
//! state/CURRENT        names the live directory
//! state/live-000001/   the database
//! ```
//! The write-ahead log is off, because the Raft log serves as one. A flush writes all column families or none (atomic
//! flush), so after a crash the state is that of one earlier commit as a whole, and Raft re-applies from there. A
//! snapshot is installed beside the live directory, and renaming `CURRENT` into place makes it the state.

mod figures;
mod layout;
mod live;
mod settings;
mod upkeep;
mod view;

#[cfg(test)]
mod tests;

pub use settings::RocksSettings;
pub use view::RocksView;

use super::{
    AppliedMembership, AppliedState, CheckpointContents, EngineFigures, FatalSignal, StateStore, StoreError,
    StoreFigures, cluster_row,
};
use crate::failpoint::{FailPoint, pass_point};
use layout::StateLayout;
use live::LiveDatabase;
use quorate_core::proto::log;
use quorate_core::table::ChangeSet;
use settings::RocksEngine;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};
use upkeep::UpkeepThread;

/// State store on RocksDB. See the [module](self).
#[derive(Clone)]
pub struct RocksStore {
    /// Dropped first, so that its thread ends before the database is closed.
    _upkeep: Arc<UpkeepThread>,
    core: Arc<RocksCore>,
}

/// Data shared by the handles of the store and the upkeep thread.
struct RocksCore {
    layout: StateLayout,
    engine: RocksEngine,
    /// Database in use; replaced as a whole when a snapshot is installed.
    live: RwLock<Arc<LiveDatabase>>,
}

impl RocksCore {
    fn live(&self) -> Arc<LiveDatabase> {
        self.live.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl RocksStore {
    /// Opens the state under `root`, creating an empty one if there is none.
    ///
    /// # Errors
    /// Returns [`StoreError::Damaged`] with the path if the existing state cannot be read, and [`StoreError::Newer`] if
    /// a later version wrote it.
    pub fn open(root: &Path, settings: RocksSettings, fatal: FatalSignal) -> Result<Self, StoreError> {
        let engine = RocksEngine::new(settings);
        let (layout, dir) = StateLayout::open(root, &engine)?;
        let live = Arc::new(LiveDatabase::open(&dir, &engine, live::OpenMode::Existing)?);
        let core = Arc::new(RocksCore { layout, engine, live: RwLock::new(live) });
        let upkeep = Arc::new(UpkeepThread::start(core.clone(), fatal)?);
        Ok(Self { _upkeep: upkeep, core })
    }
}

impl StoreFigures for RocksStore {
    fn figures(&self) -> EngineFigures {
        figures::read_figures(&self.core)
    }
}

impl StateStore for RocksStore {
    type View = RocksView;

    fn view(&self) -> RocksView {
        RocksView::of(self.core.live())
    }

    fn applied(&self) -> AppliedState {
        self.core.live().applied()
    }

    fn commit(
        &self,
        changes: ChangeSet,
        last: log::LogId,
        membership: Option<AppliedMembership>,
    ) -> Result<(), StoreError> {
        self.core.live().commit(changes, last, membership)
    }

    fn flush(&self) -> Result<(), StoreError> {
        self.core.live().flush()
    }

    fn checkpoint(&self, target: &Path) -> Result<(), StoreError> {
        self.core.live().checkpoint(target)
    }

    fn inspect(&self, checkpoint: &Path) -> Result<CheckpointContents, StoreError> {
        let live = Arc::new(LiveDatabase::open(checkpoint, &self.core.engine, live::OpenMode::ReadOnly)?);
        let applied = live.applied();
        Ok(CheckpointContents::of(applied, cluster_row(&RocksView::of(live))?))
    }

    fn replace(&self, checkpoint: &Path) -> Result<(), StoreError> {
        let dir = self.core.layout.prepare_next(checkpoint)?;
        let next = Arc::new(LiveDatabase::open(&dir, &self.core.engine, live::OpenMode::Existing)?);
        pass_point(FailPoint::NextStateOpened);
        // Only once it could be opened: if the checkpoint is damaged, the old state stays in use.
        self.core.layout.make_current(&dir)?;
        pass_point(FailPoint::NextStateCurrent);
        let mut live = self.core.live.write().unwrap_or_else(PoisonError::into_inner);
        let previous = std::mem::replace(&mut *live, next);
        drop(live);
        // After the exchange, as this ends its compactions and marks its files for removal.
        previous.retire();
        Ok(())
    }
}
