use super::*;
use futures::FutureExt as _;

const LIMITS: TurnLimits = TurnLimits {
    slots: 4,
    per_reader: 2,
    woken: 2,
    waiting_per_reader: 500,
    waiting: 1000,
    longest_wait: Duration::from_secs(3600),
};

fn turns(limits: TurnLimits) -> Arc<ReadTurns> {
    ReadTurns::with(limits, ChatMetrics::new().unwrap())
}

fn name(reader: &str) -> Arc<str> {
    reader.into()
}

/// Enqueues a read and returns its wait.
fn wait(turns: &Arc<ReadTurns>, reader: &str, urgency: ReadUrgency) -> PendingTurn {
    turns.enter(&name(reader), urgency).unwrap()
}

fn has_turn(pending: &mut PendingTurn) -> bool {
    match pending.granted.try_recv() {
        Ok(()) => {
            // `ReadTurn` gives the place back, as if the read had ended.
            pending.taken = true;
            true
        }
        Err(_) => false,
    }
}

fn end(pending: PendingTurn) {
    assert!(pending.taken, "it had no turn");
    drop(ReadTurn { turns: pending.turns.clone(), reader: pending.reader.clone(), urgency: pending.urgency });
}

#[test]
fn one_user_with_400_waiting_reads_delays_another_by_one_turn() {
    let turns = turns(LIMITS);
    let mut hog: VecDeque<_> = (0..400).map(|_| wait(&turns, "hog", ReadUrgency::Asked)).collect();
    let running = hog.iter_mut().filter_map(|read| has_turn(read).then_some(())).count();
    assert_eq!(running, LIMITS.per_reader, "a reader holds a part of the places only");
    let mut others: Vec<_> = (0..2).map(|_| wait(&turns, "alice", ReadUrgency::Asked)).collect();
    assert!(others.iter_mut().all(has_turn), "the other places are free");
    // All places are taken: a third reader waits for the next one that becomes free, and for no other.
    let mut late = wait(&turns, "bob", ReadUrgency::Asked);
    assert!(!has_turn(&mut late));
    end(hog.pop_front().unwrap());
    let (mut again, mut turns_of_hog) = (has_turn(&mut late), 0);
    while !again {
        turns_of_hog += 1;
        assert!(turns_of_hog <= 1, "one read of the hog may come first: it lined up before");
        let place = hog.iter_mut().position(|read| read.taken || has_turn(read)).unwrap();
        end(hog.remove(place).unwrap());
        again = has_turn(&mut late);
    }
}

#[test]
fn readers_take_turns_whatever_they_wait_with() {
    let turns = turns(TurnLimits { slots: 1, per_reader: 1, ..LIMITS });
    let mut reads: Vec<_> =
        ["a", "a", "a", "b", "b", "c"].map(|reader| wait(&turns, reader, ReadUrgency::Asked)).into();
    let mut order = String::new();
    while let Some(place) = reads.iter_mut().position(has_turn) {
        let read = reads.remove(place);
        order.push_str(&read.reader);
        end(read);
    }
    assert_eq!(order, "abcaba");
}

#[test]
fn woken_readers_come_after_people_who_ask_and_are_not_left_out() {
    let turns = turns(TurnLimits { slots: 2, per_reader: 2, woken: 1, ..LIMITS });
    let mut reads: Vec<_> = (0..9).map(|n| wait(&turns, &format!("w{n}"), ReadUrgency::Woken)).collect();
    assert_eq!(reads.iter_mut().filter_map(|read| has_turn(read).then_some(())).count(), 1, "half of the places");
    reads.extend((0..9).map(|n| wait(&turns, &format!("a{n}"), ReadUrgency::Asked)));
    let mut order = String::new();
    while let Some(place) = reads.iter_mut().rposition(|read| read.taken || has_turn(read)) {
        let read = reads.remove(place);
        order.push_str(&read.reader[..1]);
        end(read);
    }
    assert_eq!(order.len(), 18);
    let first_ten = &order[..10];
    assert!(first_ten.matches('a').count() > first_ten.matches('w').count(), "{order}");
    assert!(first_ten.contains('w'), "{order}");
}

#[test]
fn a_read_whose_caller_has_gone_never_starts_and_holds_no_place() {
    let turns = turns(TurnLimits { slots: 1, per_reader: 1, ..LIMITS });
    let first = wait(&turns, "a", ReadUrgency::Asked);
    let gone = wait(&turns, "b", ReadUrgency::Asked);
    let mut last = wait(&turns, "c", ReadUrgency::Asked);
    drop(gone);
    assert_eq!(turns.waiting(), 1);
    // Granted and never used: the place is given back.
    drop(first);
    assert!(has_turn(&mut last));
    end(last);
    assert!(turns.queue().readers.is_empty(), "nothing is kept of readers that have gone");
    assert_eq!(turns.queue().running, [0, 0]);
}

#[test]
fn too_many_waiting_reads_of_one_reader_or_of_all_are_refused_at_once() {
    let limits = TurnLimits { slots: 1, per_reader: 1, woken: 1, waiting_per_reader: 2, waiting: 3, ..LIMITS };
    let turns = turns(limits);
    let refused = |reader: &str| turns.enter(&name(reader), ReadUrgency::Asked).err().map(|refusal| refusal.code);
    let _kept: Vec<_> = ["a", "a", "a"].map(|reader| wait(&turns, reader, ReadUrgency::Asked)).into();
    assert_eq!(refused("a"), Some(RefusalCode::LimitExceeded));
    let _one_more = wait(&turns, "b", ReadUrgency::Asked);
    assert_eq!(refused("c"), Some(RefusalCode::Overloaded));
    let refusal = turns.enter(&name("a"), ReadUrgency::Asked).err().unwrap();
    assert!(refusal.retry_after.is_some());
    // Woken readers are as many as subscriptions, which the listeners bound: none is turned away.
    let _woken: Vec<_> = (0..9).map(|_| wait(&turns, "a", ReadUrgency::Woken)).collect();
}

#[tokio::test]
async fn a_read_that_gets_no_turn_in_time_is_refused_with_a_retry_hint() {
    let turns = turns(TurnLimits { slots: 1, per_reader: 1, longest_wait: Duration::ZERO, ..LIMITS });
    let first = turns.turn(&name("a"), ReadUrgency::Asked).now_or_never().unwrap().unwrap();
    let refusal = turns.turn(&name("b"), ReadUrgency::Asked).await.err().unwrap();
    assert_eq!((refusal.code, refusal.retry_after), (RefusalCode::Overloaded, Some(RETRY)));
    assert_eq!(turns.waiting(), 0);
    drop(first);
    assert!(turns.turn(&name("b"), ReadUrgency::Asked).now_or_never().unwrap().is_ok());
}
