//! Snapshots: each is a checkpoint of the state, with a manifest that says what it covers and lists its files.
//!
//! ```text
//! state/snapshots/ID/manifest   CRC, then quorate.log.v1.Manifest
//! state/snapshots/ID/data/      files of the checkpoint
//! state/snapshots/ID.tmp/       a snapshot that is being built
//! state/incoming/ID/            a snapshot that is being received
//! ```
//! A directory under `snapshots` without `.tmp` is complete: it got its name in the last step. The newest snapshot is
//! kept, even if it was received; an older one is removed once nothing uses it, so that one that is being sent stays
//! whole.

mod build;
mod files;
#[cfg(any(test, feature = "testing"))]
pub(crate) mod fuzzing;
mod incoming;
mod manifest;
mod receive;
mod send;
mod shelf;
mod turn;

#[cfg(test)]
pub(super) mod tests;

pub use build::SnapshotBuilder;
pub use receive::{ReceiveOptions, SnapshotInstaller, SnapshotReceiver};
pub use send::{SendOptions, SnapshotSender};
pub use shelf::{SnapshotData, SnapshotShelf};

#[cfg(test)]
pub(crate) use manifest::VERSION as FORMAT_VERSION;

use crate::raft::codec::CodecError;
use crate::raft::types::TypeConfig;
use crate::store::StoreError;

/// Snapshot as openraft passes it around.
pub type RaftSnapshot = openraft::type_config::alias::SnapshotOf<TypeConfig, SnapshotData>;

/// Error of building, keeping, sending or receiving a snapshot.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The file system or the state's storage failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The manifest is damaged, of a newer version, or does not match its files.
    #[error("the manifest of a snapshot is not valid: {what}")]
    Manifest {
        /// Description of the problem.
        what: String,
    },
    /// The log id or the membership in the manifest cannot be read.
    #[error(transparent)]
    Codec(#[from] CodecError),
    /// A file differs from its description in the manifest.
    #[error("file {file} of snapshot {snapshot} is damaged: its CRC-32 is {found:08x}, not {expected:08x}")]
    Damaged {
        /// Identifier of the snapshot.
        snapshot: String,
        /// Name of the file.
        file: String,
        /// CRC-32 from the manifest.
        expected: u32,
        /// CRC-32 of the bytes.
        found: u32,
    },
    /// The sender broke the protocol.
    #[error("the sender of snapshot {snapshot} broke the protocol: {what}")]
    Protocol {
        /// Identifier of the snapshot.
        snapshot: String,
        /// Description of what the sender did.
        what: String,
    },
}

impl SnapshotError {
    fn manifest(what: impl ToString) -> Self {
        Self::Manifest { what: what.to_string() }
    }
}
