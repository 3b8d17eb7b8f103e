//! Directory of a snapshot that is being received.
//!
//! A transfer that breaks leaves its complete files here. The next one, of the same snapshot or of a later one of the
//! same pod, requests only files that are neither here nor in the newest snapshot. These are determined from manifests:
//! a file gets its name once it is durable as a whole and has the checksum in the manifest beside it, so that tables,
//! which may be gigabytes, are not read again before the sender has its first answer.

use super::SnapshotError;
use super::files::{file_matches, sorted_paths};
use super::manifest::CheckedManifest;
use super::shelf::{DATA, MANIFEST, SnapshotData, SnapshotShelf, link_or_copy};
use crate::failpoint::{FailPoint, pass_point};
use crate::store::{StoreError, sync_dir};
use bytes::Bytes;
use quorate_core::proto::log;
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};

/// Extension of an incomplete file.
const PART: &str = "part";
/// Extension of a table of the state.
const TABLE: &str = ".sst";

/// A snapshot that is being received; see the [module](self). The methods block on the disk.
pub(super) struct IncomingSnapshot {
    dir: PathBuf,
    manifest: CheckedManifest,
    /// Files that have not arrived yet.
    wanted: BTreeSet<String>,
    /// File that is arriving.
    part: Option<PartialFile>,
    received: u64,
    /// Bytes that were read to find out which files are here already.
    reread: u64,
}

struct PartialFile {
    name: String,
    size: u64,
    crc32: u32,
    path: PathBuf,
    file: File,
    written: u64,
    hasher: crc32fast::Hasher,
}

impl IncomingSnapshot {
    /// Prepares the directory: keeps valid files, takes files that other snapshots on this pod have, removes everything
    /// else.
    pub(super) fn open(shelf: &SnapshotShelf, manifest: CheckedManifest) -> Result<Self, SnapshotError> {
        let dir = shelf.incoming().join(manifest.id());
        let data = dir.join(DATA);
        fs::create_dir_all(&data).map_err(StoreError::io("creating directory", &data))?;
        // If a transfer of the same snapshot was begun before, the names in the directory were given by this very
        // manifest.
        let begun = CheckedManifest::load(&dir.join(MANIFEST)).is_ok_and(|before| before == manifest);
        manifest.save(&dir.join(MANIFEST))?;
        let others: Vec<PathBuf> = sorted_paths(shelf.incoming())?.into_iter().filter(|other| *other != dir).collect();
        let mut sources: Vec<FileSource> = others.iter().filter_map(|other| FileSource::received(other)).collect();
        sources.extend(shelf.newest().map(|newest| FileSource::of(&newest)));
        let mut looking = FileSearch { manifest: &manifest, data: &data, reread: 0 };
        looking.keep_whole(begun)?;
        let wanted = looking.take_from(&sources)?;
        let reread = looking.reread;
        // Only now, because files were taken from them.
        for other in others {
            fs::remove_dir_all(&other).map_err(StoreError::io("removing", &other))?;
        }
        pass_point(FailPoint::IncomingPrepared);
        Ok(Self { dir, manifest, wanted, part: None, received: 0, reread })
    }

    /// Returns the files to request from the sender.
    pub(super) fn wanted(&self) -> Vec<String> {
        self.wanted.iter().cloned().collect()
    }

    /// Returns the size of the requested files, in bytes.
    pub(super) fn wanted_bytes(&self) -> u64 {
        let sizes = self.wanted.iter().filter_map(|name| self.manifest.file(name)).map(|file| file.size);
        sizes.fold(0, u64::saturating_add)
    }

    /// Returns the bytes that were read to find out which files are here already.
    pub(super) fn reread(&self) -> u64 {
        self.reread
    }

    /// Returns the bytes received in this transfer.
    pub(super) fn received(&self) -> u64 {
        self.received
    }

    /// Writes the next bytes of a requested file; files arrive one after the other, each from its beginning.
    pub(super) fn write(&mut self, file: &str, offset: u64, bytes: &Bytes) -> Result<(), SnapshotError> {
        let mut part = match self.part.take() {
            Some(part) if part.name == file => part,
            Some(part) => return Err(self.broken(format!("it sends {file} before the end of {}", part.name))),
            None => self.begin(file)?,
        };
        // The offset comes from another pod: whatever its value, nothing is added to it.
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

    fn begin(&self, name: &str) -> Result<PartialFile, SnapshotError> {
        let file = self.manifest.file(name).filter(|_| self.wanted.contains(name));
        let file = file.ok_or_else(|| self.broken(format!("it sends {name}, which was not asked for")))?;
        let path = self.data().join(format!("{name}.{PART}"));
        let created = File::create(&path).map_err(StoreError::io("creating", &path))?;
        let name = file.name.clone();
        let size = file.size;
        let crc32 = file.crc32;
        Ok(PartialFile { name, size, crc32, path, file: created, written: 0, hasher: crc32fast::Hasher::new() })
    }

    fn complete(&mut self, part: PartialFile) -> Result<(), SnapshotError> {
        let found = part.hasher.finalize();
        if found != part.crc32 {
            // The file is not kept: the next transfer must not start with it.
            fs::remove_file(&part.path).map_err(StoreError::io("removing", &part.path))?;
            let snapshot = self.manifest.id().to_owned();
            let expected = part.crc32;
            return Err(SnapshotError::Damaged { snapshot, file: part.name, expected, found });
        }
        pass_point(FailPoint::PartWritten);
        part.file.sync_all().map_err(StoreError::io("syncing", &part.path))?;
        pass_point(FailPoint::PartSynced);
        let target = self.data().join(&part.name);
        // Named after the sync: the next transfer does not read a table again that has its name.
        fs::rename(&part.path, &target).map_err(StoreError::io("renaming into place", &target))?;
        pass_point(FailPoint::PartRenamed);
        self.wanted.remove(&part.name);
        Ok(())
    }

    /// Completes the snapshot, and makes it durable.
    pub(super) fn finish(self) -> Result<SnapshotData, SnapshotError> {
        if let Some(missing) = self.wanted.first() {
            return Err(self.broken(format!("it ends without {missing}")));
        }
        sync_dir(&self.data())?;
        sync_dir(&self.dir)?;
        pass_point(FailPoint::SnapshotReceived);
        Ok(SnapshotData::new(self.dir, self.manifest))
    }

    fn data(&self) -> PathBuf {
        self.dir.join(DATA)
    }

    fn broken(&self, what: String) -> SnapshotError {
        SnapshotError::Protocol { snapshot: self.manifest.id().to_owned(), what }
    }
}

/// A directory with files of a manifest, some of which may be missing.
struct FileSource {
    data: PathBuf,
    manifest: CheckedManifest,
}

impl FileSource {
    fn of(snapshot: &SnapshotData) -> Self {
        Self { data: snapshot.data_dir(), manifest: snapshot.manifest().clone() }
    }

    /// Opens a received directory; `None` if its manifest cannot be read, as its files are then of no use.
    fn received(dir: &Path) -> Option<Self> {
        let manifest = CheckedManifest::load(&dir.join(MANIFEST)).ok()?;
        Some(Self { data: dir.join(DATA), manifest })
    }
}

/// Search for the files of the manifest on this pod.
struct FileSearch<'a> {
    manifest: &'a CheckedManifest,
    data: &'a Path,
    reread: u64,
}

impl FileSearch<'_> {
    /// Removes everything from the directory except complete files of the manifest.
    fn keep_whole(&mut self, begun: bool) -> Result<(), SnapshotError> {
        for path in sorted_paths(self.data)? {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if !self.manifest.file(&name).is_some_and(|file| self.is_whole(&path, file, begun)) {
                fs::remove_file(&path).map_err(StoreError::io("removing", &path))?;
            }
        }
        Ok(())
    }

    /// Takes files that other snapshots on this pod have; returns the missing ones.
    fn take_from(&mut self, sources: &[FileSource]) -> Result<BTreeSet<String>, SnapshotError> {
        let mut wanted = BTreeSet::new();
        for file in self.manifest.files() {
            let target = self.data.join(&file.name);
            if target.exists() {
                continue;
            }
            let listed = sources.iter().filter(|source| source.manifest.file(&file.name) == Some(file));
            let found = listed.map(|source| source.data.join(&file.name)).find(|path| self.is_whole(path, file, true));
            match found {
                Some(path) => take_file(&path, &target)?,
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

    /// Checks that a file is complete. A table that is listed in its manifest is not read, as its blocks have checksums
    /// of their own. All other files are small.
    fn is_whole(&mut self, path: &Path, file: &log::File, listed: bool) -> bool {
        if listed && file.name.ends_with(TABLE) {
            return fs::metadata(path).is_ok_and(|data| data.is_file() && data.len() == file.size);
        }
        let right = file_matches(path, file);
        self.reread = self.reread.saturating_add(file.size);
        right
    }
}

/// Takes a file from another snapshot on this pod. It gets its name only once it is complete, like a received file,
/// because linking may have to copy.
fn take_file(from: &Path, target: &Path) -> Result<(), SnapshotError> {
    let mut beside = target.as_os_str().to_owned();
    beside.push(".");
    beside.push(PART);
    let beside = PathBuf::from(beside);
    link_or_copy(from, &beside)?;
    fs::rename(&beside, target).map_err(StoreError::io("renaming into place", target))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{AppliedState, CheckpointContents};

    #[test]
    fn bytes_that_are_not_the_next_ones_of_a_file_are_refused() {
        for (offset, bytes) in [(u64::MAX, &b"ab"[..]), (1, b"ab"), (0, b"too much")] {
            let dir = tempfile::tempdir().unwrap();
            let shelf = SnapshotShelf::open(dir.path()).unwrap();
            let files = vec![log::File { name: "a".into(), size: 4, crc32: 0 }];
            let contents = CheckpointContents { applied: AppliedState::default(), cluster_id: None, format_level: 1 };
            let mut incoming =
                IncomingSnapshot::open(&shelf, CheckedManifest::describe("1-a".into(), &contents, files)).unwrap();
            let refused = incoming.write("a", offset, &Bytes::from_static(bytes)).unwrap_err();
            assert!(matches!(refused, SnapshotError::Protocol { .. }), "{refused}");
            assert_eq!(incoming.received(), 0);
        }
    }
}
