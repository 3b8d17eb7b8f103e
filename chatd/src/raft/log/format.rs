//! Encoding of segments and records; the layout is described at the top of [`super`].

use super::options::MAX_RECORD;
use crate::raft::codec::{log_id_from_pb, log_id_to_pb};
use crate::raft::types::{LeaderId, LogId, Vote};
use prost::Message;
use quorate_core::proto::log as pb;
use std::fmt;

/// Version of the layout. A change of it needs code that still reads the older ones.
pub const VERSION: u32 = 1;
/// First bytes of a segment. The line break exposes a transfer in text mode.
pub const MAGIC: [u8; 8] = *b"QRTLOG\r\n";
/// Size of a segment header, in bytes.
pub const HEADER: u32 = 48;
/// Size of the header before a record's payload, in bytes.
pub const RECORD_HEADER: usize = 16;
/// Alignment of records in a segment, in bytes.
pub const ALIGN: usize = 8;

const CRC_AT: usize = 44;

/// State of the log that is not an entry.
#[derive(Clone, PartialEq, Message)]
pub struct StateRecord {
    /// Identifier of this node, set from the first segment on.
    #[prost(uint64, tag = "1")]
    pub node_id: u64,
    /// Identifier of the cluster; empty while unknown.
    #[prost(string, tag = "2")]
    pub cluster_id: String,
    /// Last vote that this node saved.
    #[prost(message, optional, tag = "3")]
    pub vote: Option<SavedVote>,
    /// Log id of the last purged entry.
    #[prost(message, optional, tag = "4")]
    pub purged: Option<pb::LogId>,
    /// Log id of the last entry known to be committed.
    #[prost(message, optional, tag = "5")]
    pub committed: Option<pb::LogId>,
}

/// A vote, as it is saved.
#[derive(Clone, PartialEq, Message)]
pub struct SavedVote {
    /// Term of the vote.
    #[prost(uint64, tag = "1")]
    pub term: u64,
    /// Node that the vote is for.
    #[prost(uint64, tag = "2")]
    pub node_id: u64,
    /// `true` if a majority has granted the vote.
    #[prost(bool, tag = "3")]
    pub committed: bool,
}

/// Removal of all entries after a given one.
#[derive(Clone, PartialEq, Message)]
pub struct TruncateRecord {
    /// Last entry that stays; `None` if none does.
    #[prost(message, optional, tag = "1")]
    pub after: Option<pb::LogId>,
}

/// [`StateRecord`] in the types of Raft.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct LogMeta {
    pub(crate) node_id: u64,
    pub(crate) cluster_id: Option<String>,
    pub(crate) vote: Option<Vote>,
    pub(crate) purged: Option<LogId>,
    pub(crate) committed: Option<LogId>,
}

impl LogMeta {
    pub(crate) fn to_message(&self) -> StateRecord {
        StateRecord {
            node_id: self.node_id,
            cluster_id: self.cluster_id.clone().unwrap_or_default(),
            vote: self.vote.map(|vote| SavedVote {
                term: vote.leader_id.term,
                node_id: vote.leader_id.node_id,
                committed: vote.committed,
            }),
            purged: self.purged.as_ref().map(log_id_to_pb),
            committed: self.committed.as_ref().map(log_id_to_pb),
        }
    }

    pub(crate) fn from_message(state: StateRecord) -> Self {
        Self {
            node_id: state.node_id,
            cluster_id: (!state.cluster_id.is_empty()).then_some(state.cluster_id),
            vote: state.vote.map(|vote| Vote {
                leader_id: LeaderId { term: vote.term, node_id: vote.node_id },
                committed: vote.committed,
            }),
            purged: state.purged.as_ref().map(log_id_from_pb),
            committed: state.committed.as_ref().map(log_id_from_pb),
        }
    }
}

/// Kind of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum RecordKind {
    State = 1,
    Entry = 2,
    Truncate = 3,
    Committed = 4,
}

impl RecordKind {
    pub(crate) const ALL: [Self; 4] = [Self::State, Self::Entry, Self::Truncate, Self::Committed];

    fn of(byte: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| *kind as u8 == byte)
    }
}

/// Expected and found content, for a message about damage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FormatMismatch {
    pub(crate) expected: String,
    pub(crate) found: String,
}

impl FormatMismatch {
    pub(crate) fn new(expected: impl Into<String>, found: impl Into<String>) -> Self {
        Self { expected: expected.into(), found: found.into() }
    }
}

impl fmt::Display for FormatMismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "expected {}, found {}", self.expected, self.found)
    }
}

/// Reason why a header is refused.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum HeaderError {
    Version(u32),
    Bad(FormatMismatch),
}

/// Header of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    pub(crate) salt: u32,
    pub(crate) number: u64,
    pub(crate) first_index: u64,
    pub(crate) previous_end: u64,
}

impl SegmentHeader {
    pub(crate) fn encode(&self, into: &mut Vec<u8>) {
        let start = into.len();
        into.extend_from_slice(&MAGIC);
        into.extend_from_slice(&VERSION.to_le_bytes());
        into.extend_from_slice(&self.salt.to_le_bytes());
        into.extend_from_slice(&self.number.to_le_bytes());
        into.extend_from_slice(&self.first_index.to_le_bytes());
        into.extend_from_slice(&self.previous_end.to_le_bytes());
        into.extend_from_slice(&[0; 4]);
        let crc = crc32fast::hash(into.get(start..).unwrap_or_default());
        into.extend_from_slice(&crc.to_le_bytes());
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, HeaderError> {
        let Some(header) = bytes.get(..HEADER as usize) else {
            let found = format!("{} bytes", bytes.len());
            return Err(HeaderError::Bad(FormatMismatch::new("a segment header of 48 bytes", found)));
        };
        if header.get(..8) != Some(&MAGIC) {
            let found = format!("{:?}", header.get(..8).unwrap_or_default());
            return Err(HeaderError::Bad(FormatMismatch::new("the first bytes of a log segment", found)));
        }
        let version = u32_at(header, 8);
        if version != VERSION {
            return Err(HeaderError::Version(version));
        }
        let expected = crc32fast::hash(header.get(..CRC_AT).unwrap_or_default());
        let found = u32_at(header, CRC_AT);
        if expected != found {
            return Err(HeaderError::Bad(checksum_mismatch("header", expected, found)));
        }
        Ok(Self {
            salt: u32_at(header, 12),
            number: u64_at(header, 16),
            first_index: u64_at(header, 24),
            previous_end: u64_at(header, 32),
        })
    }
}

/// Contribution of a segment to each checksum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SegmentSeal {
    pub(crate) salt: u32,
    pub(crate) number: u64,
}

impl SegmentSeal {
    fn checksum(self, offset: u32, bytes: &[u8]) -> u32 {
        let mut prefix = [0; 16];
        let (salt, rest) = prefix.split_at_mut(4);
        salt.copy_from_slice(&self.salt.to_le_bytes());
        let (number, place) = rest.split_at_mut(8);
        number.copy_from_slice(&self.number.to_le_bytes());
        place.copy_from_slice(&offset.to_le_bytes());
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(&prefix);
        hasher.update(bytes);
        hasher.finalize()
    }
}

/// Position of a record in its segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RecordSlot {
    pub(crate) offset: u32,
    /// Length with header and padding, in bytes.
    pub(crate) len: u32,
}

impl RecordSlot {
    pub(crate) fn end(self) -> u64 {
        u64::from(self.offset) + u64::from(self.len)
    }
}

/// Records of one write, which begins at `start` of a segment.
#[derive(Debug, Default)]
pub(crate) struct RecordBuffer {
    bytes: Vec<u8>,
    start: u32,
    records: usize,
}

impl RecordBuffer {
    /// Clears the records, for a write at `start`; the memory is kept.
    pub(crate) fn begin(&mut self, start: u32) {
        self.bytes.clear();
        self.start = start;
        self.records = 0;
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(crate) fn records(&self) -> usize {
        self.records
    }

    pub(crate) fn push(&mut self, seal: SegmentSeal, kind: RecordKind, payload: &impl Message) -> RecordSlot {
        let offset = self.start.saturating_add(narrow_len(self.bytes.len()));
        self.push_at(offset, seal, kind, payload)
    }

    /// Adds a record at `offset`; [`Self::push`] derives the offset from the beginning of the write.
    pub(super) fn push_at(
        &mut self,
        offset: u32,
        seal: SegmentSeal,
        kind: RecordKind,
        payload: &impl Message,
    ) -> RecordSlot {
        let at = self.bytes.len();
        let len = payload.encoded_len();
        self.bytes.extend_from_slice(&[0; 4]);
        self.bytes.extend_from_slice(&narrow_len(len).to_le_bytes());
        self.bytes.extend_from_slice(&self.start.to_le_bytes());
        self.bytes.extend_from_slice(&[kind as u8, 0, 0, 0]);
        // Only a full buffer fails, and a Vec grows.
        let _ = payload.encode(&mut self.bytes);
        self.bytes.resize(at.saturating_add(framed_len(len)), 0);
        let crc = seal.checksum(offset, self.bytes.get(at.saturating_add(4)..).unwrap_or_default());
        if let Some(place) = self.bytes.get_mut(at..at.saturating_add(4)) {
            place.copy_from_slice(&crc.to_le_bytes());
        }
        self.records = self.records.saturating_add(1);
        RecordSlot { offset, len: narrow_len(self.bytes.len().saturating_sub(at)) }
    }
}

/// Returns the size of a payload of this length with header and padding, in bytes.
pub(crate) fn framed_len(payload: usize) -> usize {
    payload.saturating_add(RECORD_HEADER).next_multiple_of(ALIGN)
}

/// A record whose header and checksum are valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CheckedRecord {
    pub(crate) slot: RecordSlot,
    pub(crate) kind: RecordKind,
    /// Offset at which the write began that contains this record.
    pub(crate) write: u32,
    pub(crate) payload: usize,
}

/// Checks the record at the beginning of `bytes`, which are at `offset` of the segment.
pub(crate) fn check_record(bytes: &[u8], seal: SegmentSeal, offset: u32) -> Result<CheckedRecord, FormatMismatch> {
    let Some(header) = bytes.get(..RECORD_HEADER) else {
        return Err(FormatMismatch::new("a record header of 16 bytes", format!("{} bytes", bytes.len())));
    };
    let payload = u32_at(header, 4) as usize;
    let write = u32_at(header, 8);
    let kind = u32_at(header, 12);
    let Some(kind) = u8::try_from(kind).ok().and_then(RecordKind::of) else {
        return Err(FormatMismatch::new("a record of kind 1 to 4", format!("kind {kind}")));
    };
    if write > offset || write < HEADER {
        return Err(FormatMismatch::new(
            format!("a write that began at or before {offset}"),
            format!("one at {write}"),
        ));
    }
    if payload > MAX_RECORD {
        return Err(FormatMismatch::new(format!("a record of at most {MAX_RECORD} bytes"), format!("{payload} bytes")));
    }
    let len = framed_len(payload);
    let Some(whole) = bytes.get(..len) else {
        return Err(FormatMismatch::new(format!("a record of {len} bytes"), format!("{} bytes left", bytes.len())));
    };
    let expected = seal.checksum(offset, whole.get(4..).unwrap_or_default());
    let found = u32_at(header, 0);
    if expected != found {
        return Err(checksum_mismatch("record", expected, found));
    }
    Ok(CheckedRecord { slot: RecordSlot { offset, len: narrow_len(len) }, kind, write, payload })
}

fn checksum_mismatch(what: &str, expected: u32, found: u32) -> FormatMismatch {
    FormatMismatch::new(format!("{what} checksum {expected:#010x}"), format!("{found:#010x}"))
}

/// Returns the file name of a segment.
pub(crate) fn file_name(number: u64) -> String {
    format!("{number:020}.log")
}

/// Returns the number in the file name of a segment; `None` if it is not such a name.
pub(crate) fn file_number(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(".log").filter(|digits| digits.len() == 20)?;
    digits.parse().ok()
}

/// Converts a length in a segment to 32 bits, which always fit: a record is at most [`MAX_RECORD`], and the writer
/// bounds a segment.
fn narrow_len(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let word = bytes.get(at..).and_then(|rest| rest.first_chunk::<4>());
    word.map_or(0, |word| u32::from_le_bytes(*word))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let word = bytes.get(at..).and_then(|rest| rest.first_chunk::<8>());
    word.map_or(0, |word| u64::from_le_bytes(*word))
}
