//! Search for the smallest history that shows a violation: everything is removed that the violation does not need
//! (Zeller and Hildebrandt, *Simplifying and Isolating Failure-Inducing Input*, 2002).

use super::check::{CheckVerdict, check_history};
use super::history::{IssuedMessage, MessageId, MessageOutcome, Observation, RecordedRead, RunHistory, SeenMessage};
use std::collections::HashSet;

/// Budget of the search, counted in parts of histories judged: some seconds. When it is spent, the history is small, if
/// not the smallest.
const WORK: usize = 200_000_000;

/// History that shows one kind of violation, and the name of that kind.
#[derive(Debug, Clone)]
pub struct MinimalHistory {
    /// Name of the kind of violation.
    pub kind: &'static str,
    /// Messages, observations and reads that show it.
    pub history: RunHistory,
}

/// Returns the smallest history that shows the first kind of violation in `verdict`; `None` if there is none.
#[must_use]
pub fn minimal_history(history: &RunHistory, verdict: &CheckVerdict) -> Option<MinimalHistory> {
    let (kind, _) = verdict.findings().into_iter().find(|(_, finding)| finding.count > 0)?;
    let shows = |parts: &[HistoryPart]| {
        let found = check_history(&restrict_history(history, parts));
        found.findings().iter().any(|(name, finding)| *name == kind && finding.count > 0)
    };
    let messages = (0..history.messages.len()).map(HistoryPart::Message);
    let observations = (0..history.observations.len()).map(HistoryPart::Observation);
    let reads = (0..history.reads.len()).map(HistoryPart::Read);
    let messages: Vec<HistoryPart> = messages.collect();
    // Observations and reads are reduced first, with all messages there, because a read holds on to some of them.
    let lookers = reduce_parts(observations.chain(reads).collect(), &messages, shows);
    let messages = reduce_parts(messages, &lookers, shows);
    Some(MinimalHistory { kind, history: restrict_history(history, &[lookers, messages].concat()) })
}

/// Part of a history that can be taken away. A message goes with all that was seen of it: otherwise its being seen
/// would be the violation. Only the newest message of a read stays as long as the read: without it the read would seem
/// to have held less than it did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum HistoryPart {
    Message(usize),
    Observation(usize),
    Read(usize),
}

fn restrict_history(history: &RunHistory, parts: &[HistoryPart]) -> RunHistory {
    let parts: HashSet<HistoryPart> = parts.iter().copied().collect();
    let reads = history.reads.iter().enumerate().filter(|(n, _)| parts.contains(&HistoryPart::Read(*n)));
    let reads: Vec<&RecordedRead> = reads.map(|(_, read)| read).collect();
    let ends = reads.iter().filter_map(|read| read.page.iter().max_by_key(|seen| seen.position));
    let ends: HashSet<MessageId> = ends.map(|seen| seen.id).collect();
    let kept = |(n, message): &(usize, &IssuedMessage)| {
        parts.contains(&HistoryPart::Message(*n)) || ends.contains(&message.id)
    };
    let messages: Vec<IssuedMessage> =
        history.messages.iter().enumerate().filter(kept).map(|(_, m)| m.clone()).collect();
    let gone = history.messages.iter().enumerate().filter(|m| !kept(m)).map(|(_, message)| message.id);
    let gone: HashSet<MessageId> = gone.collect();
    let left = |seen: &[SeenMessage]| seen.iter().filter(|seen| !gone.contains(&seen.id)).copied().collect();
    let observations = history.observations.iter().enumerate();
    let observations = observations.filter(|(n, _)| parts.contains(&HistoryPart::Observation(*n)));
    let shortened = |read: &RecordedRead| {
        let page: Vec<SeenMessage> = left(&read.page);
        RecordedRead { whole: read.whole && page.len() == read.page.len(), page, ..read.clone() }
    };
    RunHistory {
        messages,
        observations: observations.map(|(_, o)| Observation { name: o.name.clone(), seen: left(&o.seen) }).collect(),
        reads: reads.into_iter().map(shortened).collect(),
        in_order: history.in_order.clone(),
    }
}

/// Takes away ever smaller pieces, as long as `shows` stays true of the rest together with `others`.
fn reduce_parts(
    mut parts: Vec<HistoryPart>,
    others: &[HistoryPart],
    shows: impl Fn(&[HistoryPart]) -> bool,
) -> Vec<HistoryPart> {
    let mut size = parts.len().div_ceil(2).max(1);
    let mut work = 0;
    loop {
        let mut taken = false;
        let mut at = 0;
        while at < parts.len() && work < WORK {
            let mut without = parts.clone();
            without.drain(at..(at + size).min(parts.len()));
            work += parts.len() + others.len();
            if shows(&[&without, others].concat()) {
                parts = without;
                taken = true;
            } else {
                at += size;
            }
        }
        if work >= WORK || (size == 1 && !taken) {
            return parts;
        }
        size = if taken { size.min(parts.len()).max(1) } else { size.div_ceil(2) };
    }
}

impl MinimalHistory {
    /// Returns one line for each part of the history.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let RunHistory { messages, observations, reads, in_order: _ } = &self.history;
        let mut lines: Vec<String> = messages.iter().map(message_line).collect();
        lines.extend(observations.iter().map(|o| format!("{} saw {}", o.name, list_seen(&o.seen))));
        lines.extend(reads.iter().map(|read| {
            let RecordedRead { server, room, invoked_us, ended_us, page, .. } = read;
            format!("read of room {room} at {server}, from {invoked_us} to {ended_us} µs, returned {}", list_seen(page))
        }));
        lines
    }
}

fn message_line(message: &IssuedMessage) -> String {
    let IssuedMessage { id, room, invoked_us, fate } = message;
    let fate = match fate {
        MessageOutcome::Acknowledged { at_us, position, .. } => {
            format!("acknowledged at {at_us} µs at position {position}")
        }
        MessageOutcome::Refused => "refused".to_owned(),
        MessageOutcome::Unknown => "never answered".to_owned(),
    };
    format!("message {id} to room {room} was issued at {invoked_us} µs, {fate}")
}

fn list_seen(seen: &[SeenMessage]) -> String {
    let each: Vec<String> = seen.iter().map(|seen| format!("{} at {}", seen.id, seen.position)).collect();
    if each.is_empty() { "nothing".to_owned() } else { each.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::position::EventPosition;

    fn seen(seq: u32) -> SeenMessage {
        let position = EventPosition { index: u64::from(seq), ..EventPosition::default() };
        SeenMessage { id: MessageId { writer: 0, seq }, room: 0, position, event: super::super::history::event_key("") }
    }

    /// Returns a history of 500 messages one after the other, met by two readers and read 500 times.
    fn long() -> RunHistory {
        let at = |seq: u32| u64::from(seq) * 10;
        let messages = (0..500).map(|seq| {
            let fate = MessageOutcome::Acknowledged {
                at_us: at(seq) + 5,
                position: seen(seq).position,
                event_id: String::new().into(),
            };
            IssuedMessage { id: seen(seq).id, room: 0, invoked_us: at(seq), fate }
        });
        let all: Vec<SeenMessage> = (0..500).map(seen).collect();
        let observations =
            ["reader 0", "reader 1"].map(|name| Observation { name: name.to_owned(), seen: all.clone() });
        let reads = (0..500_u32).map(|seq| RecordedRead {
            server: "a:7400".into(),
            room: 0,
            invoked_us: at(seq) + 6,
            ended_us: at(seq) + 9,
            page: (seq.saturating_sub(3)..=seq).map(seen).collect(),
            whole: false,
        });
        RunHistory {
            messages: messages.collect(),
            observations: observations.into(),
            reads: reads.collect(),
            ..RunHistory::default()
        }
    }

    fn shown(history: &RunHistory) -> (&'static str, Vec<String>) {
        let smallest = minimal_history(history, &check_history(history)).unwrap();
        (smallest.kind, smallest.lines())
    }

    #[test]
    fn a_history_without_violations_has_none_to_show() {
        let history = long();
        assert!(minimal_history(&history, &check_history(&history)).is_none());
    }

    #[test]
    fn of_five_hundred_messages_the_one_that_is_lost_remains_with_who_missed_it() {
        let mut history = long();
        history.observations[1].seen.remove(321);
        let (kind, lines) = shown(&history);
        assert_eq!(kind, "lost");
        assert_eq!(
            lines,
            [
                "message 0:321 to room 0 was issued at 3210 µs, acknowledged at 3215 µs at position 0/321/0",
                "reader 1 saw nothing"
            ]
        );
    }

    #[test]
    fn of_five_hundred_reads_the_stale_one_remains_with_what_it_lacks() {
        let mut history = long();
        history.reads[200].page.truncate(2);
        let (kind, lines) = shown(&history);
        assert_eq!((kind, lines.len()), ("unlinearizable", 3), "{lines:?}");
        assert!(lines[0].starts_with("message 0:198 ") && lines[2].contains("from 2006 to 2009"), "{lines:?}");
        assert!(lines[2].ends_with("returned 0:198 at 0/198/0"), "{lines:?}");
    }

    #[test]
    fn two_messages_in_the_wrong_order_remain() {
        let mut history = long();
        history.observations[0].seen.swap(100, 101);
        let (kind, lines) = shown(&history);
        assert_eq!((kind, lines.len()), ("reordered", 3), "{lines:?}");
    }
}
