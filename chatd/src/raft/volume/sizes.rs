//! How large the parts of what is stored are made: cut to the volume, so that the reserve is enough for each of them.

/// Files of the log, tables of the state and what memory holds for them, by the size of the volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VolumeSizes {
    /// A segment of the log, which is allocated as a whole.
    pub segment: u32,
    /// The whole log: beyond it a checkpoint is made and the log let go.
    pub log: u64,
    /// The state's commits in memory, which are on their way to the disk.
    pub write_buffer: usize,
    /// A table of the state; a compaction takes some ten of them at once, at most 25.
    pub table: u64,
}

/// What large volumes get. Segments: see [`Options`](crate::raft::log::Options).
const LARGEST_SEGMENT: u64 = 64 << 20;
const LARGEST_LOG: u64 = 1 << 30;
const LARGEST_WRITE_BUFFER: u64 = 64 << 20;
/// Files of this size keep a snapshot's transfer in pieces that are cheap to send again.
const LARGEST_TABLE: u64 = 64 << 20;
/// Smaller ones cost more than they save.
const LEAST: u64 = 1 << 20;

impl VolumeSizes {
    /// For a volume of so many bytes; 0 where that is not known.
    #[must_use]
    pub fn of(total: u64) -> Self {
        let total = if total == 0 { u64::MAX } else { total };
        let part = |parts: u64, largest: u64| (total / parts).clamp(LEAST, largest);
        Self {
            segment: u32::try_from(part(64, LARGEST_SEGMENT)).unwrap_or(u32::MAX),
            log: (total / 8).clamp(4 * LEAST, LARGEST_LOG),
            write_buffer: usize::try_from(part(32, LARGEST_WRITE_BUFFER)).unwrap_or(usize::MAX),
            table: part(256, LARGEST_TABLE),
        }
    }

    /// Bytes without which a pod does not start: the state's files of a new life, and what is flushed meanwhile.
    #[must_use]
    pub fn to_start(total: u64) -> u64 {
        const LARGEST: u64 = 8 << 20;
        (total / 32).min(LARGEST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raft::volume::VolumeSpace;

    const MIB: u64 = 1 << 20;

    #[test]
    fn large_volumes_get_the_largest_and_what_is_not_known_counts_as_large() {
        let largest = VolumeSizes { segment: 64 << 20, log: 1 << 30, write_buffer: 64 << 20, table: 64 << 20 };
        assert_eq!(VolumeSizes::of(0), largest);
        assert_eq!(VolumeSizes::of(16 << 30), largest);
    }

    #[test]
    fn a_segment_a_buffer_and_a_usual_compaction_fit_the_reserve_of_every_volume() {
        for total in [88, 256, 600, 1 << 10, 4 << 10, 10 << 10, 64 << 10, 1 << 20] {
            let total = total * MIB;
            let VolumeSizes { segment, log, write_buffer, table } = VolumeSizes::of(total);
            let reserve = VolumeSpace { free: 0, total }.default_reserve();
            let needed = u64::from(segment) + write_buffer as u64 + 11 * table;
            assert!(needed <= reserve, "{total}: {needed} of {reserve}");
            assert!(log <= total / 8 && VolumeSizes::to_start(total) < reserve / 4);
        }
    }
}
