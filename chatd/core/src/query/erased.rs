//! What users have left behind who closed their accounts and asked for their data to be erased. Those who were in the room
//! at the time keep it, as they keep a letter; others are shown the events as if they had been redacted, as in Synapse.
//! What is in force in the room, such as its name, belongs to the room, and is shown to all who may see it.
//!
//! This is decided when events are read, from the account of the sender, so that nothing has to be rewritten, however much
//! somebody wrote.

use super::{RoomEvent, StateView};
use crate::auth::redaction;
use crate::id::{self, Position, RoomNumber};
use crate::proto::store;
use crate::room_version::RoomVersion;
use crate::rows;
use crate::table::ReadError;
use crate::visibility::UserVisibility;
use bytes::Bytes;
use std::collections::BTreeMap;

impl StateView<'_> {
    /// Returns the event as the reader is shown it: without its content if that was erased for this reader.
    pub(super) fn without_erased(&self, mut event: RoomEvent, sight: &UserVisibility) -> Result<RoomEvent, ReadError> {
        if self.is_erased(&event.sender, event.position, sight)? && !self.is_in_force(&event)? {
            event.content = self.redacted(event.room, &event.event_type, &event.content)?;
        }
        if let Some(because) = event.redacted_because.take() {
            // The reason for a redaction is a text of its own.
            event.redacted_because = Some(Box::new(self.without_erased(*because, sight)?));
        }
        Ok(event)
    }

    /// Returns events of a room's state as the reader is shown them. Few people set most of the state, so that an account is
    /// looked up once for all events of its user.
    pub(super) fn state_shown_to(
        &self,
        events: Vec<RoomEvent>,
        sight: &UserVisibility,
    ) -> Result<Vec<RoomEvent>, ReadError> {
        let mut erased = BTreeMap::<String, bool>::new();
        let mut out = Vec::with_capacity(events.len());
        for event in events {
            let event = event.shown_to(sight);
            let is_erased = match erased.get(&event.sender) {
                Some(known) => *known,
                None if sight.was_there(event.position) => false,
                None => {
                    let is_erased = self.has_erased_account(&event.sender)?;
                    erased.insert(event.sender.clone(), is_erased);
                    is_erased
                }
            };
            let may_change = is_erased || event.redacted_because.is_some();
            out.push(if may_change { self.without_erased(event, sight)? } else { event });
        }
        Ok(out)
    }

    /// Returns `true` if the event is part of the room's present state.
    fn is_in_force(&self, event: &RoomEvent) -> Result<bool, ReadError> {
        let Some(state_key) = &event.state_key else { return Ok(false) };
        let present = rows::state_version(self.rows, event.room, &event.event_type, state_key, Position::MAX)?;
        Ok(present == Some(event.position))
    }

    /// Returns the content of an earlier event as the reader is shown it.
    pub(super) fn content_for(
        &self,
        room: RoomNumber,
        at: Position,
        row: store::Event,
        sight: &UserVisibility,
    ) -> Result<Bytes, ReadError> {
        if self.is_erased(&row.sender, at, sight)? {
            return self.redacted(room, &row.r#type, &row.content);
        }
        Ok(row.content)
    }

    fn redacted(&self, room: RoomNumber, event_type: &str, content: &[u8]) -> Result<Bytes, ReadError> {
        let version = RoomVersion::of_row(&rows::room_row(self.rows, room)?.unwrap_or_default());
        Ok(redaction::redacted_content(version, event_type, content))
    }

    /// Returns `true` if what this user sent at a position was erased for the reader.
    pub(super) fn is_erased(&self, sender: &str, at: Position, sight: &UserVisibility) -> Result<bool, ReadError> {
        // First, because it costs no read: most events are read by those who were there.
        if sight.was_there(at) {
            return Ok(false);
        }
        self.has_erased_account(sender)
    }

    fn has_erased_account(&self, sender: &str) -> Result<bool, ReadError> {
        let Some(localpart) = id::user_localpart(sender, self.server_name()) else { return Ok(false) };
        Ok(rows::account_row(self.rows, localpart)?.is_some_and(|account| account.erased))
    }
}

#[cfg(test)]
mod tests {
    use crate::id::{self, Position, RoomNumber};
    use crate::proto::log;
    use crate::proto::log::command::Kind;
    use crate::proto::log::set_membership::Change;
    use crate::query::StateScope;
    use crate::table::ScanDirection;
    use crate::testing::{World, position, world};

    /// Returns a room in which bob has written, with alice there and carol gone again, before he closed his account; dave
    /// has joined since.
    fn left_behind(erase: bool) -> (World, RoomNumber, Position) {
        let mut world = world(&["alice", "bob", "carol", "dave"]);
        let (room, id) = world.public_room("alice");
        world.moved("bob", &id, Change::Join, "");
        world.moved("carol", &id, Change::Join, "");
        let said = world.say("bob", &id, "a secret");
        world.moved("carol", &id, Change::Leave, "");
        let close = log::Deactivate { password_version: 1, erase };
        let close = world.by("bob", Kind::Deactivate(close));
        world.accepted(close);
        world.moved("dave", &id, Change::Join, "");
        (world, room, said)
    }

    fn content(world: &World, reader: &str, at: Position) -> String {
        let event = world.view().event(reader, &id::event_id(at)).unwrap();
        String::from_utf8(event.content.to_vec()).unwrap()
    }

    #[test]
    fn who_joins_after_an_erasure_sees_that_something_was_said_but_not_what() {
        let (mut world, room, said) = left_behind(true);
        for witness in ["alice", "carol"] {
            assert!(content(&world, witness, said).contains("a secret"), "{witness}");
        }
        assert_eq!(content(&world, "dave", said), "{}");
        let texts = |world: &World, reader: &str| {
            let view = world.view();
            let page = view.timeline(reader, room, Position::MAX, ScanDirection::Backward, 100).unwrap();
            let of_bob = page.events.iter().filter(|event| event.sender == "@bob:a.org");
            of_bob.map(|event| String::from_utf8(event.content.to_vec()).unwrap()).collect::<Vec<_>>()
        };
        assert!(texts(&world, "alice").iter().any(|text| text.contains("a secret")));
        let seen = texts(&world, "dave");
        assert!(seen.contains(&"{}".to_owned()) && !seen.iter().any(|text| text.contains("a secret")), "{seen:?}");
        assert!(seen.contains(&r#"{"membership":"join"}"#.to_owned()), "{seen:?}");

        // A witness who comes back was still there at the time.
        let id = world.view().room_id(room).unwrap();
        world.moved("carol", &id, Change::Join, "");
        assert!(content(&world, "carol", said).contains("a secret"));
    }

    #[test]
    fn a_closed_account_that_was_not_erased_is_still_read() {
        let (world, _, said) = left_behind(false);
        assert!(content(&world, "dave", said).contains("a secret"));
    }

    #[test]
    fn an_erased_edit_replaces_nothing_and_an_erased_reason_is_not_told() {
        let mut world = world(&["alice", "bob", "dave"]);
        let (room, id) = world.public_room("alice");
        world.moved("bob", &id, Change::Join, "");
        let said = world.say("bob", &id, "first");
        let edit = format!(
            r#"{{"body":"* second","m.new_content":{{"body":"second"}},"m.relates_to":{{"rel_type":"m.replace","event_id":"{}"}}}}"#,
            id::event_id(said)
        );
        let edit = world.event("bob", &id, "m.room.message", None, &edit);
        world.accepted(edit);
        let other = world.say("bob", &id, "other");
        let redact =
            log::Redact { room_id: id.clone(), event_id: id::event_id(other), reason: "a private reason".into() };
        let redact = world.by("bob", Kind::Redact(redact));
        world.accepted(redact);
        let close = world.by("bob", Kind::Deactivate(log::Deactivate { password_version: 1, erase: true }));
        world.accepted(close);
        world.moved("dave", &id, Change::Join, "");
        let replaced = |world: &World, reader: &str| {
            let view = world.view();
            let mut events = vec![view.event(reader, &id::event_id(said)).unwrap()];
            view.add_aggregations(reader, room, &mut events).unwrap();
            events.remove(0).aggregations.and_then(|added| added.replacement).is_some()
        };
        assert!(replaced(&world, "alice") && !replaced(&world, "dave"));
        let reason = |world: &World, reader: &str| {
            let because = world.view().event(reader, &id::event_id(other)).unwrap().redacted_because.unwrap();
            String::from_utf8(because.content.to_vec()).unwrap()
        };
        assert!(reason(&world, "alice").contains("a private reason"));
        assert!(!reason(&world, "dave").contains("reason"));
    }

    #[test]
    fn what_is_in_force_in_the_room_stays_and_what_it_replaced_does_not() {
        let mut world = world(&["alice", "bob", "dave"]);
        let (room, id) = world.public_room("bob");
        world.moved("alice", &id, Change::Join, "");
        let before = world.set("bob", &id, "m.room.topic", r#"{"topic":"a secret"}"#);
        let topic = world.set("bob", &id, "m.room.topic", r#"{"topic":"for all"}"#);
        let close = world.by("bob", Kind::Deactivate(log::Deactivate { password_version: 1, erase: true }));
        world.accepted(close);
        let joined = world.moved("dave", &id, Change::Join, "");
        assert!(content(&world, "dave", topic).contains("for all"));
        assert!(content(&world, "alice", before).contains("a secret"));
        assert_eq!(content(&world, "dave", before), "{}");
        let view = world.view();
        let changed = view.event("dave", &id::event_id(topic)).unwrap();
        assert_eq!(changed.prev_content.as_deref(), Some(&b"{}"[..]));
        let of_state = |reader: &str, at: Position| {
            let part = view.state_part_for(reader, room, &StateScope::All, at, None).unwrap();
            let topic = part.events.into_iter().find(|event| event.is_state("m.room.topic")).unwrap();
            String::from_utf8(topic.content.to_vec()).unwrap()
        };
        assert!(of_state("alice", before).contains("a secret"));
        assert_eq!(of_state("dave", before), "{}");
        assert!(of_state("dave", joined).contains("for all"));
        let one = view.state_event_for("dave", room, "m.room.topic", "").unwrap().unwrap();
        assert!(String::from_utf8(one.content.to_vec()).unwrap().contains("for all"));
    }

    #[test]
    fn names_of_erased_senders_are_not_told_with_pages_and_who_was_removed_keeps_the_reason() {
        let mut world = world(&["alice", "bob", "carol", "dave"]);
        let (room, id) = world.public_room("alice");
        let name = log::SetProfile { display_name: Some("Bob the Builder".into()), ..Default::default() };
        let name = world.by("bob", Kind::SetProfile(name));
        world.accepted(name);
        let (_, other) = world.public_room("bob");
        world.moved("bob", &id, Change::Join, "");
        let said = world.say("bob", &id, "a secret");
        world.moved("carol", &other, Change::Join, "");
        let mut kick = world.membership("bob", &other, Change::Kick, "carol");
        if let Some(log::Command { kind: Some(Kind::SetMembership(set)) }) = &mut kick.command {
            set.reason = "noise".into();
        }
        let kicked = position(&world.accepted(kick));
        let close = world.by("bob", Kind::Deactivate(log::Deactivate { password_version: 1, erase: true }));
        world.accepted(close);
        world.moved("dave", &id, Change::Join, "");
        world.moved("carol", &other, Change::Join, "");
        let view = world.view();
        let sender = |reader: &str| {
            let mut page = view.timeline(reader, room, said, ScanDirection::Backward, 1).unwrap();
            let members = view.senders_of(reader, room, &mut page, ScanDirection::Backward).unwrap();
            String::from_utf8(members[0].content.to_vec()).unwrap()
        };
        assert!(sender("alice").contains("Bob the Builder"));
        assert_eq!(sender("dave"), r#"{"membership":"join"}"#);
        assert!(content(&world, "carol", kicked).contains("noise"));
    }
}
