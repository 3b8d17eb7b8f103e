//! Reads the records of one segment.

use super::TornTail;
use crate::raft::log::error::LogError;
use crate::raft::log::format::{ALIGN, CheckedRecord, FormatMismatch, HEADER, RECORD_HEADER, RecordKind, check_record};
use crate::raft::log::index::SegmentFile;
use bytes::Bytes;

/// End of a segment.
#[derive(Debug, Clone, Default)]
pub(super) enum SegmentTail {
    /// Zeros, or the end of the file, follow the last record.
    #[default]
    Clean,
    /// Something that is not a record follows the last record.
    Bad(FormatMismatch),
}

/// Extent of the valid records in a segment.
#[derive(Debug, Clone, Default)]
pub(super) struct SegmentScan {
    /// End of the last valid record.
    pub(super) end: u32,
    /// Offset up to which everything was fsynced, as it was followed by another write.
    pub(super) proven: u32,
    pub(super) tail: SegmentTail,
}

pub(super) fn damage_error(file: &str, offset: u64, mismatch: &FormatMismatch) -> LogError {
    LogError::Damaged {
        file: file.to_owned(),
        offset,
        expected: mismatch.expected.clone(),
        found: mismatch.found.clone(),
    }
}

/// Passes all valid records to `visit`, up to the first that is not valid.
pub(super) fn scan_segment(
    file: &SegmentFile,
    bytes: &Bytes,
    mut visit: impl FnMut(&CheckedRecord, Bytes) -> Result<(), LogError>,
) -> Result<SegmentScan, LogError> {
    let mut scan = SegmentScan { end: HEADER, proven: HEADER, tail: SegmentTail::Clean };
    loop {
        let rest = bytes.get(scan.end as usize..).unwrap_or_default();
        if is_zero(rest.get(..RECORD_HEADER).unwrap_or(rest)) {
            if !is_zero(rest) {
                scan.tail = SegmentTail::Bad(FormatMismatch::new("a record", "zeros followed by other bytes"));
            }
            break;
        }
        match check_record(rest, file.seal, scan.end) {
            Ok(record) => {
                let start = (scan.end as usize).saturating_add(RECORD_HEADER);
                visit(&record, bytes.slice(start..start.saturating_add(record.payload)))?;
                scan.proven = scan.proven.max(record.write);
                scan.end = scan.end.saturating_add(record.slot.len);
                if scan.proven == HEADER {
                    // The first state was fsynced before the file got its name.
                    scan.proven = scan.end;
                }
            }
            Err(mismatch) => {
                scan.tail = SegmentTail::Bad(mismatch);
                break;
            }
        }
    }
    first_record_is_there(file, &scan)?;
    Ok(scan)
}

fn first_record_is_there(file: &SegmentFile, scan: &SegmentScan) -> Result<(), LogError> {
    if scan.end > HEADER {
        return Ok(());
    }
    let mismatch = match &scan.tail {
        SegmentTail::Bad(mismatch) => mismatch.clone(),
        SegmentTail::Clean => FormatMismatch::new("the state record that each segment begins with", "nothing"),
    };
    Err(damage_error(&file.name, u64::from(HEADER), &mismatch))
}

/// Returns the torn tail that is to be cut off the last segment, or an error if the tail is damage.
pub(super) fn find_torn_tail(
    file: &SegmentFile,
    bytes: &Bytes,
    scan: &SegmentScan,
) -> Result<Option<TornTail>, LogError> {
    let SegmentTail::Bad(mismatch) = &scan.tail else { return Ok(None) };
    if let Some(record) = proof_behind(file, bytes, scan.end) {
        let found = format!(
            "{}, though a later write at offset {}, with a valid record at {}, shows that it was once synced",
            mismatch.found, record.write, record.slot.offset
        );
        let mismatch = FormatMismatch::new(mismatch.expected.clone(), found);
        return Err(damage_error(&file.name, u64::from(scan.end), &mismatch));
    }
    let used = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last.saturating_add(1));
    let cut = TornTail {
        file: file.name.clone(),
        offset: u64::from(scan.end),
        bytes: used.saturating_sub(scan.end as usize) as u64,
        reason: mismatch.to_string(),
    };
    tracing::warn!(
        file = %cut.file, offset = cut.offset, bytes = cut.bytes, reason = %cut.reason,
        "removed an unfinished write from the end of the log; nothing in it was acknowledged"
    );
    Ok(Some(cut))
}

/// Returns a valid record whose write began behind `bad`.
fn proof_behind(file: &SegmentFile, bytes: &Bytes, bad: u32) -> Option<CheckedRecord> {
    let first = bad.saturating_add(ALIGN as u32).next_multiple_of(ALIGN as u32);
    let last = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    (first..last).step_by(ALIGN).find_map(|offset| {
        let rest = bytes.get(offset as usize..)?;
        let write = u32::from_le_bytes(*rest.get(8..)?.first_chunk::<4>()?);
        // Most offsets are rejected here, before a checksum is computed.
        if write <= bad || write > offset {
            return None;
        }
        check_record(rest, file.seal, offset).ok()
    })
}

fn is_zero(bytes: &[u8]) -> bool {
    // Checked by blocks: an early exit at each byte would keep the compiler from using vector instructions.
    bytes.chunks(4096).all(|block| block.iter().fold(0, |all, byte| all | byte) == 0)
}

/// Returns `true` if a segment may begin with this record.
pub(super) fn is_first(record: &CheckedRecord) -> bool {
    record.kind == RecordKind::State
}
