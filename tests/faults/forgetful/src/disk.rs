//! The whole of it, without FUSE: files, names, faults, and the power failure.

use crate::directory::Directory;
use crate::inode::{Body, Ino, Inode};
use crate::pages::Pages;
use fuser::Errno;
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;

/// The root directory; its entries are the parts for which faults are set.
pub const ROOT: Ino = 1;

/// How much of what is not durable a power failure takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// Everything.
    All,
    /// Each page and each tail of changed names, or not, by the throw of a coin with this seed.
    Some(u64),
}

/// What a sync is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SyncFault {
    /// "Done", and nothing was.
    Lie,
    /// `EIO`.
    Fail,
    /// `EIO`: the machine is gone, and so is the sync that was under way.
    Off,
}

/// Counts of one part.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Syncs that were answered "done".
    pub done: u64,
    /// Syncs that were answered `EIO`.
    pub failed: u64,
    /// Of all, those of a file whose sync had failed before: nobody should try that.
    pub repeated: u64,
}

/// What a power failure took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Lost {
    /// Pages of files.
    pub pages: u64,
    /// Changes of names.
    pub names: u64,
}

/// See the [module](self).
#[derive(Debug)]
pub struct Disk {
    inodes: HashMap<Ino, Inode>,
    next: Ino,
    faults: HashMap<Ino, SyncFault>,
    counts: HashMap<Ino, Counts>,
}

impl Default for Disk {
    fn default() -> Self {
        let inodes = HashMap::from([(ROOT, Inode::directory(0o755, ROOT))]);
        Self { inodes, next: ROOT + 1, faults: HashMap::new(), counts: HashMap::new() }
    }
}

impl Disk {
    /// A file or directory.
    ///
    /// # Errors
    /// `ENOENT` when a power failure took it.
    pub fn inode(&self, ino: Ino) -> Result<&Inode, Errno> {
        self.inodes.get(&ino).ok_or(Errno::ENOENT)
    }

    /// A file's pages.
    ///
    /// # Errors
    /// `EISDIR`; see [`Disk::inode`].
    pub fn pages(&mut self, ino: Ino) -> Result<&mut Pages, Errno> {
        match &mut self.inodes.get_mut(&ino).ok_or(Errno::ENOENT)?.body {
            Body::File(pages) => Ok(pages),
            Body::Directory(_) => Err(Errno::EISDIR),
        }
    }

    /// A directory's names.
    ///
    /// # Errors
    /// `ENOTDIR`; see [`Disk::inode`].
    pub fn directory(&self, ino: Ino) -> Result<&Directory, Errno> {
        match &self.inode(ino)?.body {
            Body::Directory(directory) => Ok(directory),
            Body::File(_) => Err(Errno::ENOTDIR),
        }
    }

    fn directory_mut(&mut self, ino: Ino) -> Result<&mut Directory, Errno> {
        match &mut self.inodes.get_mut(&ino).ok_or(Errno::ENOENT)?.body {
            Body::Directory(directory) => Ok(directory),
            Body::File(_) => Err(Errno::ENOTDIR),
        }
    }

    /// What has this name.
    ///
    /// # Errors
    /// `ENOENT`, `ENOTDIR`.
    pub fn lookup(&self, parent: Ino, name: &OsStr) -> Result<Ino, Errno> {
        self.directory(parent)?.get(name).ok_or(Errno::ENOENT)
    }

    /// Makes an empty file or directory.
    ///
    /// # Errors
    /// `EEXIST`, `ENOTDIR`.
    pub fn make(&mut self, parent: Ino, name: &OsStr, mode: u16, is_directory: bool) -> Result<Ino, Errno> {
        if self.directory(parent)?.get(name).is_some() {
            return Err(Errno::EEXIST);
        }
        let ino = self.next;
        let owner = if parent == ROOT { ino } else { self.inode(parent)?.owner };
        self.directory_mut(parent)?.link(name, ino);
        let inode = if is_directory { Inode::directory(mode, owner) } else { Inode::file(mode, owner) };
        self.inodes.insert(ino, inode);
        self.next += 1;
        Ok(ino)
    }

    /// Gives a file one more name.
    ///
    /// # Errors
    /// `EEXIST`, `ENOENT`, `ENOTDIR`.
    pub fn link(&mut self, ino: Ino, parent: Ino, name: &OsStr) -> Result<(), Errno> {
        self.inode(ino)?;
        let directory = self.directory_mut(parent)?;
        if directory.get(name).is_some() {
            return Err(Errno::EEXIST);
        }
        directory.link(name, ino);
        Ok(())
    }

    /// Takes a name away. The file stays: it may be open, and its name may come back with a power failure.
    ///
    /// # Errors
    /// `ENOENT`, `ENOTDIR`, `ENOTEMPTY`.
    pub fn unlink(&mut self, parent: Ino, name: &OsStr) -> Result<(), Errno> {
        let ino = self.lookup(parent, name)?;
        if self.directory(ino).is_ok_and(|directory| !directory.is_empty()) {
            return Err(Errno::ENOTEMPTY);
        }
        self.directory_mut(parent)?.unlink(name);
        Ok(())
    }

    /// Gives another name, in the place of what had it.
    ///
    /// # Errors
    /// `ENOENT`, `ENOTDIR`, `ENOTEMPTY`.
    pub fn rename(&mut self, from: (Ino, &OsStr), to: (Ino, &OsStr)) -> Result<(), Errno> {
        let ino = self.lookup(from.0, from.1)?;
        let replaced = self.directory(to.0)?.get(to.1);
        if replaced.and_then(|ino| self.directory(ino).ok()).is_some_and(|directory| !directory.is_empty()) {
            return Err(Errno::ENOTEMPTY);
        }
        if from.0 == to.0 {
            self.directory_mut(from.0)?.rename(from.1, to.1, ino);
        } else {
            self.directory_mut(to.0)?.link(to.1, ino);
            self.directory_mut(from.0)?.moved(from.1, to.0);
        }
        Ok(())
    }

    /// Makes a file's contents or a directory's names durable, or fails to.
    ///
    /// # Errors
    /// `EIO` where that fault is set; `ENOENT`.
    pub fn sync(&mut self, ino: Ino) -> Result<(), Errno> {
        let inode = self.inodes.get_mut(&ino).ok_or(Errno::ENOENT)?;
        let counts = self.counts.entry(inode.owner).or_default();
        counts.repeated += u64::from(inode.failed_syncs > 0);
        match (self.faults.get(&inode.owner), &mut inode.body) {
            (Some(SyncFault::Fail), body) => {
                if let Body::File(pages) = body {
                    pages.fail_sync();
                }
                inode.failed_syncs += 1;
                counts.failed += 1;
                return Err(Errno::EIO);
            }
            (Some(SyncFault::Off), _) => return Err(Errno::EIO),
            (Some(SyncFault::Lie), _) => {}
            (None, Body::File(pages)) => pages.sync(),
            (None, Body::Directory(directory)) => {
                for other in directory.sync() {
                    if let Ok(directory) = self.directory_mut(other) {
                        directory.sync();
                    }
                }
            }
        }
        self.counts.entry(self.inode(ino)?.owner).or_default().done += 1;
        Ok(())
    }

    /// From now on syncs in this part are answered "done" without being done.
    ///
    /// # Errors
    /// `ENOENT`: there is no such part.
    pub fn lie(&mut self, part: &OsStr) -> Result<(), Errno> {
        let owner = self.lookup(ROOT, part)?;
        self.faults.insert(owner, SyncFault::Lie);
        Ok(())
    }

    /// From now on syncs in this part fail.
    ///
    /// # Errors
    /// As [`Disk::lie`].
    pub fn fail(&mut self, part: &OsStr) -> Result<(), Errno> {
        let owner = self.lookup(ROOT, part)?;
        self.faults.insert(owner, SyncFault::Fail);
        Ok(())
    }

    /// The power of a part is off until it is made to forget: nothing becomes durable any more, not even by a sync that
    /// is under way. Who still runs there has to be killed.
    ///
    /// # Errors
    /// As [`Disk::lie`].
    pub fn power_off(&mut self, part: &OsStr) -> Result<(), Errno> {
        let owner = self.lookup(ROOT, part)?;
        self.faults.insert(owner, SyncFault::Off);
        Ok(())
    }

    /// All faults are over, in all parts. Contents stay as they are.
    pub fn heal(&mut self) {
        self.faults.clear();
        self.inodes.values_mut().for_each(|inode| inode.failed_syncs = 0);
    }

    /// What was synced in a part.
    ///
    /// # Errors
    /// As [`Disk::lie`].
    pub fn counts(&self, part: &OsStr) -> Result<Counts, Errno> {
        let owner = self.lookup(ROOT, part)?;
        Ok(self.counts.get(&owner).copied().unwrap_or_default())
    }

    /// Makes a part be as it is after a power failure, and puts its power on. Nobody may have anything in it open.
    ///
    /// # Errors
    /// As [`Disk::lie`].
    pub fn forget(&mut self, part: &OsStr, loss: Loss) -> Result<Lost, Errno> {
        let owner = self.lookup(ROOT, part)?;
        let mut random = StdRng::seed_from_u64(if let Loss::Some(seed) = loss { seed } else { 0 });
        let mut lost = Lost::default();
        // In a fixed order, so that a seed says everything.
        let mut inos: Vec<Ino> = self.inodes.iter().filter(|(_, i)| i.owner == owner).map(|(ino, _)| *ino).collect();
        inos.sort_unstable();
        for ino in inos {
            match self.inodes.get_mut(&ino).map(|inode| &mut inode.body) {
                Some(Body::File(pages)) => lost.pages += pages.forget(|| loss != Loss::All && random.random()),
                Some(Body::Directory(directory)) => {
                    let survived = if loss == Loss::All { 0 } else { random.random_range(0..=directory.pending()) };
                    lost.names += directory.forget(survived);
                }
                None => {}
            }
        }
        self.collect(owner);
        if self.faults.get(&owner) == Some(&SyncFault::Off) {
            self.faults.remove(&owner);
        }
        Ok(lost)
    }

    /// Drops what has no name in this part. In the others, what has none now may get it back.
    fn collect(&mut self, owner: Ino) {
        let (mut kept, mut ahead) = (HashSet::new(), vec![ROOT]);
        while let Some(ino) = ahead.pop() {
            if kept.insert(ino)
                && let Ok(directory) = self.directory(ino)
            {
                ahead.extend(directory.iter().map(|(_, ino)| ino));
            }
        }
        self.inodes.retain(|ino, inode| inode.owner != owner || kept.contains(ino));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(name: &str) -> &OsStr {
        OsStr::new(name)
    }

    /// A part with a file that holds "kept" durably.
    fn disk() -> (Disk, Ino, Ino) {
        let mut disk = Disk::default();
        let part = disk.make(ROOT, name("node"), 0o755, true).unwrap();
        let file = disk.make(part, name("file"), 0o644, false).unwrap();
        disk.pages(file).unwrap().write(0, b"kept");
        for ino in [file, part, ROOT] {
            disk.sync(ino).unwrap();
        }
        (disk, part, file)
    }

    #[test]
    fn a_synced_file_in_a_directory_that_was_not_synced_is_gone() {
        let (mut disk, part, _) = disk();
        let other = disk.make(part, name("other"), 0o644, false).unwrap();
        disk.pages(other).unwrap().write(0, b"synced");
        disk.sync(other).unwrap();
        assert_eq!(disk.forget(name("node"), Loss::All), Ok(Lost { pages: 0, names: 1 }));
        assert_eq!(disk.lookup(part, name("other")), Err(Errno::ENOENT));
        assert_eq!(disk.inode(other).map(|_| ()), Err(Errno::ENOENT));
        assert!(disk.lookup(part, name("file")).is_ok());
    }

    #[test]
    fn an_unlinked_file_comes_back_when_the_unlinking_was_not_synced() {
        let (mut disk, part, file) = disk();
        disk.unlink(part, name("file")).unwrap();
        assert_eq!(disk.lookup(part, name("file")), Err(Errno::ENOENT));
        disk.forget(name("node"), Loss::All).unwrap();
        assert_eq!(disk.lookup(part, name("file")), Ok(file));
        assert_eq!(disk.pages(file).unwrap().read(0, 9), b"kept");
    }

    #[test]
    fn an_unlinked_file_comes_back_although_another_part_lost_its_power_before() {
        let (mut disk, part, file) = disk();
        disk.make(ROOT, name("other"), 0o755, true).unwrap();
        disk.unlink(part, name("file")).unwrap();
        for part in ["other", "node"] {
            disk.forget(name(part), Loss::All).unwrap();
        }
        assert_eq!(disk.lookup(part, name("file")), Ok(file));
        assert_eq!(disk.pages(file).unwrap().read(0, 9), b"kept");
    }

    #[test]
    fn a_file_that_was_moved_is_never_nowhere() {
        for (synced, seed) in [(false, 1), (true, 1), (false, 2), (false, 3), (false, 4)] {
            let (mut disk, part, file) = disk();
            let below = disk.make(part, name("below"), 0o755, true).unwrap();
            disk.sync(part).unwrap();
            disk.rename((part, name("file")), (below, name("file"))).unwrap();
            if synced {
                disk.sync(part).unwrap();
            }
            disk.forget(name("node"), Loss::Some(seed)).unwrap();
            let places = [part, below].map(|directory| disk.lookup(directory, name("file")));
            assert!(places.contains(&Ok(file)), "{places:?}");
        }
    }

    #[test]
    fn a_failed_sync_is_counted_and_so_is_its_repetition() {
        let (mut disk, _, file) = disk();
        disk.fail(name("node")).unwrap();
        assert_eq!(disk.sync(file), Err(Errno::EIO));
        assert_eq!(disk.sync(file), Err(Errno::EIO));
        let counts = disk.counts(name("node")).unwrap();
        assert_eq!((counts.failed, counts.repeated), (2, 1));
    }

    #[test]
    fn a_sync_after_the_power_went_off_is_none() {
        let (mut disk, _, file) = disk();
        disk.pages(file).unwrap().write(0, b"lost");
        disk.power_off(name("node")).unwrap();
        assert_eq!(disk.sync(file), Err(Errno::EIO));
        assert_eq!(disk.forget(name("node"), Loss::All), Ok(Lost { pages: 1, names: 0 }));
        assert_eq!(disk.pages(file).unwrap().read(0, 9), b"kept");
        assert_eq!(disk.sync(file), Ok(()), "the power is on again");
    }

    #[test]
    fn a_lie_is_found_out_when_the_power_fails() {
        let (mut disk, _, file) = disk();
        disk.lie(name("node")).unwrap();
        disk.pages(file).unwrap().write(0, b"lost");
        assert_eq!(disk.sync(file), Ok(()));
        disk.forget(name("node"), Loss::All).unwrap();
        assert_eq!(disk.pages(file).unwrap().read(0, 9), b"kept");
    }

    #[test]
    fn a_power_failure_spares_the_other_parts_and_a_seed_repeats_itself() {
        let lost = |seed| {
            let (mut disk, _, file) = disk();
            let other = disk.make(ROOT, name("other"), 0o755, true).unwrap();
            let spared = disk.make(other, name("file"), 0o644, false).unwrap();
            disk.pages(spared).unwrap().write(0, b"spared");
            disk.pages(file).unwrap().write(0, &[1; 100 * 4096]);
            let lost = disk.forget(name("node"), Loss::Some(seed)).unwrap();
            assert_eq!(disk.pages(spared).unwrap().read(0, 9), b"spared");
            lost.pages
        };
        assert_eq!(lost(1), lost(1));
        assert!((20..80).contains(&lost(1)), "{}", lost(1));
    }
}
