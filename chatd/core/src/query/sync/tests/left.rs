//! Checks what a former member is shown: everything up to its leave, then its own membership, never how the room went
//! on.

use super::*;
use std::collections::BTreeSet;

/// Room that Bob was in, and what has happened since.
struct Left {
    world: World,
    room: String,
    /// Position of Bob's leave.
    left_at: Position,
    /// Positions of Bob's own member events.
    own: BTreeSet<Position>,
    /// Tokens, one from after each step.
    tokens: Vec<Position>,
}

impl Left {
    /// Lets Bob join a room of Alice's and leave it by the first of these moves; the room goes on after each move.
    fn by(join_rule: &str, visibility: &str, moves: &[(&str, Change)]) -> Self {
        let mut world = world(&["alice", "bob", "carol", "dave"]);
        let (_, room) = world.public_room("alice");
        let content = format!(r#"{{"history_visibility":"{visibility}"}}"#);
        world.set("alice", &room, "m.room.history_visibility", &content);
        world.set("alice", &room, "m.room.topic", r#"{"topic":"while bob is in"}"#);
        let joined = world.moved("bob", &room, Change::Join, "");
        world.set("alice", &room, "m.room.join_rules", &format!(r#"{{"join_rule":"{join_rule}"}}"#));
        world.say("alice", &room, "for bob");
        let own = BTreeSet::from([joined]);
        let mut left = Self { world, room, left_at: Position::MAX, own, tokens: Vec::new() };
        for (place, (user, change)) in moves.iter().enumerate() {
            left.tokens.push(left.world.view().now());
            let target = if *user == "bob" { "" } else { "bob" };
            let at = left.world.moved(user, &left.room, *change, target);
            left.left_at = left.left_at.min(at);
            left.own.insert(at);
            left.tokens.push(left.world.view().now());
            left.goes_on(place);
        }
        left
    }

    fn goes_on(&mut self, place: usize) {
        let newcomer = ["carol", "dave"][place % 2];
        let Self { world, room, .. } = self;
        world.set("alice", room, "m.room.topic", &format!(r#"{{"topic":"secret {place}"}}"#));
        if world.view().membership(world.view().resolve_room(room).unwrap(), newcomer).unwrap().is_none() {
            world.moved("alice", room, Change::Invite, newcomer);
            world.moved(newcomer, room, Change::Join, "");
        }
        world.say("alice", room, "not for bob");
    }

    fn ask(&self, since: Option<Position>, full_state: bool, filter: &SyncFilter) -> SyncResponse {
        self.world.view().sync(&SyncRequest { localpart: "bob", since, full_state, filter }).unwrap()
    }

    /// Asks in every way and from every token: nothing after the leave is told but Bob's own membership, and that
    /// always.
    fn check(&self, what: &str) {
        let tokens = self.tokens.iter().copied().map(Some).chain([None]);
        let newest = *self.own.last().unwrap();
        for (since, full_state) in tokens.flat_map(|since| [(since, false), (since, true)]) {
            for filter in filters() {
                let answer = self.ask(since, full_state, &filter);
                for room in &answer.leave {
                    let shown: Vec<_> = room.state.iter().chain(&room.timeline.events).collect();
                    let told =
                        |event: &&RoomEvent| event.position <= self.left_at || self.own.contains(&event.position);
                    let hidden: Vec<_> = shown.iter().filter(|event| !told(event)).collect();
                    assert!(hidden.is_empty(), "{what} since {since:?}, {full_state}, {filter:?}: {hidden:?}");
                    let mut knows = shown.iter().any(|event| event.position == newest);
                    if filter.state_after {
                        knows = room.state.iter().any(|event| event.position == newest);
                    }
                    assert!(knows, "{what} since {since:?}, {full_state}, {filter:?}: not told what bob is now");
                }
            }
        }
    }
}

fn filters() -> Vec<SyncFilter> {
    let limited = |limit| EventFilter { limit: Some(limit), ..EventFilter::default() };
    let mut timelines = [0, 1, 3, 100].map(limited).to_vec();
    timelines.push(EventFilter { types: Some(vec!["m.room.message".into()]), ..EventFilter::default() });
    timelines.push(EventFilter { not_senders: vec!["@alice:a.org".into()], ..EventFilter::default() });
    let mut all = Vec::new();
    for (lazy_load_members, state_after) in [(false, false), (true, false), (false, true), (true, true)] {
        let of = |timeline: &EventFilter| SyncFilter {
            include_leave: true,
            lazy_load_members,
            state_after,
            timeline: timeline.clone(),
            ..SyncFilter::default()
        };
        all.extend(timelines.iter().map(of));
    }
    all
}

#[test]
fn after_a_leave_only_ones_own_membership_is_told() {
    let scenes: [(&str, &[(&str, Change)]); 7] = [
        ("kicked", &[("alice", Change::Kick)]),
        ("left", &[("bob", Change::Leave)]),
        ("banned", &[("alice", Change::Ban)]),
        ("kicked, then banned", &[("alice", Change::Kick), ("alice", Change::Ban)]),
        ("banned, then not", &[("alice", Change::Ban), ("alice", Change::Unban)]),
        ("left, invited, declined", &[("bob", Change::Leave), ("alice", Change::Invite), ("bob", Change::Leave)]),
        ("left, knocked, gone", &[("bob", Change::Leave), ("bob", Change::Knock), ("bob", Change::Leave)]),
    ];
    for (what, moves) in scenes {
        for visibility in ["joined", "invited", "shared", "world_readable"] {
            Left::by("knock", visibility, moves).check(&format!("{what} ({visibility})"));
        }
    }
}

#[test]
fn a_ban_after_a_kick_is_told_without_the_room() {
    let left = Left::by("invite", "shared", &[("alice", Change::Kick), ("alice", Change::Ban)]);
    let [_, kicked, before_ban, _] = left.tokens.as_slice() else { panic!("{:?}", left.tokens) };
    for since in [kicked, before_ban] {
        let room = left.ask(Some(*since), false, &SyncFilter::default()).leave.remove(0);
        assert_eq!((types(&room.timeline.events), room.state.len()), (vec!["m.room.member"], 0));
        assert_eq!(room.timeline.events[0].content, r#"{"membership":"ban"}"#);
    }
}

#[test]
fn who_was_kicked_and_banned_between_two_syncs_gets_the_room_as_of_the_kick() {
    let left = Left::by("invite", "shared", &[("alice", Change::Kick), ("alice", Change::Ban)]);
    let room = left.ask(Some(left.tokens[0]), false, &SyncFilter::default()).leave.remove(0);
    // Only the ban fits: what lies between it and the kick is not for Bob to see.
    assert_eq!((room.timeline.events.len(), room.timeline.limited), (1, true));
    assert_eq!(room.state.iter().map(|event| event.position).collect::<Vec<_>>(), [left.left_at]);
    let direction = crate::table::ScanDirection::Backward;
    let view = left.world.view();
    let number = view.resolve_room(&left.room).unwrap();
    let page = view.timeline("bob", number, room.timeline.prev_batch, direction, 2).unwrap();
    assert_eq!(page.events[0].position, left.left_at);
    assert_eq!(page.events[1].event_type, "m.room.message");
}

#[test]
fn who_left_gets_the_rooms_last_events_and_state_as_they_were() {
    let left = Left::by("invite", "joined", &[("bob", Change::Leave)]);
    let first = left.ask(None, false, &SyncFilter { include_leave: true, ..SyncFilter::default() }).leave.remove(0);
    let last = first.timeline.events.last().unwrap();
    assert_eq!((last.position, last.state_key.as_deref()), (left.left_at, Some("@bob:a.org")));
    let topics: Vec<_> = first.state.iter().filter(|event| event.event_type == "m.room.topic").collect();
    assert_eq!(topics[0].content, r#"{"topic":"while bob is in"}"#);
}

#[test]
fn account_data_of_a_room_that_was_left_is_told_when_it_changes() {
    let mut left = Left::by("public", "shared", &[("bob", Change::Leave)]);
    let since = left.world.view().now();
    let filter = SyncFilter::default();
    assert!(left.ask(Some(since), false, &filter).leave.is_empty());
    let put = log::PutAccountData {
        room_id: left.room.clone(),
        r#type: "org.example.a".into(),
        content: "{}".into(),
        ..log::PutAccountData::default()
    };
    let envelope = left.world.by("bob", log::command::Kind::PutAccountData(put));
    left.world.accepted(envelope);
    let told = left.ask(Some(since), false, &filter).leave;
    assert_eq!(told.len(), 1);
    let types: Vec<_> = told[0].account_data.iter().map(|datum| datum.event_type.as_str()).collect();
    assert_eq!(types, ["org.example.a"]);
    assert!(told[0].timeline.events.is_empty() && told[0].state.is_empty());
}
