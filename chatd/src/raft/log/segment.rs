//! Making a segment, so that a file with a segment's name always has a valid header and state.

use super::disk::{LogDisk, LogFile};
use super::error::LogError;
use super::format::{Frames, HEADER, Header, Kind, Meta, Seal, file_name};
use super::index::SegmentFile;
use crate::failpoint::{Point, pass};
use std::io;

/// Less than this is not worth a file of its own.
const LEAST: u32 = 256 << 10;

/// The segment that is being written.
pub(crate) struct Segment {
    pub(crate) file: SegmentFile,
    /// Where the next write goes.
    pub(crate) end: u32,
    /// Whether there is anything but the first state.
    pub(crate) used: bool,
}

/// What a new segment is made of.
pub(crate) struct Plan<'a> {
    pub(crate) header: Header,
    pub(crate) meta: &'a Meta,
    /// Bytes to allocate.
    pub(crate) size: u32,
}

/// Suffix of a segment that is being made; such a file is worth nothing.
pub(crate) const UNFINISHED: &str = ".new";

impl Segment {
    /// Makes it, durably: under another name first, so that a crash leaves either all of it or nothing.
    pub(crate) fn create(disk: &dyn LogDisk, plan: &Plan<'_>) -> Result<Self, LogError> {
        let name = file_name(plan.header.number);
        let unfinished = format!("{name}{UNFINISHED}");
        let at = |action: &'static str| {
            let name = name.clone();
            move |source| LogError::io(action, &name, source)
        };
        let file = disk.create(&unfinished).map_err(at("create"))?;
        pass(Point::SegmentMade);
        allocate(&*file, plan.size).map_err(at("allocate"))?;
        pass(Point::SegmentAllocated);
        let (bytes, seal) = first_bytes(plan);
        file.write_at(&bytes, 0).map_err(at("write"))?;
        pass(Point::SegmentWritten);
        file.sync_all().map_err(at("sync"))?;
        pass(Point::SegmentSynced);
        disk.rename(&unfinished, &name).map_err(at("rename"))?;
        pass(Point::SegmentRenamed);
        disk.sync().map_err(at("sync the directory of"))?;
        pass(Point::SegmentDurable);
        let end = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        Ok(Self { file: SegmentFile { name, seal, file }, end, used: false })
    }
}

/// As much as there is space for: a nearly full volume must not fail for space that is not needed yet.
fn allocate(file: &dyn LogFile, size: u32) -> io::Result<()> {
    let mut size = size;
    loop {
        match file.allocate(0, u64::from(size)) {
            Err(error) if is_full(&error) && size > LEAST => {
                size = (size / 2).max(LEAST);
                tracing::warn!(bytes = size, "there is no space for a whole segment of the log; allocating less");
                // What the failed call took is given back.
                file.set_len(0)?;
            }
            result => return result,
        }
    }
}

/// No space is left, or no more of it for this user.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

fn first_bytes(plan: &Plan<'_>) -> (Vec<u8>, Seal) {
    let seal = Seal { salt: plan.header.salt, number: plan.header.number };
    let mut bytes = Vec::new();
    plan.header.encode(&mut bytes);
    let mut frames = Frames::default();
    frames.begin(HEADER);
    frames.push(seal, Kind::State, &plan.meta.to_message());
    bytes.extend_from_slice(frames.bytes());
    (bytes, seal)
}
