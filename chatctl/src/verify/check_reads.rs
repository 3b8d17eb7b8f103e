//! Judges linearizable reads: each of them needs a moment between its beginning and its end at which the room was as
//! the read says. Time O(n log n).
//!
//! In general that question is hard (Gibbons and Korach: NP-complete), and checkers search. Here it is not: a room only
//! grows, and every message's position says where it grew, so a read stands for the number of messages before it. A
//! history is linearizable exactly if each page is a gap-free end of what stood there, and if these four orders agree
//! with the clock: write before write (judged in [`super::check_reads`]), write before read, read before write, read before
//! read. The test beside this file compares the answer with that of a search over all orders.

use super::check::ViolationSummary;
use super::history::{MessageId, MessageOutcome, RecordedRead, RunHistory};
use crate::position::EventPosition;
use std::collections::HashMap;

/// Adds the violations in the reads of a history, whose messages stand at `positions` as far as these are known.
pub(super) fn check_reads(
    history: &RunHistory,
    positions: &HashMap<MessageId, EventPosition>,
    found: &mut ViolationSummary,
) {
    let rooms = history.messages.iter().map(|message| message.room).max().map_or(0, |room| room + 1);
    for room in 0..rooms {
        let reads: Vec<&RecordedRead> = history.reads.iter().filter(|read| read.room == room).collect();
        if !reads.is_empty() {
            RoomHistory::of(room, history, reads, positions).check(found);
        }
    }
}

/// Message of the room, with the times at which it was issued and acknowledged.
#[derive(Clone, Copy)]
struct PlacedMessage {
    position: EventPosition,
    id: MessageId,
    invoked_us: u64,
    acknowledged_us: Option<u64>,
}

struct RoomHistory<'a> {
    /// Messages in the order of their positions.
    messages: Vec<PlacedMessage>,
    reads: Vec<&'a RecordedRead>,
}

/// Returns the position of the newest message in a read: all messages up to it must be in the read, none after it is.
fn newest_position(read: &RecordedRead) -> Option<EventPosition> {
    read.page.iter().map(|seen| seen.position).max()
}

impl<'a> RoomHistory<'a> {
    fn of(
        room: u16,
        history: &RunHistory,
        reads: Vec<&'a RecordedRead>,
        positions: &HashMap<MessageId, EventPosition>,
    ) -> Self {
        let of_room = history.messages.iter().filter(|message| message.room == room);
        let placed = of_room.filter_map(|message| {
            let position = *positions.get(&message.id)?;
            let acknowledged_us = match message.fate {
                MessageOutcome::Acknowledged { at_us, .. } => Some(at_us),
                MessageOutcome::Refused | MessageOutcome::Unknown => None,
            };
            Some(PlacedMessage { position, id: message.id, invoked_us: message.invoked_us, acknowledged_us })
        });
        let mut messages: Vec<PlacedMessage> = placed.collect();
        messages.sort_unstable_by_key(|placed| placed.position);
        Self { messages, reads }
    }

    fn check(&self, found: &mut ViolationSummary) {
        self.writes_before_reads(found);
        self.reads_before_writes(found);
        self.reads_before_reads(found);
        for read in &self.reads {
            self.page(read, found);
        }
    }

    /// Checks that each read has every message that was acknowledged before the read began.
    fn writes_before_reads(&self, found: &mut ViolationSummary) {
        let acknowledged = self.messages.iter().filter_map(|m| Some((m.acknowledged_us?, m.position, m.id)));
        let reads = self.reads.iter().map(|read| (read.invoked_us, *read));
        sweep_by_time(acknowledged.collect(), reads.collect(), |highest, id, read| {
            if Some(highest) > newest_position(read) {
                found.add(|| {
                    format!(
                        "{} lacks message {id} at {highest}, acknowledged before the read began",
                        describe_read(read)
                    )
                });
            }
        });
    }

    /// Checks that each message that was issued after a read ended stands after all messages that the read saw.
    fn reads_before_writes(&self, found: &mut ViolationSummary) {
        let reads = self.reads.iter().filter_map(|read| Some((read.ended_us, newest_position(read)?, *read)));
        let issued = self.messages.iter().map(|message| (message.invoked_us, message));
        sweep_by_time(reads.collect(), issued.collect(), |highest, read, message| {
            if message.position <= highest {
                let PlacedMessage { id, position, .. } = message;
                found.add(|| {
                    format!(
                        "{} reached {highest}, but message {id} at {position} was issued later",
                        describe_read(read)
                    )
                });
            }
        });
    }

    /// Checks that each read sees at least as much as one that had ended when it began, whichever servers answered the
    /// two.
    fn reads_before_reads(&self, found: &mut ViolationSummary) {
        let ended = self.reads.iter().filter_map(|read| Some((read.ended_us, newest_position(read)?, *read)));
        let begun = self.reads.iter().map(|read| (read.invoked_us, *read));
        sweep_by_time(ended.collect(), begun.collect(), |highest, earlier, read| {
            if Some(highest) > newest_position(read) {
                found.add(|| {
                    format!(
                        "{} ends before {highest}, which an earlier {} had seen",
                        describe_read(read),
                        describe_read(earlier)
                    )
                });
            }
        });
    }

    /// Checks that a page has no gaps and is in order.
    fn page(&self, read: &RecordedRead, found: &mut ViolationSummary) {
        let (Some(first), Some(last)) = (read.page.first(), newest_position(read)) else { return };
        if !read.page.is_sorted_by(|a, b| a.position < b.position) {
            found.add(|| format!("{} is out of order", describe_read(read)));
            return;
        }
        let from = if read.whole { 0 } else { self.messages.partition_point(|m| m.position < first.position) };
        let upto = self.messages.partition_point(|m| m.position <= last);
        let mut page = read.page.iter().peekable();
        for message in self.messages.get(from..upto).unwrap_or_default() {
            while page.next_if(|seen| seen.position < message.position).is_some() {}
            if page.next_if(|seen| seen.position == message.position).is_none() {
                let PlacedMessage { id, position, .. } = message;
                found.add(|| format!("{} has a gap at {position}, the position of message {id}", describe_read(read)));
                return;
            }
        }
    }
}

/// Calls `judge` for each of `later` with the highest position among those of `earlier` that precede it in time, and
/// with the owner of that position.
fn sweep_by_time<E: Copy, L>(
    mut earlier: Vec<(u64, EventPosition, E)>,
    mut later: Vec<(u64, L)>,
    mut judge: impl FnMut(EventPosition, E, L),
) {
    earlier.sort_by_key(|(at, position, _)| (*at, *position));
    later.sort_by_key(|(at, _)| *at);
    let mut earlier = earlier.into_iter().peekable();
    let mut highest: Option<(EventPosition, E)> = None;
    for (at, who) in later {
        // Strictly earlier: within one microsecond the order is not known.
        while let Some((_, position, by)) = earlier.next_if(|(before, ..)| *before < at) {
            if highest.is_none_or(|(known, _)| position > known) {
                highest = Some((position, by));
            }
        }
        if let Some((position, by)) = highest {
            judge(position, by, who);
        }
    }
}

fn describe_read(read: &RecordedRead) -> String {
    format!("read of {} from {} to {} µs", read.server, read.invoked_us, read.ended_us)
}

#[cfg(test)]
#[path = "check_reads_tests.rs"]
mod tests;
