//! Marks in a sync token: how far a client has been told of what never enters the log (typing, presence).
//!
//! Each pod counts the changes of its own users, from its start to its end: one *life*. A mark is a life and a count. The
//! marks of all pods make one token good on every pod, also after the pod that wrote it is gone.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// Number of lives in a token: a cluster has three or five pods, and during a restart the lives before and after it
/// overlap. A life that finds no place is told from its beginning each time, so there are places to spare.
pub const MOST_MARKS: usize = 16;

/// Number of changes of each pod's life that a client has been told of; a life without a mark counts as 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LifeMarks {
    /// Lives in ascending order, without zeros; then zeros.
    marks: [(u32, u64); MOST_MARKS],
}

impl LifeMarks {
    /// Returns the marks of the tuples `(life, count)`, as many as there is space for; life 0 is nobody's.
    #[must_use]
    pub fn of(all: impl IntoIterator<Item = (u32, u64)>) -> Self {
        let mut given: Vec<_> = all.into_iter().filter(|(life, _)| *life != 0).take(MOST_MARKS).collect();
        given.sort_unstable();
        given.dedup_by_key(|(life, _)| *life);
        let mut out = Self::default();
        for (place, mark) in out.marks.iter_mut().zip(given) {
            *place = mark;
        }
        out
    }

    /// Returns all marks, in ascending order of their lives.
    pub fn iter(&self) -> impl Iterator<Item = (u32, u64)> + '_ {
        self.marks.iter().copied().filter(|(life, _)| *life != 0)
    }

    /// Returns the count of a life; `None` if there is no mark of it.
    #[must_use]
    pub fn get(&self, life: u32) -> Option<u64> {
        self.iter().find(|(known, _)| *known == life).map(|(_, count)| count)
    }

    /// Returns `true` if there are no marks.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.iter().next().is_none()
    }

    /// Returns the marks as the last part of a token: each life as four bytes, its count in groups of seven bits.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut bytes = Vec::new();
        for (life, count) in self.iter() {
            bytes.extend(life.to_be_bytes());
            prost::encoding::encode_varint(count, &mut bytes);
        }
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Parses what [`LifeMarks::to_text`] wrote, and nothing else.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let mut left = bytes.as_slice();
        let mut marks = Vec::new();
        while let Some((life, rest)) = left.split_first_chunk::<4>() {
            left = rest;
            let count = prost::encoding::decode_varint(&mut left).ok()?;
            marks.push((u32::from_be_bytes(*life), count));
        }
        let out = Self::of(marks);
        (left.is_empty() && !out.is_empty() && out.to_text() == text).then_some(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_read_as_they_were_written_and_nothing_else_does() {
        for marks in [vec![(7, 0)], vec![(9, u64::MAX), (7, 300)], (1..30).map(|life| (life, 5)).collect()] {
            let marks = LifeMarks::of(marks);
            assert_eq!(LifeMarks::parse(&marks.to_text()), Some(marks));
        }
        assert_eq!(LifeMarks::of((1..30).map(|life| (life, 5))).iter().count(), MOST_MARKS);
        let two_orders = URL_SAFE_NO_PAD.encode([0, 0, 0, 9, 1, 0, 0, 0, 7, 1]);
        let long_zero = URL_SAFE_NO_PAD.encode([0, 0, 0, 9, 0x80, 0]);
        for bad in ["", "AAAA", "AAAAAAE", "====", two_orders.as_str(), long_zero.as_str()] {
            assert_eq!(LifeMarks::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_life_without_a_mark_has_none() {
        let marks = LifeMarks::of([(3, 1), (1, 2), (0, 9)]);
        assert_eq!((marks.get(1), marks.get(2), marks.get(0)), (Some(2), None, None));
        assert!(LifeMarks::default().is_empty() && !marks.is_empty());
    }
}
