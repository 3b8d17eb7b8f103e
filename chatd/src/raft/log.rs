//! The Raft log on disk: vote, entries, purge mark, commit mark, cluster id and node id, and nothing else.
//!
//! The log is a directory of segment files, each a sequence of CRC-framed records; one thread writes, and many writes
//! share one fdatasync. The reasons for not using a library are in `docs/adr/0001-the-raft-log-on-disk.md`.
//!
//! # Layout, format version 1
//! Integers are little-endian. Files are named `00000000000000000001.log` and so on, by segment number, without gaps.
//! `LOCK` is locked while a process has the directory open; `*.new` is a segment whose creation was cut short.
//!
//! A segment begins with a header of 48 bytes:
//!
//! | offset | size | content |
//! |---|---|---|
//! | 0 | 8 | `QRTLOG\r\n` |
//! | 8 | 4 | format version |
//! | 12 | 4 | salt, random: bytes that a client sends cannot be made to look like a record |
//! | 16 | 8 | segment number, as in the file name |
//! | 24 | 8 | first index: that of the entry that came next when the segment was created |
//! | 32 | 8 | offset at which the records of the previous segment end; 0 in the first segment |
//! | 40 | 4 | zero |
//! | 44 | 4 | CRC-32 (IEEE) of bytes 0 to 43 |
//!
//! Records follow, each padded with zeros to a multiple of 8 bytes:
//!
//! | offset | size | content |
//! |---|---|---|
//! | 0 | 4 | CRC-32 of salt, segment number, record offset (4 + 8 + 4 bytes), then all bytes from 4 on, with padding |
//! | 4 | 4 | length of the payload |
//! | 8 | 4 | offset in the segment at which the write began that contains this record |
//! | 12 | 1 | kind |
//! | 13 | 3 | zero |
//! | 16 | … | payload |
//!
//! | kind | payload (protobuf) | meaning |
//! |---|---|---|
//! | 1 state | [`format::StateRecord`] | everything that is not an entry, absolute: a later record replaces an earlier one |
//! | 2 entry | `quorate.log.v1.Entry` | the next entry |
//! | 3 truncate | [`format::TruncateRecord`] | entries after this id are removed; their indexes may be used again |
//! | 4 committed | `quorate.log.v1.LogId` | only the commit mark of the state, as it changes with nearly every batch |
//!
//! The first record of a segment is a state, written with the header before the file gets its name. A segment can
//! therefore be unlinked as soon as its entries are purged, and the first remaining segment holds the vote. The vote is
//! a record and not a file of its own, because it must stay in order with the entries, and because a rename costs three
//! fsyncs in an election, while a record costs one.
//!
//! The last record is followed by zeros: allocated when the file was created (`fallocate`), so that fdatasync need not
//! write the file size as well, and written some MiB ahead ([`ahead`]), so that it need not record which blocks were
//! written.
//!
//! # Torn or damaged
//! A crash may leave any part of the write that was not yet fsynced, even its end without its beginning. Such a torn
//! tail is cut off. Damage in bytes that were once fsynced must never be cut off: they hold acknowledged entries. The
//! two are distinguished by the third field of a record: a write starts only after everything before it was fsynced.
//! Therefore a valid record whose write began *behind* the bad one proves that the bad one was fsynced, and so does any
//! later segment. Opening is then refused, with the file, the offset, what was expected and what was found. Damage in
//! the very last write before a crash cannot be distinguished from a torn tail; therefore a clean stop adds one more
//! record.
//!
//! Bytes that are only proven to be written, not fsynced, are written again at open: after a failed fsync the kernel
//! may show pages that never reached the disk.

mod ahead;
mod cache;
pub mod disk;
pub mod error;
pub mod format;
#[cfg(any(test, feature = "testing"))]
pub(crate) mod fuzzing;
mod index;
pub mod observe;
pub mod options;
mod reader;
mod recovery;
mod segment;
mod shared;
#[cfg(any(test, feature = "testing"))]
pub mod sim_disk;
mod slow;
mod store;
mod writer;

#[cfg(test)]
mod tests;

pub use disk::{FsDisk, LogDisk, LogFile};
pub use error::LogError;
pub use index::LogExtent;
pub use observe::{BatchReport, LogObserver};
pub use options::LogOptions;
pub use reader::LogReader;
pub use recovery::{RecoveryReport, TornTail};
pub use store::{LogStore, StoredIdentity};
