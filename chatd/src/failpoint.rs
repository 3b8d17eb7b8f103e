//! Failpoints: the moments between two effects on the disk, by name. A test ends the process at each of them, starts it
//! again, and inspects what is left.
//!
//! In a test build, [`pass_point`] aborts the process if the environment names the point; in any other build it is empty and
//! leaves nothing in the program. A new point is tested as soon as it is in the list: a point that no workload reaches
//! fails the test, and one that the code does not pass is an unused variant, which the compiler reports.

/// Defines [`FailPoint`] from the list of points.
macro_rules! points {
    ($($(#[$doc:meta])* $area:ident $name:ident,)*) => {
        /// Moment after one effect on the disk and before the next.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[cfg_attr(not(feature = "rocksdb"), allow(dead_code, reason = "some are RocksDB's"))]
        pub(crate) enum FailPoint {
            $($(#[$doc])* $name,)*
        }

        #[cfg(test)]
        impl FailPoint {
            /// All points, each with the workload that passes it.
            pub(crate) const ALL: &[(Self, PointWorkload)] = &[$((Self::$name, PointWorkload::$area),)*];
        }
    };
}

/// Workload that passes a point.
#[cfg(test)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PointWorkload {
    /// Normal operation: log, apply, flush, checkpoint, purge.
    Serve,
    /// Installation of another pod's snapshot.
    Install,
}

points! {
    /// The file of a new log segment exists under its unfinished name, empty.
    Serve SegmentMade,
    /// The segment has its space allocated, all zeros.
    Serve SegmentAllocated,
    /// The segment has its header and the log's state; nothing is synced.
    Serve SegmentWritten,
    /// The segment is synced under its unfinished name.
    Serve SegmentSynced,
    /// The segment has its final name; the directory is not synced.
    Serve SegmentRenamed,
    /// The segment is durable; the previous one still has its unused space.
    Serve SegmentDurable,
    /// A batch of log records is written, but not synced.
    Serve LogWritten,
    /// The batch is synced; neither the state in memory nor the callers know of it.
    Serve LogSynced,
    /// The batch is visible in memory.
    Serve LogPublished,
    /// The callers of the batch have their answers.
    Serve LogAnswered,
    /// A purged segment is unlinked; the directory is not synced.
    Serve SegmentRemoved,
    /// The removal of the segment is durable; more segments may wait to be unlinked.
    Serve SegmentRemovalDurable,

    /// The first database is created under its unfinished name.
    Serve FirstStateMade,
    /// The first database has its final name, but `CURRENT` does not exist.
    Serve FirstStateRenamed,
    /// The new content of a small file is durable beside the file.
    Serve ContentSynced,
    /// The new content has replaced the old; the directory is not synced.
    Serve ContentRenamed,
    /// A batch of entries is applied in memory, but not committed.
    Serve BatchApplied,
    /// The batch is committed; readers do not know, and its callers still wait.
    Serve BatchCommitted,
    /// Readers know of the batch, and its callers have their answers.
    Serve BatchAnswered,
    /// The state is flushed to disk.
    Serve StateFlushed,

    /// The directory of a new snapshot exists, empty.
    Serve SnapshotBegun,
    /// The snapshot has the files of a checkpoint.
    Serve CheckpointMade,
    /// The files of the snapshot are synced, and their checksums are known.
    Serve CheckpointListed,
    /// The snapshot has its manifest.
    Serve SnapshotDescribed,
    /// The snapshot has its final name; the directory is not synced.
    Serve SnapshotRenamed,
    /// The snapshot is durable; the previous one is still the current one.
    Serve SnapshotKept,
    /// The snapshot is the current one.
    Serve SnapshotInFront,

    /// The directory of an incoming snapshot has its manifest and the files that this pod already had.
    Install IncomingPrepared,
    /// A received file is written under its unfinished name, but not synced.
    Install PartWritten,
    /// The received file is synced.
    Install PartSynced,
    /// The received file has its final name; the directory is not synced.
    Install PartRenamed,
    /// All files of the incoming snapshot are received and durable.
    Install SnapshotReceived,
    /// The received snapshot is on the shelf, ahead of the state.
    Install SnapshotAdopted,
    /// The next live directory is filled under its unfinished name.
    Install NextStateFilled,
    /// The next live directory has its final name; the old one is still live.
    Install NextStateRenamed,
    /// The database in the next directory has been opened.
    Install NextStateOpened,
    /// The next directory is the live one; this process still reads the old one.
    Install NextStateCurrent,
    /// The snapshot is installed completely; openraft does not know yet.
    Install SnapshotInstalled,
}

/// Does nothing outside of tests.
#[cfg(not(test))]
#[inline(always)]
pub(crate) fn pass_point(_: FailPoint) {}

/// Aborts the process without notice if the environment names this point.
#[cfg(test)]
pub(crate) fn pass_point(point: FailPoint) {
    armed::pass(point);
}

#[cfg(test)]
pub(crate) mod armed {
    use super::FailPoint;
    use std::sync::LazyLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    /// Environment variable of the form `NAME:N`: the process aborts when it passes the point `NAME` for the Nth time.
    pub(crate) const CRASH_AT: &str = "QUORATE_CRASH_AT";

    static TARGET: LazyLock<Option<(String, u64)>> = LazyLock::new(|| {
        let wish = std::env::var(CRASH_AT).ok()?;
        let (name, nth) = wish.split_once(':').expect("NAME:N");
        Some((name.to_owned(), nth.parse().expect("a number")))
    });
    static PASSED: AtomicU64 = AtomicU64::new(0);

    pub(super) fn pass(point: FailPoint) {
        let Some((name, nth)) = &*TARGET else { return };
        if *name == format!("{point:?}") && PASSED.fetch_add(1, Ordering::SeqCst) + 1 == *nth {
            eprintln!("crash at {point:?}, hit {nth}");
            std::process::abort();
        }
    }
}
