//! Disks that do less than they report. The tests in [`super::crash`] must detect them, or they could not fail.

use crate::raft::log::disk::DirLock;
use crate::raft::log::sim_disk::SimDisk;
use crate::raft::log::{LogDisk, LogFile};
use std::io;
use std::sync::Arc;

/// Operation that is not carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lie {
    /// Every operation is carried out.
    None,
    /// Skips fsync and fdatasync of files: what is acknowledged may be only in the page cache.
    FileSync,
    /// Skips fsync of the directory: a new segment may have no name.
    NameSync,
    /// Hides the newest segment, if there is an older one, like a reader of the directory that forgets one.
    NewestSegment,
}

impl Lie {
    /// All variants that are lies.
    pub(super) const ALL: [Self; 3] = [Self::FileSync, Self::NameSync, Self::NewestSegment];
}

/// The disk, as the log sees it.
pub(super) struct Lying {
    pub(super) disk: SimDisk,
    pub(super) lie: Lie,
}

impl Lying {
    fn file(&self, file: Arc<dyn LogFile>) -> Arc<dyn LogFile> {
        match self.lie {
            Lie::FileSync => Arc::new(NeverSynced(file)),
            Lie::None | Lie::NameSync | Lie::NewestSegment => file,
        }
    }
}

impl LogDisk for Lying {
    fn name(&self) -> String {
        self.disk.name()
    }
    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = self.disk.list()?;
        let mut segments: Vec<String> = names.iter().filter(|name| name.ends_with(".log")).cloned().collect();
        segments.sort();
        if self.lie == Lie::NewestSegment && segments.len() > 1 {
            names.retain(|name| Some(name) != segments.last());
        }
        Ok(names)
    }
    fn create(&self, name: &str) -> io::Result<Arc<dyn LogFile>> {
        self.disk.create(name).map(|file| self.file(file))
    }
    fn open(&self, name: &str) -> io::Result<Arc<dyn LogFile>> {
        self.disk.open(name).map(|file| self.file(file))
    }
    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.disk.rename(from, to)
    }
    fn remove(&self, name: &str) -> io::Result<()> {
        self.disk.remove(name)
    }
    fn sync(&self) -> io::Result<()> {
        match self.lie {
            Lie::NameSync => Ok(()),
            Lie::None | Lie::FileSync | Lie::NewestSegment => self.disk.sync(),
        }
    }
    fn try_lock(&self) -> io::Result<Option<Box<dyn DirLock>>> {
        self.disk.try_lock()
    }
}

struct NeverSynced(Arc<dyn LogFile>);

impl LogFile for NeverSynced {
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
        Ok(())
    }
}
