//! Ways into a room, by its `m.room.join_rules`.

use super::context::{ApplyContext, ApplyResult, RoomHandle};
use crate::auth::membership::EntryRights;
use crate::id::{Position, RoomNumber};
use crate::json::{self, JsonObject};
use crate::proto::log::set_membership::Change;
use crate::proto::store::membership::Kind;
use crate::rows::{self, event_type};
use serde_json::Value;

/// Maximum number of rooms of a restricted room's join rule that are considered; further ones are ignored.
const MAX_VOUCHING_ROOMS: usize = 100;

/// Returns the ways in which the caller may enter, which are read only if a rule depends on them.
pub(super) fn entry_rights(context: &ApplyContext<'_>, room: &RoomHandle, change: Change) -> ApplyResult<EntryRights> {
    if !matches!(change, Change::Join | Change::Knock) {
        return Ok(EntryRights::default());
    }
    let content = join_rules(context, room.number)?;
    let rule = join_rule(&content);
    let version = room.version();
    Ok(EntryRights {
        open: rule == "public",
        knock: version.takes_knocks(rule),
        vouched: version.is_restricted(rule) && is_vouched(context, &content)?,
        shut: !version.has_join_rule(rule),
    })
}

fn join_rules(context: &ApplyContext<'_>, room: RoomNumber) -> ApplyResult<JsonObject> {
    let event = rows::state_event(&context.rows, room, event_type::JOIN_RULES, "", Position::MAX)?;
    Ok(event.map(|(_, event)| json::stored_object(&event.content)).unwrap_or_default())
}

/// Returns the join rule in the content of `m.room.join_rules`: that of the invited if it says nothing. What is no text is
/// no rule.
fn join_rule(content: &JsonObject) -> &str {
    content.get("join_rule").map_or("invite", |rule| rule.as_str().unwrap_or_default())
}

/// Returns `true` if the caller is joined to one of the rooms that a restricted room's rule names.
fn is_vouched(context: &ApplyContext<'_>, join_rules: &JsonObject) -> ApplyResult<bool> {
    let allow = join_rules.get("allow").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    for entry in allow.iter().take(MAX_VOUCHING_ROOMS).filter_map(Value::as_object) {
        let named = json::string_field(entry, "room_id")
            .filter(|_| json::string_field(entry, "type") == Some("m.room_membership"));
        let Some(named) = named else { continue };
        let Some(number) = rows::room_by_id(&context.rows, named, context.server_name)? else { continue };
        if rows::membership_row(&context.rows, number, context.user)?.kind() == Kind::Join {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Returns `true` if the room's version does not know its join rule, so that no member event with `join` is allowed.
pub(super) fn is_shut(context: &ApplyContext<'_>, room: &RoomHandle) -> ApplyResult<bool> {
    let content = join_rules(context, room.number)?;
    Ok(!room.version().has_join_rule(join_rule(&content)))
}

#[cfg(test)]
mod tests {
    use crate::proto::log::command::Kind as Command;
    use crate::proto::log::set_membership::Change;
    use crate::proto::log::{self, Reason};
    use crate::testing::world;

    #[test]
    fn a_join_rule_that_the_version_does_not_know_lets_nobody_in_and_keeps_members_as_they_are() {
        for (version, rule) in [
            ("11", r#"{"join_rule":"private"}"#),
            ("11", r#"{"join_rule":1}"#),
            ("6", r#"{"join_rule":"knock"}"#),
            ("7", r#"{"join_rule":"restricted","allow":[]}"#),
            ("9", r#"{"join_rule":"knock_restricted","allow":[]}"#),
        ] {
            let mut world = world(&["alice", "bob", "carol"]);
            let create = log::CreateRoom { room_version: version.into(), ..log::CreateRoom::default() };
            let (room, id) = world.create("alice", create);
            for user in ["bob", "carol"] {
                world.moved("alice", &id, Change::Invite, user);
            }
            world.moved("carol", &id, Change::Join, "");
            world.set("alice", &id, "m.room.join_rules", rule);
            let join = world.membership("bob", &id, Change::Join, "");
            assert_eq!(world.rejected(join), Reason::Forbidden, "{rule} in version {version}");
            let own =
                world.event("carol", &id, "m.room.member", Some("@carol:a.org"), r#"{"membership":"join","x":1}"#);
            assert_eq!(world.rejected(own), Reason::Forbidden, "{rule} in version {version}");
            let named = log::SetProfile { display_name: Some("Carol".into()), ..log::SetProfile::default() };
            let named = world.by("carol", Command::SetProfile(named));
            world.accepted(named);
            let member = world.view().state_event(room, "m.room.member", "@carol:a.org", None).unwrap().unwrap();
            assert!(!String::from_utf8_lossy(&member.content).contains("Carol"), "{rule} in version {version}");
            world.set("alice", &id, "m.room.join_rules", "{}");
            world.moved("bob", &id, Change::Join, "");
        }
    }
}
