//! Snapshots: a checkpoint of the state with a manifest that says what it covers and which files it has.
//!
//! ```text
//! state/snapshots/ID/manifest   CRC, then quorate.log.v1.Manifest
//! state/snapshots/ID/data/      the checkpoint's files
//! state/snapshots/ID.tmp/       one that is being built
//! state/incoming/ID/            one that is being received
//! ```
//! A directory under `snapshots` without `.tmp` is complete: it got its name by the last step. The newest is kept, also
//! one that was received; an older one goes when nothing uses it any more, so that one that is being sent stays whole.

mod build;
mod files;
pub(crate) mod fuzzing;
mod incoming;
mod manifest;
mod receive;
mod send;
mod shelf;
mod turn;

#[cfg(test)]
pub(super) mod tests;

pub use build::Builder;
pub use receive::{Installer, ReceiveOptions, Receiver};
pub use send::{SendOptions, Sender};
pub use shelf::{Shelf, SnapshotData};

#[cfg(test)]
pub(crate) use manifest::VERSION as FORMAT_VERSION;

use crate::raft::codec::CodecError;
use crate::store::StoreError;

/// Why a snapshot could not be built, kept, sent or received.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The file system or the state's storage failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A manifest that is damaged, of a newer version, or not that of its files.
    #[error("a snapshot's manifest is not valid: {what}")]
    Manifest {
        /// What is wrong.
        what: String,
    },
    /// Its log id or membership.
    #[error(transparent)]
    Codec(#[from] CodecError),
    /// A file whose bytes are not those of the manifest.
    #[error("file {file} of snapshot {snapshot} is damaged: its CRC-32 is {found:08x}, not {expected:08x}")]
    Damaged {
        /// Snapshot id.
        snapshot: String,
        /// File name.
        file: String,
        /// From the manifest.
        expected: u32,
        /// Of the bytes.
        found: u32,
    },
    /// The sender broke the protocol.
    #[error("the sender of snapshot {snapshot} broke the protocol: {what}")]
    Protocol {
        /// Snapshot id.
        snapshot: String,
        /// What it did.
        what: String,
    },
}

impl SnapshotError {
    fn manifest(what: impl ToString) -> Self {
        Self::Manifest { what: what.to_string() }
    }
}
