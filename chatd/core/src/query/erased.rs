//! What users have left behind who closed their accounts and asked for their data to be erased. Those who were in the room
//! at the time keep it, as they keep a letter; others are shown the events as if they had been redacted, as in Synapse.
//!
//! This is decided when events are read, from the account of the sender, so that nothing has to be rewritten, however much
//! somebody wrote.

use super::{RoomEvent, StateView};
use crate::auth::redaction;
use crate::id::{self, Position, RoomNumber};
use crate::proto::store;
use crate::proto::store::membership::Kind;
use crate::room_version::RoomVersion;
use crate::rows;
use crate::table::ReadError;
use crate::visibility::UserVisibility;
use bytes::Bytes;

impl StateView<'_> {
    /// Returns the event as the reader is shown it: without its content if that was erased for this reader.
    pub(super) fn without_erased(&self, mut event: RoomEvent, sight: &UserVisibility) -> Result<RoomEvent, ReadError> {
        if self.is_erased(&event.sender, event.position, sight)? {
            event.content = self.redacted(event.room, &event.event_type, &event.content)?;
        }
        if let Some(because) = event.redacted_because.take() {
            // The reason for a redaction is a text of its own.
            event.redacted_because = Some(Box::new(self.without_erased(*because, sight)?));
        }
        Ok(event)
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
        if sight.membership_at(at) == Some(Kind::Join) {
            return Ok(false);
        }
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
    use crate::table::ScanDirection;
    use crate::testing::{World, world};

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
}
