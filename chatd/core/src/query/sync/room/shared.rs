//! News of a room for everybody who has been in it all the while: computed once, told to many.
//!
//! Two users who have been in a room since before a token, and have the same filter, are told the same about it, except
//! for their own account data and transaction ids, and that nobody is told to name a room after oneself.

use super::super::summary::MAX_HEROES;
use super::{DEFAULT_LIMIT, MAX_LIMIT, TimelineSpan};
use crate::id::{Position, RoomNumber};
use crate::proto::store::membership::Kind;
use crate::query::sync::{JoinedRoom, SyncRequest, SyncTimeline};
use crate::query::{QueryError, RoomEvent, StateView, SyncFilter};
use crate::visibility::UserVisibility;

/// News of a room, as far as they can be told from events that a reader has in hand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RoomNews {
    /// All the news there is.
    Told(Box<JoinedRoom>),
    /// Nothing that the filter wants.
    Nothing,
    /// More than these events is needed: call [`StateView::news_for_members`].
    AskRows,
}

impl RoomNews {
    /// Returns the news for a user who has been in the room since before these events, which are all of the room's
    /// events after a token, in order.
    #[must_use]
    pub fn of_events(filter: &SyncFilter, mut events: Vec<RoomEvent>) -> Self {
        // State changes summaries, and may be wanted even if its event is not; members that are sent with their
        // messages have to be read from rows.
        let by_rows = filter.lazy_load_members || filter.timeline.asks_for_relations();
        if by_rows || events.iter().any(|event| event.state_key.is_some()) {
            return Self::AskRows;
        }
        events.retain(|event| filter.timeline.wants(event));
        for event in &mut events {
            event.membership = Some(Kind::Join);
        }
        let Some(first) = events.first() else { return Self::Nothing };
        if events.len() > filter.timeline.limit.unwrap_or(DEFAULT_LIMIT).min(MAX_LIMIT) {
            return Self::AskRows;
        }
        Self::Told(Box::new(JoinedRoom {
            room: first.room,
            room_id: first.room_id.clone(),
            state: Vec::new(),
            timeline: SyncTimeline { prev_batch: first.position.before(), limited: false, events },
            summary: None,
            account_data: Vec::new(),
            ephemeral: Vec::new(),
        }))
    }
}

impl StateView<'_> {
    /// Returns a room's news from `since` up to `until` for everybody who has been in it all the while; `None` if there
    /// are none. [`JoinedRoom::told_to`] adapts them to one user.
    ///
    /// # Errors
    /// [`QueryError::RoomNotFound`] if there is no such room.
    pub fn news_for_members(
        &self,
        room: RoomNumber,
        since: Position,
        until: Position,
        filter: &SyncFilter,
    ) -> Result<Option<JoinedRoom>, QueryError> {
        let room_id = self.room_id(room)?;
        let request = SyncRequest { localpart: "", since: Some(since), full_state: false, filter };
        let sight = UserVisibility::of_member_since(Position::ZERO);
        let span =
            TimelineSpan { room, room_id: &room_id, sight, known: Some(since), floor: since, until, left_at: None };
        let (state, timeline, mut summary) = self.span(&request, &span)?;
        if state.is_empty() && timeline.events.is_empty() && !timeline.limited {
            return Ok(None);
        }
        if let Some(summary) = &mut summary {
            // One more hero than is told, because one of them may be the reader.
            *summary = self.room_in_short_of(room, "", MAX_HEROES + 1)?;
        }
        Ok(Some(JoinedRoom {
            room,
            room_id,
            state,
            timeline,
            summary,
            account_data: Vec::new(),
            ephemeral: Vec::new(),
        }))
    }
}

impl JoinedRoom {
    /// Returns news for all members as one of them is told; `None` if the news for that user must be read separately.
    #[must_use]
    pub fn told_to(&self, user_id: &str) -> Option<Self> {
        // Who took part in a thread, and whom one ignores, differs from reader to reader.
        if self.timeline.events.iter().any(|event| event.aggregations.is_some()) {
            return None;
        }
        let mut told = self.clone();
        if let Some(summary) = &mut told.summary {
            summary.heroes.retain(|hero| hero != user_id);
            summary.heroes.truncate(MAX_HEROES);
            // A user who is alone is told of those who have left.
            if summary.heroes.is_empty() && !summary.named {
                return None;
            }
        }
        Some(told)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id;
    use crate::proto::log::set_membership::Change;
    use crate::query::EventFilter;
    use crate::testing::{SERVER, World, world};

    fn room_of(world: &World, user: &str, since: Position, filter: &SyncFilter) -> Option<JoinedRoom> {
        let request = SyncRequest { localpart: user, since: Some(since), full_state: false, filter };
        world.view().sync(&request).unwrap().join.pop()
    }

    fn events_after(world: &World, user: &str, since: Position) -> Vec<RoomEvent> {
        world.view().events_after(user, crate::query::FeedScope::Joined, since, 100).unwrap().events
    }

    fn filters() -> Vec<SyncFilter> {
        let of_timeline = |timeline| SyncFilter { timeline, ..SyncFilter::default() };
        vec![
            SyncFilter::default(),
            SyncFilter { lazy_load_members: true, ..SyncFilter::default() },
            SyncFilter { state_after: true, ..SyncFilter::default() },
            SyncFilter { state_after: true, lazy_load_members: true, ..SyncFilter::default() },
            of_timeline(EventFilter { limit: Some(2), ..EventFilter::default() }),
            of_timeline(EventFilter { types: Some(vec!["m.room.message".into()]), ..EventFilter::default() }),
            of_timeline(EventFilter { not_senders: vec![id::user_id("alice", SERVER)], ..EventFilter::default() }),
            of_timeline(EventFilter { ignored: [id::user_id("bob", SERVER)].into(), ..EventFilter::default() }),
        ]
    }

    /// Checks that news from memory and from shared rows are what each reader's own sync returns, whatever happens.
    #[test]
    fn shared_news_are_those_of_each_readers_own_sync() {
        let mut world = world(&["alice", "bob", "carol"]);
        let (room, room_id) = world.public_room("alice");
        world.moved("bob", &room_id, Change::Join, "");
        let steps: Vec<fn(&mut World, &str)> = vec![
            |world, room| {
                world.say("alice", room, "one");
            },
            |world, room| {
                world.say("alice", room, "one");
                world.say("bob", room, "two");
                world.say("alice", room, "three");
            },
            |world, room| {
                world.set("alice", room, "m.room.topic", r#"{"topic":"t"}"#);
            },
            |world, room| {
                world.say("bob", room, "hi");
                world.moved("carol", room, Change::Join, "");
            },
            |world, room| {
                world.moved("carol", room, Change::Leave, "");
            },
            |world, room| {
                world.set("alice", room, "m.room.name", r#"{"name":"n"}"#);
            },
        ];
        for (number, step) in steps.iter().enumerate() {
            let since = world.view().now();
            step(&mut world, &room_id);
            for (filter, user) in filters().iter().flat_map(|filter| [(filter, "alice"), (filter, "bob")]) {
                let own = room_of(&world, user, since, filter);
                let view = world.view();
                let shared = view.news_for_members(room, since, view.now(), filter).unwrap();
                let mut told = shared.and_then(|news| news.told_to(&id::user_id(user, SERVER)));
                if let (Some(told), Some(own)) = (&mut told, &own)
                    && filter.lazy_load_members
                {
                    // Members that are told more often than needed do no harm.
                    told.state.retain(|event| own.state.contains(event));
                }
                assert_eq!(told, own, "step {number} for {user} with {filter:?}");
                match RoomNews::of_events(filter, events_after(&world, user, since)) {
                    RoomNews::Told(news) => assert_eq!(Some(*news), own, "step {number} for {user}"),
                    RoomNews::Nothing => assert_eq!(None, own, "step {number} for {user}"),
                    RoomNews::AskRows => {}
                }
            }
        }
    }

    #[test]
    fn what_ignored_users_say_is_left_out_and_the_state_that_they_set_is_not() {
        let mut world = world(&["alice", "bob"]);
        let (_, room_id) = world.public_room("alice");
        world.moved("bob", &room_id, Change::Join, "");
        let since = world.view().now();
        world.say("bob", &room_id, "noise");
        let ignored = std::collections::BTreeSet::from([id::user_id("bob", SERVER)]);
        let timeline = EventFilter { ignored, ..EventFilter::default() };
        let filter = SyncFilter { timeline, ..SyncFilter::default() };
        assert_eq!(room_of(&world, "alice", since, &filter), None);
        assert_eq!(RoomNews::of_events(&filter, events_after(&world, "alice", since)), RoomNews::Nothing);
        let left = world.moved("bob", &room_id, Change::Leave, "");
        let events = room_of(&world, "alice", since, &filter).unwrap().timeline.events;
        assert_eq!(events.iter().map(|event| event.position).collect::<Vec<_>>(), [left]);
    }

    #[test]
    fn plain_messages_need_no_rows() {
        let mut world = world(&["alice"]);
        let (_, room_id) = world.public_room("alice");
        let since = world.view().now();
        world.say("alice", &room_id, "one");
        let news = RoomNews::of_events(&SyncFilter::default(), events_after(&world, "alice", since));
        assert!(matches!(news, RoomNews::Told(_)));
    }
}
