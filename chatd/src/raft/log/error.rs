//! Errors of the log.

use super::segment::is_full;
use std::io;
use std::sync::Arc;
use std::time::Duration;

/// Error of opening, reading or writing the log.
#[derive(Debug, Clone, thiserror::Error)]
pub enum LogError {
    /// The file system refused an operation. After a failed write or fsync the log writes nothing more: a repeated
    /// fsync may succeed without the data being on disk.
    #[error("cannot {action} {file}: {source}")]
    Io {
        /// Operation that was tried, such as "sync".
        action: &'static str,
        /// Name of the file.
        file: String,
        /// Error of the operating system.
        #[source]
        source: Arc<io::Error>,
    },
    /// The volume is full.
    #[error(
        "no space left on the volume to {action} {file}: enlarge the volume, or remove other data from it, then restart"
    )]
    NoSpace {
        /// Operation that was tried.
        action: &'static str,
        /// Name of the file.
        file: String,
    },
    /// Bytes that were once safely written are lost or changed.
    #[error(
        "{file} is damaged at offset {offset}: expected {expected}, found {found}. Acknowledged entries may be lost on this \
         volume: restore it, or remove this member and let it join again with an empty volume"
    )]
    Damaged {
        /// Name of the segment file.
        file: String,
        /// Offset in the file, in bytes.
        offset: u64,
        /// Content that was expected there.
        expected: String,
        /// Content that was found there.
        found: String,
    },
    /// The log was written by another version of the program.
    #[error("{file} has log format {found}, but this program reads format {supported}: run the version that wrote it")]
    Version {
        /// Name of the segment file.
        file: String,
        /// Format version of the file.
        found: u32,
        /// Format version that this program reads.
        supported: u32,
    },
    /// Another process has the directory open.
    #[error("{directory} is in use by another process; gave up after {} s", waited.as_secs())]
    Busy {
        /// Path of the directory.
        directory: String,
        /// Time for which this process waited.
        waited: Duration,
    },
    /// The volume belongs to another cluster.
    #[error("this volume belongs to cluster {own}, not to {other}")]
    ForeignCluster {
        /// Cluster to which the volume belongs.
        own: String,
        /// Cluster id that was requested.
        other: String,
    },
    /// An entry does not follow the last one, or a truncation is below what was purged.
    #[error("the log continues at index {expected}, not at {found}")]
    Hole {
        /// Index that comes next.
        expected: u64,
        /// Index that was given.
        found: u64,
    },
    /// An entry is larger than a record may be.
    #[error("an entry of {bytes} bytes exceeds the limit of {limit} bytes")]
    TooLarge {
        /// Size of the entry, in bytes.
        bytes: usize,
        /// Largest allowed size, in bytes.
        limit: usize,
    },
    /// The log was closed.
    #[error("the log is closed")]
    Closed,
}

impl LogError {
    pub(crate) fn io(action: &'static str, file: &str, source: io::Error) -> Self {
        if is_full(&source) {
            return Self::NoSpace { action, file: file.to_owned() };
        }
        Self::Io { action, file: file.to_owned(), source: Arc::new(source) }
    }

    /// Converts the error for openraft, whose storage traits use `io::Error`; the kind is kept.
    #[must_use]
    pub fn to_io(&self) -> io::Error {
        let kind = match self {
            Self::Io { source, .. } => source.kind(),
            Self::NoSpace { .. } => io::ErrorKind::StorageFull,
            Self::Damaged { .. } | Self::Version { .. } => io::ErrorKind::InvalidData,
            Self::Busy { .. } => io::ErrorKind::ResourceBusy,
            Self::ForeignCluster { .. } | Self::Hole { .. } | Self::TooLarge { .. } => io::ErrorKind::InvalidInput,
            Self::Closed => io::ErrorKind::BrokenPipe,
        };
        io::Error::new(kind, self.clone())
    }
}
