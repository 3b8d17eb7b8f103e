//! Notices of the server: messages to one user each, in a room of the user's own (Matrix specification, "Server Notices").

use super::super::append;
use super::super::context::{ApplyContext, ApplyResult, CommandAnswer, refuse};
use super::super::member::{self, MemberChange, MemberNotes};
use super::super::{create_room, send, tag};
use crate::id::{self, Position, RoomNumber};
use crate::proto::log::set_membership::Change;
use crate::proto::log::{self, Reason, outcome};
use crate::proto::store;
use crate::proto::store::membership::Kind;
use crate::rows;
use crate::table::{self, Table, key};
use bytes::Bytes;

/// Number of notices to one user that are remembered, so that repeated commands send nothing twice. Commands are repeated
/// within seconds.
const REMEMBERED: usize = 16;

/// Tag by which clients recognise the room.
const TAG: &str = "m.server_notice";

/// Power levels of the room: nobody but the server writes or invites.
const LEVELS: &[u8] = br#"{"users_default":-10}"#;

/// Sends a notice.
pub(super) fn send_notice(context: &mut ApplyContext<'_>, notice: &log::SendNotice) -> ApplyResult<CommandAnswer> {
    append::check_content(&notice.content)?;
    if notice.notice_id.is_empty() {
        return refuse(Reason::Invalid, "a notice needs a name");
    }
    if notice.sender == notice.localpart {
        return refuse(Reason::UserNotFound, "the account that sends notices gets none");
    }
    if rows::account_row(&context.rows, &notice.localpart)?.is_none_or(|account| account.deactivated) {
        let message = format!("there is no user {:?}, or the account is closed", notice.localpart);
        return refuse(Reason::UserNotFound, message);
    }
    let mut known = rows::notice_room_row(&context.rows, &notice.localpart)?;
    if let Some(sent) = known.recent.iter().find(|sent| sent.notice_id == notice.notice_id) {
        return sent_before(context, RoomNumber(known.room), sent);
    }
    create_sender(context, notice)?;
    let number = match usable_room(context, &known, &notice.sender)? {
        Some(number) => number,
        None => create_notice_room(context, notice)?,
    };
    let (answer, at) = context.as_user(&notice.sender, |sender| invite_and_send(sender, number, notice))?;
    known.room = number.0;
    let sent = store::SentNotice { notice_id: notice.notice_id.clone(), position: table::position_field(at) };
    known.recent.push(sent);
    let forgotten = known.recent.len().saturating_sub(REMEMBERED);
    known.recent.drain(..forgotten);
    context.rows.put(Table::Meta, key::notice_room(&notice.localpart), table::encode_value(&known));
    Ok(answer)
}

/// Returns the answer to a notice that was sent before.
fn sent_before(context: &ApplyContext<'_>, number: RoomNumber, sent: &store::SentNotice) -> ApplyResult<CommandAnswer> {
    let at = table::decode_position(Table::Meta, &sent.position)?.unwrap_or_default();
    // Not the room of now, if the first one was deleted or left to an earlier sender.
    let number = context.room_of_event(at)?.unwrap_or(number);
    let room = context.room_by_number(number)?;
    let event = rows::event_row(&context.rows, number, at)?.unwrap_or_default();
    let sent =
        log::EventSent { event_id: id::event_id(at), room_id: room.id, origin_server_ts: event.origin_server_ts };
    Ok(CommandAnswer::again(outcome::Kind::EventSent(sent), at))
}

/// Creates the account that sends. No password fits it.
fn create_sender(context: &mut ApplyContext<'_>, notice: &log::SendNotice) -> ApplyResult<()> {
    let name = id::user_localpart(&notice.sender, context.server_name).filter(|local| *local == notice.sender);
    if name.is_none() {
        return refuse(Reason::Invalid, "the sender of notices is not a user name");
    }
    match rows::account_row(&context.rows, &notice.sender)? {
        Some(account) if account.password_hash.is_empty() && !account.deactivated => Ok(()),
        Some(_) => refuse(
            Reason::UserExists,
            format!("{:?} is somebody's account: configure another sender of notices", notice.sender),
        ),
        None => {
            let row = store::Account {
                display_name: notice.room_name.clone(),
                password_version: 1,
                created_ms: context.time_ms,
                created_at: table::position_field(context.first),
                ..store::Account::default()
            };
            context.rows.put(Table::Account, key::account_key(&notice.sender), table::encode_value(&row));
            context.touched.user(&notice.sender);
            Ok(())
        }
    }
}

/// Returns the room of earlier notices, unless it was blocked or deleted, or is that of an account that sent before the
/// configuration named this one.
fn usable_room(context: &ApplyContext<'_>, known: &store::NoticeRoom, sender: &str) -> ApplyResult<Option<RoomNumber>> {
    if known.room == 0 {
        return Ok(None);
    }
    let number = RoomNumber(known.room);
    let is_inside = rows::membership_row(&context.rows, number, sender)?.kind() == Kind::Join;
    let is_usable = is_inside && rows::room_block_row(&context.rows, number)?.is_none();
    Ok(is_usable.then_some(number))
}

fn create_notice_room(context: &mut ApplyContext<'_>, notice: &log::SendNotice) -> ApplyResult<RoomNumber> {
    let create = log::CreateRoom {
        name: notice.room_name.clone(),
        power_level_override: Bytes::from_static(LEVELS),
        ..log::CreateRoom::default()
    };
    let made = context.as_user(&notice.sender, |sender| create_room::apply_create_room(sender, &create))?;
    match made {
        CommandAnswer::New(outcome::Kind::RoomCreated(made), _) => Ok(context.room_by_id(&made.room_id)?.number),
        _ => refuse(Reason::Invalid, "the room for notices could not be created"),
    }
}

/// Sends the notice on behalf of the caller, who invites the recipient before if necessary.
fn invite_and_send(
    sender: &mut ApplyContext<'_>,
    number: RoomNumber,
    notice: &log::SendNotice,
) -> ApplyResult<(CommandAnswer, Position)> {
    let mut room = sender.room_by_number(number)?;
    let membership = rows::membership_row(&sender.rows, number, &notice.localpart)?;
    if !matches!(membership.kind(), Kind::Join | Kind::Invite) {
        let notes = MemberNotes::default();
        let change = MemberChange { target: &notice.localpart, change: Change::Invite, content: None, notes };
        member::apply_member_change(sender, &mut room, &change)?;
        let change =
            log::ChangeTag { room_id: room.id.clone(), tag: TAG.into(), info: Some("{}".into()), ..Default::default() };
        sender.as_user(&notice.localpart, |recipient| tag::apply_change_tag(recipient, &change))?;
    }
    let at = send::append_message(sender, &mut room, "m.room.message", &notice.content)?;
    sender.save_room(&room);
    Ok((append::sent_answer(&room, at, sender.time_ms), at))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::log::Envelope;
    use crate::proto::log::administer::Action;
    use crate::proto::log::command::Kind as Command;
    use crate::testing::{World, command, register, text, world};

    fn notice(localpart: &str, notice_id: &str) -> Envelope {
        let notice = log::SendNotice {
            localpart: localpart.into(),
            sender: "notices".into(),
            notice_id: notice_id.into(),
            content: text("hello"),
            room_name: "Server notices".into(),
        };
        let act = log::Administer { configured: false, action: Some(Action::SendNotice(notice)) };
        Envelope { command: command(Command::Administer(act)), ..Envelope::default() }
    }

    fn sent(world: &mut World, localpart: &str, notice_id: &str) -> log::EventSent {
        match world.accepted(notice(localpart, notice_id)).kind {
            Some(outcome::Kind::EventSent(sent)) => sent,
            other => panic!("{other:?}"),
        }
    }

    fn kind(world: &World, user: &str, room: RoomNumber) -> Kind {
        let rooms = world.view().rooms_of(user).unwrap();
        rooms.into_iter().find(|entry| entry.room == room).map_or(Kind::Unspecified, |entry| entry.kind)
    }

    #[test]
    fn each_user_has_one_room_for_notices_and_a_repetition_sends_nothing() {
        let mut world = world(&["alice", "bob"]);
        let first = sent(&mut world, "alice", "n1");
        let second = sent(&mut world, "alice", "n2");
        let bobs = sent(&mut world, "bob", "n1");
        assert_eq!(first.room_id, second.room_id);
        assert_ne!(first.room_id, bobs.room_id);
        let again = world.accepted(notice("alice", "n1"));
        assert!(again.duplicate);
        assert_eq!(again.kind, Some(outcome::Kind::EventSent(first.clone())));
        let room = world.view().resolve_room(&first.room_id).unwrap();
        assert_eq!(kind(&world, "alice", room), Kind::Invite);
        let tags = world.view().account_data("alice", Some(room), "m.tag").unwrap().unwrap();
        assert_eq!(tags, r#"{"tags":{"m.server_notice":{}}}"#);
        assert!(world.view().account("notices").unwrap().unwrap().password_hash.is_empty());
    }

    #[test]
    fn the_invitation_cannot_be_rejected_and_nobody_else_writes() {
        let mut world = world(&["alice"]);
        let first = sent(&mut world, "alice", "n1");
        let room = world.view().resolve_room(&first.room_id).unwrap();
        let reject = world.membership("alice", &first.room_id, Change::Leave, "");
        assert_eq!(world.rejected(reject), Reason::NoticeRoom);
        world.moved("alice", &first.room_id, Change::Join, "");
        let event = world.event("alice", &first.room_id, "m.room.message", None, r#"{"body":"x"}"#);
        assert_eq!(world.rejected(event), Reason::Forbidden);
        world.moved("alice", &first.room_id, Change::Leave, "");
        let second = sent(&mut world, "alice", "n2");
        assert_eq!(second.room_id, first.room_id);
        assert_eq!(kind(&world, "alice", room), Kind::Invite, "who left is invited again");
    }

    #[test]
    fn another_sender_begins_another_room_and_earlier_notices_are_still_known() {
        let mut world = world(&["alice"]);
        let renamed = |notice_id: &str| {
            let mut envelope = notice("alice", notice_id);
            if let Some(log::Command { kind: Some(Command::Administer(act)) }) = &mut envelope.command
                && let Some(Action::SendNotice(notice)) = &mut act.action
            {
                notice.sender = "announcements".into();
            }
            envelope
        };
        let first = sent(&mut world, "alice", "n1");
        let Some(outcome::Kind::EventSent(second)) = world.accepted(renamed("n2")).kind else { panic!("not sent") };
        assert_ne!(second.room_id, first.room_id);
        let Some(outcome::Kind::EventSent(third)) = world.accepted(renamed("n3")).kind else { panic!("not sent") };
        assert_eq!(third.room_id, second.room_id);
        assert_eq!(world.accepted(renamed("n1")).kind, Some(outcome::Kind::EventSent(first)));
    }

    #[test]
    fn a_closed_account_gets_none_and_a_persons_account_sends_none() {
        let mut world = world(&["alice"]);
        let nobody = notice("nobody", "n1");
        assert_eq!(world.rejected(nobody), Reason::UserNotFound);
        world.accepted(register("notices", "D"));
        let taken = notice("alice", "n1");
        assert_eq!(world.rejected(taken), Reason::UserExists);
    }

    #[test]
    fn an_account_with_an_unanswered_notice_can_be_closed() {
        let mut world = world(&["alice"]);
        let first = sent(&mut world, "alice", "n1");
        let room = world.view().resolve_room(&first.room_id).unwrap();
        let close = log::Deactivate { password_version: 1, erase: true };
        let close = world.by("alice", Command::Deactivate(close));
        world.accepted(close);
        assert_eq!(kind(&world, "alice", room), Kind::Leave);
    }
}
