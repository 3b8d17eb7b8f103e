//! Changes of membership, by a command or by an `m.room.member` event.

use super::administer::rooms::check_not_blocked;
use super::append::{self, NewEvent, append_event, sent_answer};
use super::authoriser::AUTHORISED_VIA;
use super::context::{ApplyContext, ApplyResult, CommandAnswer, CommandError, RoomHandle, refuse};
use super::directory;
use super::{authoriser, entry, membership_quota, receipt, successor};
use crate::auth::membership::{self as rules, MembershipFacts};
use crate::id::{self, Position, RoomNumber};
use crate::json::{self, JsonObject};
use crate::proto::log::set_membership::Change;
use crate::proto::log::{self, Reason};
use crate::proto::store;
use crate::proto::store::membership::Kind;
use crate::rows::{self, event_type};
use crate::table::{self, Table, key};
use bytes::Bytes;
use serde_json::Value;

/// Change of membership to be checked and made.
pub(super) struct MemberChange<'m> {
    /// Localpart of the user whose membership changes.
    pub(super) target: &'m str,
    pub(super) change: Change,
    /// Content of the event as a client sent it; built here if `None`.
    pub(super) content: Option<Bytes>,
    pub(super) notes: MemberNotes<'m>,
}

/// Fields that the caller wants in a member event besides the membership.
#[derive(Clone, Copy, Default)]
pub(super) struct MemberNotes<'m> {
    /// JSON object with further content for the caller's own event; empty for none.
    pub(super) extra: &'m [u8],
    pub(super) reason: &'m str,
    pub(super) is_direct: bool,
}

pub(super) fn apply_set_membership(
    context: &mut ApplyContext<'_>,
    command: &log::SetMembership,
) -> ApplyResult<CommandAnswer> {
    let change = command.change();
    // Checked before the room is looked up: a fault in the request itself must not reveal whether the room exists.
    let target = if command.target.is_empty() { context.user } else { named_target(context, change, &command.target)? };
    check_for_oneself(context, change, target)?;
    let mut room = context.room_by_ref(command.room.as_ref()).map_err(|refusal| hide_missing_room(refusal, change))?;
    let row = rows::membership_row(&context.rows, room.number, target)?;
    if change == Change::Forget {
        return forget_room(context, &room, target, row);
    }
    if change == Change::Join && row.kind() == Kind::Join && target == context.user {
        return already_in(context, &room, &row);
    }
    check_rejection(context, &room, target, change)?;
    if !command.content.is_empty() {
        append::check_content(&command.content)?;
    }
    let notes = MemberNotes { extra: &command.content, reason: &command.reason, is_direct: command.is_direct };
    let change = MemberChange { target, change, content: None, notes };
    let at = apply_member_change(context, &mut room, &change)?;
    context.save_room(&room);
    Ok(sent_answer(&room, at, context.time_ms))
}

/// Refuses to reject the invitation to the room of the server's notices (Matrix specification, "Server Notices").
fn check_rejection(context: &ApplyContext<'_>, room: &RoomHandle, target: &str, change: Change) -> ApplyResult<()> {
    if change != Change::Leave || target != context.user {
        return Ok(());
    }
    let invited = rows::membership_row(&context.rows, room.number, target)?.kind() == Kind::Invite;
    if invited && rows::notice_room_row(&context.rows, target)?.room == room.number.0 {
        return refuse(Reason::NoticeRoom, "this room is for notices of the server: the invitation cannot be rejected");
    }
    Ok(())
}

/// Refuses changes that users can only make for themselves if the target is somebody else.
fn check_for_oneself(context: &ApplyContext<'_>, change: Change, target: &str) -> ApplyResult<()> {
    match change {
        _ if target == context.user => Ok(()),
        Change::Join => refuse(Reason::Forbidden, "you can only join for yourself; invite the other user instead"),
        Change::Knock => refuse(Reason::Forbidden, "you can only knock for yourself"),
        Change::Forget => refuse(Reason::Forbidden, "you can only forget a room for yourself"),
        _ => Ok(()),
    }
}

/// Returns the refusal for a change in a room that does not exist: the same as in a room that does not let the caller
/// in.
pub(super) fn hide_missing_room(refusal: CommandError, change: Change) -> CommandError {
    match refusal {
        CommandError::Rejected(rejected) if rejected.reason() == Reason::RoomNotFound => {
            rules::no_such_room(change).into()
        }
        other => other,
    }
}

/// Returns the localpart of the user whom a change names.
fn named_target<'i>(context: &ApplyContext<'_>, change: Change, user_id: &'i str) -> ApplyResult<&'i str> {
    match change {
        // The same answer as for a user of this server who is not in the room: there is nothing to end.
        Change::Kick | Change::Unban if id::user_localpart(user_id, context.server_name).is_none() => {
            refuse(Reason::Forbidden, "this user is not in the room, or banned from it")
        }
        _ => local_user(context, user_id),
    }
}

/// Returns the localpart of a user id that the caller named.
pub(super) fn local_user<'i>(context: &ApplyContext<'_>, user_id: &'i str) -> ApplyResult<&'i str> {
    match id::user_localpart(user_id, context.server_name) {
        Some(localpart) => Ok(localpart),
        None => refuse(
            Reason::UserNotFound,
            format!("{user_id:?} is not a user of {}; users of other servers cannot take part", context.server_name),
        ),
    }
}

fn already_in(context: &ApplyContext<'_>, room: &RoomHandle, row: &store::Membership) -> ApplyResult<CommandAnswer> {
    let at = table::decode_position(Table::RoomMember, &row.position)?.unwrap_or_default();
    let event = rows::known_event(&context.rows, room.number, at)?;
    Ok(sent_answer(room, at, event.origin_server_ts))
}

/// Removes the room from the user's lists. Not an event: nobody else learns of it.
fn forget_room(
    context: &mut ApplyContext<'_>,
    room: &RoomHandle,
    target: &str,
    row: store::Membership,
) -> ApplyResult<CommandAnswer> {
    match row.kind() {
        // `check_for_oneself` refuses this already. It is repeated because the row below is written for the caller.
        _ if target != context.user => return refuse(Reason::Forbidden, "you can only forget a room for yourself"),
        Kind::Leave | Kind::Ban => {}
        Kind::Unspecified => return refuse(Reason::NotMember, "you were never in this room"),
        _ => return refuse(Reason::Invalid, "leave the room before you forget it"),
    }
    put_row(context, room.number, context.user, &store::Membership { forgotten: true, ..row });
    Ok(CommandAnswer::done())
}

/// Checks the change by the room's rules and makes it. The caller saves the room.
pub(super) fn apply_member_change(
    context: &mut ApplyContext<'_>,
    room: &mut RoomHandle,
    change: &MemberChange<'_>,
) -> ApplyResult<Position> {
    let target = rows::membership_row(&context.rows, room.number, change.target)?;
    let oneself = change.target == context.user;
    let sender =
        if oneself { target.kind() } else { rows::membership_row(&context.rows, room.number, context.user)?.kind() };
    let levels = room.levels();
    let entrance = entry::entry_rights(context, room, change.change)?;
    let kind = rules::check_transition(
        change.change,
        &MembershipFacts {
            sender,
            target: target.kind(),
            oneself,
            sender_power: levels.of(context.user),
            target_power: levels.of(change.target),
            levels,
            entrance,
        },
    )?;
    let is_gone = |account: Option<store::Account>| account.is_none_or(|account| account.deactivated);
    if kind == Kind::Invite && is_gone(rows::account_row(&context.rows, change.target)?) {
        return refuse(Reason::UserNotFound, format!("there is no user {}", change.target));
    }
    // Who is inside a blocked room stays, and may change the profile there.
    if matches!(kind, Kind::Join | Kind::Invite | Kind::Knock) && target.kind() != Kind::Join {
        check_not_blocked(context, room.number)?;
    }
    let by_client = change.content.is_some();
    let mut content = match &change.content {
        Some(content) => content.clone(),
        None => member_content(context, change.target, kind, change.notes)?,
    };
    if kind == Kind::Join && entrance.vouched && !matches!(target.kind(), Kind::Join | Kind::Invite) {
        content = authoriser::with_authoriser(context, room, &content)?;
    }
    put_membership(
        context,
        room,
        change.target,
        &target,
        AllowedMembership { kind, content, is_direct: change.notes.is_direct, by_client },
    )
}

/// Builds the content of a member event, with the profile of the user it is about.
fn member_content(context: &ApplyContext<'_>, target: &str, kind: Kind, notes: MemberNotes<'_>) -> ApplyResult<Bytes> {
    let mut object = match kind {
        // Member events about somebody else contain only the fields that the specification names.
        Kind::Join | Kind::Knock => json::stored_object(notes.extra),
        _ => JsonObject::new(),
    };
    // What the server itself says about a member is not taken from a client.
    for own in ["displayname", "avatar_url", "is_direct", AUTHORISED_VIA, "third_party_invite", "third_party_signed"] {
        object.remove(own);
    }
    object.insert("membership".into(), rows::membership_name(kind).into());
    if matches!(kind, Kind::Join | Kind::Invite | Kind::Knock) {
        let account = rows::account_row(&context.rows, target)?.unwrap_or_default();
        put_text(&mut object, "displayname", &account.display_name);
        put_text(&mut object, "avatar_url", &account.avatar_url);
    }
    put_text(&mut object, "reason", notes.reason);
    if kind == Kind::Invite && notes.is_direct {
        object.insert("is_direct".into(), true.into());
    }
    Ok(json::canonical_json(&object))
}

fn put_text(object: &mut JsonObject, key: &str, text: &str) {
    if !text.is_empty() {
        object.insert(key.into(), text.into());
    }
}

/// Joins the creator of a room, which no rule has to allow.
pub(super) fn join_creator(context: &mut ApplyContext<'_>, room: &mut RoomHandle, is_direct: bool) -> ApplyResult<()> {
    let content = member_content(context, context.user, Kind::Join, MemberNotes::default())?;
    let entry = AllowedMembership { kind: Kind::Join, content, is_direct, by_client: false };
    put_membership(context, room, context.user, &store::Membership::default(), entry).map(drop)
}

/// Repeats a joined caller's member event with the current profile, unless the room's join rule is one by which nobody can
/// join.
pub(super) fn renew_member_event(context: &mut ApplyContext<'_>, number: RoomNumber) -> ApplyResult<()> {
    let mut room = context.room_by_number(number)?;
    if entry::is_shut(context, &room)? {
        return Ok(());
    }
    let old = rows::membership_row(&context.rows, number, context.user)?;
    let content = member_content(context, context.user, Kind::Join, MemberNotes::default())?;
    let entry = AllowedMembership { kind: Kind::Join, content, is_direct: old.is_direct, by_client: false };
    put_membership(context, &mut room, context.user, &old, entry)?;
    context.save_room(&room);
    Ok(())
}

/// Bans a user from the successor of a room as from the room itself.
pub(super) fn copy_ban(
    context: &mut ApplyContext<'_>,
    room: &mut RoomHandle,
    target: &str,
    content: Bytes,
) -> ApplyResult<()> {
    let entry = AllowedMembership { kind: Kind::Ban, content, is_direct: false, by_client: false };
    put_membership(context, room, target, &store::Membership::default(), entry).map(drop)
}

/// Membership that the rules have allowed.
struct AllowedMembership {
    kind: Kind,
    content: Bytes,
    is_direct: bool,
    by_client: bool,
}

fn put_membership(
    context: &mut ApplyContext<'_>,
    room: &mut RoomHandle,
    target: &str,
    old: &store::Membership,
    entry: AllowedMembership,
) -> ApplyResult<Position> {
    let AllowedMembership { kind, content, is_direct, by_client } = entry;
    // Checked here, because every way into a room leads through this function.
    membership_quota::check_membership_quota(context, target, old.kind(), kind)?;
    let user_id = id::user_id(target, context.server_name);
    let version_value = rows::member_version_value(kind);
    let event = NewEvent { version_value, by_client, ..NewEvent::state(event_type::MEMBER, &user_id, content) };
    let at = append_event(context, room, event)?;
    let joined_since = match (old.kind(), kind) {
        // A new profile is a member event too, but the stay goes on.
        (Kind::Join, Kind::Join) => old.joined_since.clone(),
        (_, Kind::Join) => table::position_field(at),
        _ => Bytes::new(),
    };
    // An invitation to a direct chat makes the chat direct for the user who accepts it.
    let is_direct = is_direct || (old.is_direct && kind == Kind::Join);
    let row = store::Membership {
        kind: kind.into(),
        position: table::position_field(at),
        is_direct,
        forgotten: false,
        joined_since,
    };
    put_row(context, room.number, target, &row);
    if old.kind() == Kind::Join && kind != Kind::Join {
        receipt::forget_receipts(context, room.number, target)?;
    }
    if old.kind() != kind {
        let before = room.row.joined_members;
        update_member_counts(room.row_mut(), old.kind(), kind);
        // The directory is sorted by members, and shows no empty rooms.
        if before != room.row.joined_members {
            directory::update_directory(context, room)?;
        }
        if kind == Kind::Join {
            successor::carry_over(context, room, target)?;
        }
    }
    Ok(at)
}

fn put_row(context: &mut ApplyContext<'_>, room: RoomNumber, localpart: &str, row: &store::Membership) {
    let value = table::encode_value(row);
    context.rows.put(Table::Membership, key::membership_key(localpart, room), value.clone());
    context.rows.put(Table::RoomMember, key::room_member(room, localpart), value);
    context.touched.user(localpart);
}

fn update_member_counts(room: &mut store::Room, old: Kind, new: Kind) {
    let mut add = |kind: Kind, one: i64| match kind {
        Kind::Join => room.joined_members = room.joined_members.saturating_add_signed(one),
        Kind::Invite => room.invited_members = room.invited_members.saturating_add_signed(one),
        _ => {}
    };
    add(old, -1);
    add(new, 1);
}

/// Makes the change of an `m.room.member` event that a client sent as state; checked like the command that it stands
/// for.
pub(super) fn by_event(
    context: &mut ApplyContext<'_>,
    room: &mut RoomHandle,
    state_key: &str,
    content: &Bytes,
) -> ApplyResult<Position> {
    if rows::membership_row(&context.rows, room.number, context.user)?.kind() == Kind::Unspecified
        && entering_change(context, state_key, content).is_none()
    {
        // Refused before anything else is found wrong, which would reveal that the room exists.
        return refuse(Reason::NotMember, "you are not in this room; join it first");
    }
    let target = local_user(context, state_key).ok().filter(|_| state_key.starts_with('@'));
    let Some(target) = target else {
        return refuse(Reason::Invalid, "the state key of m.room.member must be the id of a user of this server");
    };
    let object = json::parse_object(content).unwrap_or_default();
    let banned = rows::membership_row(&context.rows, room.number, target)?.kind() == Kind::Ban;
    let change = match json::string_field(&object, "membership") {
        Some("join") => Change::Join,
        Some("invite") => Change::Invite,
        Some("ban") => Change::Ban,
        Some("knock") => Change::Knock,
        Some("leave") if target == context.user => Change::Leave,
        // Matrix lifts a ban by the event that also kicks.
        Some("leave") if banned => Change::Unban,
        Some("leave") => Change::Kick,
        _ => return refuse(Reason::Invalid, "membership must be join, invite, leave, ban or knock"),
    };
    check_rejection(context, room, target, change)?;
    let is_direct = change == Change::Invite && object.get("is_direct").and_then(Value::as_bool) == Some(true);
    apply_member_change(
        context,
        room,
        &MemberChange {
            target,
            change,
            content: Some(content.clone()),
            notes: MemberNotes { is_direct, ..MemberNotes::default() },
        },
    )
}

/// Returns the change that a member event stands for, if it is one that a user outside the room may make.
pub(super) fn entering_change(context: &ApplyContext<'_>, state_key: &str, content: &Bytes) -> Option<Change> {
    if state_key != context.user_id() {
        return None;
    }
    match json::string_field(&json::parse_object(content).unwrap_or_default(), "membership") {
        Some("join") => Some(Change::Join),
        Some("knock") => Some(Change::Knock),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{World, position, world};

    fn rejected(world: &mut World, user: &str, room: &str, change: Change, target: &str) -> Reason {
        let envelope = world.membership(user, room, change, target);
        world.rejected(envelope)
    }

    fn kinds(world: &World, room: RoomNumber) -> Vec<Option<Kind>> {
        ["alice", "bob", "carol"].iter().map(|user| world.view().membership(room, user).unwrap()).collect()
    }

    #[test]
    fn a_forgotten_room_is_closed_to_its_former_member_until_the_next_join() {
        let mut world = world(&["alice", "bob"]);
        let (room, id) = world.create("alice", log::CreateRoom::default());
        world.moved("alice", &id, Change::Invite, "bob");
        world.moved("bob", &id, Change::Join, "");
        let said = id::event_id(world.say("alice", &id, "hi"));
        world.moved("bob", &id, Change::Leave, "");
        assert!(world.view().event("bob", &said).is_ok() && world.view().state_place("bob", room).is_ok());
        let forget = world.membership("bob", &id, Change::Forget, "");
        world.accepted(forget);
        assert!(world.view().event("bob", &said).is_err() && world.view().state_place("bob", room).is_err());
        world.moved("alice", &id, Change::Invite, "bob");
        world.moved("bob", &id, Change::Join, "");
        assert!(world.view().event("bob", &said).is_ok());
    }

    #[test]
    fn further_fields_of_a_join_stand_in_its_event_but_not_over_what_the_server_says() {
        let mut world = world(&["alice", "bob"]);
        let (room, id) = world.public_room("alice");
        let join = |content: &'static str| log::SetMembership {
            room: crate::testing::room_ref(&id),
            change: Change::Join.into(),
            content: content.into(),
            ..Default::default()
        };
        let bad = world.by("bob", crate::proto::log::command::Kind::SetMembership(join(r#"{"a":1.5}"#)));
        assert_eq!(world.rejected(bad), Reason::BadJson);
        let wanted =
            r#"{"foo":[1],"membership":"ban","displayname":"root","join_authorised_via_users_server":"@alice:a.org"}"#;
        let good = world.by("bob", crate::proto::log::command::Kind::SetMembership(join(wanted)));
        world.accepted(good);
        let event = world.view().state_event(room, "m.room.member", "@bob:a.org", None).unwrap().unwrap();
        assert_eq!(event.content, r#"{"foo":[1],"membership":"join"}"#);
    }

    #[test]
    fn a_private_room_is_entered_by_invitation() {
        let mut world = world(&["alice", "bob", "carol"]);
        let (room, id) = world.create("alice", log::CreateRoom::default());
        assert_eq!(rejected(&mut world, "bob", &id, Change::Join, ""), Reason::Forbidden);
        world.moved("alice", &id, Change::Invite, "bob");
        world.moved("bob", &id, Change::Join, "");
        assert_eq!(rejected(&mut world, "carol", &id, Change::Invite, "bob"), Reason::NotMember);
        assert_eq!(kinds(&world, room), [Some(Kind::Join), Some(Kind::Join), None]);
    }

    #[test]
    fn joining_again_answers_with_the_present_event() {
        let mut world = world(&["alice", "bob"]);
        let (_, id) = world.public_room("alice");
        let first = world.moved("bob", &id, Change::Join, "");
        assert_eq!(world.moved("bob", &id, Change::Join, ""), first);
    }

    #[test]
    fn a_room_is_joined_by_its_alias() {
        let mut world = world(&["alice", "bob"]);
        let create = log::CreateRoom {
            alias: "ops".into(),
            preset: log::create_room::Preset::Public.into(),
            ..Default::default()
        };
        let (room, _) = world.create("alice", create);
        world.moved("bob", "#ops:a.org", Change::Join, "");
        assert_eq!(world.view().membership(room, "bob").unwrap(), Some(Kind::Join));
        assert_eq!(rejected(&mut world, "bob", "#none:a.org", Change::Join, ""), Reason::AliasNotFound);
        assert_eq!(rejected(&mut world, "bob", "#ops:b.org", Change::Join, ""), Reason::AliasNotFound);
    }

    #[test]
    fn the_banned_stay_out_until_the_ban_is_lifted() {
        let mut world = world(&["alice", "bob", "carol"]);
        let (room, id) = world.public_room("alice");
        world.moved("bob", &id, Change::Join, "");
        world.moved("carol", &id, Change::Join, "");
        assert_eq!(rejected(&mut world, "carol", &id, Change::Ban, "bob"), Reason::Forbidden);
        world.moved("alice", &id, Change::Ban, "bob");
        assert_eq!(rejected(&mut world, "bob", &id, Change::Join, ""), Reason::Forbidden);
        assert_eq!(rejected(&mut world, "alice", &id, Change::Kick, "bob"), Reason::Forbidden);
        assert_eq!(rejected(&mut world, "alice", &id, Change::Unban, "carol"), Reason::BadState);
        assert_eq!(rejected(&mut world, "alice", &id, Change::Kick, "mallory:b.org"), Reason::Forbidden);
        world.moved("alice", &id, Change::Unban, "bob");
        world.moved("bob", &id, Change::Join, "");
        world.moved("alice", &id, Change::Kick, "carol");
        assert_eq!(kinds(&world, room), [Some(Kind::Join), Some(Kind::Join), Some(Kind::Leave)]);
        assert_eq!(rejected(&mut world, "bob", &id, Change::Kick, "alice"), Reason::Forbidden);
    }

    #[test]
    fn one_forgets_only_what_one_left_and_joining_brings_it_back() {
        let mut world = world(&["alice", "bob"]);
        let (_, id) = world.public_room("alice");
        assert_eq!(rejected(&mut world, "bob", &id, Change::Forget, ""), Reason::NotMember);
        world.moved("bob", &id, Change::Join, "");
        assert_eq!(rejected(&mut world, "bob", &id, Change::Forget, ""), Reason::Invalid);
        world.moved("bob", &id, Change::Leave, "");
        assert_eq!(rejected(&mut world, "alice", &id, Change::Forget, "bob"), Reason::Forbidden);
        let forget = world.membership("bob", &id, Change::Forget, "");
        world.accepted(forget);
        assert_eq!(world.view().rooms_of("bob").unwrap(), []);
        world.moved("bob", &id, Change::Join, "");
        assert_eq!(world.view().rooms_of("bob").unwrap().len(), 1);
    }

    #[test]
    fn one_knocks_where_the_room_takes_knocks() {
        let mut world = world(&["alice", "bob"]);
        let (room, id) = world.create("alice", log::CreateRoom::default());
        assert_eq!(rejected(&mut world, "bob", &id, Change::Knock, ""), Reason::Forbidden);
        world.set("alice", &id, "m.room.join_rules", r#"{"join_rule":"knock"}"#);
        world.moved("bob", &id, Change::Knock, "");
        assert_eq!(world.view().membership(room, "bob").unwrap(), Some(Kind::Knock));
        world.moved("alice", &id, Change::Invite, "bob");
        world.moved("bob", &id, Change::Join, "");
    }

    #[test]
    fn a_restricted_room_is_open_to_members_of_the_rooms_it_names() {
        let mut world = world(&["alice", "bob", "carol"]);
        let (_, club) = world.public_room("alice");
        let (_, id) = world.create("alice", log::CreateRoom::default());
        let rule = format!(
            r#"{{"join_rule":"restricted","allow":[{{"type":"m.room_membership","room_id":"{club}"}},{{"type":"other"}}]}}"#
        );
        world.set("alice", &id, "m.room.join_rules", &rule);
        world.moved("bob", &club, Change::Join, "");
        world.moved("bob", &id, Change::Join, "");
        assert_eq!(rejected(&mut world, "carol", &id, Change::Join, ""), Reason::Forbidden);
    }

    #[test]
    fn a_member_event_goes_by_the_rules_of_membership() {
        let mut world = world(&["alice", "bob"]);
        let (room, id) = world.create("alice", log::CreateRoom::default());
        let mut member = |user: &str, target: &str, content: &str| {
            let envelope = world.event(user, &id, "m.room.member", Some(target), content);
            world.one(envelope)
        };
        let reason = |outcome: log::Outcome| match outcome.kind {
            Some(log::outcome::Kind::Rejected(rejected)) => Some(rejected.reason()),
            _ => None,
        };
        assert_eq!(reason(member("bob", "@bob:a.org", r#"{"membership":"join"}"#)), Some(Reason::Forbidden));
        assert_eq!(reason(member("alice", "@bob:a.org", r#"{"membership":"dance"}"#)), Some(Reason::Invalid));
        assert_eq!(reason(member("alice", "bob", r#"{"membership":"invite"}"#)), Some(Reason::Invalid));
        assert_eq!(reason(member("alice", "@bob:b.org", r#"{"membership":"invite"}"#)), Some(Reason::Invalid));
        assert_eq!(reason(member("alice", "@bob:a.org", r#"{"membership":"invite","is_direct":true}"#)), None);
        let joined = position(&member("bob", "@bob:a.org", r#"{"membership":"join","x":1}"#));
        assert_eq!(reason(member("alice", "@bob:a.org", r#"{"membership":"ban"}"#)), None);
        assert_eq!(reason(member("alice", "@bob:a.org", r#"{"membership":"leave"}"#)), None);
        let event = world.view().state_event(room, "m.room.member", "@bob:a.org", Some(joined)).unwrap().unwrap();
        assert_eq!(event.content, r#"{"membership":"join","x":1}"#);
        assert_eq!(world.view().membership_at(room, "bob", joined).unwrap(), Some(Kind::Join));
        assert_eq!(world.view().membership(room, "bob").unwrap(), Some(Kind::Leave));
    }
}
