//! Files of a checkpoint, with their sizes and checksums.

use crate::store::StoreError;
use quorate_core::proto::log;
use std::collections::HashMap;
use std::fs::{self, File};
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// Size of a read, in bytes: large enough that the disk streams, small compared with everything else in memory.
const READ_BYTES: usize = 1 << 20;

/// Returns the CRC-32 (IEEE) of a whole file.
pub(super) fn file_crc32(path: &Path) -> Result<u32, StoreError> {
    let mut hasher = crc32fast::Hasher::new();
    let mut read = || {
        let mut file = File::open(path)?;
        let mut buffer = vec![0; READ_BYTES];
        loop {
            let count = file.read(&mut buffer)?;
            match buffer.get(..count) {
                Some([]) | None => return Ok(()),
                Some(bytes) => hasher.update(bytes),
            }
        }
    };
    read().map_err(StoreError::io("reading", path))?;
    Ok(hasher.finalize())
}

/// Returns `true` if the file has this size and checksum; `false` also if it cannot be read.
pub(super) fn file_matches(path: &Path, file: &log::File) -> bool {
    let same_size = fs::metadata(path).is_ok_and(|data| data.is_file() && data.len() == file.size);
    same_size && file_crc32(path).is_ok_and(|crc| crc == file.crc32)
}

/// Checksums known from another snapshot of the same state: table files are linked and never written again, so the same
/// inode is the same content as long as that snapshot exists.
#[derive(Default)]
pub(super) struct KnownChecksums(HashMap<u64, (u64, u32)>);

impl KnownChecksums {
    /// Collects the checksums of the table files in `data`, which are listed in their manifest.
    pub(super) fn of(data: &Path, files: &[log::File]) -> Self {
        let table = |file: &&log::File| file.name.ends_with(".sst");
        let known = |file: &log::File| {
            let found = fs::metadata(data.join(&file.name)).ok()?;
            Some((found.ino(), (file.size, file.crc32)))
        };
        Self(files.iter().filter(table).filter_map(known).collect())
    }
}

/// Lists all files of a checkpoint, in order of name, and makes them durable.
pub(super) fn list_files(data: &Path, known: &KnownChecksums) -> Result<Vec<log::File>, StoreError> {
    let mut files = Vec::new();
    for path in sorted_paths(data)? {
        let name = path.file_name().and_then(|name| name.to_str());
        let name = name.ok_or_else(|| StoreError::damaged(&path, "its name is not text"))?.to_owned();
        let found = fs::metadata(&path).map_err(StoreError::io("reading", &path))?;
        let crc32 = match known.0.get(&found.ino()) {
            Some(&(size, crc32)) if size == found.len() => crc32,
            _ => {
                File::open(&path).and_then(|file| file.sync_all()).map_err(StoreError::io("syncing", &path))?;
                file_crc32(&path)?
            }
        };
        files.push(log::File { name, size: found.len(), crc32 });
    }
    Ok(files)
}

/// Lists the entries of a directory, in order of name.
pub(super) fn sorted_paths(dir: &Path) -> Result<Vec<PathBuf>, StoreError> {
    let list = || fs::read_dir(dir)?.map(|entry| Ok(entry?.path())).collect::<std::io::Result<Vec<_>>>();
    let mut paths = list().map_err(StoreError::io("listing", dir))?;
    paths.sort();
    Ok(paths)
}
