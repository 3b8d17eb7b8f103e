//! Reads of the state off the async runtime.

use super::{StateStore, StoreError};
use std::sync::Arc;
use tokio::sync::Semaphore;

/// Runs reads on tokio's blocking threads, a bounded number at a time. Those that wait are requests which the doors
/// have already admitted, so the queue is as long as the doors allow and no longer.
#[derive(Clone, Debug)]
pub struct ReadPool<S> {
    store: S,
    permits: Arc<Semaphore>,
}

/// A read from the block cache takes microseconds of CPU, one from the disk waits: a few times the cores keeps both busy
/// while a burst of reads cannot take the whole of tokio's blocking pool (512), which snapshots need as well.
const READS_PER_CORE: usize = 4;

impl<S: StateStore> ReadPool<S> {
    /// A pool over `store`, sized by the number of cores.
    #[must_use]
    pub fn new(store: S) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self { store, permits: Arc::new(Semaphore::new(cores * READS_PER_CORE)) }
    }

    /// The store itself, for what does not block.
    #[must_use]
    pub fn store(&self) -> &S {
        &self.store
    }

    /// Runs `read` over the newest view.
    ///
    /// # Errors
    /// [`StoreError::Worker`] when `read` panics.
    pub async fn read<T, F>(&self, read: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&S::View) -> T + Send + 'static,
    {
        let permit = self.permits.clone().acquire_owned().await.map_err(|_| StoreError::Worker)?;
        let store = self.store.clone();
        let work = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            // Taken here and not before the wait, so that the view is as new as it can be.
            read(&store.view())
        });
        work.await.map_err(|_| StoreError::Worker)
    }
}
