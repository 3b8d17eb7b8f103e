//! Reads made by hand, and a comparison with a search over all orders.

use crate::position::EventPosition;
use crate::verify::check::check_history;
use crate::verify::history::{
    IssuedMessage, MessageId, MessageOutcome, RecordedRead, RunHistory, SeenMessage, event_key,
};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng, seq::SliceRandom as _};

fn position(index: u64) -> EventPosition {
    EventPosition { index, ..EventPosition::default() }
}

fn id(seq: u64) -> MessageId {
    MessageId { writer: 0, seq: u32::try_from(seq).unwrap() }
}

/// Returns the message that stands at `index`.
fn message(index: u64, invoked_us: u64, acknowledged_us: Option<u64>) -> IssuedMessage {
    let event_id = format!("$event{index}").into();
    let fate = acknowledged_us.map_or(MessageOutcome::Unknown, |at_us| MessageOutcome::Acknowledged {
        at_us,
        position: position(index),
        event_id,
    });
    IssuedMessage { id: id(index), room: 0, invoked_us, fate }
}

fn read(invoked_us: u64, ended_us: u64, page: &[u64]) -> RecordedRead {
    let seen = |index: &u64| SeenMessage {
        id: id(*index),
        room: 0,
        position: position(*index),
        event: event_key(&format!("$event{index}")),
    };
    RecordedRead {
        server: "a:7400".into(),
        room: 0,
        invoked_us,
        ended_us,
        page: page.iter().map(seen).collect(),
        whole: true,
    }
}

/// Returns a history of messages 1, 2 and 3, issued at 100, 200 and 300 µs and acknowledged 50 µs later.
fn with(reads: &[RecordedRead]) -> RunHistory {
    let messages = (1..=3).map(|n| message(n, 100 * n, Some(100 * n + 50))).collect();
    RunHistory { messages, reads: reads.to_vec(), ..RunHistory::default() }
}

fn wrong(history: &RunHistory) -> Vec<String> {
    let verdict = check_history(history);
    assert_eq!(verdict.mismatched.count + verdict.phantom.count, 0, "{verdict:?}");
    verdict.unlinearizable.examples
}

#[test]
fn a_read_that_overlaps_a_write_may_have_it_or_not() {
    for page in [&[1][..], &[1, 2]] {
        assert_eq!(wrong(&with(&[read(210, 240, page)])), [""; 0]);
    }
}

#[test]
fn a_read_that_lacks_what_was_acknowledged_before_it_began_is_stale() {
    for page in [&[][..], &[1]] {
        let found = wrong(&with(&[read(251, 260, page)]));
        assert!(found.len() == 1 && found[0].contains("lacks message 0:2"), "{found:?}");
    }
}

#[test]
fn a_read_cannot_hold_what_was_issued_after_it_ended() {
    let found = wrong(&with(&[read(160, 199, &[1, 2])]));
    assert!(found.len() == 1 && found[0].contains("message 0:2 at"), "{found:?}");
}

#[test]
fn a_later_read_sees_no_less_than_an_earlier_one_of_another_server() {
    let found = wrong(&with(&[read(205, 220, &[1, 2]), read(221, 240, &[1])]));
    assert!(found.len() == 1 && found[0].contains("had seen"), "{found:?}");
    assert_eq!(wrong(&with(&[read(205, 222, &[1, 2]), read(221, 240, &[1])])), [""; 0], "they overlap");
}

#[test]
fn a_message_without_an_acknowledgement_that_was_read_once_is_there_for_good() {
    let mut history = with(&[read(205, 220, &[1, 2]), read(400, 410, &[1, 3])]);
    history.messages[1].fate = MessageOutcome::Unknown;
    assert!(!wrong(&history).is_empty());
    history.reads[0].page.pop();
    assert_eq!(wrong(&history), [""; 0], "it never happened");
}

#[test]
fn a_page_with_a_gap_or_out_of_order_is_found() {
    assert!(wrong(&with(&[read(400, 410, &[1, 3])]))[0].contains("gap"));
    let mut swapped = with(&[read(400, 410, &[1, 2, 3])]);
    swapped.reads[0].page.swap(0, 1);
    assert!(wrong(&swapped)[0].contains("out of order"));
}

#[test]
fn a_page_that_does_not_reach_back_may_begin_anywhere() {
    let mut history = with(&[read(400, 410, &[2, 3])]);
    history.reads[0].whole = false;
    assert_eq!(wrong(&history), [""; 0]);
}

/// One operation as the search sees it: its interval, and a page or the message that it appends.
#[derive(Clone, Copy)]
enum Op<'a> {
    Append(&'a IssuedMessage, u64),
    Read(&'a RecordedRead),
}

impl Op<'_> {
    fn interval(self) -> (u64, u64) {
        match self {
            Op::Append(message, _) => match message.fate {
                MessageOutcome::Acknowledged { at_us, .. } => (message.invoked_us, at_us),
                MessageOutcome::Unknown | MessageOutcome::Refused => (message.invoked_us, u64::MAX),
            },
            Op::Read(read) => (read.invoked_us, read.ended_us),
        }
    }
}

/// Searches for a legal order as Wing and Gong do: takes any operation before which no other has ended, as long as the
/// room allows it.
fn some_order_exists(ops: &[Op<'_>], room: &mut Vec<u64>) -> bool {
    let first_end = ops.iter().map(|op| op.interval().1).min();
    let Some(first_end) = first_end else { return true };
    // Messages that may never have happened and were never seen are left out of `ops` beforehand.
    (0..ops.len()).filter(|n| ops[*n].interval().0 <= first_end).any(|n| {
        let mut rest = ops.to_vec();
        match rest.remove(n) {
            Op::Read(read) => {
                let page: Vec<u64> = read.page.iter().map(|seen| seen.position.index).collect();
                page == *room && some_order_exists(&rest, room)
            }
            Op::Append(_, index) => {
                if room.last().is_some_and(|last| *last > index) {
                    return false;
                }
                room.push(index);
                let exists = some_order_exists(&rest, room);
                room.pop();
                exists
            }
        }
    })
}

/// Returns a small random run, often legal and often not.
fn random_history(random: &mut StdRng) -> RunHistory {
    let count = random.random_range(1..5);
    let mut messages: Vec<IssuedMessage> = (1..=count)
        .map(|index| {
            let invoked = random.random_range(0..20) + 4 * index;
            let acknowledged = random.random_bool(0.8).then(|| invoked + random.random_range(0..15));
            message(index, invoked, acknowledged)
        })
        .collect();
    let reads = (0..random.random_range(1..4)).map(|_| {
        let invoked = random.random_range(0..40);
        let takes = random.random_range(0..15);
        let mut page: Vec<u64> = (1..=random.random_range(0..=count)).collect();
        if page.len() > 1 && random.random_bool(0.1) {
            page.remove(0);
        }
        read(invoked, invoked + takes, &page)
    });
    let reads = reads.collect();
    messages.shuffle(random);
    RunHistory { messages, reads, ..RunHistory::default() }
}

#[test]
fn the_verdict_is_that_of_a_search_over_all_orders() {
    let seed = rand::random();
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let mut both = [0, 0];
    for round in 0..20_000 {
        let history = random_history(&mut random);
        let seen = |message: &IssuedMessage| {
            message.fate != MessageOutcome::Unknown
                || history.reads.iter().any(|r| r.page.iter().any(|s| s.id == message.id))
        };
        let appends = history.messages.iter().filter(|m| seen(m)).map(|m| Op::Append(m, u64::from(m.id.seq)));
        let ops: Vec<Op<'_>> = appends.chain(history.reads.iter().map(Op::Read)).collect();
        let expected = some_order_exists(&ops, &mut Vec::new());
        let verdict = check_history(&history);
        assert_eq!(verdict.is_clean(), expected, "seed {seed}, round {round}: {history:#?} {verdict:#?}");
        both[usize::from(expected)] += 1;
    }
    assert!(both.iter().all(|count| *count > 1000), "the runs are of one kind: {both:?}");
}
