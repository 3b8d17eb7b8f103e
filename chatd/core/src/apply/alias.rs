//! Aliases of rooms: given by members, taken away by those who gave them or who govern the room.

use super::administer::rooms::check_not_deleted;
use super::append::NewEvent;
use super::context::{ApplyContext, ApplyResult, CommandAnswer, RoomHandle, refuse};
use super::state_change::set_state;
use crate::auth::send::{self, EventSender};
use crate::id::{self, Position, RoomNumber};
use crate::json::{self, JsonObject};
use crate::proto::log::{self, Reason};
use crate::proto::store;
use crate::proto::store::membership::Kind;
use crate::rows::{self, event_type};
use crate::table::{self, ScanControl, ScanRange, Table, TableRead as _, key};
use bytes::Bytes;
use serde_json::Value;

/// Maximum number of aliases of one room: a hundred times what rooms have, and still one page for those who list them.
const MAX_ALIASES: usize = 200;

pub(super) fn apply_set_alias(context: &mut ApplyContext<'_>, command: &log::SetAlias) -> ApplyResult<CommandAnswer> {
    let Some(local) = id::alias_localpart(&command.alias, context.server_name) else {
        let message = format!("{:?} is not an alias of {}", command.alias, context.server_name);
        return refuse(Reason::Invalid, message);
    };
    if command.room_id.is_empty() {
        return remove_alias(context, local);
    }
    let room = context.room_by_id(&command.room_id)?;
    context.joined(&room)?;
    check_not_deleted(context, room.number)?;
    put_alias(context, room.number, local)?;
    Ok(CommandAnswer::done())
}

/// Gives an alias to a room on behalf of the caller.
pub(super) fn put_alias(context: &mut ApplyContext<'_>, room: RoomNumber, local: &str) -> ApplyResult<()> {
    if context.rows.get(Table::Alias, &key::alias_key(local))?.is_some() {
        return refuse(Reason::AliasExists, format!("the alias {local} is taken"));
    }
    if aliases_of(context, room)?.len() >= MAX_ALIASES {
        return refuse(
            Reason::QuotaReached,
            format!("a room can have at most {MAX_ALIASES} aliases: remove one first"),
        );
    }
    let row = store::Alias { room: room.0, creator: context.user.to_owned() };
    context.rows.put(Table::Alias, key::alias_key(local), table::encode_value(&row));
    context.rows.put(Table::RoomAlias, key::room_alias_key(room, local), Bytes::new());
    Ok(())
}

/// Returns the localparts of a room's aliases, in byte order.
pub(super) fn aliases_of(context: &ApplyContext<'_>, room: RoomNumber) -> ApplyResult<Vec<String>> {
    let prefix = key::room_key(room);
    let mut out = Vec::new();
    context.rows.scan(&ScanRange::with_prefix(Table::RoomAlias, &prefix), &mut |(key, _)| {
        let local = std::str::from_utf8(key.get(prefix.len()..).unwrap_or_default()).unwrap_or_default();
        out.push(local.to_owned());
        Ok(ScanControl::More)
    })?;
    Ok(out)
}

/// Lets all aliases of a room lead to another one.
pub(super) fn move_aliases(context: &mut ApplyContext<'_>, from: RoomNumber, to: RoomNumber) -> ApplyResult<()> {
    for local in aliases_of(context, from)? {
        let row = table::fetch_row::<store::Alias>(&context.rows, Table::Alias, &key::alias_key(&local))?;
        let row = store::Alias { room: to.0, ..row.unwrap_or_default() };
        context.rows.put(Table::Alias, key::alias_key(&local), table::encode_value(&row));
        context.rows.delete(Table::RoomAlias, key::room_alias_key(from, &local));
        context.rows.put(Table::RoomAlias, key::room_alias_key(to, &local), Bytes::new());
    }
    Ok(())
}

/// Removes all aliases of a room, and leaves its state as it is.
pub(super) fn remove_aliases(context: &mut ApplyContext<'_>, room: RoomNumber) -> ApplyResult<()> {
    for local in aliases_of(context, room)? {
        context.rows.delete(Table::Alias, key::alias_key(&local));
        context.rows.delete(Table::RoomAlias, key::room_alias_key(room, &local));
    }
    Ok(())
}

fn remove_alias(context: &mut ApplyContext<'_>, local: &str) -> ApplyResult<CommandAnswer> {
    let row = table::fetch_row::<store::Alias>(&context.rows, Table::Alias, &key::alias_key(local))?;
    let Some(row) = row else {
        return refuse(Reason::AliasNotFound, format!("no room on this server has the alias {local}"));
    };
    let mut room = context.room_by_number(RoomNumber(row.room))?;
    let may_govern = governs_aliases(context, &room)?;
    if row.creator != context.user && !may_govern {
        let message = "only who made the alias, or may set the canonical one, can remove it";
        return refuse(Reason::Forbidden, message);
    }
    context.rows.delete(Table::Alias, key::alias_key(local));
    context.rows.delete(Table::RoomAlias, key::room_alias_key(room.number, local));
    if may_govern {
        forget_in_state(context, &mut room, local)?;
        context.save_room(&room);
    }
    Ok(CommandAnswer::done())
}

/// Returns `true` if the caller may set the room's canonical alias.
pub(super) fn governs_aliases(context: &ApplyContext<'_>, room: &RoomHandle) -> ApplyResult<bool> {
    if rows::membership_row(&context.rows, room.number, context.user)?.kind() != Kind::Join {
        return Ok(false);
    }
    let user_id = context.user_id();
    let sender = EventSender { user_id: &user_id, localpart: context.user };
    Ok(send::check_state(room.levels(), sender, event_type::CANONICAL_ALIAS, "").is_ok())
}

/// Removes the alias from the room's canonical ones, if it is among them.
fn forget_in_state(context: &mut ApplyContext<'_>, room: &mut RoomHandle, local: &str) -> ApplyResult<()> {
    let event = rows::state_event(&context.rows, room.number, event_type::CANONICAL_ALIAS, "", Position::MAX)?;
    let Some((_, event)) = event else { return Ok(()) };
    let mut content = json::stored_object(&event.content);
    if without_alias(&mut content, &id::room_alias(local, context.server_name)) {
        let new = NewEvent::state(event_type::CANONICAL_ALIAS, "", json::canonical_json(&content));
        set_state(context, room, new)?;
    }
    Ok(())
}

/// Removes an alias from the content of `m.room.canonical_alias`; returns `true` if it was there.
fn without_alias(content: &mut JsonObject, alias: &str) -> bool {
    let mut found = false;
    if json::string_field(content, "alias") == Some(alias) {
        content.remove("alias");
        found = true;
    }
    if let Some(others) = content.get_mut("alt_aliases").and_then(Value::as_array_mut) {
        let before = others.len();
        others.retain(|other| other.as_str() != Some(alias));
        found |= others.len() < before;
        if others.is_empty() {
            content.remove("alt_aliases");
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::log::command::Kind as Command;
    use crate::proto::log::set_membership::Change;
    use crate::testing::{World, world};

    fn alias(world: &mut World, user: &str, alias: &str, room_id: &str) -> log::Envelope {
        world.by(user, Command::SetAlias(log::SetAlias { alias: alias.into(), room_id: room_id.into() }))
    }

    #[test]
    fn a_member_gives_an_alias_once_and_others_do_not() {
        let mut world = world(&["alice", "bob"]);
        let (room, id) = world.public_room("alice");
        let given = alias(&mut world, "alice", "#ops:a.org", &id);
        world.accepted(given.clone());
        assert!(world.accepted(given).duplicate, "a retry is answered as before");
        assert_eq!(world.view().resolve_room("#ops:a.org").unwrap(), room);
        assert_eq!(world.view().aliases_for("alice", room).unwrap(), ["#ops:a.org"]);
        assert!(world.view().aliases_for("bob", room).is_err());
        for (user, name, reason) in [
            ("alice", "#ops:a.org", Reason::AliasExists),
            ("alice", "#ops:b.org", Reason::Invalid),
            ("alice", "#o ps:a.org", Reason::Invalid),
            ("bob", "#bob:a.org", Reason::NotMember),
        ] {
            let envelope = alias(&mut world, user, name, &id);
            assert_eq!(world.rejected(envelope), reason, "{user} {name}");
        }
        let nowhere = alias(&mut world, "alice", "x", "!nowhere:a.org");
        assert_eq!(world.rejected(nowhere), Reason::RoomNotFound);
    }

    #[test]
    fn an_alias_is_removed_by_its_giver_or_by_who_governs_and_then_from_the_state() {
        let mut world = world(&["alice", "bob", "carol"]);
        let (room, id) = world.public_room("alice");
        for user in ["bob", "carol"] {
            world.moved(user, &id, Change::Join, "");
        }
        let given = alias(&mut world, "bob", "x", &id);
        world.accepted(given);
        world.set("alice", &id, event_type::CANONICAL_ALIAS, r##"{"alias":"#x:a.org","alt_aliases":["#x:a.org"]}"##);
        let others = alias(&mut world, "carol", "x", "");
        assert_eq!(world.rejected(others), Reason::Forbidden);
        let removed = alias(&mut world, "alice", "x", "");
        world.accepted(removed);
        assert!(world.view().resolve_room("#x:a.org").is_err());
        let state = world.view().state_event(room, event_type::CANONICAL_ALIAS, "", None).unwrap().unwrap();
        assert_eq!(state.content, "{}");
        let again = alias(&mut world, "alice", "x", "");
        assert_eq!(world.rejected(again), Reason::AliasNotFound);
        let own = alias(&mut world, "bob", "y", &id);
        world.accepted(own);
        let own = alias(&mut world, "bob", "y", "");
        world.accepted(own);
    }
}
