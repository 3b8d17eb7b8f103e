//! Opens a log: reads all segments, cuts off a torn tail, and refuses damage. The top of [`super`] describes how the
//! two are distinguished.

mod replay;
mod scan;

use super::disk::{DirLock, LogDisk};
use super::error::LogError;
use super::format::{
    FormatMismatch, HeaderError, LogMeta, SegmentHeader, SegmentSeal, VERSION, file_name, file_number,
};
use super::index::SegmentFile;
use super::options::LogOptions;
use super::segment::{ActiveSegment, SegmentPlan, UNFINISHED, is_full};
use super::shared::LogMemory;
use bytes::Bytes;
use replay::LogReplay;
use scan::{SegmentScan, SegmentTail};
use std::time::{Duration, Instant};

/// Findings of opening a log.
#[derive(Debug, Clone, Default)]
pub struct RecoveryReport {
    /// `true` if the directory was empty, so that the node id is new.
    pub fresh: bool,
    /// Number of segments in the directory.
    pub segments: usize,
    /// Number of entries, without purged ones.
    pub entries: u64,
    /// Number of bytes read.
    pub bytes: u64,
    /// Torn tail that was cut off.
    pub cut: Option<TornTail>,
    /// Time that opening took.
    pub took: Duration,
}

/// A write that a crash interrupted; nothing in it was ever acknowledged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TornTail {
    /// Name of the segment file.
    pub file: String,
    /// Offset at which the segment was cut.
    pub offset: u64,
    /// Number of bytes cut off, up to the last that is not zero.
    pub bytes: u64,
    /// Expected and found content at the offset.
    pub reason: String,
}

/// State of the log with which the store begins.
pub(crate) struct RecoveredLog {
    pub(crate) segment: ActiveSegment,
    pub(crate) meta: LogMeta,
    pub(crate) next: u64,
    pub(crate) memory: LogMemory,
    pub(crate) doomed: Vec<SegmentFile>,
    pub(crate) report: RecoveryReport,
}

/// Locks the directory, and waits up to `wait` for another process to release it.
pub(crate) fn lock_directory(disk: &dyn LogDisk, wait: Duration) -> Result<Box<dyn DirLock>, LogError> {
    const RETRY: Duration = Duration::from_millis(50);
    let begun = Instant::now();
    loop {
        if let Some(lock) = disk.try_lock().map_err(|source| LogError::io("lock", &disk.name(), source))? {
            return Ok(lock);
        }
        let waited = begun.elapsed();
        if waited >= wait {
            return Err(LogError::Busy { directory: disk.name(), waited });
        }
        if waited < RETRY {
            tracing::warn!(directory = %disk.name(), "the log is in use by another process, which may be stopping; waiting");
        }
        #[expect(
            clippy::disallowed_methods,
            reason = "flock cannot wait with a limit; opening is documented to block"
        )]
        std::thread::sleep(RETRY.min(wait.saturating_sub(waited)));
    }
}

pub(crate) fn recover_log(disk: &dyn LogDisk, options: &LogOptions) -> Result<RecoveredLog, LogError> {
    let begun = Instant::now();
    let numbers = segment_numbers(disk)?;
    let mut recovered = match numbers.first() {
        None => create_fresh(disk, options)?,
        Some(_) => recover_existing(disk, options, &numbers)?,
    };
    recovered.report.took = begun.elapsed();
    Ok(recovered)
}

/// Lists the segments, which must have no gap, and removes files that were never finished.
fn segment_numbers(disk: &dyn LogDisk) -> Result<Vec<u64>, LogError> {
    let names = disk.list().map_err(|source| LogError::io("list", &disk.name(), source))?;
    for name in names.iter().filter(|name| name.ends_with(UNFINISHED)) {
        disk.remove(name).map_err(|source| LogError::io("remove", name, source))?;
    }
    // Also makes the name of a segment durable whose creator was killed between renaming and syncing.
    disk.sync().map_err(|source| LogError::io("sync", &disk.name(), source))?;
    let mut numbers: Vec<u64> = names.iter().filter_map(|name| file_number(name)).collect();
    numbers.sort_unstable();
    for (&number, &following) in numbers.iter().zip(numbers.iter().skip(1)) {
        if following != number.saturating_add(1) {
            let expected = format!("the segment before {}", file_name(following));
            return Err(missing_segment(&file_name(following.saturating_sub(1)), &expected));
        }
    }
    Ok(numbers)
}

fn missing_segment(file: &str, expected: &str) -> LogError {
    LogError::Damaged {
        file: file.to_owned(),
        offset: 0,
        expected: expected.to_owned(),
        found: "no such file".to_owned(),
    }
}

fn create_fresh(disk: &dyn LogDisk, options: &LogOptions) -> Result<RecoveredLog, LogError> {
    #[expect(clippy::cast_possible_truncation, reason = "any 32 bits will do for a salt")]
    let salt = (options.entropy)() as u32;
    // A node id has 63 bits, so that languages without unsigned integers can show it; 0 would read as "none".
    let node_id = ((options.entropy)() >> 1).max(1);
    let meta = LogMeta { node_id, ..LogMeta::default() };
    let header = SegmentHeader { salt, number: 1, first_index: 0, previous_end: 0 };
    let segment = ActiveSegment::create(disk, &SegmentPlan { header, meta: &meta, size: options.segment_bytes })?;
    tracing::info!(node_id, directory = %disk.name(), "created a new log and a new node id");
    let mut replay = LogReplay::default();
    replay.index.add_segment(segment.file.clone());
    replay.meta = Some(meta);
    let report = RecoveryReport { fresh: true, segments: 1, ..RecoveryReport::default() };
    replay.finish(segment, report, 1)
}

fn recover_existing(disk: &dyn LogDisk, options: &LogOptions, numbers: &[u64]) -> Result<RecoveredLog, LogError> {
    let mut replay = LogReplay::default();
    let mut report = RecoveryReport { segments: numbers.len(), ..RecoveryReport::default() };
    let mut newest: Option<LoadedSegment> = None;
    for &number in numbers {
        let read = read_segment(disk, number)?;
        match newest {
            Some(before) => check_follows(&before, &read, replay.next)?,
            None => replay.next = read.header.first_index,
        }
        report.bytes = report.bytes.saturating_add(read.bytes.len() as u64);
        replay.index.add_segment(read.file.clone());
        let scan =
            scan::scan_segment(&read.file, &read.bytes, |record, payload| replay.record(&read.file, record, payload))?;
        newest = Some(LoadedSegment { scan, ..read });
    }
    // There is at least one number.
    let Some(newest) = newest else { return Err(LogError::Closed) };
    report.cut = scan::find_torn_tail(&newest.file, &newest.bytes, &newest.scan)?;
    let segment = reopen_segment(&newest, report.cut.is_some(), options)?;
    replay.finish(segment, report, numbers.first().copied().unwrap_or(0))
}

/// A segment read into memory.
struct LoadedSegment {
    file: SegmentFile,
    header: SegmentHeader,
    bytes: Bytes,
    scan: SegmentScan,
}

fn read_segment(disk: &dyn LogDisk, number: u64) -> Result<LoadedSegment, LogError> {
    let name = file_name(number);
    let at = |action: &'static str| {
        let name = name.clone();
        move |source| LogError::io(action, &name, source)
    };
    let file = disk.open(&name).map_err(at("open"))?;
    let len = file.size().map_err(at("measure"))?;
    let mut bytes = vec![0; usize::try_from(len).unwrap_or(usize::MAX)];
    file.read_at(&mut bytes, 0).map_err(at("read"))?;
    let header = SegmentHeader::decode(&bytes).map_err(|error| match error {
        HeaderError::Version(found) => LogError::Version { file: name.clone(), found, supported: VERSION },
        HeaderError::Bad(mismatch) => scan::damage_error(&name, 0, &mismatch),
    })?;
    if header.number != number {
        let mismatch = FormatMismatch::new(format!("segment {number}"), format!("segment {}", header.number));
        return Err(scan::damage_error(&name, 16, &mismatch));
    }
    let seal = SegmentSeal { salt: header.salt, number };
    Ok(LoadedSegment {
        file: SegmentFile { name, seal, file },
        header,
        bytes: bytes.into(),
        scan: SegmentScan::default(),
    })
}

/// Checks that a segment follows the one before. A segment is created once the one before is complete, so everything in
/// that one was synced.
fn check_follows(before: &LoadedSegment, read: &LoadedSegment, next: u64) -> Result<(), LogError> {
    let end = u64::from(before.scan.end);
    let header = &read.header;
    if let SegmentTail::Bad(mismatch) = &before.scan.tail {
        return Err(scan::damage_error(&before.file.name, end, mismatch));
    }
    if header.previous_end != end {
        let expected = format!("records up to offset {}", header.previous_end);
        let mismatch = FormatMismatch::new(expected, format!("their end at {end}"));
        return Err(scan::damage_error(&before.file.name, end.min(header.previous_end), &mismatch));
    }
    if header.first_index != next {
        let mismatch =
            FormatMismatch::new(format!("first index {next}"), format!("first index {}", header.first_index));
        return Err(scan::damage_error(&read.file.name, 24, &mismatch));
    }
    Ok(())
}

/// Prepares the last segment for writing: everything in it is durable, and only zeros follow its end.
fn reopen_segment(read: &LoadedSegment, torn: bool, options: &LogOptions) -> Result<ActiveSegment, LogError> {
    let LoadedSegment { file, bytes, scan, .. } = read;
    let at = |action: &'static str| {
        let name = file.name.clone();
        move |source| LogError::io(action, &name, source)
    };
    let end = u64::from(scan.end);
    if torn {
        file.file.set_len(end).map_err(at("shorten"))?;
    }
    // A process that was killed leaves bytes that are only in the page cache, and after a failed fsync a page may look
    // clean without being on disk: writing it again makes it dirty.
    let unproven = bytes.get(scan.proven as usize..scan.end as usize).unwrap_or_default();
    file.file.write_at(unproven, u64::from(scan.proven)).map_err(at("write"))?;
    let size = u64::from(options.segment_bytes).max(end);
    match file.file.allocate(end, size) {
        // The log can be read without the space, and the next write extends the file.
        Err(error) if is_full(&error) => file.file.set_len(end).map_err(at("shorten"))?,
        result => result.map_err(at("allocate"))?,
    }
    file.file.sync_all().map_err(at("sync"))?;
    Ok(ActiveSegment { file: file.clone(), end: scan.end, used: true })
}
