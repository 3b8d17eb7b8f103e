//! Threading of work that blocks on a disk: threads in production, the caller's own task in a simulation.

use crate::store::StoreError;

/// Threading model of the work on disks: the log's writer, the apply thread, and reads and writes of files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ThreadingModel {
    /// Dedicated threads for the log's writer and for apply, and tokio's blocking threads for the rest. For real disks.
    Threads,
    /// A task on the current tokio runtime. For in-memory disks, so that a simulation stays deterministic.
    Task,
}

/// Runs work that blocks on the disk where it does not hold up anything else.
pub(super) async fn off_the_runtime<T: Send + 'static>(
    drive: ThreadingModel,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, StoreError> {
    match drive {
        ThreadingModel::Threads => tokio::task::spawn_blocking(work).await.map_err(|_| StoreError::Worker),
        ThreadingModel::Task => Ok(work()),
    }
}
