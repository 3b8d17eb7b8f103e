//! Account data: what a user's clients keep for each other, globally or for a room.

use super::append;
use super::context::{Answer, Applies, Context, refuse};
use crate::id::RoomNumber;
use crate::proto::log::{self, Reason};
use crate::proto::store;
use crate::table::{self, Table, key};

/// Largest content, as of an event.
const MAX_BYTES: usize = 65_536;

pub(super) fn apply(context: &mut Context<'_>, command: &log::PutAccountData) -> Applies<Answer> {
    append::check_names(&command.r#type, None)?;
    if command.content.len() > MAX_BYTES {
        return refuse(Reason::TooLarge, format!("account data must have at most {MAX_BYTES} bytes"));
    }
    append::check_object(&command.content)?;
    let room = match command.room_id.is_empty() {
        true => RoomNumber(0),
        false => context.room_by_id(&command.room_id)?.number,
    };
    let row = store::AccountData { content: command.content.clone(), position: table::position_field(context.first) };
    context.rows.put(Table::AccountData, key::account_data(context.user, room, &command.r#type), table::encode(&row));
    context.touched.user(context.user);
    Ok(Answer::done())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::log::Envelope;
    use crate::proto::log::command::Kind;
    use crate::testing::{World, world};

    fn put(world: &mut World, room: &str, event_type: &str, content: &'static str) -> Envelope {
        let put = log::PutAccountData { room_id: room.into(), r#type: event_type.into(), content: content.into() };
        world.by("alice", Kind::PutAccountData(put))
    }

    #[test]
    fn account_data_is_kept_by_room_and_type() {
        let mut world = world(&["alice"]);
        let (room, room_id) = world.public_room("alice");
        for (place, content) in [("", r#"{"a":1}"#), (room_id.as_str(), r#"{"a":2}"#), ("", r#"{"a":3}"#)] {
            let envelope = put(&mut world, place, "t", content);
            world.accepted(envelope);
        }
        assert_eq!(world.view().account_data("alice", None, "t").unwrap().unwrap(), r#"{"a":3}"#);
        assert_eq!(world.view().account_data("alice", Some(room), "t").unwrap().unwrap(), r#"{"a":2}"#);
        assert_eq!(world.view().account_data("alice", None, "u").unwrap(), None);
    }

    #[test]
    fn bad_account_data_is_refused() {
        let mut world = world(&["alice"]);
        for (room, event_type, content, reason) in [
            ("", "", "{}", Reason::Invalid),
            ("", "t", "1", Reason::BadJson),
            ("", "t", r#"{"a":1,"a":2}"#, Reason::BadJson),
            ("!nowhere:a.org", "t", "{}", Reason::RoomNotFound),
        ] {
            let envelope = put(&mut world, room, event_type, content);
            assert_eq!(world.rejected(envelope), reason);
        }
    }
}
