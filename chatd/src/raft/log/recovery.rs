//! Opens a log: reads all segments, cuts off a torn tail, and refuses damage. The top of [`super`] describes how the
//! two are distinguished.

mod replay;
mod scan;

use super::disk::{DirLock, LogDisk};
use super::error::LogError;
use super::format::{Header, HeaderError, Meta, Mismatch, Seal, VERSION, file_name, file_number};
use super::index::SegmentFile;
use super::options::Options;
use super::segment::{Plan, Segment, UNFINISHED, is_full};
use super::shared::Memory;
use bytes::Bytes;
use replay::Replay;
use scan::{Scan, Tail};
use std::time::{Duration, Instant};

/// Findings of opening a log.
#[derive(Debug, Clone, Default)]
pub struct Recovery {
    /// `true` if the directory was empty, so that the node id is new.
    pub fresh: bool,
    /// Number of segments in the directory.
    pub segments: usize,
    /// Number of entries, without purged ones.
    pub entries: u64,
    /// Number of bytes read.
    pub bytes: u64,
    /// Torn tail that was cut off.
    pub cut: Option<Cut>,
    /// Time that opening took.
    pub took: Duration,
}

/// A write that a crash interrupted; nothing in it was ever acknowledged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cut {
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
pub(crate) struct Recovered {
    pub(crate) segment: Segment,
    pub(crate) meta: Meta,
    pub(crate) next: u64,
    pub(crate) memory: Memory,
    pub(crate) doomed: Vec<SegmentFile>,
    pub(crate) report: Recovery,
}

/// Locks the directory, and waits up to `wait` for another process to release it.
pub(crate) fn lock(disk: &dyn LogDisk, wait: Duration) -> Result<Box<dyn DirLock>, LogError> {
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

pub(crate) fn recover(disk: &dyn LogDisk, options: &Options) -> Result<Recovered, LogError> {
    let begun = Instant::now();
    let numbers = segment_numbers(disk)?;
    let mut recovered = match numbers.first() {
        None => fresh(disk, options)?,
        Some(_) => existing(disk, options, &numbers)?,
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
    disk.sync().map_err(|source| LogError::io("sync", &disk.name(), source))?;
    let mut numbers: Vec<u64> = names.iter().filter_map(|name| file_number(name)).collect();
    numbers.sort_unstable();
    for (&number, &following) in numbers.iter().zip(numbers.iter().skip(1)) {
        if following != number.saturating_add(1) {
            let expected = format!("the segment before {}", file_name(following));
            return Err(missing(&file_name(following.saturating_sub(1)), &expected));
        }
    }
    Ok(numbers)
}

fn missing(file: &str, expected: &str) -> LogError {
    LogError::Damaged {
        file: file.to_owned(),
        offset: 0,
        expected: expected.to_owned(),
        found: "no such file".to_owned(),
    }
}

fn fresh(disk: &dyn LogDisk, options: &Options) -> Result<Recovered, LogError> {
    #[expect(clippy::cast_possible_truncation, reason = "any 32 bits will do for a salt")]
    let salt = (options.entropy)() as u32;
    // A node id has 63 bits, so that languages without unsigned integers can show it; 0 would read as "none".
    let node_id = ((options.entropy)() >> 1).max(1);
    let meta = Meta { node_id, ..Meta::default() };
    let header = Header { salt, number: 1, first_index: 0, previous_end: 0 };
    let segment = Segment::create(disk, &Plan { header, meta: &meta, size: options.segment_bytes })?;
    tracing::info!(node_id, directory = %disk.name(), "created a new log and a new node id");
    let mut replay = Replay::default();
    replay.index.add_segment(segment.file.clone());
    replay.meta = Some(meta);
    let report = Recovery { fresh: true, segments: 1, ..Recovery::default() };
    replay.finish(segment, report, 1)
}

fn existing(disk: &dyn LogDisk, options: &Options, numbers: &[u64]) -> Result<Recovered, LogError> {
    let mut replay = Replay::default();
    let mut report = Recovery { segments: numbers.len(), ..Recovery::default() };
    let mut newest: Option<Read> = None;
    for &number in numbers {
        let read = read_segment(disk, number)?;
        match newest {
            Some(before) => follows(&before, &read, replay.next)?,
            None => replay.next = read.header.first_index,
        }
        report.bytes = report.bytes.saturating_add(read.bytes.len() as u64);
        replay.index.add_segment(read.file.clone());
        let scan = scan::scan(&read.file, &read.bytes, |record, payload| replay.record(&read.file, record, payload))?;
        newest = Some(Read { scan, ..read });
    }
    // There is at least one number.
    let Some(newest) = newest else { return Err(LogError::Closed) };
    report.cut = scan::torn(&newest.file, &newest.bytes, &newest.scan)?;
    let segment = reopen(&newest, report.cut.is_some(), options)?;
    replay.finish(segment, report, numbers.first().copied().unwrap_or(0))
}

/// A segment read into memory.
struct Read {
    file: SegmentFile,
    header: Header,
    bytes: Bytes,
    scan: Scan,
}

fn read_segment(disk: &dyn LogDisk, number: u64) -> Result<Read, LogError> {
    let name = file_name(number);
    let at = |action: &'static str| {
        let name = name.clone();
        move |source| LogError::io(action, &name, source)
    };
    let file = disk.open(&name).map_err(at("open"))?;
    let len = file.size().map_err(at("measure"))?;
    let mut bytes = vec![0; usize::try_from(len).unwrap_or(usize::MAX)];
    file.read_at(&mut bytes, 0).map_err(at("read"))?;
    let header = Header::decode(&bytes).map_err(|error| match error {
        HeaderError::Version(found) => LogError::Version { file: name.clone(), found, supported: VERSION },
        HeaderError::Bad(mismatch) => scan::damaged(&name, 0, &mismatch),
    })?;
    if header.number != number {
        let mismatch = Mismatch::new(format!("segment {number}"), format!("segment {}", header.number));
        return Err(scan::damaged(&name, 16, &mismatch));
    }
    let seal = Seal { salt: header.salt, number };
    Ok(Read { file: SegmentFile { name, seal, file }, header, bytes: bytes.into(), scan: Scan::default() })
}

/// Checks that a segment follows the one before. A segment is created once the one before is complete, so everything in
/// that one was synced.
fn follows(before: &Read, read: &Read, next: u64) -> Result<(), LogError> {
    let (end, header) = (u64::from(before.scan.end), &read.header);
    if let Tail::Bad(mismatch) = &before.scan.tail {
        return Err(scan::damaged(&before.file.name, end, mismatch));
    }
    if header.previous_end != end {
        let expected = format!("records up to offset {}", header.previous_end);
        let mismatch = Mismatch::new(expected, format!("their end at {end}"));
        return Err(scan::damaged(&before.file.name, end.min(header.previous_end), &mismatch));
    }
    if header.first_index != next {
        let mismatch = Mismatch::new(format!("first index {next}"), format!("first index {}", header.first_index));
        return Err(scan::damaged(&read.file.name, 24, &mismatch));
    }
    Ok(())
}

/// Prepares the last segment for writing: everything in it is durable, and only zeros follow its end.
fn reopen(read: &Read, torn: bool, options: &Options) -> Result<Segment, LogError> {
    let Read { file, bytes, scan, .. } = read;
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
    Ok(Segment { file: file.clone(), end: scan.end, used: true })
}
