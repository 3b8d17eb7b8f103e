//! The checker: a pure function from the record of a run to a verdict. Time O(n log n) in messages × observations.
//!
//! It judges by what the client was promised. An acknowledged message must be everywhere, once, at the promised
//! position; a refused one nowhere. A message whose outcome is unknown may be there once or not at all, but if any
//! observer saw it, every observer that came that far must have seen it. The promise of linearizable reads is judged in
//! [`super::check_reads`].

use super::check_reads;
use super::history::{
    IssuedMessage, MessageId, MessageOutcome, Observation, RecordedRead, RunHistory, SeenMessage, event_key,
};
use crate::position::EventPosition;
use serde::Serialize;
use std::collections::{HashMap, HashSet};

/// Maximum number of examples kept of each kind of violation: enough to see a pattern, few enough to read.
const EXAMPLES: usize = 10;

/// Number of violations of one kind, and the first instances.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ViolationSummary {
    /// Number of violations found.
    pub count: u64,
    /// Descriptions of the first ten.
    pub examples: Vec<String>,
}

impl ViolationSummary {
    pub(super) fn add(&mut self, example: impl FnOnce() -> String) {
        self.count += 1;
        if self.examples.len() < EXAMPLES {
            self.examples.push(example());
        }
    }
}

/// Verdict of the checker on a run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct CheckVerdict {
    /// Number of messages that the cluster promised to keep.
    pub acknowledged: u64,
    /// Number of messages without a promise either way.
    pub unknown: u64,
    /// Number of messages that the cluster promised not to keep.
    pub refused: u64,
    /// Messages that are missing somewhere although they must be there.
    pub lost: ViolationSummary,
    /// Messages that one observer met more than once.
    pub duplicated: ViolationSummary,
    /// Messages that stand before one that they must follow.
    pub reordered: ViolationSummary,
    /// Messages at another position, with another event id or in another room than promised or seen elsewhere.
    pub mismatched: ViolationSummary,
    /// Messages that were refused or never sent, and yet were seen.
    pub phantom: ViolationSummary,
    /// Linearizable reads that match the room at no moment between their beginning and their end.
    pub unlinearizable: ViolationSummary,
}

impl CheckVerdict {
    /// Returns `true` if no promise was broken.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.findings().iter().all(|(_, finding)| finding.count == 0)
    }

    /// Returns all kinds of violations, by name.
    #[must_use]
    pub fn findings(&self) -> [(&'static str, &ViolationSummary); 6] {
        [
            ("lost", &self.lost),
            ("duplicated", &self.duplicated),
            ("reordered", &self.reordered),
            ("mismatched", &self.mismatched),
            ("phantom", &self.phantom),
            ("unlinearizable", &self.unlinearizable),
        ]
    }
}

/// Judges the record of a run.
#[must_use]
pub fn check_history(history: &RunHistory) -> CheckVerdict {
    let mut verdict = CheckVerdict::default();
    let mut world = MessageIndex::promised(history, &mut verdict);
    let met: Vec<ObservedMessages> = history.observations.iter().map(|o| world.observe(o, &mut verdict)).collect();
    history.reads.iter().for_each(|read| world.read(read, &mut verdict));
    world.completeness(history, &met, &mut verdict);
    world.real_time_order(history, &mut verdict);
    world.stream_order(history, &mut verdict);
    check_reads::check_reads(history, &world.positions(), &mut verdict.unlinearizable);
    verdict
}

/// Position of a message, and the key of its event id.
#[derive(Clone, Copy)]
struct MessagePlace {
    position: EventPosition,
    event: u64,
}

/// Messages that one observer met.
struct ObservedMessages {
    ids: HashSet<MessageId>,
    /// Highest position met in each room.
    reached: HashMap<u16, EventPosition>,
}

struct MessageIndex<'a> {
    messages: HashMap<MessageId, &'a IssuedMessage>,
    places: HashMap<MessageId, MessagePlace>,
    owners: HashMap<EventPosition, MessageId>,
}

impl<'a> MessageIndex<'a> {
    /// Builds the world from the acknowledgements alone, and counts the outcomes.
    fn promised(history: &'a RunHistory, verdict: &mut CheckVerdict) -> Self {
        let messages = history.messages.iter().map(|message| (message.id, message)).collect();
        let mut world = Self { messages, places: HashMap::new(), owners: HashMap::new() };
        for message in &history.messages {
            match &message.fate {
                MessageOutcome::Refused => verdict.refused += 1,
                MessageOutcome::Unknown => verdict.unknown += 1,
                MessageOutcome::Acknowledged { position, event_id, .. } => {
                    verdict.acknowledged += 1;
                    let place = MessagePlace { position: *position, event: event_key(event_id) };
                    world.place(message.id, place, "acknowledgement", verdict);
                }
            }
        }
        world
    }

    /// Puts a message at its place, or compares the place with the one that is known already.
    fn place(&mut self, id: MessageId, place: MessagePlace, by: &str, verdict: &mut CheckVerdict) {
        let MessagePlace { position, event } = place;
        // An event id encodes its position, so of the two differences only the first is reported.
        let known = *self.places.entry(id).or_insert(place);
        if known.position != position {
            verdict.mismatched.add(|| format!("{by}: message {id} at {position}, but elsewhere at {}", known.position));
        } else if known.event != event {
            verdict.mismatched.add(|| format!("{by}: message {id} at {position} has a different event id elsewhere"));
        }
        let owner = *self.owners.entry(position).or_insert(id);
        if owner != id {
            verdict.mismatched.add(|| format!("{by}: message {id} at {position}, the position of message {owner}"));
        }
    }

    /// Checks that an observer met each message once, each room in ascending order, and nothing that must not be there.
    fn observe(&mut self, observation: &Observation, verdict: &mut CheckVerdict) -> ObservedMessages {
        let name = &observation.name;
        let mut met = ObservedMessages { ids: HashSet::with_capacity(observation.seen.len()), reached: HashMap::new() };
        for SeenMessage { id, room, position, event } in observation.seen.iter().copied() {
            let expected = self.messages.get(&id).filter(|message| message.fate != MessageOutcome::Refused);
            let Some(message) = expected else {
                verdict.phantom.add(|| format!("{name}: message {id} at {position} was refused or never sent"));
                continue;
            };
            if message.room != room {
                verdict
                    .mismatched
                    .add(|| format!("{name}: message {id}, sent to room {}, is in room {room}", message.room));
            }
            if !met.ids.insert(id) {
                verdict.duplicated.add(|| format!("{name}: duplicate of message {id}, at {position}"));
                continue;
            }
            let reached = met.reached.entry(room).or_insert(position);
            if position < *reached {
                verdict.reordered.add(|| format!("{name}: message {id} at {position} came after position {reached}"));
            }
            *reached = position.max(*reached);
            self.place(id, MessagePlace { position, event }, name, verdict);
        }
        met
    }

    /// Checks where a read shows messages, as for an observation. Messages missing from it are judged elsewhere.
    fn read(&mut self, read: &RecordedRead, verdict: &mut CheckVerdict) {
        let name = format!("read of {}", read.server);
        let seen = read.page.clone();
        self.observe(&Observation { name, seen }, verdict);
    }

    /// Returns the position of each message, as far as any acknowledgement or observer named it.
    fn positions(&self) -> HashMap<MessageId, EventPosition> {
        self.places.iter().map(|(id, place)| (*id, place.position)).collect()
    }

    /// Checks that nothing is missing that must be there. A message counts once, however many observers miss it.
    fn completeness(&self, history: &RunHistory, met: &[ObservedMessages], verdict: &mut CheckVerdict) {
        for message in &history.messages {
            let Some(MessagePlace { position, .. }) = self.places.get(&message.id) else { continue };
            let acknowledged = matches!(message.fate, MessageOutcome::Acknowledged { .. });
            let misses = |met: &ObservedMessages| {
                // Without a promise, only observers that came past its position must have met it.
                let passed = met.reached.get(&message.room).is_some_and(|reached| reached >= position);
                !met.ids.contains(&message.id) && (acknowledged || passed)
            };
            let mut names = history.observations.iter().zip(met).filter(|(_, met)| misses(met)).map(|(o, _)| &o.name);
            if let Some(first) = names.next() {
                let others = names.count();
                let kind = if acknowledged { "acknowledged" } else { "seen elsewhere" };
                let id = message.id;
                verdict.lost.add(|| {
                    format!(
                        "{first}: message {id}, {kind} at {position}, is missing (also missing from {others} others)"
                    )
                });
            }
        }
    }

    /// Checks that a message that was issued after another was acknowledged stands after it, whoever wrote the two.
    /// This covers the order of what one writer sends one after another.
    fn real_time_order(&self, history: &RunHistory, verdict: &mut CheckVerdict) {
        let mut acknowledged: Vec<(u64, EventPosition, MessageId)> = Vec::new();
        let mut placed: Vec<(u64, EventPosition, MessageId)> = Vec::new();
        for message in &history.messages {
            if let MessageOutcome::Acknowledged { at_us, position, .. } = &message.fate {
                acknowledged.push((*at_us, *position, message.id));
            }
            if let Some(place) = self.places.get(&message.id) {
                placed.push((message.invoked_us, place.position, message.id));
            }
        }
        acknowledged.sort_unstable();
        placed.sort_unstable();
        let mut earlier = acknowledged.into_iter().peekable();
        let mut highest: Option<(EventPosition, MessageId)> = None;
        for (invoked, position, id) in placed {
            // Strictly earlier: within one microsecond the order is not known.
            while let Some((_, before, by)) = earlier.next_if(|(at, ..)| *at < invoked) {
                highest = highest.max(Some((before, by)));
            }
            if let Some((before, by)) = highest.filter(|(before, _)| *before > position) {
                verdict.reordered.add(|| {
                    format!("message {id} at {position} was issued after message {by} was acknowledged at {before}")
                });
            }
        }
    }
}

impl MessageIndex<'_> {
    /// Checks that the messages that one writer put on its stream stand in the order in which it did so, however many
    /// were in flight at once.
    fn stream_order(&self, history: &RunHistory, verdict: &mut CheckVerdict) {
        let mut placed: Vec<(MessageId, EventPosition)> =
            self.places.iter().map(|(id, place)| (*id, place.position)).collect();
        placed.retain(|(id, _)| history.in_order.contains(&id.writer));
        placed.sort_unstable();
        for pair in placed.windows(2) {
            let [(before, at), (id, position)] = pair else { continue };
            if before.writer == id.writer && at > position {
                verdict.reordered.add(|| {
                    format!(
                        "message {id} at {position} was posted to the stream after message {before}, which is at {at}"
                    )
                });
            }
        }
    }
}

#[cfg(test)]
#[path = "check_tests.rs"]
mod tests;
