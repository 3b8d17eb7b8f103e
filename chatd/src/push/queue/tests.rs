use super::*;

const ROOM: RoomNumber = RoomNumber(1);

fn at(index: u64) -> Position {
    Position { index, ..Position::ZERO }
}

fn name(pushkey: &str) -> PusherName {
    PusherName::new("alice", "app", pushkey)
}

fn gateway() -> Arc<str> {
    "https://push.a.org".into()
}

fn with(pushkeys: &[(&str, u64)]) -> PushQueues {
    let mut queues = PushQueues::default();
    for (pushkey, index) in pushkeys {
        queues.add(name(pushkey), &gateway(), QueuedPush::new(at(*index), ROOM));
    }
    queues
}

fn sent(queues: &mut PushQueues, now: Instant) -> Vec<(String, u64)> {
    let mut out = Vec::new();
    while let Some((name, push)) = queues.next(now) {
        out.push((name.pushkey.to_string(), push.at.index));
        queues.finished(&name, push, &gateway(), PushResult::Sent, now);
    }
    out
}

fn indices(record: &[(PusherName, QueuedPush)]) -> Vec<u64> {
    record.iter().map(|(_, push)| push.at.index).collect()
}

#[test]
fn notifications_of_a_pusher_are_sent_one_by_one_in_order_and_once() {
    let now = Instant::now();
    let mut queues = with(&[("a", 2), ("a", 1), ("b", 3), ("a", 2)]);
    let first = queues.next(now).unwrap();
    let second = queues.next(now).unwrap();
    assert_eq!((&*first.0.pushkey, &*second.0.pushkey), ("a", "b"));
    assert!(queues.next(now).is_none(), "one of each pusher at a time");
    queues.finished(&first.0, first.1, &gateway(), PushResult::Sent, now);
    queues.finished(&second.0, second.1, &gateway(), PushResult::Moot, now);
    assert_eq!(sent(&mut queues, now), [("a".to_owned(), 2)]);
    assert_eq!(queues.take_record(100), PushRecord::default(), "what was sent at once need not be recorded");
}

#[test]
fn a_notification_that_fails_is_sent_later_and_less_often() {
    let mut now = Instant::now();
    let mut queues = with(&[("a", 1)]);
    let mut pauses = Vec::new();
    for _ in 0..4 {
        let (name, push) = queues.next(now).unwrap();
        queues.finished(&name, push, &gateway(), PushResult::Failed, now);
        assert!(queues.next(now).is_none());
        let retry = queues.retry_at(now).unwrap();
        pauses.push(retry - now);
        now = retry;
    }
    assert_eq!(pauses, [1, 2, 4, 8].map(Duration::from_secs));
    assert_eq!(backoff(40, LONGEST_BACKOFF), LONGEST_BACKOFF);
    assert_eq!(queues.count_failing(), 1);
    assert_eq!(sent(&mut queues, now).len(), 1);
    assert_eq!((queues.count_recorded(), queues.count_failing()), (0, 0));
}

#[test]
fn a_pusher_that_always_fails_holds_up_others_of_its_gateway_for_seconds_at_most() {
    let mut now = Instant::now();
    let mut queues = with(&[("bad", 1)]);
    for _ in 0..12 {
        let (name, push) = queues.next(now).unwrap();
        queues.finished(&name, push, &gateway(), PushResult::Failed, now);
        now = queues.retry_at(now).unwrap();
    }
    // Its turn has come again, but it is the turn of those that do not fail.
    queues.add(name("good"), &gateway(), QueuedPush::new(at(2), ROOM));
    let (first, push) = queues.next(now).unwrap();
    assert_eq!(first, name("good"));
    queues.finished(&first, push, &gateway(), PushResult::Sent, now);
    let (second, push) = queues.next(now).unwrap();
    assert_eq!(second, name("bad"));
    queues.finished(&second, push, &gateway(), PushResult::Failed, now);
    assert_eq!(queues.retry_at(now), Some(now + LONGEST_BACKOFF));
    queues.add(name("good"), &gateway(), QueuedPush::new(at(3), ROOM));
    assert!(queues.next(now).is_none(), "the gateway rests");
    let rested = queues.retry_at(now).unwrap();
    assert!(rested <= now + LONGEST_PAUSE);
    assert_eq!(sent(&mut queues, rested), [("good".to_owned(), 3)]);
}

#[test]
fn a_state_that_cannot_be_read_is_no_fault_of_the_gateway() {
    let now = Instant::now();
    let mut queues = with(&[("a", 1), ("b", 2)]);
    let (unread, push) = queues.next(now).unwrap();
    queues.finished(&unread, push, &gateway(), PushResult::Unprepared, now);
    assert_eq!(queues.count_failing(), 0);
    assert_eq!(sent(&mut queues, now), [("b".to_owned(), 2)]);
    assert_eq!(sent(&mut queues, now + FIRST_BACKOFF), [("a".to_owned(), 1)]);
}

#[test]
fn what_the_log_may_know_is_settled_when_it_was_sent() {
    let now = Instant::now();
    let mut queues = with(&[("a", 1)]);
    let record = queues.take_record(100);
    queues.not_recorded(record);
    assert_eq!(sent(&mut queues, now), [("a".to_owned(), 1)]);
    let record = queues.take_record(100);
    assert_eq!((indices(&record.waiting), indices(&record.settled)), (vec![], vec![1]));
}

#[test]
fn requests_that_fail_together_count_once_and_a_user_has_few_at_a_time() {
    let now = Instant::now();
    let pushkeys: Vec<String> = (0..MOST_OF_USER + 2).map(|n| format!("key{n}")).collect();
    let mut queues = PushQueues::default();
    for pushkey in &pushkeys {
        queues.add(name(pushkey), &gateway(), QueuedPush::new(at(1), ROOM));
    }
    let of_bob = PusherName::new("bob", "app", "key");
    queues.add(of_bob.clone(), &gateway(), QueuedPush::new(at(1), ROOM));
    let under_way: Vec<_> = std::iter::from_fn(|| queues.next(now)).collect();
    assert_eq!(under_way.len(), MOST_OF_USER + 1);
    assert_eq!(under_way.last().map(|(name, _)| name), Some(&of_bob));
    for (name, push) in under_way {
        queues.finished(&name, push, &gateway(), PushResult::Failed, now);
    }
    assert_eq!(queues.retry_at(now), Some(now + FIRST_BACKOFF));
}

#[test]
fn what_waits_is_recorded_once_and_settled_when_it_was_sent() {
    let now = Instant::now();
    let mut queues = with(&[("a", 1), ("a", 2)]);
    let record = queues.take_record(100);
    assert_eq!(indices(&record.waiting), [1, 2]);
    queues.not_recorded(record);
    let (name, push) = queues.next(now).unwrap();
    let record = queues.take_record(100);
    // Sent while it is being recorded: its row has to go.
    queues.finished(&name, push, &gateway(), PushResult::Sent, now);
    queues.recorded(record);
    let record = queues.take_record(100);
    assert_eq!((indices(&record.waiting), indices(&record.settled)), (vec![], vec![1]));
    queues.recorded(record);
    assert_eq!(queues.count_recorded(), 1);
    assert_eq!(sent(&mut queues, now), [("a".to_owned(), 2)]);
    assert_eq!(indices(&queues.take_record(100).settled), [2]);
    assert!(queues.is_recorded());
}

#[test]
fn how_much_is_unread_is_told_by_itself_only_if_nothing_else_waits() {
    let now = Instant::now();
    let mut queues = with(&[("a", 1)]);
    queues.add(name("a"), &gateway(), QueuedPush::of_badge(at(2)));
    let (of, push) = queues.next(now).unwrap();
    assert!(!push.is_badge());
    queues.add(name("a"), &gateway(), QueuedPush::of_badge(at(3)));
    queues.add(name("a"), &gateway(), QueuedPush::of_badge(at(4)));
    queues.finished(&of, push, &gateway(), PushResult::Sent, now);
    assert_eq!(sent(&mut queues, now), [("a".to_owned(), 3)]);
    assert!(queues.take_record(100) == PushRecord::default() && queues.is_recorded());
}

#[test]
fn the_oldest_are_dropped_when_too_many_wait() {
    let now = Instant::now();
    let mut queues = PushQueues::default();
    let first =
        WaitingItem { localpart: "alice".into(), app_id: "app".into(), pushkey: "a".into(), at: at(1), room: ROOM };
    queues.restore(&first, &gateway());
    for index in 2..=u64::try_from(MOST_WAITING).unwrap() + 1 {
        queues.add(name("a"), &gateway(), QueuedPush::new(at(index), ROOM));
    }
    assert_eq!(queues.take_dropped(), 1);
    assert_eq!(indices(&queues.take_record(1).settled), [1]);
    let first = queues.next(now).unwrap();
    assert_eq!(first.1.at, at(2));
    queues.add(name("a"), &gateway(), QueuedPush::new(at(1_000), ROOM));
    assert_eq!(queues.take_dropped(), 1);
    queues.finished(&first.0, first.1, &gateway(), PushResult::Sent, now);
    assert_eq!(queues.next(now).unwrap().1.at, at(4), "the one in flight is not the one that is dropped");
}

#[test]
fn a_rejected_or_removed_pusher_has_no_queue_and_another_gateway_gets_what_waits() {
    let now = Instant::now();
    let mut queues = with(&[("a", 1), ("a", 2), ("b", 3), ("c", 4)]);
    let (rejected, push) = queues.next(now).unwrap();
    queues.finished(&rejected, push, &gateway(), PushResult::Rejected(7), now);
    assert_eq!(queues.take_record(100).rejected, [(name("a"), 7)]);
    let elsewhere: Arc<str> = "https://elsewhere".into();
    queues.retain(|of| (*of == name("c")).then(|| elsewhere.clone()));
    let (moved, push) = queues.next(now).unwrap();
    assert_eq!((moved.clone(), push.at), (name("c"), at(4)));
    assert_eq!(queues.gateway_of(&moved), Some(elsewhere));
    assert!(queues.next(now).is_none());
}
