//! The names in one directory: as they are read now, and as they would be after a power failure.

use crate::inode::Ino;
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};

/// One change of names that is not durable yet. A rename within a directory is one change: no file system leaves it half
/// done.
#[derive(Debug)]
enum Change {
    Link(OsString, Ino),
    Unlink(OsString),
    Rename(OsString, OsString, Ino),
    /// A name went to another directory, which must be synced with this one.
    MovedTo(Ino),
}

/// See the [module](self).
#[derive(Debug, Default)]
pub struct Directory {
    now: BTreeMap<OsString, Ino>,
    durable: BTreeMap<OsString, Ino>,
    pending: Vec<Change>,
}

impl Directory {
    /// What has this name.
    #[must_use]
    pub fn get(&self, name: &OsStr) -> Option<Ino> {
        self.now.get(name).copied()
    }

    /// All names in order.
    pub fn iter(&self) -> impl Iterator<Item = (&OsString, Ino)> {
        self.now.iter().map(|(name, ino)| (name, *ino))
    }

    /// Whether it has no names.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.now.is_empty()
    }

    /// Gives a name; what had it before loses it.
    pub fn link(&mut self, name: &OsStr, ino: Ino) {
        self.now.insert(name.to_owned(), ino);
        self.pending.push(Change::Link(name.to_owned(), ino));
    }

    /// Takes a name away.
    pub fn unlink(&mut self, name: &OsStr) {
        self.now.remove(name);
        self.pending.push(Change::Unlink(name.to_owned()));
    }

    /// Gives another name within this directory.
    pub fn rename(&mut self, from: &OsStr, to: &OsStr, ino: Ino) {
        self.now.remove(from);
        self.now.insert(to.to_owned(), ino);
        self.pending.push(Change::Rename(from.to_owned(), to.to_owned(), ino));
    }

    /// Takes a name away that was given in the directory `to` just before.
    pub fn moved(&mut self, name: &OsStr, to: Ino) {
        self.now.remove(name);
        self.pending.push(Change::MovedTo(to));
    }

    /// Makes all names durable. Gives the directories that must be synced with it: no file system loses a file because
    /// it was moved.
    pub fn sync(&mut self) -> Vec<Ino> {
        self.durable.clone_from(&self.now);
        let moved = |change| if let Change::MovedTo(to) = change { Some(to) } else { None };
        self.pending.drain(..).filter_map(moved).collect()
    }

    /// How many changes are not durable.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.pending.len()
    }

    /// The power fails; of the changes that were not durable, the first `survived` had been written all the same. Gives
    /// how many had not.
    pub fn forget(&mut self, survived: usize) -> u64 {
        let lost = self.pending.len().saturating_sub(survived);
        for change in self.pending.drain(..).take(survived) {
            match change {
                Change::Link(name, ino) => drop(self.durable.insert(name, ino)),
                Change::Unlink(name) => drop(self.durable.remove(&name)),
                Change::Rename(from, to, ino) => {
                    self.durable.remove(&from);
                    self.durable.insert(to, ino);
                }
                // Its other half may not have survived; then it would be nowhere.
                Change::MovedTo(..) => {}
            }
        }
        self.now.clone_from(&self.durable);
        lost as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(directory: &Directory) -> Vec<&str> {
        directory.iter().map(|(name, _)| name.to_str().unwrap()).collect()
    }

    #[test]
    fn a_name_is_durable_only_when_the_directory_was_synced() {
        let mut directory = Directory::default();
        directory.link(OsStr::new("a"), 2);
        directory.sync();
        directory.link(OsStr::new("b"), 3);
        directory.unlink(OsStr::new("a"));
        assert_eq!(names(&directory), ["b"]);
        assert_eq!(directory.forget(0), 2);
        assert_eq!(names(&directory), ["a"]);
    }

    #[test]
    fn a_rename_is_done_or_not_done() {
        for (survived, expected) in [(0, "a.tmp"), (1, "a")] {
            let mut directory = Directory::default();
            directory.link(OsStr::new("a.tmp"), 2);
            directory.sync();
            directory.rename(OsStr::new("a.tmp"), OsStr::new("a"), 2);
            directory.forget(survived);
            assert_eq!(names(&directory), [expected]);
        }
    }
}
