//! Readers that keep up take new events from memory; whatever commands come between, they get what the rows would give.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed check of a test is a panic")]

use quorate_chatd::feed::tail::{EventTail, TailAddition};
use quorate_chatd::service::subscription::ReaderState;
use quorate_core::apply;
use quorate_core::id::{Position, RoomNumber};
use quorate_core::proto::log::Batch;
use quorate_core::proto::store::membership::Kind;
use quorate_core::query::{FeedScope, QueryError, RoomEvent, StateView};
use quorate_core::table::{MemTable, Overlay};
use quorate_sim::plan::{PackedScript, SERVER};
use quorate_sim::rng::Rng;
use quorate_sim::script::USERS;
use quorate_sim::{for_seeds, script};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// A follower of a room or of all its rooms, and how it came by what it has seen.
struct Follower {
    user: &'static str,
    room: Option<RoomNumber>,
    from: Position,
    place: ReaderState,
    rooms: BTreeSet<RoomNumber>,
    seen: Vec<RoomEvent>,
}

/// Error with which a follower ended, or `None` if it goes on.
type Ended = Option<QueryError>;

impl Follower {
    fn new(user: &'static str, room: Option<RoomNumber>, from: Position) -> Self {
        let place = ReaderState::new(user.to_owned(), format!("@{user}:{SERVER}"), room, from);
        Self { user, room, from, place, rooms: room.into_iter().collect(), seen: Vec::new() }
    }

    /// Reads all there is, as a subscription does, and counts what came from memory.
    fn read(&mut self, rows: &MemTable, tail: &EventTail, from_memory: &AtomicUsize) -> Ended {
        loop {
            let step = match self.place.from_tail(tail, &self.rooms) {
                Some(step) => {
                    from_memory.fetch_add(step.events.len(), Relaxed);
                    step
                }
                None => match self.place.page(&StateView::open(rows).unwrap()) {
                    Ok(page) => {
                        let (step, new_rooms) = self.place.take(page);
                        self.rooms = new_rooms.unwrap_or(std::mem::take(&mut self.rooms));
                        step
                    }
                    Err(error) => return Some(error),
                },
            };
            self.seen.extend(step.events);
            if !self.place.more() {
                return None;
            }
        }
    }

    /// Reads the same events from the rows, from the follower's beginning, in one read.
    fn by_rows(&self, rows: &MemTable) -> Result<Vec<RoomEvent>, QueryError> {
        let scope = self.room.map_or(FeedScope::Joined, FeedScope::Room);
        StateView::open(rows).unwrap().events_after(self.user, scope, self.from, usize::MAX).map(|feed| feed.events)
    }
}

/// Extent of what memory is told of a commit.
#[derive(Clone, Copy)]
enum Tell {
    Everything,
    /// Events, but not whose memberships change.
    EventsOnly,
}

/// Applies an entry as the apply thread does.
fn commit(rows: &mut MemTable, tail: &EventTail, index: u64, batch: &Batch, tell: Tell) {
    let mut tx = Overlay::new(rows);
    let applied = apply::apply_batch(&apply::KnownFormat::CURRENT, &mut tx, index, batch).unwrap();
    let users = match tell {
        Tell::Everything => applied.into_iter().flat_map(|one| one.touched.users).collect(),
        Tell::EventsOnly => BTreeSet::new(),
    };
    let first = Position { incarnation: 0, index, ordinal: 0 };
    let addition =
        TailAddition::of(tx.changes(), first, &users, &[], |room| StateView::open(&tx)?.room_id(room)).unwrap();
    tx.into_changes().write_to(rows);
    tail.push(Position::end_of_entry(0, index), addition);
}

fn positions(events: &[RoomEvent]) -> Vec<Position> {
    events.iter().map(|event| event.position).collect()
}

/// Runs commands and followers; counts the events from memory, and the comparisons.
fn play(seed: u64, tell: Tell, from_memory: &AtomicUsize, compared: &AtomicUsize) {
    let mut rng = Rng::new(seed ^ 5);
    let plan = {
        let mut rng = Rng::new(seed);
        let steps = script::script_that_keeps_history(&mut rng, 300);
        PackedScript::new(steps, &mut rng, 6)
    };
    let (mut rows, tail, mut followers) = (MemTable::default(), EventTail::default(), Vec::<Follower>::new());
    for (index, batch) in plan.batches() {
        commit(&mut rows, &tail, index, &batch, tell);
        let Ok(view) = StateView::open(&rows) else { continue };
        if rng.percent(20) {
            let user = *rng.pick(&USERS);
            let joined = view.rooms_of(user).unwrap_or_default();
            let room = joined.iter().find(|row| row.kind == Kind::Join).map(|row| row.room).filter(|_| rng.percent(50));
            followers.push(Follower::new(user, room, view.now()));
        }
        // Some followers read at every entry, as most do, some seldom.
        let seldom = 1 + rng.below(3);
        followers.retain_mut(|follower| {
            if rng.below(seldom) > 0 {
                return true;
            }
            let ended = follower.read(&rows, &tail, from_memory);
            let expected = follower.by_rows(&rows);
            compared.fetch_add(1, Relaxed);
            match (ended, expected) {
                (None, Ok(expected)) => {
                    assert_eq!(
                        positions(&follower.seen),
                        positions(&expected),
                        "{} in {:?}",
                        follower.user,
                        follower.room
                    );
                    true
                }
                // The user has left, and the follower got everything up to that.
                (Some(QueryError::NotMember), _) => false,
                (ended, expected) => panic!("{ended:?}, by rows {:?}", expected.map(|events| positions(&events))),
            }
        });
    }
}

#[test]
fn who_keeps_up_gets_what_the_rows_would_give() {
    let (from_memory, compared) = (AtomicUsize::new(0), AtomicUsize::new(0));
    for_seeds(150, |seed| play(seed, Tell::Everything, &from_memory, &compared));
    let (from_memory, compared) = (from_memory.into_inner(), compared.into_inner());
    assert!(from_memory > compared / 10, "only {from_memory} events came from memory in {compared} comparisons");
}

#[test]
fn without_word_of_changed_memberships_somebody_gets_something_else() {
    let (from_memory, compared) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let caught = |seed| std::panic::catch_unwind(|| play(seed, Tell::EventsOnly, &from_memory, &compared)).is_err();
    assert!((0..150).any(caught));
}
