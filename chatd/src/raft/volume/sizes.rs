//! Sizes of the stored parts, cut to the volume so that the reserve is enough for each of them.

/// Sizes of log files, of the state's tables, and of their buffers in memory, by the size of the volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VolumeSizes {
    /// Size of a log segment, in bytes; a segment is allocated as a whole.
    pub segment: u32,
    /// Size of the whole log, in bytes, beyond which a checkpoint is made and the log is purged.
    pub log: u64,
    /// Size of the state's write buffer, in bytes: commits in memory that are on their way to the disk.
    pub write_buffer: usize,
    /// Size of a table of the state, in bytes; a compaction takes some ten of them at once, at most 25.
    pub table: u64,
}

/// Sizes on large volumes, in bytes. For segments, see [`LogOptions`](crate::raft::log::LogOptions).
const LARGEST_SEGMENT: u64 = 64 << 20;
const LARGEST_LOG: u64 = 1 << 30;
const LARGEST_WRITE_BUFFER: u64 = 64 << 20;
/// Largest table: files of this size keep a snapshot transfer in pieces that are cheap to send again.
const LARGEST_TABLE: u64 = 64 << 20;
/// Smallest size, in bytes; smaller files cost more than they save.
const LEAST: u64 = 1 << 20;

impl VolumeSizes {
    /// Returns the sizes for a volume of `total` bytes; 0 if its size is not known.
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

    /// Returns the free bytes without which a pod does not start: new files of the state, and what is flushed
    /// meanwhile.
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
