//! Zeros written ahead of the data, so that a sync of data has nothing else to do.
//!
//! A block that is reserved and was never written becomes readable by a change of metadata. An `fdatasync` of data in
//! it has to commit that change, too: it takes about twice as long, and it cannot be trusted. ext4, if its journal is
//! aborted at that moment, reports success although the change is lost (one abort in twenty shows it on Linux 6.18).
//! Each block is therefore written with zeros, and synced with other data, well before its own data comes.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::sync::{Mutex, PoisonError};

/// Distance that the zeros keep ahead: more than one batch of the writer, so that no data reaches a block in the same
/// sync as its zeros.
const LOOKAHEAD: u64 = 5 << 20;
/// Zeros written at a time: enough to be written rarely, few enough not to delay the callers that wait for the sync.
static ZEROS: [u8; 256 << 10] = [0; 256 << 10];

/// Extent of the zeros in one file.
#[derive(Debug, Default)]
pub(super) struct ZeroFill {
    reach: Mutex<ZeroRange>,
}

#[derive(Debug, Default)]
struct ZeroRange {
    next: u64,
    /// Length of the file. Zero until [`ZeroFill::begin`]: nothing is overwritten in a file whose end is unknown.
    limit: u64,
}

impl ZeroFill {
    /// Starts to write zeros. Bytes from `from` up to `limit` are not needed.
    ///
    /// # Errors
    /// Those of the file system.
    pub(super) fn begin(&self, file: &File, from: u64, limit: u64) -> io::Result<()> {
        *self.reach.lock().unwrap_or_else(PoisonError::into_inner) = ZeroRange { next: from, limit };
        self.keep(file, from)
    }

    /// Keeps the zeros ahead after a write up to `end`.
    ///
    /// # Errors
    /// Those of the file system.
    pub(super) fn keep(&self, file: &File, end: u64) -> io::Result<()> {
        let mut reach = self.reach.lock().unwrap_or_else(PoisonError::into_inner);
        reach.next = reach.next.max(end);
        let goal = end.saturating_add(LOOKAHEAD).min(reach.limit);
        while reach.next < goal {
            let room = usize::try_from(reach.limit.saturating_sub(reach.next)).unwrap_or(usize::MAX);
            let zeros = ZEROS.get(..room).unwrap_or(&ZEROS);
            file.write_all_at(zeros, reach.next)?;
            reach.next = reach.next.saturating_add(zeros.len() as u64);
        }
        Ok(())
    }

    /// Stops writing zeros, as the file was cut or extended by other means.
    pub(super) fn end(&self) {
        *self.reach.lock().unwrap_or_else(PoisonError::into_inner) = ZeroRange::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zeros_stand_ahead_of_each_write_and_never_over_one() {
        const LIMIT: usize = 16 << 20;
        let file = tempfile::tempfile().expect("a file");
        let ahead = ZeroFill::default();
        let mut expected = vec![7; 1000];
        file.write_all_at(&expected, 0).expect("written");
        // Bytes behind the end that an earlier process left are not needed.
        file.write_all_at(&[9; 5000], 1000).expect("written");
        ahead.begin(&file, 1000, LIMIT as u64).expect("begun");
        for size in [1, 4096, 300_000, 2 << 20, 6 << 20, 50_000, 1] {
            let data = vec![u8::try_from(size % 250).expect("small") + 1; size];
            file.write_all_at(&data, expected.len() as u64).expect("written");
            expected.extend(data);
            ahead.keep(&file, expected.len() as u64).expect("kept");
            let reached = file.metadata().expect("its length").len();
            assert!(reached >= (expected.len() as u64 + LOOKAHEAD).min(LIMIT as u64), "after {size}: {reached}");
            assert!(reached <= LIMIT as u64);
        }
        let reached = usize::try_from(file.metadata().expect("its length").len()).expect("small");
        expected.resize(reached, 0);
        let mut found = vec![1; reached];
        file.read_exact_at(&mut found, 0).expect("read");
        assert!(found == expected, "data, and zeros behind it");
    }

    #[test]
    fn a_file_of_which_nobody_said_where_it_ends_is_left_alone() {
        let file = tempfile::tempfile().expect("a file");
        file.write_all_at(&[7; 9000], 0).expect("written");
        ZeroFill::default().keep(&file, 10).expect("kept");
        assert_eq!(file.metadata().expect("its length").len(), 9000);
    }
}
