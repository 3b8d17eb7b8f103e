//! Stories of several pods, over one clock that the tests move.

mod cost;

use super::frame::entries_of;
use super::news::{EphemeralNews, NewsQuery};
use super::record::{LifeId, PresenceLevel};
use super::state::{EphemeralState, EphemeralTimes, MOST_TYPING, STOPPED_KEPT_MS};
use quorate_core::id::RoomNumber;
use quorate_core::query::sync::LifeMarks;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

const ROOM: RoomNumber = RoomNumber(7);
const ROOM_ID: &str = "!seven:a.org";
const SECOND: u64 = 1000;

/// Pods that hear each other as the test says; all users are in [`ROOM`], except eve.
struct Pods {
    now: u64,
    states: BTreeMap<LifeId, EphemeralState>,
    /// Number up to which the first pod has heard the second.
    heard: HashMap<(LifeId, LifeId), u64>,
}

impl Pods {
    fn new(lives: &[LifeId]) -> Self {
        let times = EphemeralTimes::of(Duration::from_secs(30));
        let states = lives.iter().map(|life| (*life, EphemeralState::new(*life, times))).collect();
        Self { now: 1_000_000, states, heard: HashMap::new() }
    }

    fn pod(&mut self, life: LifeId) -> &mut EphemeralState {
        self.states.get_mut(&life).unwrap()
    }

    fn types(&mut self, life: LifeId, user: &str) {
        let now = self.now;
        self.pod(life).start_typing(ROOM, ROOM_ID, user, now + 20 * SECOND, now);
    }

    fn syncs(&mut self, life: LifeId, user: &str, device: u64, level: PresenceLevel) {
        let now = self.now;
        self.pod(life).note_sync(user, device, level, now);
    }

    /// Sends one frame, as a stream does.
    fn send(&mut self, from: LifeId, to: LifeId) {
        let sent = self.heard.entry((to, from)).or_default();
        let (frame, reached) = self.states[&from].frame_after(*sent, self.now);
        *sent = reached;
        let through = frame.through;
        let entries = entries_of(frame, self.now);
        let now = self.now;
        let _was_lost = self.pod(to).hear(from, through, entries, now);
    }

    /// Lets all pods tell each other everything, and publish.
    fn settle(&mut self) {
        // What ends now is told as well.
        self.publish();
        let lives: Vec<_> = self.states.keys().copied().collect();
        for from in &lives {
            lives.iter().filter(|to| *to != from).for_each(|to| self.send(*from, *to));
        }
        self.publish();
    }

    fn publish(&mut self) {
        let now = self.now;
        for state in self.states.values_mut() {
            state.tick(now);
            loop {
                let batch = state.next_batch();
                let users = batch.users().filter(|user| &***user != "eve");
                let rooms = users.map(|user| (user.clone(), Arc::new(BTreeSet::from([ROOM])))).collect();
                state.publish(&batch, &rooms);
                if !batch.has_more {
                    break;
                }
            }
        }
    }

    /// Lets time pass, during which the pods hear each other.
    fn pass(&mut self, seconds: u64) {
        let mut left = seconds;
        while left > 0 {
            let step = left.min(10);
            self.now += step * SECOND;
            self.settle();
            left -= step;
        }
    }

    fn news(&self, life: LifeId, user: &str, marks: LifeMarks) -> EphemeralNews {
        let rooms = BTreeSet::from([ROOM]);
        let none = BTreeSet::new();
        let rooms = if user == "eve" { &none } else { &rooms };
        self.states[&life].news(NewsQuery { user, device: 99, rooms, marks }, self.now)
    }
}

fn who_types(news: &EphemeralNews) -> Option<Vec<String>> {
    let [typing] = news.typing.as_slice() else { return None };
    assert_eq!((typing.room, &*typing.room_id), (ROOM, ROOM_ID));
    Some(typing.users.iter().map(|user| user.to_string()).collect())
}

fn who_is(news: &EphemeralNews) -> Vec<(String, PresenceLevel)> {
    news.presence.iter().map(|one| (one.user.to_string(), one.status.level)).collect()
}

fn named(levels: &[(&str, PresenceLevel)]) -> Vec<(String, PresenceLevel)> {
    levels.iter().map(|(user, level)| ((*user).to_owned(), *level)).collect()
}

use PresenceLevel::{Offline, Online, Unavailable};

#[test]
fn typing_on_one_pod_is_told_on_the_others_once_until_it_ends() {
    let mut pods = Pods::new(&[1, 2, 3]);
    pods.types(1, "alice");
    pods.settle();
    let first = pods.news(2, "bob", LifeMarks::default());
    assert_eq!(who_types(&first), Some(vec!["alice".into()]));
    assert_eq!(pods.news(2, "eve", LifeMarks::default()).typing, []);
    // The token is good on each pod.
    for pod in 1..=3 {
        assert!(pods.news(pod, "bob", first.marks).is_empty(), "{pod}");
    }
    pods.types(1, "alice");
    pods.settle();
    assert!(pods.news(3, "bob", first.marks).is_empty(), "it goes on");
    pods.pass(19);
    assert!(pods.news(3, "bob", first.marks).is_empty());
    pods.pass(2);
    let ended = pods.news(3, "bob", first.marks);
    assert_eq!(who_types(&ended), Some(vec![]));
    assert!(pods.news(1, "bob", ended.marks).is_empty());
}

#[test]
fn a_stop_on_another_pod_counts_and_so_does_a_message() {
    let mut pods = Pods::new(&[1, 2]);
    for user in ["alice", "carol"] {
        pods.types(1, user);
    }
    pods.settle();
    let before = pods.news(1, "bob", LifeMarks::default());
    assert_eq!(who_types(&before), Some(vec!["alice".into(), "carol".into()]));
    let now = pods.now;
    pods.pod(2).stop_typing_at(ROOM_ID, "alice", now);
    pods.pod(2).stop_typing_at("!other:a.org", "carol", now);
    pods.settle();
    for pod in [1, 2] {
        assert_eq!(who_types(&pods.news(pod, "bob", before.marks)), Some(vec!["carol".into()]));
    }
    let now = pods.now;
    pods.pod(1).stop_typing_outside("carol", &BTreeSet::new(), now);
    pods.settle();
    assert_eq!(who_types(&pods.news(2, "bob", before.marks)), Some(vec![]));
}

#[test]
fn what_a_silent_pod_kept_is_dropped_and_told_once() {
    let mut pods = Pods::new(&[1, 2]);
    pods.types(1, "alice");
    pods.syncs(1, "alice", 1, Online);
    pods.settle();
    let before = pods.news(2, "bob", LifeMarks::default());
    assert_eq!(who_is(&before), named(&[("alice", Online)]));
    pods.now += 29 * SECOND;
    pods.publish();
    assert!(pods.news(2, "bob", before.marks).is_empty());
    pods.now += 2 * SECOND;
    pods.publish();
    assert!(pods.pod(2).wake.rooms.contains(&ROOM) && pods.pod(2).wake_later.rooms.contains(&ROOM));
    let gone = pods.news(2, "bob", before.marks);
    assert_eq!((who_types(&gone), who_is(&gone)), (Some(vec![]), named(&[("alice", Offline)])));
    assert_eq!(gone.marks.get(1), None);
    assert!(pods.news(2, "bob", gone.marks).is_empty());
    assert!(pods.news(2, "bob", LifeMarks::default()).is_empty(), "a first sync names those who are there");
    // It was only cut off, and is heard again, on a new stream.
    pods.heard.clear();
    pods.settle();
    let back = pods.news(2, "bob", gone.marks);
    assert_eq!(who_is(&back), named(&[("alice", Online)]));
    assert!(who_is(&pods.news(2, "bob", before.marks)).is_empty());
}

#[test]
fn a_stop_that_a_pod_told_before_its_end_is_told_to_those_who_were_away() {
    let mut pods = Pods::new(&[1, 2]);
    pods.types(1, "alice");
    pods.syncs(1, "carol", 1, Online);
    pods.settle();
    let before = pods.news(2, "bob", LifeMarks::default());
    let now = pods.now;
    pods.pod(1).stop_typing(ROOM, "alice", now);
    pods.settle();
    let told = pods.news(2, "bob", before.marks);
    pods.states.remove(&1);
    pods.pass(31);
    let late = pods.news(2, "bob", before.marks);
    assert_eq!((who_types(&late), who_is(&late)), (Some(vec![]), named(&[("carol", Offline)])));
    let early = pods.news(2, "bob", told.marks);
    assert_eq!((who_types(&early), who_is(&early)), (None, named(&[("carol", Offline)])));
}

#[test]
fn a_user_whose_client_moves_on_stays_present_without_a_word() {
    let mut pods = Pods::new(&[1, 2, 3]);
    pods.syncs(1, "alice", 1, Online);
    pods.settle();
    let before = pods.news(3, "bob", LifeMarks::default());
    pods.pass(21);
    pods.syncs(2, "alice", 1, Online);
    pods.settle();
    assert!(pods.news(3, "bob", before.marks).is_empty());
    // The first pod ends, and nobody is told that alice has gone.
    pods.states.remove(&1);
    pods.pass(31);
    let after = pods.news(3, "bob", before.marks);
    assert_eq!(who_is(&after).iter().filter(|(_, level)| *level == Offline).count(), 0);
    assert_eq!(who_is(&pods.news(3, "carol", LifeMarks::default())), named(&[("alice", Online)]));
}

#[test]
fn a_user_whose_last_pod_ends_is_gone_though_another_pod_told_of_the_user_first() {
    let mut pods = Pods::new(&[1, 2]);
    pods.syncs(1, "alice", 1, Online);
    pods.settle();
    pods.pass(21);
    pods.syncs(2, "alice", 1, Online);
    pods.settle();
    let before = pods.news(1, "bob", LifeMarks::default());
    assert_eq!(who_is(&before), named(&[("alice", Online)]));
    pods.states.remove(&2);
    pods.pass(31);
    let after = pods.news(1, "bob", before.marks);
    assert_eq!(who_is(&after), named(&[("alice", Offline)]));
    assert!(pods.news(1, "bob", after.marks).is_empty());
}

#[test]
fn presence_ends_five_minutes_after_the_last_sync_and_activity_after_one() {
    let mut pods = Pods::new(&[1, 2]);
    pods.syncs(1, "alice", 1, Online);
    pods.settle();
    let first = pods.news(2, "bob", LifeMarks::default());
    assert!(first.presence[0].status.is_active);
    pods.pass(61);
    let idle = pods.news(2, "bob", first.marks);
    assert_eq!(who_is(&idle), named(&[("alice", Online)]));
    assert!(!idle.presence[0].status.is_active && idle.presence[0].status.active_ago_ms == Some(61 * SECOND));
    let now = pods.now;
    pods.pod(1).note_action("alice", now);
    pods.settle();
    let active = pods.news(2, "bob", idle.marks);
    assert!(active.presence[0].status.is_active);
    (0..5).for_each(|_| pods.pass(20));
    let idle = pods.news(2, "bob", active.marks);
    for _ in 0..20 {
        pods.pass(10);
    }
    assert_eq!(who_is(&pods.news(2, "bob", idle.marks)), named(&[("alice", Offline)]));
}

#[test]
fn a_device_that_is_away_does_not_hide_one_that_is_there() {
    let mut pods = Pods::new(&[1, 2]);
    pods.syncs(1, "alice", 1, Online);
    pods.settle();
    pods.syncs(2, "alice", 2, Unavailable);
    pods.syncs(2, "alice", 2, Offline);
    pods.settle();
    let news = pods.news(2, "bob", LifeMarks::default());
    assert_eq!(who_is(&news), named(&[("alice", Online)]));
    pods.syncs(2, "alice", 1, Unavailable);
    pods.settle();
    assert_eq!(who_is(&pods.news(1, "bob", news.marks)), named(&[("alice", Unavailable)]));
    let now = pods.now;
    pods.pod(1).set_presence("alice", 2, Offline, Some("away".into()), now);
    pods.settle();
    let said = pods.news(2, "bob", news.marks);
    assert_eq!(
        (who_is(&said), said.presence[0].status.status.as_deref()),
        (named(&[("alice", Offline)]), Some("away"))
    );
}

#[test]
fn syncs_of_ten_thousand_people_cost_one_small_note_each_and_wake_nobody() {
    let mut pods = Pods::new(&[1, 2]);
    for user in 0..10_000 {
        pods.syncs(1, &format!("u{user}"), 1, Online);
    }
    pods.settle();
    let mut news = pods.news(2, "u1", LifeMarks::default());
    let mut told = news.presence.len();
    while news.has_more || told < 10_000 {
        assert!(news.presence.len() <= 512);
        if !news.has_more {
            pods.settle();
        }
        news = pods.news(2, "u1", news.marks);
        told += news.presence.len();
    }
    assert_eq!(told, 10_000);
    let before = pods.pod(1).newest_outgoing();
    pods.now += 5 * SECOND;
    for user in 0..10_000 {
        pods.syncs(1, &format!("u{user}"), 1, Online);
    }
    assert_eq!(pods.pod(1).newest_outgoing(), before);
    pods.settle();
    assert!(pods.news(2, "u1", news.marks).is_empty());
}

#[test]
fn a_token_from_before_the_stops_that_are_remembered_is_told_that_all_is_quiet() {
    let mut pods = Pods::new(&[1, 2]);
    pods.types(1, "alice");
    pods.settle();
    let before = pods.news(2, "bob", LifeMarks::default());
    for _ in 0..(STOPPED_KEPT_MS / SECOND / 10 + 10) {
        pods.pass(10);
    }
    assert_eq!(pods.pod(2).counts().0, 0);
    let news = pods.news(2, "bob", before.marks);
    assert!(news.others_are_quiet && news.typing.is_empty());
    assert!(!pods.news(1, "bob", news.marks).others_are_quiet);
}

#[test]
fn a_mark_of_a_pod_that_is_not_known_here_is_kept() {
    let mut pods = Pods::new(&[1]);
    pods.publish();
    let news = pods.news(1, "bob", LifeMarks::of([(9, 5)]));
    assert_eq!((news.is_empty(), news.marks), (true, LifeMarks::of([(1, 0), (9, 5)])));
}

#[test]
fn changes_are_not_told_before_all_earlier_ones_of_their_pod_are_known() {
    let mut pods = Pods::new(&[1, 2, 3]);
    pods.syncs(1, "alice", 1, Online);
    pods.send(1, 2);
    pods.now += 25 * SECOND;
    // The second pod takes alice over, and the third hears of it before it hears the first.
    pods.syncs(2, "alice", 1, Online);
    pods.send(2, 3);
    pods.publish();
    let early = pods.news(3, "bob", LifeMarks::default());
    assert!(early.presence.is_empty());
    pods.settle();
    let news = pods.news(3, "bob", early.marks);
    assert_eq!(who_is(&news), named(&[("alice", Online)]));
}

#[test]
fn a_pod_that_counts_wrongly_harms_nobody_else() {
    let mut pods = Pods::new(&[1, 2]);
    pods.types(2, "alice");
    let mut frame = pods.pod(2).frame_after(0, 1_000_000).0;
    let now = pods.now;
    frame.typing[0].version.as_mut().unwrap().change = u64::MAX;
    assert!(entries_of(frame.clone(), now).is_empty());
    frame.typing[0].version.as_mut().unwrap().change = 1;
    let entries = entries_of(frame, now);
    let _was_lost = pods.pod(1).hear(2, u64::MAX, entries, now);
    pods.publish();
    let news = pods.news(1, "bob", LifeMarks::default());
    assert_eq!(who_types(&news), Some(vec!["alice".to_owned()]));
    // Until nothing is heard of it any more.
    pods.now += 40 * SECOND;
    pods.publish();
    assert_eq!(who_types(&pods.news(1, "bob", news.marks)), Some(Vec::new()));
}

#[test]
fn the_number_of_entries_is_bounded_and_refusals_are_counted() {
    let mut pods = Pods::new(&[1]);
    for user in 0..MOST_TYPING + 5 {
        pods.types(1, &format!("u{user}"));
    }
    let state = pods.pod(1);
    assert_eq!((state.counts().0, state.refused.typing), (MOST_TYPING, 5));
}
