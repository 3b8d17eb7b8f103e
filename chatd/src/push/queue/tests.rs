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
        queues.add(name(pushkey), &gateway(), QueuedPush::new(at(*index), ROOM), Instant::now());
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
    queues.add(name("good"), &gateway(), QueuedPush::new(at(2), ROOM), now);
    let (first, push) = queues.next(now).unwrap();
    assert_eq!(first, name("good"));
    queues.finished(&first, push, &gateway(), PushResult::Sent, now);
    let (second, push) = queues.next(now).unwrap();
    assert_eq!(second, name("bad"));
    queues.finished(&second, push, &gateway(), PushResult::Failed, now);
    assert_eq!(queues.retry_at(now), Some(now + LONGEST_BACKOFF));
    queues.add(name("good"), &gateway(), QueuedPush::new(at(3), ROOM), now);
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
        queues.add(name(pushkey), &gateway(), QueuedPush::new(at(1), ROOM), now);
    }
    let of_bob = PusherName::new("bob", "app", "key");
    queues.add(of_bob.clone(), &gateway(), QueuedPush::new(at(1), ROOM), now);
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
    queues.add(name("a"), &gateway(), QueuedPush::of_badge(at(2)), now);
    let (of, push) = queues.next(now).unwrap();
    assert!(!push.is_badge());
    queues.add(name("a"), &gateway(), QueuedPush::of_badge(at(3)), now);
    queues.add(name("a"), &gateway(), QueuedPush::of_badge(at(4)), now);
    queues.finished(&of, push, &gateway(), PushResult::Sent, now);
    assert_eq!(sent(&mut queues, now), [("a".to_owned(), 3)]);
    assert!(queues.take_record(100) == PushRecord::default() && queues.is_recorded());
}

#[test]
fn a_notification_takes_the_place_of_one_that_only_tells_how_much_is_unread() {
    let now = Instant::now();
    let mut queues = PushQueues::default();
    queues.add(name("a"), &gateway(), QueuedPush::of_badge(at(1)), now);
    queues.add(name("a"), &gateway(), QueuedPush::new(at(2), ROOM), now);
    assert_eq!(sent(&mut queues, now), [("a".to_owned(), 2)]);
    queues.add(name("a"), &gateway(), QueuedPush::of_badge(at(3)), now);
    let (of, push) = queues.next(now).unwrap();
    queues.add(name("a"), &gateway(), QueuedPush::new(at(4), ROOM), now);
    queues.finished(&of, push, &gateway(), PushResult::Sent, now);
    assert!(push.is_badge(), "what is in flight is there already");
    assert_eq!(sent(&mut queues, now), [("a".to_owned(), 4)]);
}

#[test]
fn the_oldest_are_dropped_when_too_many_wait() {
    let now = Instant::now();
    let mut queues = PushQueues::default();
    let first =
        WaitingItem { localpart: "alice".into(), app_id: "app".into(), pushkey: "a".into(), at: at(1), room: ROOM };
    queues.restore(&first, &gateway(), now);
    for index in 2..=u64::try_from(MOST_WAITING).unwrap() + 1 {
        queues.add(name("a"), &gateway(), QueuedPush::new(at(index), ROOM), now);
    }
    assert_eq!(queues.take_dropped(), 1);
    assert_eq!(indices(&queues.take_record(1).settled), [1]);
    let first = queues.next(now).unwrap();
    assert_eq!(first.1.at, at(2));
    queues.add(name("a"), &gateway(), QueuedPush::new(at(1_000), ROOM), now);
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

/// Notifications that the log knows, and the number of those that it was told of.
#[derive(Default)]
struct ToldLog {
    rows: BTreeSet<u64>,
    items: usize,
}

impl ToldLog {
    fn tell(&mut self, queues: &mut PushQueues) {
        let record = queues.take_record(1_000);
        self.items += record.settled.len() + record.waiting.len();
        for index in indices(&record.settled) {
            self.rows.remove(&index);
        }
        self.rows.extend(indices(&record.waiting));
        queues.recorded(record);
    }
}

/// Has each notification fail that may be sent, and returns their number.
fn fail_all(queues: &mut PushQueues, now: Instant) -> usize {
    let mut failed = 0;
    while let Some((name, push)) = queues.next(now) {
        queues.finished(&name, push, &gateway(), PushResult::Failed, now);
        failed += 1;
    }
    failed
}

#[test]
fn the_log_is_told_once_what_waits_however_often_it_fails() {
    let mut now = Instant::now();
    let mut queues = with(&[("a", 1), ("a", 2)]);
    let mut log = ToldLog::default();
    let mut failed = 0;
    for _ in 0..3600 {
        failed += fail_all(&mut queues, now);
        log.tell(&mut queues);
        assert!(queues.is_recorded());
        now += Duration::from_secs(1);
    }
    // With a back-off that doubles from a second to ten minutes.
    assert_eq!((failed, log.items), (15, 2));
}

#[test]
fn the_log_is_told_of_a_full_queue_once_in_a_while_however_much_comes() {
    const ROUNDS: u64 = 10;
    let mut now = Instant::now();
    let mut queues = PushQueues::default();
    let mut log = ToldLog::default();
    let seconds = ROUNDS * RENEW_EVERY.as_secs();
    for index in 1..=seconds {
        queues.add(name("a"), &gateway(), QueuedPush::new(at(index), ROOM), now);
        fail_all(&mut queues, now);
        log.tell(&mut queues);
        assert!(log.rows.len() <= MOST_WAITING);
        now += Duration::from_secs(1);
    }
    // Until the queue is full, and then in each round all that waits and all that was given up.
    let most = MOST_WAITING + usize::try_from(ROUNDS).unwrap() * 2 * MOST_WAITING;
    assert!(log.items <= most, "{} in {seconds} seconds", log.items);
    // Not long ago, so that the next leader has little to lose.
    assert!(log.rows.last().is_some_and(|newest| seconds - newest <= RENEW_EVERY.as_secs()), "{:?}", log.rows.last());
    let newest: Vec<u64> = sent(&mut queues, now + LONGEST_BACKOFF).into_iter().map(|(_, index)| index).collect();
    assert_eq!(newest, (seconds - 99..=seconds).collect::<Vec<_>>(), "the newest are sent");
    log.tell(&mut queues);
    assert!(log.rows.is_empty() && queues.is_recorded(), "{:?}", log.rows);
}
