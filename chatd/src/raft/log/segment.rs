//! Creates segments, so that a file with the name of a segment always has a valid header and state.

use super::disk::{LogDisk, LogFile};
use super::error::LogError;
use super::format::{HEADER, LogMeta, RecordBuffer, RecordKind, SegmentHeader, SegmentSeal, file_name};
use super::index::SegmentFile;
use crate::failpoint::{FailPoint, pass_point};
use std::io;

/// Smallest allocation, in bytes, for which a new file is worthwhile.
const LEAST: u32 = 256 << 10;

/// The segment that is being written.
pub(crate) struct ActiveSegment {
    pub(crate) file: SegmentFile,
    /// Offset of the next write.
    pub(crate) end: u32,
    /// `true` if the segment holds more than its first state.
    pub(crate) used: bool,
}

/// Parameters of a new segment.
pub(crate) struct SegmentPlan<'a> {
    pub(crate) header: SegmentHeader,
    pub(crate) meta: &'a LogMeta,
    /// Size to allocate, in bytes.
    pub(crate) size: u32,
}

/// Suffix of a segment that is being created; such a file has no value after a crash.
pub(crate) const UNFINISHED: &str = ".new";

impl ActiveSegment {
    /// Creates the segment durably, under another name first, so that a crash leaves either all of it or nothing.
    pub(crate) fn create(disk: &dyn LogDisk, plan: &SegmentPlan<'_>) -> Result<Self, LogError> {
        let name = file_name(plan.header.number);
        let unfinished = format!("{name}{UNFINISHED}");
        let at = |action: &'static str| {
            let name = name.clone();
            move |source| LogError::io(action, &name, source)
        };
        let file = disk.create(&unfinished).map_err(at("create"))?;
        pass_point(FailPoint::SegmentMade);
        allocate_space(&*file, plan.size).map_err(at("allocate"))?;
        pass_point(FailPoint::SegmentAllocated);
        let (bytes, seal) = first_bytes(plan);
        file.write_at(&bytes, 0).map_err(at("write"))?;
        pass_point(FailPoint::SegmentWritten);
        file.sync_all().map_err(at("sync"))?;
        pass_point(FailPoint::SegmentSynced);
        disk.rename(&unfinished, &name).map_err(at("rename"))?;
        pass_point(FailPoint::SegmentRenamed);
        disk.sync().map_err(at("sync the directory of"))?;
        pass_point(FailPoint::SegmentDurable);
        let end = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        Ok(Self { file: SegmentFile { name, seal, file }, end, used: false })
    }
}

/// Allocates as much as there is space for: a nearly full volume must not fail for space that is not needed yet.
fn allocate_space(file: &dyn LogFile, size: u32) -> io::Result<()> {
    let mut size = size;
    loop {
        match file.allocate(0, u64::from(size)) {
            Err(error) if is_full(&error) && size > LEAST => {
                size = (size / 2).max(LEAST);
                tracing::warn!(bytes = size, "not enough space for a full log segment; allocating less");
                // Frees what the failed call allocated.
                file.set_len(0)?;
            }
            result => return result,
        }
    }
}

/// Returns `true` if the error means that no space is left on the volume, or in the quota of this user.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

fn first_bytes(plan: &SegmentPlan<'_>) -> (Vec<u8>, SegmentSeal) {
    let seal = SegmentSeal { salt: plan.header.salt, number: plan.header.number };
    let mut bytes = Vec::new();
    plan.header.encode(&mut bytes);
    let mut frames = RecordBuffer::default();
    frames.begin(HEADER);
    frames.push(seal, RecordKind::State, &plan.meta.to_message());
    bytes.extend_from_slice(frames.bytes());
    (bytes, seal)
}
