//! A Matrix client reduced to what it believes: rooms with their timelines and state, folded from syncs. The gap that a
//! limited timeline leaves is filled by pages of history.

use crate::oracle;
use crate::plan::SERVER;
use quorate_core::id::{self, Position, RoomNumber};
use quorate_core::proto::store;
use quorate_core::proto::store::membership::Kind;
use quorate_core::query::sync::{LeftRoom, SyncRest, SyncTimeline};
use quorate_core::query::{RoomEvent, StateView, SyncFilter, SyncRequest, SyncResponse};
use quorate_core::table::{self, ScanDirection, Table, TableRead, key};
use std::collections::BTreeMap;

type StateMap = BTreeMap<(String, String), Position>;

/// Maximum number of answers to one sync; each of them has at least one room more.
const MOST_PARTS: usize = 200;

/// Manner in which a client syncs.
#[derive(Clone, Copy, Debug)]
pub struct SyncManner<'f> {
    /// Filter of the client, whose timelines may exclude types of events.
    pub filter: &'f SyncFilter,
    /// `true` to ask for all state.
    pub full_state: bool,
    /// Number of bytes after which an answer ends, so that the rest comes with the next ones.
    pub most_bytes: usize,
    /// Number of answers after which the client goes away, to ask for the rest when it syncs again.
    pub most_parts: usize,
}

/// A client of one user.
pub struct ModelClient {
    localpart: &'static str,
    since: Option<Position>,
    /// Rest that the last answer had no space for.
    rest: Option<SyncRest>,
    /// Position up to which the client had everything before the first of the answers that are not complete yet.
    known: Option<Position>,
    rooms: BTreeMap<RoomNumber, BelievedRoom>,
    account_data: BTreeMap<(Option<RoomNumber>, String), Vec<u8>>,
}

/// State of a room as the client believes it to be.
#[derive(Clone, Debug, Default)]
struct BelievedRoom {
    timeline: Vec<Position>,
    state: StateMap,
    /// `true` if there was a gap in the timeline when the user had forgotten the room, whose pages are closed then.
    has_hole: bool,
}

impl ModelClient {
    /// Creates a client that has never synced.
    #[must_use]
    pub fn new(localpart: &'static str) -> Self {
        let rooms = BTreeMap::new();
        Self { localpart, since: None, rest: None, known: None, rooms, account_data: BTreeMap::new() }
    }

    /// Syncs and folds the answers into what the client believes. Unless it goes away before the last of them, asserts
    /// that this is what the [`oracle`] says.
    pub fn sync(&mut self, rows: &dyn TableRead, manner: SyncManner<'_>) {
        let view = StateView::open(rows).unwrap();
        let events = oracle::read_events(rows);
        for part in 1.. {
            self.sync_part(rows, &events, manner);
            // The last part of a sync that began earlier leads to the moment at which it began.
            if self.rest.is_none() && self.since >= Some(view.now()) {
                break;
            }
            if part >= manner.most_parts {
                return;
            }
            assert!(part < MOST_PARTS, "it does not come to an end");
        }
        self.compare(&view, &events, manner.filter);
        let again =
            SyncRequest { localpart: self.localpart, since: self.since, full_state: false, filter: manner.filter };
        assert!(view.sync(&again).unwrap().is_empty(), "nothing happened, but the sync is not empty");
    }

    fn sync_part(&mut self, rows: &dyn TableRead, events: &[oracle::BareEvent], manner: SyncManner<'_>) {
        let view = StateView::open(rows).unwrap();
        let SyncManner { filter, full_state, most_bytes, .. } = manner;
        if self.rest.is_none() {
            self.known = self.since;
        }
        let request = SyncRequest { localpart: self.localpart, since: self.since, full_state, filter };
        let answer = view.sync_part(&request, self.rest, most_bytes).unwrap();
        assert!(self.since <= Some(answer.next), "the sync token went back");
        // Each part is as of the same moment.
        let until_then = events.partition_point(|event| event.at <= answer.next);
        self.fold(rows, &events[..until_then], &answer, manner);
        self.since = Some(answer.next);
        self.rest = answer.rest;
    }

    /// Folds an answer; `events` are those up to the moment that it tells of.
    fn fold(
        &mut self,
        rows: &dyn TableRead,
        events: &[oracle::BareEvent],
        answer: &SyncResponse,
        manner: SyncManner<'_>,
    ) {
        for room in &answer.join {
            let mut believed = self.rooms.remove(&room.room).unwrap_or_default();
            self.believe(rows, &mut believed, room.room, &room.state, &room.timeline, manner);
            assert_senders_known(&believed, &room.timeline);
            self.rooms.insert(room.room, believed);
            for datum in &room.account_data {
                self.account_data.insert((Some(room.room), datum.event_type.clone()), datum.content.to_vec());
            }
        }
        for room in &answer.leave {
            self.leave(rows, events, room, manner);
            for datum in &room.account_data {
                self.account_data.insert((Some(room.room), datum.event_type.clone()), datum.content.to_vec());
            }
        }
        for room in answer.invite.iter().chain(&answer.knock) {
            self.rooms.remove(&room.room);
            let own = room.stripped_state.last().unwrap();
            assert!(
                own.is_state("m.room.member")
                    && room.stripped_state.iter().any(|event| event.is_state("m.room.create"))
            );
        }
        for datum in &answer.account_data {
            self.account_data.insert((None, datum.event_type.clone()), datum.content.to_vec());
        }
    }

    /// Folds one room of an answer into `believed`: the state first, then the timeline, unless the state given is the
    /// one after it. The gap before a limited timeline is filled by paging backward.
    fn believe(
        &self,
        rows: &dyn TableRead,
        believed: &mut BelievedRoom,
        room: RoomNumber,
        state: &[RoomEvent],
        timeline: &SyncTimeline,
        manner: SyncManner<'_>,
    ) {
        if manner.full_state {
            believed.state.clear();
        }
        if timeline.limited {
            let known = believed.timeline.last().copied();
            match self.gap(rows, room, timeline.prev_batch, known) {
                Some(mut gap) => {
                    gap.retain(|event| manner.filter.timeline.wants_type(&event.event_type));
                    believed.timeline.extend(gap.iter().map(|event| event.position));
                }
                None => believed.has_hole = true,
            }
        }
        believed.timeline.extend(timeline.events.iter().map(|event| event.position));
        let state_after = manner.filter.state_after;
        for event in state.iter().chain(timeline.events.iter().filter(|_| !state_after)) {
            if let Some(state_key) = &event.state_key {
                believed.state.insert((event.event_type.clone(), state_key.clone()), event.position);
            }
        }
    }

    /// Returns the events after `known` up to `from`, oldest first; `None` if the user has forgotten the room.
    fn gap(
        &self,
        rows: &dyn TableRead,
        room: RoomNumber,
        from: Position,
        known: Option<Position>,
    ) -> Option<Vec<RoomEvent>> {
        let member = key::room_member(room, self.localpart);
        let member = table::fetch_row::<store::Membership>(rows, Table::RoomMember, &member).unwrap();
        if member.unwrap_or_default().forgotten {
            return None;
        }
        let view = StateView::open(rows).unwrap();
        let mut from = Some(from);
        let mut out = Vec::new();
        while let Some(at) = from {
            let page = view.timeline(self.localpart, room, at, ScanDirection::Backward, 3).unwrap();
            let before = out.len();
            let read = page.events.len();
            out.extend(page.events.into_iter().take_while(|event| Some(event.position) > known));
            from = page.next.filter(|_| out.len() == before + read);
        }
        out.reverse();
        Some(out)
    }

    fn leave(&mut self, rows: &dyn TableRead, events: &[oracle::BareEvent], room: &LeftRoom, manner: SyncManner<'_>) {
        let was_known = self.rooms.contains_key(&room.room);
        let mut believed = self.rooms.remove(&room.room).unwrap_or_default();
        if room.timeline.events.is_empty() && room.state.is_empty() && !room.account_data.is_empty() {
            assert!(!was_known, "nothing but account data of a room that the client believes to be in");
            return;
        }
        let until = room.timeline.events.last().map_or(room.timeline.prev_batch, |event| event.position);
        let user_id = id::user_id(self.localpart, SERVER);
        let own =
            |event: &RoomEvent| event.is_state("m.room.member") && event.state_key.as_deref() == Some(user_id.as_str());
        let Some(left_at) = oracle::left_at(events, room.room, &user_id) else {
            let in_state = usize::from(manner.filter.state_after);
            assert_eq!(
                (room.timeline.events.len(), room.state.len()),
                (1, in_state),
                "a room that the user was never in"
            );
            return;
        };
        for event in room.state.iter().chain(&room.timeline.events) {
            assert!(event.position <= left_at || own(event), "{event:?} is after the user left at {left_at:?}");
        }
        if self.known >= Some(left_at) {
            // The client was told that it left; what came since is its own membership alone.
            assert!(room.timeline.events.iter().all(own), "events of a room that was left earlier");
            return;
        }
        self.believe(rows, &mut believed, room.room, &room.state, &room.timeline, manner);
        forget_purged(&mut believed.timeline, events);
        let mut visible = oracle::visible_events(events, room.room, self.localpart, SERVER);
        visible.retain(|at| *at <= until);
        keep_wanted(&mut visible, events, manner.filter);
        let is_right = believed.has_hole || believed.timeline == visible;
        assert!(is_right, "timeline of a room that was left, known before: {was_known}: {believed:?}, not {visible:?}");
        let mut real = oracle::room_state_at(events, room.room, left_at);
        let member = ("m.room.member".to_owned(), user_id);
        real.extend(oracle::room_state_at(events, room.room, Position::MAX).remove_entry(&member));
        compare_state(self.localpart, &believed.state, &real, manner.filter);
    }

    fn compare(&mut self, view: &StateView<'_>, events: &[oracle::BareEvent], filter: &SyncFilter) {
        let joined = view.rooms_of(self.localpart).unwrap().into_iter().filter(|room| room.kind == Kind::Join);
        let joined: Vec<_> = joined.map(|room| room.room).collect();
        assert_eq!(self.rooms.keys().copied().collect::<Vec<_>>(), joined, "rooms of {}", self.localpart);
        for (room, believed) in &mut self.rooms {
            forget_purged(&mut believed.timeline, events);
            let mut visible = oracle::visible_events(events, *room, self.localpart, SERVER);
            keep_wanted(&mut visible, events, filter);
            if !believed.has_hole {
                assert_eq!(believed.timeline, visible, "timeline of room {room} for {}", self.localpart);
            }
            let real = oracle::room_state_at(events, *room, Position::MAX);
            compare_state(self.localpart, &believed.state, &real, filter);
        }
        for ((room, event_type), content) in &self.account_data {
            let stored = view.account_data(self.localpart, *room, event_type).unwrap();
            let still_in = room.is_none_or(|room| self.rooms.contains_key(&room));
            assert!(!still_in || stored.as_deref() == Some(content), "account data {event_type} of {room:?}");
        }
    }
}

/// Asserts that the believed state is the real one. A client that loads members lazily may lack members, but believes
/// nothing false.
fn compare_state(localpart: &str, believed: &StateMap, real: &StateMap, filter: &SyncFilter) {
    let mut real = real.clone();
    if filter.lazy_load_members {
        real.retain(|member, _| member.0 != "m.room.member" || believed.contains_key(member));
    }
    assert_eq!(*believed, real, "state for {localpart}");
}

/// Drops the events that have been removed from the room. The client may keep what it saw before the removal; only the
/// rest is compared.
fn forget_purged(timeline: &mut Vec<Position>, events: &[oracle::BareEvent]) {
    timeline.retain(|at| events.binary_search_by_key(at, |event| event.at).is_ok());
}

/// Drops the events whose types the client does not want in timelines.
fn keep_wanted(timeline: &mut Vec<Position>, events: &[oracle::BareEvent], filter: &SyncFilter) {
    timeline.retain(|at| {
        let place = events.binary_search_by_key(at, |event| event.at).unwrap();
        filter.timeline.wants_type(&events[place].row.r#type)
    });
}

/// Asserts that the believed state has a membership event for every sender in `timeline`.
fn assert_senders_known(believed: &BelievedRoom, timeline: &SyncTimeline) {
    for event in &timeline.events {
        let member = ("m.room.member".to_owned(), event.sender.clone());
        assert!(believed.state.contains_key(&member), "no membership event for sender {}", event.sender);
    }
}
