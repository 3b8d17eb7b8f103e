//! Free space of the volume in levels, so that a change of level is logged and not every sample.

/// Level of free space.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum SpaceLevel {
    /// A fifth or more is free.
    Plenty,
    /// Less than a fifth is free.
    Low,
    /// Less than a tenth is free.
    Short,
    /// Less than a twentieth is free; checkpoints and compactions need about as much at times.
    Critical,
}

/// Percentage of free space beyond the bound that a better level requires. Without it, the level would change again and
/// again around a bound.
const MARGIN: u64 = 2;

impl SpaceLevel {
    /// Returns the current level, and logs it if it differs from `self`.
    pub(super) fn after(self, free: u64, total: u64) -> Self {
        let now = self.step(free, total);
        match now.cmp(&self) {
            std::cmp::Ordering::Greater => {
                tracing::warn!(free_bytes = free, total_bytes = total, left = now.word(), "the volume is filling up");
            }
            std::cmp::Ordering::Less => {
                tracing::info!(
                    free_bytes = free,
                    total_bytes = total,
                    left = now.word(),
                    "the volume has more space again"
                );
            }
            std::cmp::Ordering::Equal => {}
        }
        now
    }

    fn step(self, free: u64, total: u64) -> Self {
        if total == 0 {
            return self;
        }
        let hundredths = u64::try_from(u128::from(free) * 100 / u128::from(total)).unwrap_or(u64::MAX);
        let worse = Self::of(hundredths);
        let better = Self::of(hundredths.saturating_sub(MARGIN));
        if worse > self { worse } else { better.min(self) }
    }

    fn of(hundredths: u64) -> Self {
        match hundredths {
            0..5 => Self::Critical,
            5..10 => Self::Short,
            10..20 => Self::Low,
            _ => Self::Plenty,
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Plenty => "plenty",
            Self::Low => "low",
            Self::Short => "short",
            Self::Critical => "critical",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_step_is_taken_at_its_bound_and_taken_back_above_it() {
        let steps = [
            (20, SpaceLevel::Plenty),
            (19, SpaceLevel::Low),
            (20, SpaceLevel::Low),
            (21, SpaceLevel::Low),
            (22, SpaceLevel::Plenty),
        ];
        let mut level = SpaceLevel::Plenty;
        for (free, expected) in steps {
            level = level.after(free, 100);
            assert_eq!(level, expected, "{free}");
        }
        assert_eq!(SpaceLevel::Plenty.after(4, 100), SpaceLevel::Critical, "also at once");
        assert_eq!(SpaceLevel::Critical.after(50, 100), SpaceLevel::Plenty);
        assert_eq!(
            SpaceLevel::Short.after(0, 0),
            SpaceLevel::Short,
            "a file system that tells nothing changes nothing"
        );
    }
}
