//! Wording of what happened. Nothing is told that differs from build to build or from machine to machine: no ids that
//! are drawn at random, no order of a hash map.

use crate::faults::MS;
use crate::world::SimTime;
use crate::world::net::HostId;
use quorate_chatd::raft::cluster::{NodeReadiness, NodeRole, NodeStatus};
use quorate_chatd::service::RequestRefusal;
use quorate_core::id::{ORDINALS_PER_COMMAND, Position};
use quorate_core::query::RoomEvent;
use serde_json::Value;
use std::sync::{Arc, Mutex};

/// Lines about what happened that have not been written down yet; clones are handles to the same lines.
#[derive(Clone, Default)]
pub(crate) struct StoryTranscript(Arc<Mutex<Vec<(SimTime, String)>>>);

impl StoryTranscript {
    pub(crate) fn tell(&self, at: SimTime, what: String) {
        self.0.lock().unwrap().push((at, what));
    }

    /// Takes all lines, in order of time.
    pub(crate) fn take(&self) -> Vec<String> {
        let mut told = std::mem::take(&mut *self.0.lock().unwrap());
        told.sort_by_key(|(at, _)| at / MS);
        told.into_iter().map(|(at, what)| format!("{}  {what}", format_time(at))).collect()
    }
}

/// Formats the time since the beginning.
fn format_time(at: SimTime) -> String {
    let ms = at / MS;
    format!("{:>2}.{:03} s", ms / 1000, ms % 1000)
}

pub(crate) fn format_elapsed(from: SimTime, to: SimTime) -> String {
    format!("{} ms", (to - from) / MS)
}

pub(crate) fn format_pod(host: HostId) -> String {
    format!("pod-{host}")
}

/// Joins names into a list: `alice, bob and carol`.
pub(crate) fn join_names(names: &[String]) -> String {
    match names {
        [] => "nobody".to_owned(),
        [one] => one.clone(),
        [all @ .., last] => format!("{} and {last}", all.join(", ")),
    }
}

/// Formats a position: the log entry, then the place of the command in the entry and of the event among those of the
/// command, where they are not the first: `14`, `14.2`, `9.0.3`.
pub(crate) fn format_position(at: Position) -> String {
    let command = at.ordinal / ORDINALS_PER_COMMAND;
    let event = at.ordinal % ORDINALS_PER_COMMAND;
    match (command, event) {
        (0, 0) => at.index.to_string(),
        (_, 0) => format!("{}.{command}", at.index),
        _ => format!("{}.{command}.{event}", at.index),
    }
}

/// Formats a cursor: as an entry if it stands behind the last event of one, otherwise as an event.
pub(crate) fn up_to(at: Position) -> String {
    if at.ordinal == u32::MAX { format!("entry {}", at.index) } else { format!("event {}", format_position(at)) }
}

/// Describes events in order; those that one command made are told by the first of them.
pub(crate) fn describe_events(events: &[RoomEvent]) -> Vec<String> {
    let of_one = |one: &RoomEvent, next: &RoomEvent| {
        one.position.index == next.position.index
            && one.position.ordinal / ORDINALS_PER_COMMAND == next.position.ordinal / ORDINALS_PER_COMMAND
    };
    let told = events.chunk_by(of_one).filter_map(|made| {
        let (first, more) = made.split_first()?;
        let more = if more.is_empty() { String::new() } else { format!(", and {} more events", more.len()) };
        Some(format!("event {}: {}{more}", format_position(first.position), describe_event(first)))
    });
    told.collect()
}

fn describe_event(event: &RoomEvent) -> String {
    let content: Value = serde_json::from_slice(&event.content).unwrap_or_default();
    let text = |name: &str| content.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let sender = localpart_of(&event.sender);
    match event.event_type.as_str() {
        "m.room.message" => format!("{sender} says \"{}\"", text("body")),
        "m.room.create" => format!("{sender} creates the room"),
        "m.room.member" => {
            let whose = localpart_of(event.state_key.as_deref().unwrap_or_default());
            format!("{whose} has membership \"{}\"", text("membership"))
        }
        other => format!("{sender} sets {other}"),
    }
}

fn localpart_of(user_id: &str) -> &str {
    user_id.trim_start_matches('@').split(':').next().unwrap_or_default()
}

pub(crate) fn describe_refusal(refusal: &RequestRefusal) -> String {
    format!("{}: {}", refusal.code.label().replace('_', " "), refusal.message)
}

/// Describes the role, the log and the applied index of a pod; `name` returns the name of a node.
pub(crate) fn describe_status(status: &NodeStatus, name: impl Fn(u64) -> String) -> String {
    let term = status.term;
    let role = match (status.role, status.leader) {
        (NodeRole::Leader, Some(leader)) if leader == status.node_id => format!("leads term {term}"),
        (NodeRole::Leader, _) => format!("leads term {term}, but has no quorum"),
        (NodeRole::Candidate, _) => format!("is a candidate in term {term}"),
        (NodeRole::Learner, _) if status.readiness == NodeReadiness::NotJoined => "belongs to no cluster".to_owned(),
        (NodeRole::Learner, _) => format!("is a learner in term {term}"),
        (NodeRole::Follower, Some(leader)) => format!("follows {} in term {term}", name(leader)),
        (NodeRole::Follower, None) => format!("has no leader in term {term}"),
    };
    let first = match status.purged_index {
        0 => 0,
        purged => purged + 1,
    };
    let last = status.last_log_index;
    let applied = status.applied_index;
    let log = if first > last { format!("log empty after {last}") } else { format!("log {first} to {last}") };
    format!("{role:<36} {log}, applied to {applied}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_comes_in_order_of_time() {
        let told = StoryTranscript::default();
        told.tell(2_500 * MS, "second".to_owned());
        told.tell(1_002 * MS, "first".to_owned());
        assert_eq!(told.take(), [" 1.002 s  first", " 2.500 s  second"]);
        assert!(told.take().is_empty());
    }

    #[test]
    fn a_place_is_named_as_far_as_it_needs() {
        let at = |command: u32, event: u32| Position {
            index: 14,
            ordinal: command * ORDINALS_PER_COMMAND + event,
            ..Position::ZERO
        };
        assert_eq!([at(0, 0), at(2, 0), at(0, 3)].map(format_position), ["14", "14.2", "14.0.3"]);
        assert_eq!(up_to(Position { ordinal: u32::MAX, ..at(0, 0) }), "entry 14");
    }

    #[test]
    fn a_list_reads_as_a_sentence() {
        let names = |names: &[&str]| join_names(&names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>());
        assert_eq!(names(&["alice", "bob", "carol"]), "alice, bob and carol");
        assert_eq!(names(&["alice"]), "alice");
    }
}
