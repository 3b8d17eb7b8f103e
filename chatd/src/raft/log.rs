//! The Raft log on disk: vote, entries, purge mark, commit mark, cluster id and node id, and nothing else.
//!
//! A directory of segment files, each a sequence of CRC-framed records; one thread writes, many writes share one
//! fdatasync. Why not a library: `docs/adr/0001-the-raft-log-on-disk.md`.
//!
//! # Layout, format version 1
//! Integers are little-endian. Files are called `00000000000000000001.log` and so on, by segment number, without gaps.
//! `LOCK` is locked while a process has the directory open; `*.new` is a segment whose making was cut short.
//!
//! A segment begins with a header of 48 bytes:
//!
//! | offset | size | what |
//! |---|---|---|
//! | 0 | 8 | `QRTLOG\r\n` |
//! | 8 | 4 | format version |
//! | 12 | 4 | salt, random: bytes that a client sends cannot be made to look like a record |
//! | 16 | 8 | segment number, as in the file's name |
//! | 24 | 8 | first index: of the entry that came next when the segment was made |
//! | 32 | 8 | where the records of the segment before end; 0 in the first one |
//! | 40 | 4 | zero |
//! | 44 | 4 | CRC-32 (IEEE) of bytes 0 to 43 |
//!
//! Then records, each padded with zeros to a multiple of 8 bytes:
//!
//! | offset | size | what |
//! |---|---|---|
//! | 0 | 4 | CRC-32 of salt, segment number, the record's offset (4 + 8 + 4 bytes), then of all its bytes from 4 on, padding included |
//! | 4 | 4 | length of the payload |
//! | 8 | 4 | where in the segment the write began that this record is part of |
//! | 12 | 1 | kind |
//! | 13 | 3 | zero |
//! | 16 | … | payload |
//!
//! | kind | payload (protobuf) | meaning |
//! |---|---|---|
//! | 1 state | [`format::State`] | all that is not an entry, absolute: later replaces earlier |
//! | 2 entry | `quorate.log.v1.Entry` | the next entry |
//! | 3 truncate | [`format::Truncate`] | entries after this id are gone; their indexes may come again |
//! | 4 committed | `quorate.log.v1.LogId` | only the commit mark of the state, because it comes with nearly every batch |
//!
//! A segment's first record is a state, written with its header before the file gets its name. So a segment can be
//! unlinked as soon as its entries are purged, and the first segment left tells the vote. The vote is a record here and
//! not a file of its own, because it must stay in order with entries, and because a rename costs three fsyncs in an
//! election, a record one.
//!
//! Behind the last record stand zeros: allocated when the file was made (`fallocate`), so that fdatasync need not write
//! the file's size as well, and written some MiB ahead ([`ahead`]), so that it need not say which blocks were written.
//!
//! # Torn or damaged
//! A crash may leave any part of the write that was not yet fsynced: also its end without its beginning. Such a tail is
//! cut. Damage in bytes that were once fsynced must never be cut: they hold acknowledged entries. What tells them apart is
//! the third field of a record: a write starts only after everything before it was fsynced. Therefore a valid record
//! whose write began *behind* the bad one proves that the bad one was fsynced, and so does any later segment. Then opening
//! is refused, with file, offset, expected and found. What cannot be told apart is damage in the very last write before a
//! crash; a clean stop adds one more record, so that there it can.
//!
//! Bytes that are only proven written, not fsynced, are written again at open: after a failed fsync the kernel may show
//! pages that never reached the disk.

mod ahead;
mod cache;
pub mod disk;
pub mod error;
pub mod format;
pub(crate) mod fuzzing;
mod index;
pub mod observe;
pub mod options;
mod reader;
mod recovery;
mod segment;
mod shared;
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
pub use options::{Drive, Options};
pub use reader::LogReader;
pub use recovery::{Cut, Recovery};
pub use store::{Identity, LogStore};
