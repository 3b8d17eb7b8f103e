//! The file system, as far as the log needs it, as traits: the same log runs on a real disk and on one that crashes on
//! command ([`super::sim_disk::SimDisk`]).

use super::ahead::ZeroFill;
use std::fmt;
use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Lock on a directory, held until dropped.
pub trait DirLock: Send + Sync {}

/// One directory. Names are plain file names in it. Methods fail with the errors of the file system.
pub trait LogDisk: Send + Sync + 'static {
    /// Returns the name of the directory, for messages.
    fn name(&self) -> String;
    /// Lists all file names.
    fn list(&self) -> io::Result<Vec<String>>;
    /// Creates a file, or empties it.
    fn create(&self, name: &str) -> io::Result<Arc<dyn LogFile>>;
    /// Opens a file for reading and writing.
    fn open(&self, name: &str) -> io::Result<Arc<dyn LogFile>>;
    /// Renames a file; the new name survives a crash after [`LogDisk::sync`].
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Unlinks a file; open files stay readable.
    fn remove(&self, name: &str) -> io::Result<()>;
    /// Makes file names durable.
    fn sync(&self) -> io::Result<()>;
    /// Takes the lock of the directory for this process; `None` if another process has it.
    fn try_lock(&self) -> io::Result<Option<Box<dyn DirLock>>>;
    /// Returns the time that the next batch takes, for disks whose calls take none:
    /// [`ThreadingModel::Task`](crate::raft::threading::ThreadingModel::Task) waits for it.
    fn latency(&self) -> Duration {
        Duration::ZERO
    }
}

/// One file. Writers give offsets; there is no cursor. Methods fail with the errors of the file system.
pub trait LogFile: Send + Sync + 'static {
    /// Returns the length in bytes.
    fn size(&self) -> io::Result<u64>;
    /// Fills `into` from `offset` on.
    ///
    /// # Errors
    /// Those of the file system; `UnexpectedEof` if there are fewer bytes.
    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<()>;
    /// Writes all of `bytes` at `offset`.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// Truncates or extends the file.
    fn set_len(&self, len: u64) -> io::Result<()>;
    /// Reserves space up to `len` and makes the file that long, filled with zeros. Bytes from `from` on are not needed.
    fn allocate(&self, from: u64, len: u64) -> io::Result<()>;
    /// Makes contents durable, and the length as far as it is needed to read them (fdatasync).
    fn sync_data(&self) -> io::Result<()>;
    /// Makes contents and length durable (fsync).
    fn sync_all(&self) -> io::Result<()>;
}

/// A directory of the file system.
#[derive(Debug)]
pub struct FsDisk {
    directory: PathBuf,
}

impl FsDisk {
    /// Opens the directory, and creates it if it does not exist.
    ///
    /// # Errors
    /// If the directory cannot be created.
    pub fn new(directory: &Path) -> io::Result<Self> {
        std::fs::create_dir_all(directory)?;
        if let Some(parent) = directory.parent().filter(|p| !p.as_os_str().is_empty()) {
            // The directory itself must survive a crash, too.
            File::open(parent)?.sync_all()?;
        }
        Ok(Self { directory: directory.to_owned() })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }
}

#[derive(Debug)]
struct FsFile {
    file: File,
    ahead: ZeroFill,
}

impl FsFile {
    fn opened(file: File) -> Arc<dyn LogFile> {
        Arc::new(Self { file, ahead: ZeroFill::default() })
    }
}

struct FsLock(#[expect(dead_code, reason = "the lock lives as long as its open file")] File);

impl DirLock for FsLock {}

impl LogDisk for FsDisk {
    fn name(&self) -> String {
        self.directory.display().to_string()
    }

    fn list(&self) -> io::Result<Vec<String>> {
        std::fs::read_dir(&self.directory)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn LogFile>> {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(self.path(name))?;
        Ok(FsFile::opened(file))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn LogFile>> {
        Ok(FsFile::opened(OpenOptions::new().read(true).write(true).open(self.path(name))?))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        std::fs::rename(self.path(from), self.path(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        std::fs::remove_file(self.path(name))
    }

    fn sync(&self) -> io::Result<()> {
        File::open(&self.directory)?.sync_all()
    }

    fn try_lock(&self) -> io::Result<Option<Box<dyn DirLock>>> {
        let file = OpenOptions::new().write(true).create(true).truncate(false).open(self.path("LOCK"))?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Box::new(FsLock(file)))),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }
}

impl LogFile for FsFile {
    fn size(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<()> {
        self.file.read_exact_at(into, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.file.write_all_at(bytes, offset)?;
        self.ahead.keep(&self.file, offset.saturating_add(bytes.len() as u64))
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.ahead.end();
        self.file.set_len(len)
    }

    fn allocate(&self, from: u64, len: u64) -> io::Result<()> {
        match fs4::FileExt::allocate(&self.file, len) {
            // Space may then run out at a later write, which stops the process as well.
            Err(error) if error.kind() == io::ErrorKind::Unsupported => self.file.set_len(len),
            result => result,
        }?;
        self.ahead.begin(&self.file, from, len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn sync_all(&self) -> io::Result<()> {
        self.file.sync_all()
    }
}

impl fmt::Debug for dyn LogDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name())
    }
}
