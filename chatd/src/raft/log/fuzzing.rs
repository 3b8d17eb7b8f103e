//! Fuzz targets for segments and records; see [`crate::fuzzing`]. A log that opens must open again with the same
//! result, and each of its entries must decode.

use super::disk::LogDisk as _;
use super::format::{HEADER, RecordBuffer, RecordKind, SegmentHeader, SegmentSeal, check_record, file_name};
use super::options::LogOptions;
use super::recovery::{RecoveredLog, recover_log};
use super::sim_disk::SimDisk;
use crate::raft::codec::decode_entry;
use crate::raft::threading::ThreadingModel;
use bytes::{Buf, BufMut, Bytes};
use prost::encoding::{DecodeContext, WireType};
use prost::{DecodeError, Message};
use std::sync::Arc;

/// Salt of the segments that are created here.
const SALT: u32 = 0x5eed;
/// Limit on the number of segments; more show nothing new.
const SEGMENTS: u64 = 8;

/// Opens a log of one segment with these bytes. Returns `true` if the log opens.
pub(crate) fn fuzz_segment(bytes: &[u8]) -> bool {
    let disk = SimDisk::new();
    put_segment(&disk, 1, bytes);
    drop(check_record(bytes, SegmentSeal { salt: SALT, number: 1 }, HEADER));
    open_twice(&disk)
}

/// Opens a log of records, each given as a byte of flags, a byte of length, and the payload. The two lowest bits of the
/// flags are the kind; the highest bit begins a new write, and the one below a new segment, whose first index precedes
/// the payload. Returns `true` if the log opens.
pub(crate) fn fuzz_records(bytes: &[u8]) -> bool {
    let disk = SimDisk::new();
    let mut segment = FuzzSegment::begin(1, 0, 0);
    let mut rest = bytes;
    while let Some((flags, after)) = rest.split_first() {
        let Some((len, after)) = after.split_first() else { break };
        let (mut payload, after) = after.split_at(usize::from(*len).min(after.len()));
        if flags & 0x40 != 0 && segment.number < SEGMENTS && payload.len() >= 8 {
            let next = FuzzSegment::begin(segment.number + 1, payload.get_u64_le(), segment.end());
            put_segment(&disk, segment.number, &std::mem::replace(&mut segment, next).bytes);
        }
        segment.push(*flags, payload);
        rest = after;
    }
    put_segment(&disk, segment.number, &segment.bytes);
    open_twice(&disk)
}

struct FuzzSegment {
    number: u64,
    bytes: Vec<u8>,
    /// Offset at which the write began.
    write: u32,
}

impl FuzzSegment {
    fn begin(number: u64, first_index: u64, previous_end: u64) -> Self {
        let mut bytes = Vec::new();
        SegmentHeader { salt: SALT, number, first_index, previous_end }.encode(&mut bytes);
        Self { number, bytes, write: HEADER }
    }

    fn end(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn push(&mut self, flags: u8, payload: &[u8]) {
        let Some(kind) = RecordKind::ALL.get(usize::from(flags & 0x3)) else { return };
        let offset = u32::try_from(self.bytes.len()).unwrap_or(u32::MAX);
        if flags & 0x80 != 0 {
            self.write = offset;
        }
        let mut frames = RecordBuffer::default();
        frames.begin(self.write);
        let seal = SegmentSeal { salt: SALT, number: self.number };
        frames.push_at(offset, seal, *kind, &RawPayload(payload.to_vec()));
        self.bytes.extend_from_slice(frames.bytes());
    }
}

/// A payload that need not be a valid message.
#[derive(Debug, Default)]
struct RawPayload(Vec<u8>);

impl Message for RawPayload {
    fn encode_raw(&self, into: &mut impl BufMut) {
        into.put_slice(&self.0);
    }
    fn merge_field(&mut self, _: u32, _: WireType, _: &mut impl Buf, _: DecodeContext) -> Result<(), DecodeError> {
        Ok(())
    }
    fn encoded_len(&self) -> usize {
        self.0.len()
    }
    fn clear(&mut self) {
        self.0.clear();
    }
}

fn put_segment(disk: &SimDisk, number: u64, bytes: &[u8]) {
    let file = disk.create(&file_name(number));
    assert!(file.is_ok_and(|file| file.write_at(bytes, 0).is_ok()), "this disk never fails");
}

fn fuzz_options() -> LogOptions {
    LogOptions {
        segment_bytes: 4 << 10,
        drive: ThreadingModel::Task,
        entropy: Arc::new(|| u64::from(SALT)),
        ..LogOptions::default()
    }
}

fn open_twice(disk: &SimDisk) -> bool {
    let Ok(first) = recover_log(disk, &fuzz_options()) else { return false };
    check_entries(&first);
    let second = recover_log(disk, &fuzz_options());
    assert!(second.is_ok(), "it opened before: {:?}", second.err());
    let Ok(second) = second else { return false };
    assert_eq!(second.report.cut, None, "cut twice");
    assert_eq!((&first.meta, first.next), (&second.meta, second.next));
    assert_eq!(first.memory.last, second.memory.last);
    assert_eq!(first.memory.index.bounds(), second.memory.index.bounds());
    true
}

fn check_entries(found: &RecoveredLog) {
    let Some((first, last)) = found.memory.index.bounds() else { return };
    assert!(last < found.next || last == u64::MAX);
    let (runs, _) = found.memory.index.runs(first..last, usize::MAX);
    let mut next = first;
    for run in runs {
        for slot in run.slots {
            let mut bytes = vec![0; slot.len as usize];
            let read = run.segment.file.read_at(&mut bytes, u64::from(slot.offset));
            assert!(read.is_ok(), "a slot beyond the file");
            let Ok(record) = check_record(&bytes, run.segment.seal, slot.offset) else {
                return assert_eq!(next, u64::MAX, "a slot without a record");
            };
            let payload = Bytes::from(bytes).split_off(16).split_to(record.payload);
            let entry = decode_entry(payload).map(|entry| entry.log_id.index);
            assert!(entry.is_ok_and(|index| index == next), "another entry than {next}");
            next = next.saturating_add(1);
        }
    }
}
