//! One volume's level, and how much of it is kept in reserve.

/// The reserve of a large volume: a compaction of the state's largest tables (25 files of 64 MiB), what memory holds for
/// them, and a segment of the log.
const LARGEST_RESERVE: u64 = 2 << 30;
/// Below this a compaction of a volume of a few hundred MiB does not fit.
const LEAST_RESERVE: u64 = 64 << 20;
/// A volume so small that this is more than the least reserve keeps this part of itself, so that it can be used at all.
const SMALL_PART: u64 = 4;
/// Of everything between: tables, buffers and segments are cut to the volume so that a tenth is enough for them
/// ([`VolumeSizes`](super::VolumeSizes)).
const PART: u64 = 10;

/// A volume at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VolumeSpace {
    /// Bytes that this process may still write.
    pub free: u64,
    /// Its size.
    pub total: u64,
}

impl VolumeSpace {
    /// Bytes that people's writes leave free, unless the configuration says how many.
    #[must_use]
    pub fn default_reserve(self) -> u64 {
        let least = LEAST_RESERVE.min(self.total / SMALL_PART);
        (self.total / PART).clamp(least, LARGEST_RESERVE)
    }
}

/// How a volume stands to its reserve.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum VolumeLevel {
    /// More than the reserve is free.
    #[default]
    Enough = 0,
    /// People's writes would use the reserve: deleting and administration go on.
    Short = 1,
    /// Most of the reserve is used: only what the cluster itself does goes on.
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

    /// The level at the next look. A level is left with a quarter of the reserve more than it was entered with: around a
    /// bound, where compaction takes and gives space all the time, writes would be refused and taken in turns.
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
