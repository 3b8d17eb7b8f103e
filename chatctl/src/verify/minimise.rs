//! Search for the smallest history that shows a violation: everything is removed that the violation does not need
//! (Zeller and Hildebrandt, *Simplifying and Isolating Failure-Inducing Input*, 2002).

use super::check::{Verdict, check};
use super::history::{Fate, History, Message, MessageId, Observation, Read, Seen};
use std::collections::HashSet;

/// Budget of the search, counted in parts of histories judged: some seconds. When it is spent, the history is small, if
/// not the smallest.
const WORK: usize = 200_000_000;

/// History that shows one kind of violation, and the name of that kind.
#[derive(Debug, Clone)]
pub struct Smallest {
    /// Name of the kind of violation.
    pub kind: &'static str,
    /// Messages, observations and reads that show it.
    pub history: History,
}

/// Returns the smallest history that shows the first kind of violation in `verdict`; `None` if there is none.
#[must_use]
pub fn smallest(history: &History, verdict: &Verdict) -> Option<Smallest> {
    let (kind, _) = verdict.findings().into_iter().find(|(_, finding)| finding.count > 0)?;
    let shows = |parts: &[Part]| {
        let found = check(&only(history, parts));
        found.findings().iter().any(|(name, finding)| *name == kind && finding.count > 0)
    };
    let messages = (0..history.messages.len()).map(Part::Message);
    let observations = (0..history.observations.len()).map(Part::Observation);
    let reads = (0..history.reads.len()).map(Part::Read);
    let messages: Vec<Part> = messages.collect();
    // Observations and reads are reduced first, with all messages there, because a read holds on to some of them.
    let lookers = reduce(observations.chain(reads).collect(), &messages, shows);
    let messages = reduce(messages, &lookers, shows);
    Some(Smallest { kind, history: only(history, &[lookers, messages].concat()) })
}

/// Part of a history that can be taken away. A message goes with all that was seen of it: otherwise its being seen
/// would be the violation. Only the newest message of a read stays as long as the read: without it the read would seem
/// to have held less than it did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Part {
    Message(usize),
    Observation(usize),
    Read(usize),
}

fn only(history: &History, parts: &[Part]) -> History {
    let parts: HashSet<Part> = parts.iter().copied().collect();
    let reads = history.reads.iter().enumerate().filter(|(n, _)| parts.contains(&Part::Read(*n)));
    let reads: Vec<&Read> = reads.map(|(_, read)| read).collect();
    let ends = reads.iter().filter_map(|read| read.page.iter().max_by_key(|seen| seen.position));
    let ends: HashSet<MessageId> = ends.map(|seen| seen.id).collect();
    let kept = |(n, message): &(usize, &Message)| parts.contains(&Part::Message(*n)) || ends.contains(&message.id);
    let messages: Vec<Message> = history.messages.iter().enumerate().filter(kept).map(|(_, m)| m.clone()).collect();
    let gone = history.messages.iter().enumerate().filter(|m| !kept(m)).map(|(_, message)| message.id);
    let gone: HashSet<MessageId> = gone.collect();
    let left = |seen: &[Seen]| seen.iter().filter(|seen| !gone.contains(&seen.id)).copied().collect();
    let observations = history.observations.iter().enumerate();
    let observations = observations.filter(|(n, _)| parts.contains(&Part::Observation(*n)));
    let shortened = |read: &Read| {
        let page: Vec<Seen> = left(&read.page);
        Read { whole: read.whole && page.len() == read.page.len(), page, ..read.clone() }
    };
    History {
        messages,
        observations: observations.map(|(_, o)| Observation { name: o.name.clone(), seen: left(&o.seen) }).collect(),
        reads: reads.into_iter().map(shortened).collect(),
        in_order: history.in_order.clone(),
    }
}

/// Takes away ever smaller pieces, as long as `shows` stays true of the rest together with `others`.
fn reduce(mut parts: Vec<Part>, others: &[Part], shows: impl Fn(&[Part]) -> bool) -> Vec<Part> {
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

impl Smallest {
    /// Returns one line for each part of the history.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let History { messages, observations, reads, in_order: _ } = &self.history;
        let mut lines: Vec<String> = messages.iter().map(message_line).collect();
        lines.extend(observations.iter().map(|o| format!("{} saw {}", o.name, list(&o.seen))));
        lines.extend(reads.iter().map(|read| {
            let Read { server, room, invoked_us, ended_us, page, .. } = read;
            format!("read of room {room} at {server}, from {invoked_us} to {ended_us} µs, returned {}", list(page))
        }));
        lines
    }
}

fn message_line(message: &Message) -> String {
    let Message { id, room, invoked_us, fate } = message;
    let fate = match fate {
        Fate::Acknowledged { at_us, position, .. } => format!("acknowledged at {at_us} µs at position {position}"),
        Fate::Refused => "refused".to_owned(),
        Fate::Unknown => "never answered".to_owned(),
    };
    format!("message {id} to room {room} was issued at {invoked_us} µs, {fate}")
}

fn list(seen: &[Seen]) -> String {
    let each: Vec<String> = seen.iter().map(|seen| format!("{} at {}", seen.id, seen.position)).collect();
    if each.is_empty() { "nothing".to_owned() } else { each.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::position::Position;

    fn seen(seq: u32) -> Seen {
        let position = Position { index: u64::from(seq), ..Position::default() };
        Seen { id: MessageId { writer: 0, seq }, room: 0, position, event: super::super::history::event_key("") }
    }

    /// Returns a history of 500 messages one after the other, met by two readers and read 500 times.
    fn long() -> History {
        let at = |seq: u32| u64::from(seq) * 10;
        let messages = (0..500).map(|seq| {
            let fate =
                Fate::Acknowledged { at_us: at(seq) + 5, position: seen(seq).position, event_id: String::new().into() };
            Message { id: seen(seq).id, room: 0, invoked_us: at(seq), fate }
        });
        let all: Vec<Seen> = (0..500).map(seen).collect();
        let observations =
            ["reader 0", "reader 1"].map(|name| Observation { name: name.to_owned(), seen: all.clone() });
        let reads = (0..500_u32).map(|seq| Read {
            server: "a:7400".into(),
            room: 0,
            invoked_us: at(seq) + 6,
            ended_us: at(seq) + 9,
            page: (seq.saturating_sub(3)..=seq).map(seen).collect(),
            whole: false,
        });
        History {
            messages: messages.collect(),
            observations: observations.into(),
            reads: reads.collect(),
            ..History::default()
        }
    }

    fn shown(history: &History) -> (&'static str, Vec<String>) {
        let smallest = smallest(history, &check(history)).unwrap();
        (smallest.kind, smallest.lines())
    }

    #[test]
    fn a_history_without_violations_has_none_to_show() {
        let history = long();
        assert!(smallest(&history, &check(&history)).is_none());
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
