//! Invariants of what clients were promised, judged at the end by the rows on which all replicas agree.

use super::order::streams_keep_their_order;
use super::{CheckResult, fail_check};
use crate::history::{ClientSend, HistoryRecord};
use crate::oracle::{self, BareEvent};
use crate::replica::SERVER;
use quorate_core::id::Position;
use quorate_core::query::StateView;
use quorate_core::table::TableRead;
use std::collections::BTreeMap;

/// State of the cluster at the end of a simulation: its rows, and the bare timelines in them.
pub struct FinalState<'a> {
    /// Record of what was promised.
    pub record: &'a HistoryRecord,
    /// Rows on which all replicas agree.
    pub rows: &'a dyn TableRead,
    /// All events in order of their positions.
    pub events: Vec<BareEvent>,
}

impl<'a> FinalState<'a> {
    /// Reads all timelines from `rows`.
    #[must_use]
    pub fn new(record: &'a HistoryRecord, rows: &'a dyn TableRead) -> Self {
        Self { record, rows, events: oracle::read_events(rows) }
    }

    /// Returns the positions in a room that `user` may see, in order.
    fn timeline(&self, room: usize, user: &str) -> Vec<Position> {
        let view = StateView::open(self.rows).unwrap();
        let number = view.resolve_room(&self.record.rooms[room]).unwrap();
        oracle::visible_events(&self.events, number, user, SERVER)
    }

    /// Returns the positions at which each key stands.
    pub(super) fn places(&self) -> BTreeMap<String, Vec<Position>> {
        let mut found = BTreeMap::<String, Vec<Position>>::new();
        for event in &self.events {
            if let Some(key) = event_key(event) {
                found.entry(key).or_default().push(event.at);
            }
        }
        found
    }

    /// Checks all promises to clients.
    ///
    /// # Errors
    /// Returns the first that is broken.
    pub fn check(&self) -> CheckResult {
        no_surprises(self)?;
        exactly_once(self)?;
        writes_keep_their_order(self)?;
        streams_keep_their_order(self)?;
        reads_are_linearizable(self)?;
        streams_have_no_gaps(self)?;
        state_at_an_event_is_stable(self)?;
        rows_agree(self)
    }
}

/// Checks that no client got an answer that the service has no reason to give: nobody does anything that is forbidden
/// here.
///
/// # Errors
/// The violation names the answer.
pub fn no_surprises(end: &FinalState<'_>) -> CheckResult {
    match end.record.surprises.first() {
        Some(surprise) => fail_check("no_surprises", surprise.clone()),
        None => Ok(()),
    }
}

/// Returns the key in an event, or `None` if it is of a kind that no client sends.
fn event_key(event: &BareEvent) -> Option<String> {
    let content: serde_json::Value = serde_json::from_slice(&event.row.content).ok()?;
    let key = match event.row.r#type.as_str() {
        "m.room.message" => content.get("body"),
        "m.room.name" => content.get("name"),
        _ => None,
    };
    key?.as_str().map(str::to_owned)
}

/// Checks that every acknowledged message is there once, where every answer said, that every other one is there at most
/// once, and that nothing else is there (dissertation §6.3: sessions that filter duplicates).
///
/// # Errors
/// The violation names the message, where it is and where it was said to be.
pub fn exactly_once(end: &FinalState<'_>) -> CheckResult {
    const NAME: &str = "exactly_once";
    let mut found = end.places();
    for (key, ClientSend { answers, acknowledged, .. }) in &end.record.sends {
        let places = found.remove(key).unwrap_or_default();
        if places.len() > 1 {
            return fail_check(NAME, format!("{key} was applied {} times: {places:?}", places.len()));
        }
        if acknowledged.is_some() && places.is_empty() {
            return fail_check(NAME, format!("{key} was acknowledged at {answers:?} but is missing"));
        }
        if answers.iter().any(|answer| Some(answer) != places.first()) {
            return fail_check(NAME, format!("{key} is at {places:?}, but its answers said {answers:?}"));
        }
    }
    match found.into_iter().next() {
        Some((key, places)) => fail_check(NAME, format!("{key} at {places:?} was never sent")),
        None => Ok(()),
    }
}

/// Checks that a message that was sent after another one of its room was acknowledged stands after it (linearizability
/// of writes: Herlihy and Wing 1990; the room is the object).
///
/// # Errors
/// The violation names both messages.
pub fn writes_keep_their_order(end: &FinalState<'_>) -> CheckResult {
    for room in 0..end.record.rooms.len() {
        let of_room = end.record.sends.iter().filter(|(_, send)| send.room == room);
        let mut placed: Vec<_> = of_room
            .filter_map(|(key, send)| Some((send.answers.first()?, send.invoked, send.acknowledged?, key)))
            .collect();
        placed.sort();
        // Backward: no message may have been acknowledged before one that stands earlier was sent.
        let mut earliest = (u64::MAX, "");
        for (at, invoked, acknowledged, key) in placed.into_iter().rev() {
            if earliest.0 < invoked {
                let what = format!(
                    "{key} at {at:?} was sent after {} had been acknowledged, but is ordered before it",
                    earliest.1
                );
                return fail_check("writes_keep_their_order", what);
            }
            earliest = earliest.min((acknowledged, key));
        }
    }
    Ok(())
}

/// Checks that a read that says it is linearizable shows everything of its room that was acknowledged, or shown to
/// another such read, before it began; and that every read shows a piece, without holes, of the one timeline, of which
/// its user may see all or a part (dissertation §6.4; Herlihy and Wing 1990). For a sequence that only grows this is
/// all of linearizability, and takes one pass.
///
/// # Errors
/// The violation names the read and what it lacks.
pub fn reads_are_linearizable(end: &FinalState<'_>) -> CheckResult {
    const NAME: &str = "reads_are_linearizable";
    for room in 0..end.record.rooms.len() {
        let mut timelines = BTreeMap::new();
        // Positions, each with the time at which it was known to be there: acknowledged, or read.
        let mut known: Vec<(u64, Position)> = Vec::new();
        let sends = end.record.sends.values().filter(|send| send.room == room);
        known.extend(sends.filter_map(|send| Some((send.acknowledged?, *send.answers.first()?))));
        let reads: Vec<_> = end.record.reads.iter().filter(|read| read.room == room).collect();
        known.extend(reads.iter().filter(|r| r.linearizable).filter_map(|r| Some((r.answered, *r.newest.first()?))));
        known.sort();
        let mut newest_by = Vec::with_capacity(known.len());
        let mut newest = Position::ZERO;
        for (time, at) in known {
            newest = newest.max(at);
            newest_by.push((time, newest));
        }
        for read in reads {
            let Some(first) = read.newest.first() else { continue };
            let timeline = timelines.entry(read.user).or_insert_with(|| end.timeline(room, read.user));
            let place = timeline.partition_point(|at| at <= first);
            let piece = timeline[..place].iter().rev().take(read.newest.len());
            if !piece.eq(read.newest.iter()) {
                return fail_check(
                    NAME,
                    format!("a read returned {:?}, which is not a contiguous part of the timeline", read.newest),
                );
            }
            let before = newest_by.partition_point(|(time, _)| *time < read.invoked);
            let least = before.checked_sub(1).map_or(Position::ZERO, |last| newest_by[last].1);
            // The newest of them that the reader may see.
            let least = timeline.iter().rev().find(|at| **at <= least).copied().unwrap_or_default();
            if read.linearizable && *first < least {
                let what = format!(
                    "a read of room {room} began at {} and returned nothing after {first:?}, although {least:?} was known by then",
                    read.invoked
                );
                return fail_check(NAME, what);
            }
        }
    }
    Ok(())
}

/// Checks that a subscriber gets what happens in its rooms once, in order and without a gap, whatever streams it is
/// pieced together from (`docs/architecture.md`, "the feed").
///
/// # Errors
/// The violation names the first difference.
pub fn streams_have_no_gaps(end: &FinalState<'_>) -> CheckResult {
    for followed in end.record.followed.values() {
        let all = oracle::expected_stream(&end.events, followed.user, SERVER);
        let due: Vec<_> = all.into_iter().filter(|at| *at > followed.from && *at <= followed.cursor).collect();
        if due == followed.seen {
            continue;
        }
        let place = due.iter().zip(&followed.seen).take_while(|(due, seen)| due == seen).count();
        let what = format!(
            "{} should have received {:?} as number {place}, but received {:?} ({} expected, {} received, {} connections)",
            followed.user,
            due.get(place),
            followed.seen.get(place),
            due.len(),
            followed.seen.len(),
            followed.connections
        );
        return fail_check("streams_have_no_gaps", what);
    }
    Ok(())
}

/// Checks that the state of a room at an event is the same whenever and wherever it is asked for (Matrix: state is a
/// function of the event).
///
/// # Errors
/// The violation names the event and both states.
pub fn state_at_an_event_is_stable(end: &FinalState<'_>) -> CheckResult {
    for shown in &end.record.states {
        let view = StateView::open(end.rows).unwrap();
        let number = view.resolve_room(&end.record.rooms[shown.room]).unwrap();
        let state = oracle::room_state_at(&end.events, number, shown.at);
        let shown_state: BTreeMap<_, _> =
            shown.state.iter().map(|(event_type, key, at)| ((event_type.clone(), key.clone()), *at)).collect();
        if state != shown_state {
            let what = format!(
                "the state at {:?} of room {} was reported as {shown_state:?}, but is {state:?}",
                shown.at, shown.room
            );
            return fail_check("state_at_an_event_is_stable", what);
        }
    }
    Ok(())
}

/// Checks that indexes and rows say the same thing (`quorate_core::invariant`).
///
/// # Errors
/// The violation names the invariant of core that is broken.
pub fn rows_agree(end: &FinalState<'_>) -> CheckResult {
    quorate_core::invariant::check_all(end.rows).or_else(|violation| fail_check("rows_agree", violation.to_string()))
}
