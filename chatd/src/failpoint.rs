//! The moments between two effects on the disk, by name: a test ends the process at each of them, starts it again, and
//! looks at what is left.
//!
//! In a test build [`pass`] aborts the process when the environment names the point; in any other build it is empty, and
//! nothing of it is left in the program. A new point is tested as soon as it stands in the list: a point that no workload
//! reaches fails the test, and one that stands nowhere in the code is a variant never used, which the compiler reports.

/// The list, and from it the type.
macro_rules! points {
    ($($(#[$doc:meta])* $area:ident $name:ident,)*) => {
        /// A moment after one effect and before the next.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[cfg_attr(not(feature = "rocksdb"), allow(dead_code, reason = "some are RocksDB's"))]
        pub(crate) enum Point {
            $($(#[$doc])* $name,)*
        }

        #[cfg(test)]
        impl Point {
            /// All of them, with the workload that passes each.
            pub(crate) const ALL: &[(Self, Area)] = &[$((Self::$name, Area::$area),)*];
        }
    };
}

/// What passes a point.
#[cfg(test)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Area {
    /// Writing: log, apply, flush, checkpoint, purge.
    Serve,
    /// Taking over another pod's snapshot.
    Install,
}

points! {
    /// A segment's file is there under its unfinished name, empty.
    Serve SegmentMade,
    /// It has its space, all zeros.
    Serve SegmentAllocated,
    /// It has its header and the state; not synced.
    Serve SegmentWritten,
    /// It is synced under its unfinished name.
    Serve SegmentSynced,
    /// It has its name; the directory is not synced.
    Serve SegmentRenamed,
    /// It is durable; the one before still has the space that it did not use.
    Serve SegmentDurable,
    /// A batch of records is written, not synced.
    Serve LogWritten,
    /// It is synced; neither memory nor callers know.
    Serve LogSynced,
    /// Memory knows.
    Serve LogPublished,
    /// Callers know.
    Serve LogAnswered,
    /// A purged segment is unlinked; the directory is not synced.
    Serve SegmentRemoved,
    /// And now it is; more may wait to be unlinked.
    Serve SegmentRemovalDurable,

    /// The first database is made beside its name.
    Serve FirstStateMade,
    /// It has its name, and nothing names it as the live one.
    Serve FirstStateRenamed,
    /// A small file's new content is durable beside it.
    Serve ContentSynced,
    /// It has taken the old one's place; the directory is not synced.
    Serve ContentRenamed,
    /// A batch of entries is applied in memory, not committed.
    Serve BatchApplied,
    /// It is committed; callers wait.
    Serve BatchCommitted,
    /// Callers have their answers; readers wait.
    Serve BatchAnswered,
    /// The state is flushed.
    Serve StateFlushed,

    /// A directory for a snapshot is there, empty.
    Serve SnapshotBegun,
    /// It has a checkpoint's files.
    Serve CheckpointMade,
    /// They are synced, their checksums known.
    Serve CheckpointListed,
    /// It has its manifest.
    Serve SnapshotDescribed,
    /// It has its name; the directory is not synced.
    Serve SnapshotRenamed,
    /// It is durable; the one before is still in front.
    Serve SnapshotKept,
    /// It is in front.
    Serve SnapshotInFront,

    /// The directory of a snapshot that is to come has its manifest and what is here already.
    Install IncomingPrepared,
    /// A received file is written under its unfinished name, not synced.
    Install PartWritten,
    /// It is synced.
    Install PartSynced,
    /// It has its name; the directory is not synced.
    Install PartRenamed,
    /// All files are there and durable.
    Install SnapshotReceived,
    /// It is on the shelf, in front of the state.
    Install SnapshotAdopted,
    /// The next live directory is filled beside its name.
    Install NextStateFilled,
    /// It has its name; the old one is live.
    Install NextStateRenamed,
    /// It was opened.
    Install NextStateOpened,
    /// It is the live one; this process still reads the old one.
    Install NextStateCurrent,
    /// Everything of it is done; openraft does not know.
    Install SnapshotInstalled,
}

/// This moment has come.
#[cfg(not(test))]
#[inline(always)]
pub(crate) fn pass(_: Point) {}

/// Ends the process without a word to anybody, when the environment says so.
#[cfg(test)]
pub(crate) fn pass(point: Point) {
    armed::pass(point);
}

#[cfg(test)]
pub(crate) mod armed {
    use super::Point;
    use std::sync::LazyLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    /// `NAME:N`: the process ends when it passes the point for the Nth time.
    pub(crate) const CRASH_AT: &str = "QUORATE_CRASH_AT";

    static TARGET: LazyLock<Option<(String, u64)>> = LazyLock::new(|| {
        let wish = std::env::var(CRASH_AT).ok()?;
        let (name, nth) = wish.split_once(':').expect("NAME:N");
        Some((name.to_owned(), nth.parse().expect("a number")))
    });
    static PASSED: AtomicU64 = AtomicU64::new(0);

    pub(super) fn pass(point: Point) {
        let Some((name, nth)) = &*TARGET else { return };
        if *name == format!("{point:?}") && PASSED.fetch_add(1, Ordering::SeqCst) + 1 == *nth {
            eprintln!("crash at {point:?}, passed for the {nth}. time");
            std::process::abort();
        }
    }
}
