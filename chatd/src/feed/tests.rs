use super::*;
use futures::FutureExt as _;

fn rooms(numbers: &[u64]) -> BTreeSet<RoomNumber> {
    numbers.iter().copied().map(RoomNumber).collect()
}

fn in_rooms(numbers: &[u64]) -> FeedTopics {
    FeedTopics { rooms: rooms(numbers), ..FeedTopics::default() }
}

fn of_user(name: &str) -> FeedTopics {
    FeedTopics { users: BTreeSet::from([name.to_owned()]), ..FeedTopics::default() }
}

fn at(index: u64) -> Position {
    Position::end_of_entry(0, index)
}

#[tokio::test]
async fn a_reader_is_woken_by_its_rooms_and_users_and_by_nothing_else() {
    let feed = ChangeFeed::new();
    let mut room = feed.subscribe(in_rooms(&[1, 2]));
    let mut user = feed.subscribe(of_user("alice"));
    feed.publish(at(1), &in_rooms(&[3]));
    feed.publish(at(2), &of_user("bob"));
    assert!(room.changed().now_or_never().is_none() && user.changed().now_or_never().is_none());
    feed.publish(at(3), &in_rooms(&[2]));
    assert!(room.changed().now_or_never().is_some() && user.changed().now_or_never().is_none());
    feed.publish(at(4), &of_user("alice"));
    assert!(room.changed().now_or_never().is_none() && user.changed().now_or_never().is_some());
}

#[tokio::test]
async fn many_changes_are_one_wake_and_none_after_it_is_lost() {
    let feed = ChangeFeed::new();
    let mut reader = feed.subscribe(in_rooms(&[1]));
    for index in 1..100 {
        feed.publish(at(index), &in_rooms(&[1]));
    }
    reader.changed().await;
    assert!(reader.changed().now_or_never().is_none(), "they were taken together");
    feed.publish(at(100), &in_rooms(&[1]));
    reader.changed().await;
}

#[tokio::test]
async fn a_waiting_reader_that_gives_up_still_finds_the_change() {
    let feed = ChangeFeed::new();
    let mut reader = feed.subscribe(in_rooms(&[1]));
    assert!(reader.changed().now_or_never().is_none());
    feed.publish(at(1), &in_rooms(&[1]));
    assert!(reader.take());
    assert!(reader.changed().now_or_never().is_none(), "a stale permit is no change");
}

#[tokio::test]
async fn new_rooms_count_as_changed_and_left_ones_wake_no_more() {
    let feed = ChangeFeed::new();
    let mut reader = feed.subscribe(in_rooms(&[1, 2]));
    reader.set_rooms(rooms(&[2, 3]));
    assert!(reader.changed().now_or_never().is_some());
    feed.publish(at(1), &in_rooms(&[1]));
    assert!(reader.changed().now_or_never().is_none());
    feed.publish(at(2), &in_rooms(&[3]));
    assert!(reader.changed().now_or_never().is_some());
    reader.set_rooms(rooms(&[2]));
    assert!(reader.changed().now_or_never().is_none());
}

#[tokio::test]
async fn an_installed_snapshot_wakes_everybody() {
    let feed = ChangeFeed::new();
    let mut reader = feed.subscribe(FeedTopics::default());
    feed.publish_all(at(9));
    reader.changed().await;
    assert_eq!(*feed.applied().borrow(), at(9));
}

#[test]
fn a_dropped_subscription_leaves_nothing_behind() {
    let feed = ChangeFeed::new();
    let kept = feed.subscribe(in_rooms(&[1]));
    let mut dropped = feed.subscribe(FeedTopics { rooms: rooms(&[1, 2]), users: of_user("alice").users });
    dropped.set_rooms(rooms(&[2, 3]));
    drop(dropped);
    assert_eq!((feed.subscribers(), feed.hints.keys()), (1, 1));
    drop(kept);
    assert_eq!((feed.subscribers(), feed.hints.keys()), (0, 0));
}

/// A reader that is slower than the writer: whatever it misses while it reads, it finds at its next read.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_reader_ends_up_having_read_the_last_entry() {
    use std::sync::atomic::{AtomicU64, Ordering};
    const LAST: u64 = 20_000;
    let feed = ChangeFeed::new();
    let stored = Arc::new(AtomicU64::new(0));
    let mut reader = feed.subscribe(in_rooms(&[1]));
    let reading = tokio::spawn({
        let stored = stored.clone();
        async move {
            let mut reads = 0_u64;
            while stored.load(Ordering::Acquire) < LAST {
                reader.changed().await;
                reads += 1;
            }
            reads
        }
    });
    let writing = tokio::task::spawn_blocking(move || {
        for index in 1..=LAST {
            stored.store(index, Ordering::Release);
            feed.publish(at(index), &in_rooms(&[1]));
        }
        feed
    });
    let feed = writing.await.expect("the writer ends");
    let reads = tokio::time::timeout(std::time::Duration::from_secs(10), reading).await;
    let reads = reads.expect("the reader is not left waiting").expect("the reader ends");
    assert!((1..=LAST).contains(&reads), "{reads}");
    assert_eq!(*feed.applied().borrow(), at(LAST));
}

#[test]
fn a_reader_is_counted_as_woken_once_however_much_has_changed() {
    let feed = ChangeFeed::new();
    let (mut one, _other) = (feed.subscribe(in_rooms(&[1])), feed.subscribe(in_rooms(&[2])));
    for index in 1..10 {
        feed.publish(at(index), &in_rooms(&[1]));
    }
    assert_eq!(feed.wakeups(), 1);
    assert!(one.take());
    feed.publish(at(10), &in_rooms(&[1, 2]));
    assert_eq!(feed.wakeups(), 3);
}

#[test]
fn what_was_there_before_has_no_time_and_what_is_published_has_that_of_its_commit() {
    let feed = ChangeFeed::new();
    feed.publish_all(at(7));
    let before = Instant::now();
    feed.publish(at(9), &FeedTopics::default());
    let between = Instant::now();
    feed.publish(at(10), &FeedTopics::default());
    assert_eq!((feed.applied_at(at(7)), feed.applied_at(at(11))), (None, None));
    let times = [8, 9, 10].map(|index| feed.applied_at(at(index)).unwrap());
    assert!(times[0] == times[1] && before <= times[0] && times[1] <= between && between <= times[2]);
    feed.publish_all(at(20));
    assert_eq!(feed.applied_at(at(10)), None, "a snapshot does not say when");
}

#[tokio::test]
async fn a_watch_over_an_account_is_marked_before_readers_find_anything_and_counts_as_no_reader() {
    let feed = ChangeFeed::new();
    let mut watch = feed.watch_account("alice");
    assert_eq!(feed.subscribers(), 0);
    feed.publish(at(1), &in_rooms(&[1]));
    feed.publish(at(2), &of_user("bob"));
    assert!(!watch.take());
    feed.publish(at(3), &of_user("alice"));
    assert!(watch.take() && !watch.take());
    feed.publish_all(at(9));
    assert!(watch.changed().now_or_never().is_some());
    drop(watch);
    assert_eq!(feed.accounts.keys(), 0);
}

#[tokio::test]
async fn a_task_wakes_all_of_a_large_room_and_lets_others_run_in_between() {
    let feed = ChangeFeed::new();
    let task = tokio::spawn(feed.fan_out());
    let mut readers: Vec<_> = (0..1000).map(|_| feed.subscribe(in_rooms(&[1]))).collect();
    let mut other = feed.subscribe(in_rooms(&[2]));
    feed.publish(at(1), &in_rooms(&[1]));
    assert_eq!(feed.wakeups(), 0, "who publishes does not do the waking");
    // A task that only yields gets its turn again and again before all are woken.
    let mut turns = 0;
    while feed.wakeups() < 1000 {
        tokio::task::yield_now().await;
        turns += 1;
    }
    assert!(turns > 20, "{turns}");
    assert!(readers.iter_mut().all(FeedSubscription::take) && !other.take());
    feed.publish(at(2), &in_rooms(&[2]));
    other.changed().await;
    drop((feed, readers, other));
    task.await.expect("it ends with the feed");
}

#[tokio::test]
async fn who_subscribes_while_a_room_is_told_is_not_told_again() {
    let feed = ChangeFeed::new();
    let _task = tokio::spawn(feed.fan_out());
    let readers: Vec<_> = (0..200).map(|_| feed.subscribe(in_rooms(&[1]))).collect();
    feed.publish(at(1), &in_rooms(&[1]));
    while feed.wakeups() == 0 {
        tokio::task::yield_now().await;
    }
    let mut late = feed.subscribe(in_rooms(&[1]));
    while feed.wakeups() < 200 {
        tokio::task::yield_now().await;
    }
    tokio::task::yield_now().await;
    assert!(!late.take());
    drop(readers);
}

async fn until_woken(feed: &ChangeFeed, readers: u64) {
    while feed.wakeups() < readers {
        tokio::task::yield_now().await;
    }
}

/// Spawns a reader that waits for hints again and again, and does nothing else.
fn spawn_reader(feed: &ChangeFeed, rooms: &[u64]) -> tokio::task::JoinHandle<()> {
    let mut reader = feed.subscribe(in_rooms(rooms));
    tokio::spawn(async move {
        loop {
            reader.changed().await;
        }
    })
}

#[tokio::test]
async fn a_crowd_is_given_a_part_of_the_time() {
    let feed = ChangeFeed::new();
    let _task = tokio::spawn(feed.fan_out());
    // These never come back, as if their clients took nothing.
    let mut stuck: Vec<_> = (0..320).map(|_| feed.subscribe(in_rooms(&[1]))).collect();
    let began = tokio::time::Instant::now();
    feed.publish(at(1), &in_rooms(&[1]));
    until_woken(&feed, 320).await;
    let took = began.elapsed().as_millis();
    // The first 256 at once, and then eight times eight, with a wait of 5 ms and a pause of 20 ms between two of them.
    assert!(took >= 7 * 25, "{took} ms");
    assert!(stuck.iter_mut().all(FeedSubscription::take), "a reader that is stuck keeps nobody from being woken");
}

#[tokio::test]
async fn others_are_told_while_a_crowd_is() {
    let feed = ChangeFeed::new();
    let _task = tokio::spawn(feed.fan_out());
    let crowd: Vec<_> = (0..3200).map(|_| feed.subscribe(in_rooms(&[1]))).collect();
    let mut other = feed.subscribe(in_rooms(&[2]));
    feed.publish(at(1), &in_rooms(&[1]));
    until_woken(&feed, 320).await;
    let before = feed.wakeups();
    feed.publish(at(2), &in_rooms(&[2]));
    other.changed().await;
    assert!(feed.wakeups() <= before + 64, "it does not wait for the crowd: {} of it", feed.wakeups() - before);
    drop(crowd);
}

#[tokio::test]
async fn a_crowd_that_is_called_again_is_woken_again_as_a_whole() {
    let feed = ChangeFeed::new();
    let _task = tokio::spawn(feed.fan_out());
    let readers: Vec<_> = (0..1000).map(|_| spawn_reader(&feed, &[1])).collect();
    feed.publish(at(1), &in_rooms(&[1]));
    until_woken(&feed, 500).await;
    feed.publish(at(2), &in_rooms(&[1]));
    // The first 32 once more at once, the others when all have had the first.
    until_woken(&feed, 2000).await;
    while feed.hints.awake() > 0 {
        tokio::task::yield_now().await;
    }
    assert!((2000..2100).contains(&feed.wakeups()), "{}", feed.wakeups());
    readers.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test]
async fn a_reader_that_goes_while_it_is_awake_is_not_counted_as_awake() {
    let feed = ChangeFeed::new();
    let mut back = feed.subscribe(in_rooms(&[1]));
    let gone = feed.subscribe(in_rooms(&[1]));
    feed.publish(at(1), &in_rooms(&[1]));
    assert_eq!(feed.hints.awake(), 2);
    drop(gone);
    assert_eq!(feed.hints.awake(), 1);
    back.changed().await;
    assert!(back.changed().now_or_never().is_none());
    assert_eq!(feed.hints.awake(), 0);
}
