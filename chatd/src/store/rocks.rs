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

pub use settings::Settings;
pub use view::RocksView;

use super::{Applied, Contents, Fatal, Figures, Membership, StateStore, StoreError, StoreFigures, cluster};
use crate::failpoint::{Point, pass};
use layout::Layout;
use live::Live;
use quorate_core::proto::log;
use quorate_core::table::Changes;
use settings::Engine;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};
use upkeep::Upkeep;

/// State store on RocksDB. See the [module](self).
#[derive(Clone)]
pub struct RocksStore {
    /// Dropped first, so that its thread ends before the database is closed.
    _upkeep: Arc<Upkeep>,
    core: Arc<Core>,
}

/// Data shared by the handles of the store and the upkeep thread.
struct Core {
    layout: Layout,
    engine: Engine,
    /// Database in use; replaced as a whole when a snapshot is installed.
    live: RwLock<Arc<Live>>,
}

impl Core {
    fn live(&self) -> Arc<Live> {
        self.live.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl RocksStore {
    /// Opens the state under `root`, creating an empty one if there is none.
    ///
    /// # Errors
    /// Returns [`StoreError::Damaged`] with the path if the existing state cannot be read, and [`StoreError::Newer`] if
    /// a later version wrote it.
    pub fn open(root: &Path, settings: Settings, fatal: Fatal) -> Result<Self, StoreError> {
        let engine = Engine::new(settings);
        let (layout, dir) = Layout::open(root, &engine)?;
        let live = Arc::new(Live::open(&dir, &engine, live::Mode::Existing)?);
        let core = Arc::new(Core { layout, engine, live: RwLock::new(live) });
        let upkeep = Arc::new(Upkeep::start(core.clone(), fatal)?);
        Ok(Self { _upkeep: upkeep, core })
    }
}

impl StoreFigures for RocksStore {
    fn figures(&self) -> Figures {
        figures::figures(&self.core)
    }
}

impl StateStore for RocksStore {
    type View = RocksView;

    fn view(&self) -> RocksView {
        RocksView::of(self.core.live())
    }

    fn applied(&self) -> Applied {
        self.core.live().applied()
    }

    fn commit(&self, changes: Changes, last: log::LogId, membership: Option<Membership>) -> Result<(), StoreError> {
        self.core.live().commit(changes, last, membership)
    }

    fn flush(&self) -> Result<(), StoreError> {
        self.core.live().flush()
    }

    fn checkpoint(&self, target: &Path) -> Result<(), StoreError> {
        self.core.live().checkpoint(target)
    }

    fn inspect(&self, checkpoint: &Path) -> Result<Contents, StoreError> {
        let live = Arc::new(Live::open(checkpoint, &self.core.engine, live::Mode::ReadOnly)?);
        let applied = live.applied();
        let cluster_id = cluster(&RocksView::of(live))?.map(|row| row.cluster_id);
        Ok(Contents { applied, cluster_id })
    }

    fn replace(&self, checkpoint: &Path) -> Result<(), StoreError> {
        let dir = self.core.layout.prepare_next(checkpoint)?;
        let next = Arc::new(Live::open(&dir, &self.core.engine, live::Mode::Existing)?);
        pass(Point::NextStateOpened);
        self.core.layout.make_current(&dir)?;
        pass(Point::NextStateCurrent);
        let mut live = self.core.live.write().unwrap_or_else(PoisonError::into_inner);
        let previous = std::mem::replace(&mut *live, next);
        drop(live);
        previous.retire();
        Ok(())
    }
}
