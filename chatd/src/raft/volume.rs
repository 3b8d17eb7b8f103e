//! Space left on the voters' volumes, and the writes that are still accepted when it is scarce.
//!
//! Each pod measures its own volume ([`VolumeGauge::measured`]) and reports the result with every append stream that it
//! accepts, twenty times a second. The leader judges the volumes of all voters that it hears ([`keep_judging`]), and
//! its proposer refuses users' writes before a volume is full: the work for which the reserve is kept goes on, and so
//! does every read. Between two measurements it counts what it appends ([`VolumeGauge::spend`]), so that the rate at
//! which users write does not matter.

mod class;
mod judge;
mod level;
mod sizes;

pub use class::WriteClass;
pub(crate) use judge::keep_judging;
pub use level::{VolumeLevel, VolumeSpace};
pub use sizes::VolumeSizes;

use judge::VolumeVerdict;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU8, AtomicU64, Ordering::Relaxed};

/// Metadata key of an accepted append stream: the receiver's [`VolumeReport`].
pub(crate) const VOLUME_KEY: &str = "quorate-volume";
/// Number of times that each byte of a command is written at least: into the log, and into the state's files.
const WRITTEN_TIMES: i64 = 2;

/// A pod's report of its volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VolumeReport {
    /// Level that the pod determined, with its own reserve.
    pub level: VolumeLevel,
    /// Bytes free above the reserve; negative if some of the reserve is used.
    pub headroom: i64,
}

impl VolumeReport {
    /// Encodes the report as the value of [`VOLUME_KEY`].
    pub(crate) fn encode(self) -> String {
        format!("{} {}", self.level as u8, self.headroom)
    }

    /// Decodes a report; `None` for text that a pod of another version may have written.
    pub(crate) fn decode(text: &str) -> Option<Self> {
        let (level, headroom) = text.split_once(' ')?;
        Some(Self { level: VolumeLevel::from_number(level.parse().ok()?)?, headroom: headroom.parse().ok()? })
    }
}

/// A node's view of the volumes. Clones share their state; a gauge without any measurement refuses nothing.
#[derive(Clone, Debug)]
pub struct VolumeGauge {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    /// Configured reserve, in bytes; `None` for a share of the volume.
    reserve: Option<u64>,
    free: AtomicU64,
    total: AtomicU64,
    own_level: AtomicU8,
    own_headroom: AtomicI64,
    /// Leader's judgement of all voters; on other nodes, that of this pod's volume alone.
    level: AtomicU8,
    /// Bytes that may still be appended before the next judgement.
    budget: AtomicI64,
    /// Bytes appended since this process started.
    spent: AtomicU64,
}

impl Default for VolumeGauge {
    fn default() -> Self {
        Self::with_reserve(None)
    }
}

impl VolumeGauge {
    /// Creates a gauge that keeps this many bytes free; 0 for none, `None` for a share of the volume
    /// ([`VolumeSpace::default_reserve`]).
    #[must_use]
    pub fn with_reserve(reserve: Option<u64>) -> Self {
        let enough = VolumeLevel::Enough as u8;
        let inner = Inner {
            reserve,
            free: AtomicU64::new(0),
            total: AtomicU64::new(0),
            own_level: AtomicU8::new(enough),
            own_headroom: AtomicI64::new(i64::MAX),
            level: AtomicU8::new(enough),
            budget: AtomicI64::new(i64::MAX),
            spent: AtomicU64::new(0),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Records a measurement of this pod's volume.
    pub fn measured(&self, space: VolumeSpace) {
        let inner = &self.inner;
        inner.free.store(space.free, Relaxed);
        inner.total.store(space.total, Relaxed);
        let reserve = self.reserve();
        let level = self.own().level.after(space.free, reserve);
        let headroom =
            if reserve == 0 { i64::MAX } else { saturating_i64(space.free).saturating_sub(saturating_i64(reserve)) };
        inner.own_level.store(level as u8, Relaxed);
        inner.own_headroom.store(headroom, Relaxed);
    }

    /// Returns the free bytes and the size of this pod's volume at the last measurement.
    #[must_use]
    pub fn space(&self) -> VolumeSpace {
        VolumeSpace { free: self.inner.free.load(Relaxed), total: self.inner.total.load(Relaxed) }
    }

    /// Returns the bytes of this pod's volume that users' writes leave free.
    #[must_use]
    pub fn reserve(&self) -> u64 {
        self.inner.reserve.unwrap_or_else(|| self.space().default_reserve())
    }

    /// Returns the report of this pod's volume.
    #[must_use]
    pub fn own(&self) -> VolumeReport {
        let level = VolumeLevel::from_number(self.inner.own_level.load(Relaxed)).unwrap_or_default();
        VolumeReport { level, headroom: self.inner.own_headroom.load(Relaxed) }
    }

    /// Returns the level that the proposer uses.
    #[must_use]
    pub fn level(&self) -> VolumeLevel {
        let judged = VolumeLevel::from_number(self.inner.level.load(Relaxed)).unwrap_or_default();
        if self.inner.budget.load(Relaxed) > 0 { judged } else { judged.max(VolumeLevel::Short) }
    }

    /// Returns `true` if a command of this class is accepted at present.
    #[must_use]
    pub fn admits(&self, class: WriteClass) -> bool {
        class.is_admitted_at(self.level())
    }

    /// Counts bytes that go into the log.
    pub(crate) fn spend(&self, bytes: usize) {
        // Both are far from wrapping: an entry is small, and the next judgement resets the budget.
        self.inner.spent.fetch_add(bytes as u64, Relaxed);
        self.inner.budget.fetch_sub(i64::try_from(bytes).unwrap_or(0), Relaxed);
    }

    fn spent(&self) -> u64 {
        self.inner.spent.load(Relaxed)
    }

    /// Records a verdict; `recent` bytes were appended since the reports on which it is based.
    fn judged(&self, verdict: VolumeVerdict, recent: u64) {
        let budget = verdict.headroom.max(0) / WRITTEN_TIMES;
        self.inner.level.store(verdict.level as u8, Relaxed);
        self.inner.budget.store(budget.saturating_sub(saturating_i64(recent)), Relaxed);
    }
}

fn saturating_i64(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn a_report_survives_its_text_and_nonsense_is_none() {
        for level in [VolumeLevel::Enough, VolumeLevel::Short, VolumeLevel::Exhausted] {
            let report = VolumeReport { level, headroom: -17 };
            assert_eq!(VolumeReport::decode(&report.encode()), Some(report));
        }
        for text in ["", "1", "3 5", "x 5", "1 x", "1 99999999999999999999"] {
            assert_eq!(VolumeReport::decode(text), None, "{text:?}");
        }
    }

    #[test]
    fn a_gauge_that_was_told_nothing_refuses_nothing() {
        let gauge = VolumeGauge::default();
        gauge.spend(1 << 40);
        assert!(gauge.admits(WriteClass::Growing));
        let unlimited = VolumeGauge::with_reserve(Some(0));
        unlimited.measured(VolumeSpace { free: 0, total: 100 * MIB });
        assert_eq!(unlimited.own(), VolumeReport { level: VolumeLevel::Enough, headroom: i64::MAX });
    }

    #[test]
    fn what_is_appended_between_two_looks_is_counted_twice() {
        let gauge = VolumeGauge::with_reserve(Some(10 * MIB));
        gauge.measured(VolumeSpace { free: 14 * MIB, total: 100 * MIB });
        let own = VolumeVerdict { level: VolumeLevel::Enough, headroom: gauge.own().headroom };
        gauge.judged(own, 0);
        gauge.spend(MIB as usize);
        assert!(gauge.admits(WriteClass::Growing), "2 of 4 MiB are used");
        gauge.spend(MIB as usize);
        assert!(!gauge.admits(WriteClass::Growing) && gauge.admits(WriteClass::Upkeep));
        gauge.judged(own, gauge.spent());
        assert!(!gauge.admits(WriteClass::Growing), "the reports are older than what was appended");
        gauge.judged(own, 0);
        assert!(gauge.admits(WriteClass::Growing), "the next look says that there is space");
    }
}
