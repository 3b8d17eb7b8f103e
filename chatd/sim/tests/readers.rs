//! Syncs, streams and pages show each event once, in order, and nothing forbidden, whatever commands come between.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a failed check of a test is a panic")]

use quorate_core::id::Position;
use quorate_core::proto::store;
use quorate_core::query::{FeedScope, QueryError, StateView, SyncFilter};
use quorate_core::table::{self, MemTable, ScanDirection, Table, TableRead, key};
use quorate_sim::client::{ModelClient, SyncManner};
use quorate_sim::plan::{PackedScript, SERVER};
use quorate_sim::rng::Rng;
use quorate_sim::script::USERS;
use quorate_sim::{for_seeds, oracle, script};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

fn plan(seed: u64) -> PackedScript {
    let mut rng = Rng::new(seed);
    let steps = script::generate_script(&mut rng, 200);
    PackedScript::new(steps, &mut rng, 6)
}

/// Returns the same plan without removals of history.
fn calm_plan(seed: u64) -> PackedScript {
    let mut rng = Rng::new(seed);
    let steps = script::script_that_keeps_history(&mut rng, 200);
    PackedScript::new(steps, &mut rng, 6)
}

/// Returns `true` once the cluster is made, which takes the first entries; readers come after it.
fn is_there(rows: &dyn TableRead) -> bool {
    StateView::open(rows).is_ok()
}

#[test]
fn folded_syncs_equal_a_full_read() {
    for_seeds(100, |seed| {
        let mut rng = Rng::new(seed ^ 1);
        let filters = filters(&mut rng);
        // Each client has its own filter, as a client keeps one; some sync often, some seldom.
        let first = rng.below(filters.len());
        let mut clients: Vec<_> = (0..USERS.len() * 2)
            .map(|n| (ModelClient::new(USERS[n / 2]), (first + n) % filters.len(), [3, 30][n % 2]))
            .collect();
        plan(seed)
            .run(&mut MemTable::default(), |rows, _, _, _| {
                for (client, filter, seldom) in &mut clients {
                    if is_there(rows) && rng.below(*seldom) == 0 {
                        let full_state = rng.percent(10);
                        let most_bytes = *rng.pick(&[usize::MAX, usize::MAX, 1, 2_000]);
                        let most_parts = *rng.pick(&[usize::MAX, usize::MAX, 1, 3]);
                        let filter = &filters[*filter];
                        client.sync(rows, SyncManner { filter, full_state, most_bytes, most_parts });
                    }
                }
            })
            .unwrap();
    });
}

fn filters(rng: &mut Rng) -> Vec<SyncFilter> {
    let of = |limit: Option<usize>, lazy_load_members| {
        let mut filter = SyncFilter { lazy_load_members, ..SyncFilter::default() };
        filter.timeline.limit = limit;
        filter
    };
    let mut without = of(Some(3), false);
    without.timeline.not_types = vec!["m.reaction".into(), "m.room.name".into(), "x.*".into()];
    let mut with = of(Some(5), true);
    with.timeline.types = Some(vec!["m.room.message".into(), "m.room.member".into()]);
    let after = |filter: &SyncFilter| SyncFilter { state_after: true, ..filter.clone() };
    vec![
        after(&without),
        after(&with),
        after(&of(Some(2), false)),
        without,
        with,
        of(None, false),
        of(Some(1 + rng.below(4)), false),
        of(Some(rng.below(20)), true),
        of(Some(500), false),
        of(Some(2), true),
    ]
}

#[test]
fn a_stream_shows_each_stay_whole_and_nothing_else() {
    for_seeds(100, |seed| {
        let mut rng = Rng::new(seed ^ 2);
        let mut streams: Vec<_> = USERS.map(|user| (user, Position::ZERO, Vec::new())).into();
        let mut read = |rows: &MemTable, all: bool| {
            for (user, cursor, seen) in &mut streams {
                while is_there(rows) && (all || rng.percent(30)) {
                    let limit = 1 + rng.below(12);
                    let feed =
                        StateView::open(rows).unwrap().events_after(user, FeedScope::Joined, *cursor, limit).unwrap();
                    assert!(feed.events.len() <= limit && feed.next >= *cursor);
                    seen.extend(feed.events.iter().map(|event| event.position));
                    *cursor = feed.next;
                    if !feed.more {
                        break;
                    }
                }
                if all {
                    assert_eq!(
                        *seen,
                        oracle::expected_stream(&oracle::read_events(rows), user, SERVER),
                        "stream of {user}"
                    );
                }
            }
        };
        let mut rows = MemTable::default();
        calm_plan(seed).run(&mut rows, |rows, _, _, _| read(rows, false)).unwrap();
        read(&rows, true);
    });
}

/// A reader of all the user's rooms, with what it has seen.
struct Follower {
    user: &'static str,
    cursor: Position,
    seen: Vec<Position>,
    /// Ranges that it need not have seen: from its cursor to where it began again.
    skipped: Vec<(Position, Position)>,
}

impl Follower {
    fn read(&mut self, rows: &MemTable, limit: usize) -> bool {
        let view = StateView::open(rows).unwrap();
        if self.cursor == Position::ZERO {
            // A reader from the beginning would be given what there is, whatever was there before.
            self.skipped.push((self.cursor, view.now()));
            self.cursor = view.now();
        }
        match view.events_after(self.user, FeedScope::Joined, self.cursor, limit) {
            Ok(feed) => {
                self.seen.extend(feed.events.iter().map(|event| event.position));
                self.cursor = feed.next;
                feed.more
            }
            Err(QueryError::Purged) => {
                self.skipped.push((self.cursor, view.now()));
                self.cursor = view.now();
                false
            }
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn a_stream_leaves_nothing_out_that_was_removed_without_saying_so() {
    let (told, removed) = (AtomicUsize::new(0), AtomicUsize::new(0));
    for_seeds(100, |seed| {
        let mut rng = Rng::new(seed ^ 4);
        let mut followers =
            USERS.map(|user| Follower { user, cursor: Position::ZERO, seen: Vec::new(), skipped: Vec::new() });
        let mut rows = MemTable::default();
        // All events that were ever there, also those that were removed.
        let mut written = std::collections::BTreeMap::new();
        let keep = |rows: &MemTable, _: u64, _: &_, _: &[_]| {
            written.extend(oracle::read_events(rows).into_iter().map(|event| (event.at, event)));
            for follower in &mut followers {
                if is_there(rows) && rng.percent(15) {
                    while follower.read(rows, 1 + rng.below(12)) {}
                }
            }
        };
        plan(seed).run(&mut rows, keep).unwrap();
        let written: Vec<_> = written.into_values().collect();
        removed.fetch_add(written.len() - oracle::read_events(&rows).len(), Relaxed);
        for mut follower in followers {
            while follower.read(&rows, 9) {}
            let mut expected = oracle::expected_stream(&written, follower.user, SERVER);
            let skipped = |at: &Position| follower.skipped.iter().any(|(from, to)| from < at && at <= to);
            expected.retain(|at| !skipped(at));
            assert_eq!(follower.seen, expected, "stream of {}", follower.user);
            told.fetch_add(follower.skipped.len(), Relaxed);
        }
    });
    let (told, removed) = (told.into_inner(), removed.into_inner());
    let alone = std::env::var_os("QUORATE_SEED").is_some();
    assert!(alone || told > 20 && removed > 100, "{told} readers told, {removed} events removed: too few");
}

#[test]
fn a_stream_from_long_ago_merges_rooms_in_the_one_order() {
    // The scripts are long: a few are enough, however many seeds are asked for.
    for seed in 0..3 {
        let mut rng = Rng::new(seed);
        let steps = script::script_that_keeps_history(&mut rng, 10_000);
        let mut rows = MemTable::default();
        PackedScript::new(steps, &mut rng, 64).run(&mut rows, |_, _, _, _| {}).unwrap();
        let events = oracle::read_events(&rows);
        assert!(events.len() > 1200, "{} events are too few to be merged", events.len());
        for user in USERS {
            let (mut cursor, mut seen) = (Position::ZERO, Vec::new());
            loop {
                let feed = StateView::open(&rows).unwrap().events_after(user, FeedScope::Joined, cursor, 100).unwrap();
                seen.extend(feed.events.iter().map(|event| event.position));
                cursor = feed.next;
                if !feed.more {
                    break;
                }
            }
            assert_eq!(seen, oracle::expected_stream(&events, user, SERVER), "stream of {user}, seed {seed}");
        }
    }
}

#[test]
fn a_stream_of_one_room_ends_with_the_readers_last_event() {
    for_seeds(60, |seed| {
        let mut rows = MemTable::default();
        calm_plan(seed).run(&mut rows, |_, _, _, _| {}).unwrap();
        let (view, events) = (StateView::open(&rows).unwrap(), oracle::read_events(&rows));
        for user in USERS {
            let all = oracle::expected_stream(&events, user, SERVER);
            for room in view.rooms_of(user).unwrap() {
                let in_room = events.iter().filter(|event| event.room == room.room).map(|event| event.at);
                let expected: Vec<_> = in_room.filter(|at| all.contains(at)).collect();
                let (mut cursor, mut seen) = (Position::ZERO, Vec::new());
                let ended = loop {
                    match view.events_after(user, FeedScope::Room(room.room), cursor, 3) {
                        Ok(feed) => {
                            seen.extend(feed.events.iter().map(|event| event.position));
                            cursor = feed.next;
                            if !feed.more && feed.next == view.now() && feed.events.is_empty() {
                                break false;
                            }
                        }
                        Err(QueryError::NotMember) => break true,
                        Err(error) => panic!("{error}"),
                    }
                };
                assert_eq!(seen, expected, "{user} in {}", room.room);
                assert_eq!(ended, room.joined_since.is_none(), "{user} in {}", room.room);
            }
        }
    });
}

#[test]
fn pages_either_way_show_what_may_be_seen_and_single_events_agree() {
    for_seeds(60, |seed| {
        let mut rng = Rng::new(seed ^ 3);
        let mut rows = MemTable::default();
        plan(seed).run(&mut rows, |_, _, _, _| {}).unwrap();
        let (view, events) = (StateView::open(&rows).unwrap(), oracle::read_events(&rows));
        let rooms: std::collections::BTreeSet<_> = events.iter().map(|event| event.room).collect();
        for (user, room) in USERS.iter().flat_map(|user| rooms.iter().map(move |room| (user, *room))) {
            // A room that was forgotten is read as by somebody who was never in it.
            let member = key::room_member(room, user);
            let member = table::fetch_row::<store::Membership>(&rows, Table::RoomMember, &member).unwrap();
            let reader = if member.unwrap_or_default().forgotten { "nobody" } else { user };
            let visible = oracle::visible_events(&events, room, reader, SERVER);
            for event in events.iter().filter(|event| event.room == room) {
                let shown = view.event(user, &quorate_core::id::event_id(event.at)).is_ok();
                assert_eq!(shown, visible.contains(&event.at), "{user} {:?}", event.at);
            }
            let mut all = |direction, mut from| {
                let mut seen = Vec::new();
                loop {
                    let page = match view.timeline(user, room, from, direction, 1 + rng.below(9)) {
                        Ok(page) => page,
                        Err(QueryError::Forbidden) => return None,
                        Err(error) => panic!("{error}"),
                    };
                    seen.extend(page.events.iter().map(|event| event.position));
                    match page.next {
                        Some(next) => from = next,
                        None => return Some(seen),
                    }
                }
            };
            if let Some(forward) = all(ScanDirection::Forward, Position::ZERO) {
                assert_eq!(forward, visible, "{user} in {room}");
                let mut backward = all(ScanDirection::Backward, Position::MAX).unwrap();
                backward.reverse();
                assert_eq!(backward, visible, "{user} in {room}, backward");
            }
        }
    });
}
