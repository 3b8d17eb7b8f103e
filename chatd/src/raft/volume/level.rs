//! Level of one volume, and the share of it that is kept in reserve.

/// Reserve of a large volume, in bytes: a compaction of the state's largest tables (25 files of 64 MiB), their buffers
/// in memory, and a segment of the log.
const LARGEST_RESERVE: u64 = 2 << 30;
/// Least reserve, in bytes: with less, a compaction does not fit on a volume of a few hundred MiB.
const LEAST_RESERVE: u64 = 64 << 20;
/// Divisor for the reserve of a small volume: if a quarter of the volume is less than [`LEAST_RESERVE`], that quarter
/// is the reserve, so that the volume can be used at all.
const SMALL_PART: u64 = 4;
/// Divisor for the reserve of all other volumes: tables, buffers and segments are sized by the volume so that a tenth
/// is enough for them ([`VolumeSizes`](super::VolumeSizes)).
const PART: u64 = 10;

/// Space of a volume at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VolumeSpace {
    /// Bytes that this process may still write.
    pub free: u64,
    /// Size of the volume, in bytes.
    pub total: u64,
}

impl VolumeSpace {
    /// Returns the bytes that users' writes leave free, unless they are configured.
    #[must_use]
    pub fn default_reserve(self) -> u64 {
        let least = LEAST_RESERVE.min(self.total / SMALL_PART);
        (self.total / PART).clamp(least, LARGEST_RESERVE)
    }
}

/// Level of a volume in relation to its reserve.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum VolumeLevel {
    /// More than the reserve is free.
    #[default]
    Enough = 0,
    /// The reserve is reached: users' writes are refused, while deleting and administration go on.
    Short = 1,
    /// Most of the reserve is used: only the cluster's own commands go on.
    Exhausted = 2,
}

impl VolumeLevel {
    pub(super) fn from_number(number: u8) -> Option<Self> {
        match number {
            0 => Some(Self::Enough),
            1 => Some(Self::Short),
            2 => Some(Self::Exhausted),
            _ => None,
        }
    }

    /// Returns the level at the next measurement. A level is left only when a quarter of the reserve more is free than
    /// at its bound: near a bound, where compaction takes and frees space all the time, writes would otherwise be
    /// refused and accepted by turns.
    #[must_use]
    pub fn after(self, free: u64, reserve: u64) -> Self {
        let quarter = reserve / 4;
        let entered = Self::of(free, reserve, quarter);
        let left = Self::of(free.saturating_sub(quarter), reserve, quarter);
        if entered > self { entered } else { left.min(self) }
    }

    fn of(free: u64, reserve: u64, exhausted_below: u64) -> Self {
        if free >= reserve {
            Self::Enough
        } else if free >= exhausted_below {
            Self::Short
        } else {
            Self::Exhausted
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn the_reserve_is_a_tenth_with_bounds_and_a_small_volume_can_still_be_used() {
        let reserve = |total: u64| VolumeSpace { free: 0, total }.default_reserve() / MIB;
        let sizes = [(88, 22), (256, 64), (600, 64), (1000, 100), (10 << 10, 1 << 10), (1 << 20, 2 << 10)];
        for (total, expected) in sizes {
            assert_eq!(reserve(total * MIB), expected, "{total} MiB");
        }
        assert_eq!(reserve(0), 0);
    }

    #[test]
    fn a_level_is_entered_at_its_bound_and_left_a_quarter_of_the_reserve_above() {
        let steps = [
            (100, VolumeLevel::Enough),
            (99, VolumeLevel::Short),
            (124, VolumeLevel::Short),
            (24, VolumeLevel::Exhausted),
            (49, VolumeLevel::Exhausted),
            (50, VolumeLevel::Short),
            (125, VolumeLevel::Enough),
            (0, VolumeLevel::Exhausted),
            (125, VolumeLevel::Enough),
        ];
        let mut level = VolumeLevel::Enough;
        for (free, expected) in steps {
            level = level.after(free, 100);
            assert_eq!(level, expected, "{free}");
        }
    }
}
