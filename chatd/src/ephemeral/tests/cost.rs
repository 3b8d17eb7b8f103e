//! Cost of presence between pods, by counts of frames, entries and bytes: the same on every machine.

use super::super::frame::{MOST_BYTES, MOST_ENTRIES};
use super::super::stream::FRAME_EVERY;
use super::{LifeId, Offline, Online, Pods, PresenceLevel, ROOM, SECOND, Unavailable};
use prost::Message as _;
use quorate_wire::whole_millis;
use std::sync::Arc;

const PEOPLE: usize = 10_000;
/// Bytes that an entry takes beside its texts, at most.
const FIXED: usize = 64;
/// Bytes of a frame that only says that its pod is there.
const SIGN_OF_LIFE: usize = 16;

/// Sum of what one pod was sent by another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct StreamCost {
    frames: usize,
    entries: usize,
    bytes: usize,
}

impl StreamCost {
    fn add(&mut self, other: Self) {
        self.frames += other.frames;
        self.entries += other.entries;
        self.bytes += other.bytes;
    }
}

fn name_of(user: usize) -> String {
    format!("u{user}")
}

/// Changes the presence of some users, so that others see it.
fn change(pods: &mut Pods, users: std::ops::Range<usize>, round: usize, status_length: usize) {
    let level: PresenceLevel = [Online, Unavailable, Offline][round % 3];
    let status: Arc<str> = format!("{:x<1$}", round % 10, status_length).into();
    let now = pods.now;
    for user in users {
        pods.pod(1).set_presence(&name_of(user), 1, level, Some(status.clone()), now);
    }
}

/// Sends one frame, as a stream does, and returns what it costs.
fn send_frame(pods: &mut Pods, from: LifeId, to: LifeId) -> StreamCost {
    let sent = pods.heard.get(&(to, from)).copied().unwrap_or_default();
    let frame = pods.states[&from].frame_after(sent, pods.now).0;
    pods.send(from, to);
    StreamCost { frames: 1, entries: frame.typing.len() + frame.presence.len(), bytes: frame.encoded_len() }
}

/// Sends frames until there is nothing left to tell; returns what they cost, without the last one, which is empty.
fn send_all(pods: &mut Pods, from: LifeId, to: LifeId) -> StreamCost {
    let mut cost = StreamCost::default();
    loop {
        let one = send_frame(pods, from, to);
        if one.entries == 0 {
            assert!(one.bytes <= SIGN_OF_LIFE, "{one:?}");
            return cost;
        }
        cost.add(one);
    }
}

#[test]
fn ten_thousand_people_who_change_ten_times_between_two_frames_cost_one_entry_each() {
    for status_length in [16, 512] {
        let mut pods = Pods::new(&[1, 2]);
        for round in 0..10 {
            pods.now += 10;
            change(&mut pods, 0..PEOPLE, round, status_length);
        }
        let cost = send_all(&mut pods, 1, 2);
        let largest = FIXED + name_of(PEOPLE).len() + status_length;
        assert_eq!(cost.entries, PEOPLE);
        assert!(cost.bytes <= PEOPLE * largest, "{cost:?}");
        let in_frame = MOST_ENTRIES.min(MOST_BYTES / largest);
        assert!(cost.frames <= PEOPLE.div_ceil(in_frame), "{cost:?}");
        // Whoever waits for news of the room is woken once for all of them.
        pods.publish();
        let woken = &pods.pod(2).wake_later;
        assert_eq!(woken.rooms.iter().copied().collect::<Vec<_>>(), [ROOM]);
    }
}

#[test]
fn a_slow_pod_is_sent_each_entry_in_its_newest_form_and_ends_with_the_same() {
    // Everybody changes once a second, for ten seconds.
    let steps_in_a_second = usize::try_from(SECOND / whole_millis(FRAME_EVERY)).unwrap();
    let some = PEOPLE / steps_in_a_second;
    let mut pods = Pods::new(&[1, 2, 3]);
    let mut fast = StreamCost::default();
    let mut slow = StreamCost::default();
    for step in 0..10 * steps_in_a_second {
        pods.now += whole_millis(FRAME_EVERY);
        let first = step % steps_in_a_second * some;
        change(&mut pods, first..first + some, step, 16);
        fast.add(send_frame(&mut pods, 1, 2));
        if step % (5 * steps_in_a_second) == 0 {
            slow.add(send_frame(&mut pods, 1, 3));
        }
    }
    assert_eq!((fast.frames, fast.entries), (10 * steps_in_a_second, 10 * PEOPLE));
    fast.add(send_all(&mut pods, 1, 2));
    slow.add(send_all(&mut pods, 1, 3));
    assert!(slow.entries <= 3 * PEOPLE && slow.bytes < fast.bytes / 3, "{slow:?}, {fast:?}");
    assert_eq!(fast.entries, 10 * PEOPLE, "nothing is sent twice to a pod that keeps up");
    for user in (0..PEOPLE).map(name_of) {
        let [here, there, slowly] = [1, 2, 3].map(|pod| {
            let (presence, is_lost) = pods.states[&pod].presence_of(&user).unwrap();
            (presence.level, presence.status.clone(), is_lost)
        });
        assert_eq!(here, there, "{user}");
        assert_eq!(here, slowly, "{user}");
    }
}
