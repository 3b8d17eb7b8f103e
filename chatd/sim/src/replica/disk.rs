//! Disk of a replica's log, which is slow and may lie about what it has synced.

use quorate_chatd::raft::log::disk::{DirLock, LogDisk, LogFile};
use quorate_chatd::raft::log::sim_disk::SimDisk;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A simulated disk with a latency. See the [module](self).
pub(crate) struct FaultyDisk {
    pub(crate) inner: SimDisk,
    /// Milliseconds that each batch takes; changed while the pod runs.
    pub(crate) latency_ms: Arc<AtomicU64>,
    /// `true` if `fdatasync` does nothing and says that it did.
    pub(crate) lies: bool,
}

struct NoSyncFile(Arc<dyn LogFile>);

impl FaultyDisk {
    fn file(&self, file: Arc<dyn LogFile>) -> Arc<dyn LogFile> {
        if self.lies { Arc::new(NoSyncFile(file)) } else { file }
    }
}

impl LogDisk for FaultyDisk {
    fn name(&self) -> String {
        self.inner.name()
    }

    fn list(&self) -> io::Result<Vec<String>> {
        self.inner.list()
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn LogFile>> {
        Ok(self.file(self.inner.create(name)?))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn LogFile>> {
        Ok(self.file(self.inner.open(name)?))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.inner.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.inner.remove(name)
    }

    fn sync(&self) -> io::Result<()> {
        self.inner.sync()
    }

    fn try_lock(&self) -> io::Result<Option<Box<dyn DirLock>>> {
        self.inner.try_lock()
    }

    fn latency(&self) -> Duration {
        Duration::from_millis(self.latency_ms.load(Ordering::Relaxed))
    }
}

impl LogFile for NoSyncFile {
    fn size(&self) -> io::Result<u64> {
        self.0.size()
    }

    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<()> {
        self.0.read_at(into, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.0.write_at(bytes, offset)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn allocate(&self, from: u64, len: u64) -> io::Result<()> {
        self.0.allocate(from, len)
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn sync_all(&self) -> io::Result<()> {
        self.0.sync_all()
    }
}
