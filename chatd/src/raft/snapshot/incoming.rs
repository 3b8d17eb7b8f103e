//! The directory of a snapshot that is being received.
//!
//! A transfer that breaks leaves its whole files here. The next one, of the same snapshot or of a later one of the same
//! pod, asks only for files that are not here or in the newest snapshot already.

use super::SnapshotError;
use super::files::{matches, paths};
use super::manifest::Manifest;
use super::shelf::{DATA, MANIFEST, Shelf, SnapshotData, share};
use crate::failpoint::{Point, pass};
use crate::store::{StoreError, sync_dir};
use bytes::Bytes;
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};

/// Ending of a file whose last byte is not there yet.
const PART: &str = "part";

/// See the [module](self). Its methods block on the disk.
pub(super) struct Incoming {
    dir: PathBuf,
    manifest: Manifest,
    /// Files that are still to come.
    wanted: BTreeSet<String>,
    /// The one that is coming.
    part: Option<Part>,
    received: u64,
}

struct Part {
    name: String,
    size: u64,
    crc32: u32,
    path: PathBuf,
    file: File,
    written: u64,
    hasher: crc32fast::Hasher,
}

impl Incoming {
    /// Prepares the directory: keeps what is right, takes what other snapshots here have, removes everything else.
    pub(super) fn open(shelf: &Shelf, manifest: Manifest) -> Result<Self, SnapshotError> {
        let dir = shelf.incoming().join(manifest.id());
        let data = dir.join(DATA);
        fs::create_dir_all(&data).map_err(StoreError::io("creating directory", &data))?;
        manifest.save(&dir.join(MANIFEST))?;
        let others: Vec<PathBuf> = paths(shelf.incoming())?.into_iter().filter(|other| *other != dir).collect();
        let mut sources: Vec<PathBuf> = others.iter().map(|other| other.join(DATA)).collect();
        sources.extend(shelf.newest().map(|newest| newest.data_dir()));
        let wanted = take_present(&manifest, &data, &sources)?;
        for other in others {
            fs::remove_dir_all(&other).map_err(StoreError::io("removing", &other))?;
        }
        pass(Point::IncomingPrepared);
        Ok(Self { dir, manifest, wanted, part: None, received: 0 })
    }

    /// What to ask the sender for.
    pub(super) fn wanted(&self) -> Vec<String> {
        self.wanted.iter().cloned().collect()
    }

    /// Bytes received in this transfer.
    pub(super) fn received(&self) -> u64 {
        self.received
    }

    /// The next bytes of a wanted file; files come one after the other, each from its beginning.
    pub(super) fn write(&mut self, file: &str, offset: u64, bytes: &Bytes) -> Result<(), SnapshotError> {
        let mut part = match self.part.take() {
            Some(part) if part.name == file => part,
            Some(part) => return Err(self.broken(format!("it sends {file} before the end of {}", part.name))),
            None => self.begin(file)?,
        };
        // The offset is another pod's word: whatever it is, nothing is added to it.
        let end = part.written.checked_add(bytes.len() as u64).filter(|end| *end <= part.size);
        let Some(end) = end.filter(|_| offset == part.written) else {
            let what =
                format!("{} bytes from {offset} of {file} follow {} of {}", bytes.len(), part.written, part.size);
            return Err(self.broken(what));
        };
        part.file.write_all(bytes).map_err(StoreError::io("writing", &part.path))?;
        part.hasher.update(bytes);
        part.written = end;
        self.received += bytes.len() as u64;
        if part.written == part.size {
            return self.complete(part);
        }
        self.part = Some(part);
        Ok(())
    }

    fn begin(&self, name: &str) -> Result<Part, SnapshotError> {
        let file = self.manifest.file(name).filter(|_| self.wanted.contains(name));
        let file = file.ok_or_else(|| self.broken(format!("it sends {name}, which was not asked for")))?;
        let path = self.data().join(format!("{name}.{PART}"));
        let created = File::create(&path).map_err(StoreError::io("creating", &path))?;
        let (name, size, crc32) = (file.name.clone(), file.size, file.crc32);
        Ok(Part { name, size, crc32, path, file: created, written: 0, hasher: crc32fast::Hasher::new() })
    }

    fn complete(&mut self, part: Part) -> Result<(), SnapshotError> {
        let found = part.hasher.finalize();
        if found != part.crc32 {
            // Not kept: the next transfer must not begin with it.
            fs::remove_file(&part.path).map_err(StoreError::io("removing", &part.path))?;
            let (snapshot, expected) = (self.manifest.id().to_owned(), part.crc32);
            return Err(SnapshotError::Damaged { snapshot, file: part.name, expected, found });
        }
        pass(Point::PartWritten);
        part.file.sync_all().map_err(StoreError::io("syncing", &part.path))?;
        pass(Point::PartSynced);
        let target = self.data().join(&part.name);
        fs::rename(&part.path, &target).map_err(StoreError::io("renaming into place", &target))?;
        pass(Point::PartRenamed);
        self.wanted.remove(&part.name);
        Ok(())
    }

    /// The whole snapshot, durable.
    pub(super) fn finish(self) -> Result<SnapshotData, SnapshotError> {
        if let Some(missing) = self.wanted.first() {
            return Err(self.broken(format!("it ends without {missing}")));
        }
        sync_dir(&self.data())?;
        sync_dir(&self.dir)?;
        pass(Point::SnapshotReceived);
        Ok(SnapshotData::new(self.dir, self.manifest))
    }

    fn data(&self) -> PathBuf {
        self.dir.join(DATA)
    }

    fn broken(&self, what: String) -> SnapshotError {
        SnapshotError::Protocol { snapshot: self.manifest.id().to_owned(), what }
    }
}

/// Brings `data` to hold files of the manifest only, each whole; returns those that are missing.
fn take_present(manifest: &Manifest, data: &Path, sources: &[PathBuf]) -> Result<BTreeSet<String>, SnapshotError> {
    for path in paths(data)? {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if !manifest.file(&name).is_some_and(|file| matches(&path, file)) {
            fs::remove_file(&path).map_err(StoreError::io("removing", &path))?;
        }
    }
    let mut wanted = BTreeSet::new();
    for file in manifest.files() {
        let target = data.join(&file.name);
        if target.exists() {
            continue;
        }
        let found = sources.iter().map(|source| source.join(&file.name)).find(|path| matches(path, file));
        match found {
            Some(path) => share(&path, &target)?,
            None if file.size == 0 => {
                File::create(&target).and_then(|f| f.sync_all()).map_err(StoreError::io("creating", &target))?;
            }
            None => {
                wanted.insert(file.name.clone());
            }
        }
    }
    Ok(wanted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Applied, Contents};
    use quorate_core::proto::log;

    #[test]
    fn bytes_that_are_not_the_next_ones_of_a_file_are_refused() {
        for (offset, bytes) in [(u64::MAX, &b"ab"[..]), (1, b"ab"), (0, b"too much")] {
            let dir = tempfile::tempdir().unwrap();
            let shelf = Shelf::open(dir.path()).unwrap();
            let files = vec![log::File { name: "a".into(), size: 4, crc32: 0 }];
            let contents = Contents { applied: Applied::default(), cluster_id: None };
            let mut incoming = Incoming::open(&shelf, Manifest::describe("1-a".into(), &contents, files)).unwrap();
            let refused = incoming.write("a", offset, &Bytes::from_static(bytes)).unwrap_err();
            assert!(matches!(refused, SnapshotError::Protocol { .. }), "{refused}");
            assert_eq!(incoming.received(), 0);
        }
    }
}
