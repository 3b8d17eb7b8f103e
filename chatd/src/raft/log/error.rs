//! What can go wrong with the log.

use super::segment::is_full;
use std::io;
use std::sync::Arc;
use std::time::Duration;

/// Why the log cannot be opened, read or written.
#[derive(Debug, Clone, thiserror::Error)]
pub enum LogError {
    /// The file system refused. After a failed write or fsync the log writes nothing more: an fsync that is tried again
    /// may succeed without the data being on disk.
    #[error("cannot {action} {file}: {source}")]
    Io {
        /// What was tried, such as "sync".
        action: &'static str,
        /// On which file.
        file: String,
        /// What the operating system said.
        #[source]
        source: Arc<io::Error>,
    },
    /// The volume is full.
    #[error(
        "no space left on the volume to {action} {file}: grow the volume, or remove other data from it, then restart"
    )]
    NoSpace {
        /// What was tried.
        action: &'static str,
        /// On which file.
        file: String,
    },
    /// Bytes that were once safely written are not there any more.
    #[error(
        "{file} is damaged at offset {offset}: expected {expected}, found {found}. Acknowledged entries may be lost on this \
         volume: restore it, or remove this member and let it join again with an empty volume"
    )]
    Damaged {
        /// The segment's file name.
        file: String,
        /// Offset in it, in bytes.
        offset: u64,
        /// What should be there.
        expected: String,
        /// What is.
        found: String,
    },
    /// Written by another version of the program.
    #[error("{file} has log format {found}, this program reads format {supported}: run the version that wrote it")]
    Version {
        /// The segment's file name.
        file: String,
        /// Its version.
        found: u32,
        /// Ours.
        supported: u32,
    },
    /// Another process has the directory open.
    #[error("{directory} is in use by another process; gave up after {} s", waited.as_secs())]
    Busy {
        /// Which directory.
        directory: String,
        /// How long it was waited for.
        waited: Duration,
    },
    /// The volume belongs to another cluster.
    #[error("this volume belongs to cluster {own}, not to {other}")]
    ForeignCluster {
        /// Whose it is.
        own: String,
        /// Who asked.
        other: String,
    },
    /// An entry that does not follow the last one, or a truncation below what was purged.
    #[error("the log goes on at index {expected}, not at {found}")]
    Hole {
        /// Index that comes next.
        expected: u64,
        /// Index given.
        found: u64,
    },
    /// An entry beyond what a record may hold.
    #[error("an entry of {bytes} bytes exceeds the limit of {limit} bytes")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The limit.
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

    /// For openraft, whose storage traits speak `io::Error`; the kind is kept.
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
