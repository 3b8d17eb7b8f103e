//! Index from the position of an event to its room: one row per log entry, because an entry contains many events, most
//! of them of few rooms.

use crate::id::{Position, RoomNumber};
use crate::proto::store::{EntryEvents, EventRun};
use crate::table::{self, ReadError, Table, TableRead, key};
use bytes::{Buf, Bytes};

/// Events of one entry with their rooms, in order of their ordinals.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct EventRuns {
    runs: Vec<EventRun>,
}

impl EventRuns {
    /// Returns the events of the entry with this position; none if it has none.
    ///
    /// # Errors
    /// Fails if the row cannot be read.
    pub(crate) fn fetch(rows: &dyn TableRead, at: Position) -> Result<Self, ReadError> {
        let value = rows.get(Table::EventRoom, &key::entry_key(at))?;
        value.map_or_else(|| Ok(Self::default()), Self::decode)
    }

    /// Decodes the value of a row.
    ///
    /// # Errors
    /// Fails if the value is damaged: runs are regular, in order, and within the range of ordinals.
    pub(crate) fn decode(value: impl Buf) -> Result<Self, ReadError> {
        let EntryEvents { runs } = table::decode_value(Table::EventRoom, value)?;
        let mut next = Some(0);
        for run in &runs {
            let in_order = next.is_some_and(|next| next <= run.first);
            let last = last_ordinal(run).filter(|_| in_order);
            let Some(last) = last else {
                let what = format!("{run:?} is not a run of events that follows the one before");
                return Err(ReadError::Damaged { table: Table::EventRoom, what });
            };
            next = last.checked_add(1);
        }
        Ok(Self { runs })
    }

    pub(crate) fn encode(&self) -> Bytes {
        table::encode_value(&EntryEvents { runs: self.runs.clone() })
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// Adds an event after all others.
    pub(crate) fn push(&mut self, ordinal: u32, room: RoomNumber) {
        if let Some(run) = self.runs.last_mut().filter(|run| run.room == room.0) {
            let distance = ordinal.saturating_sub(run.first);
            if run.count == 1 && distance > 0 {
                run.step = distance;
            }
            if run.step > 0 && run.step.checked_mul(run.count) == Some(distance) {
                run.count += 1;
                return;
            }
        }
        self.runs.push(EventRun { first: ordinal, step: 0, count: 1, room: room.0 });
    }

    /// Removes all events from this ordinal on.
    pub(crate) fn truncate(&mut self, from: u32) {
        while let Some(run) = self.runs.last_mut() {
            if run.first < from {
                let kept = (from - run.first).div_ceil(run.step.max(1));
                run.count = run.count.min(kept);
                return;
            }
            self.runs.pop();
        }
    }

    /// Returns the room of the event with this ordinal.
    pub(crate) fn room_of(&self, ordinal: u32) -> Option<RoomNumber> {
        let after = self.runs.partition_point(|run| run.first <= ordinal);
        let run = self.runs.get(after.checked_sub(1)?)?;
        let distance = ordinal - run.first;
        let is_in_run = match run.step {
            0 => distance == 0,
            step => distance.is_multiple_of(step) && distance / step < run.count,
        };
        is_in_run.then_some(RoomNumber(run.room))
    }

    /// Returns all events: their ordinals and rooms.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, RoomNumber)> {
        self.runs.iter().flat_map(|run| (0..run.count).map(|n| (run.first + n * run.step, RoomNumber(run.room))))
    }

    /// Returns the events without those with these ordinals, which are in ascending order.
    pub(crate) fn without(&self, removed: &[u32]) -> Self {
        let mut out = Self::default();
        let kept = self.iter().filter(|(ordinal, _)| removed.binary_search(ordinal).is_err());
        kept.for_each(|(ordinal, room)| out.push(ordinal, room));
        out
    }
}

/// Returns the ordinal of a run's last event; `None` if the run is not regular.
fn last_ordinal(run: &EventRun) -> Option<u32> {
    match (run.count, run.step) {
        (0, _) => None,
        (1, _) => Some(run.first),
        (_, 0) => None,
        (count, step) => run.first.checked_add((count - 1).checked_mul(step)?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn filled(events: &[(u32, u64)]) -> EventRuns {
        let mut runs = EventRuns::default();
        events.iter().for_each(|(ordinal, room)| runs.push(*ordinal, RoomNumber(*room)));
        runs
    }

    #[test]
    fn messages_to_one_room_are_one_run() {
        let events: Vec<_> = (0..1000).map(|n| (n * 65_536 % u32::MAX, 7)).take(64).collect();
        assert_eq!(filled(&events).runs.len(), 1);
        assert!(filled(&events).encode().len() < 20);
    }

    #[test]
    fn a_row_that_is_no_sequence_of_runs_is_damaged() {
        let run = EventRun { first: 5, step: 2, count: 3, room: 1 };
        let twice = EntryEvents { runs: vec![run, run] };
        let empty = EntryEvents { runs: vec![EventRun { count: 0, ..run }] };
        let standing = EntryEvents { runs: vec![EventRun { step: 0, ..run }] };
        let long = EntryEvents { runs: vec![EventRun { count: u32::MAX, ..run }] };
        for bad in [twice, empty, standing, long] {
            let decoded = EventRuns::decode(table::encode_value(&bad));
            assert!(matches!(decoded, Err(ReadError::Damaged { .. })), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn what_was_pushed_is_found_and_nothing_else(
            steps in prop::collection::vec((1_u32..4, 1_u64..3), 0..40),
            removed in prop::collection::btree_set(0_u32..160, 0..20),
            from in 0_u32..160,
        ) {
            let mut at = 0;
            let events: Vec<_> = steps.iter().map(|(step, room)| { at += step; (at, *room) }).collect();
            let runs = filled(&events);
            let listed: Vec<_> = runs.iter().map(|(ordinal, room)| (ordinal, room.0)).collect();
            prop_assert_eq!(&listed, &events);
            prop_assert_eq!(EventRuns::decode(runs.encode()).unwrap(), runs.clone());
            for ordinal in 0..170 {
                let room = events.iter().find(|(at, _)| *at == ordinal).map(|(_, room)| RoomNumber(*room));
                prop_assert_eq!(runs.room_of(ordinal), room);
            }
            let left: Vec<_> = events.iter().filter(|(at, _)| !removed.contains(at)).copied().collect();
            let removed: Vec<_> = removed.into_iter().collect();
            prop_assert_eq!(runs.without(&removed), filled(&left));
            let mut cut = runs;
            cut.truncate(from);
            let before: Vec<_> = events.iter().filter(|(at, _)| *at < from).copied().collect();
            let listed: Vec<_> = cut.iter().map(|(ordinal, room)| (ordinal, room.0)).collect();
            prop_assert_eq!(listed, before);
        }
    }
}
