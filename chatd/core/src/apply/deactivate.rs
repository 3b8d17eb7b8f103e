//! Closing of an account for good: its sessions end, it leaves its rooms, and its data is removed if the user asks for
//! that. A command does a bounded part of it, and a row records what is left.

use super::context::{ApplyContext, ApplyResult, CommandAnswer, refuse};
use super::device::{MAX_FORGOTTEN, list_devices, remove_device};
use super::member::{self, MemberChange, MemberNotes};
use super::{key_backup, password, quota};
use crate::id::RoomNumber;
use crate::proto::log::set_membership::Change;
use crate::proto::log::{self, Reason, outcome};
use crate::proto::store;
use crate::proto::store::membership::Kind;
use crate::rows;
use crate::table::{self, ScanControl, ScanRange, Table, TableRead, key};

/// Number of devices that one command removes.
const PART_DEVICES: usize = 64;
/// Limits on the rooms that one command leaves, and on the memberships that it examines for that: some milliseconds of
/// apply.
const PART_ROOMS: usize = 32;
const PART_LOOKED_AT: usize = 1024;
/// Number of pieces of account data, and of filters, that one command removes.
const PART_DATA: usize = 256;

/// Closes the caller's account.
pub(super) fn apply_deactivate(
    context: &mut ApplyContext<'_>,
    command: &log::Deactivate,
) -> ApplyResult<CommandAnswer> {
    let account = password::verified_account(context, command.password_version)?;
    close_account(context, account, command.erase)?;
    Ok(CommandAnswer::done())
}

/// Closes the account of `context.user`, as far as one command can; the session of `context.device_id`, if there is one,
/// ends first.
pub(super) fn close_account(
    context: &mut ApplyContext<'_>,
    account: store::Account,
    erase: bool,
) -> ApplyResult<log::DeactivationContinued> {
    let mut row = store::Account {
        // The hash stays unless everything goes: who knows the password, and nobody else, is told that the account was
        // closed. No session is opened for it.
        password_version: account.password_version.saturating_add(1),
        deactivated: true,
        administrator: false,
        ..account
    };
    if erase {
        erase_personal_data(context, &mut row);
    }
    context.rows.put(Table::Account, key::account_key(context.user), table::encode_value(&row));
    // An earlier change of profile has nothing left to show.
    context.rows.delete(Table::Meta, key::renewal_key(context.user));
    // The caller's own session first: the account must not act any more, however many devices it has.
    if !context.device_id.is_empty() {
        let mut forgettable = MAX_FORGOTTEN;
        remove_device(context, context.user, context.device_id, &mut forgettable)?;
        context.ended_own_session = true;
    }
    quota::close_others(context, u32::try_from(PART_DEVICES).unwrap_or(u32::MAX))?;
    continue_departure(context, store::Departure { next_room: 0, erase })
}

/// Erases the account of `context.user`, which was closed before, as far as one command can.
pub(super) fn erase_closed_account(
    context: &mut ApplyContext<'_>,
    mut account: store::Account,
) -> ApplyResult<log::DeactivationContinued> {
    erase_personal_data(context, &mut account);
    context.rows.put(Table::Account, key::account_key(context.user), table::encode_value(&account));
    let key = key::departure_key(context.user);
    let left_over = table::fetch_row::<store::Departure>(&context.rows, Table::Meta, &key)?;
    // Beyond every room if all of them were left before.
    let next_room = left_over.map_or(u64::MAX, |departure| departure.next_room);
    continue_departure(context, store::Departure { next_room, erase: true })
}

/// Removes profile and password of `context.user`, whose account this is, and hides what the user wrote.
fn erase_personal_data(context: &mut ApplyContext<'_>, account: &mut store::Account) {
    account.erased = true;
    // No password fits an empty hash.
    account.password_hash.clear();
    account.display_name.clear();
    account.avatar_url.clear();
    context.rows.delete(Table::Meta, key::profile_key(context.user));
}

/// Continues with what [`apply_deactivate`] left over.
pub(super) fn apply_continue_deactivation<'a>(
    context: &mut ApplyContext<'a>,
    command: &'a log::ContinueDeactivation,
) -> ApplyResult<CommandAnswer> {
    if !context.user.is_empty() {
        return refuse(Reason::Invalid, "this command has no caller");
    }
    let key = key::departure_key(&command.localpart);
    let left_over = table::fetch_row::<store::Departure>(&context.rows, Table::Meta, &key)?;
    let continued = match left_over {
        None => log::DeactivationContinued::default(),
        Some(departure) => {
            // The cluster sends the command, but the member events are the user's own.
            context.user = &command.localpart;
            continue_departure(context, departure)?
        }
    };
    Ok(CommandAnswer::New(outcome::Kind::DeactivationContinued(continued), None))
}

/// Does the next part for the caller, and records where to continue.
fn continue_departure(
    context: &mut ApplyContext<'_>,
    departure: store::Departure,
) -> ApplyResult<log::DeactivationContinued> {
    let more_devices = remove_some_devices(context)?;
    mark_as_locked(context, more_devices);
    let (rooms, next) = rooms_to_leave(context, RoomNumber(departure.next_room))?;
    for number in &rooms {
        let mut room = context.room_by_number(*number)?;
        let change =
            MemberChange { target: context.user, change: Change::Leave, content: None, notes: MemberNotes::default() };
        member::apply_member_change(context, &mut room, &change)?;
        context.save_room(&room);
    }
    let more_data = departure.erase && erase_some_data(context)?;
    // Whether or not data is erased: nobody can decrypt the keys any more, and they may be the most that an account has.
    let more_backups = key_backup::forget_backups(context)?;
    context.touched.user(context.user);
    let key = key::departure_key(context.user);
    let more = more_devices || more_data || more_backups || next.is_some();
    if more {
        // Beyond every room if only data is left.
        let next_room = next.map_or(u64::MAX, |next| next.0);
        let row = store::Departure { next_room, erase: departure.erase };
        context.rows.put(Table::Meta, key, table::encode_value(&row));
    } else {
        context.rows.delete(Table::Meta, key);
    }
    Ok(log::DeactivationContinued { rooms: u64::try_from(rooms.len()).unwrap_or(u64::MAX), more })
}

/// Locks a closed account for as long as it has sessions: they must be good for nothing although they are many.
fn mark_as_locked(context: &mut ApplyContext<'_>, locked: bool) {
    let key = key::standing_key(context.user);
    if locked {
        let standing = store::Standing { locked, suspended: false };
        context.rows.put(Table::Meta, key, table::encode_value(&standing));
    } else {
        context.rows.delete(Table::Meta, key);
    }
}

fn remove_some_devices(context: &mut ApplyContext<'_>) -> ApplyResult<bool> {
    let devices = list_devices(context, context.user, PART_DEVICES + 1)?;
    let mut forgettable = MAX_FORGOTTEN;
    for (device_id, _) in devices.iter().take(PART_DEVICES) {
        remove_device(context, context.user, device_id, &mut forgettable)?;
    }
    Ok(devices.len() > PART_DEVICES)
}

/// Returns the rooms that the caller is in, is invited to or knocks at, beginning at a number, and the number to
/// continue at.
fn rooms_to_leave(context: &ApplyContext<'_>, from: RoomNumber) -> ApplyResult<(Vec<RoomNumber>, Option<RoomNumber>)> {
    let prefix = key::devices_of(context.user);
    let from = key::membership_key(context.user, from);
    let end = key::after_prefix(&prefix);
    let mut out = Vec::new();
    let mut looked_at = 0;
    let mut next = None;
    context.rows.scan(&ScanRange::between(Table::Membership, &from, &end), &mut |(key, value)| {
        let room = rows::room_in(Table::Membership, key.get(prefix.len()..).unwrap_or_default())?;
        if out.len() >= PART_ROOMS || looked_at >= PART_LOOKED_AT {
            next = Some(room);
            return Ok(ScanControl::Stop);
        }
        looked_at += 1;
        let row: store::Membership = table::decode_value(Table::Membership, value)?;
        if matches!(row.kind(), Kind::Join | Kind::Invite | Kind::Knock) {
            out.push(room);
        }
        Ok(ScanControl::More)
    })?;
    Ok((out, next))
}

/// Removes some of the caller's account data and filters. Returns `true` if there are more.
fn erase_some_data(context: &mut ApplyContext<'_>) -> ApplyResult<bool> {
    let mut more = false;
    for of in [Table::AccountData, Table::Filter] {
        let prefix = key::devices_of(context.user);
        let mut keys = Vec::new();
        context.rows.scan(&ScanRange::with_prefix(of, &prefix), &mut |(key, _)| {
            if keys.len() >= PART_DATA {
                more = true;
                return Ok(ScanControl::Stop);
            }
            keys.push(key.to_vec());
            Ok(ScanControl::More)
        })?;
        for key in keys {
            context.rows.delete(of, key);
        }
    }
    if !more {
        context.rows.delete(Table::Meta, key::removed_data_key(context.user));
    }
    if !more && let Some(account) = rows::account_row(&context.rows, context.user)? {
        let row = store::Account { account_data_entries: 0, account_data_bytes: 0, ..account };
        context.rows.put(Table::Account, key::account_key(context.user), table::encode_value(&row));
    }
    Ok(more)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::log::Envelope;
    use crate::proto::log::command::Kind as CommandKind;
    use crate::query::SessionState;
    use crate::testing::{World, command, register, session, world};

    fn deactivate(world: &mut World, erase: bool) -> Envelope {
        world.by("alice", CommandKind::Deactivate(log::Deactivate { password_version: 1, erase }))
    }

    fn continued(world: &mut World) -> log::DeactivationContinued {
        let go_on = log::ContinueDeactivation { localpart: "alice".into() };
        let envelope = Envelope { command: command(CommandKind::ContinueDeactivation(go_on)), ..Envelope::default() };
        match world.accepted(envelope).kind {
            Some(outcome::Kind::DeactivationContinued(continued)) => continued,
            other => panic!("{other:?}"),
        }
    }

    fn joined(world: &World) -> usize {
        let rooms = world.view().rooms_of("alice").unwrap();
        rooms.iter().filter(|room| matches!(room.kind, Kind::Join | Kind::Invite)).count()
    }

    #[test]
    fn a_deactivated_account_leaves_its_rooms_in_parts_and_its_name_stays_taken() {
        let mut world = world(&["alice", "bob"]);
        for _ in 0..PART_ROOMS + 5 {
            world.public_room("alice");
        }
        let (invited, room) = world.public_room("bob");
        world.moved("bob", &room, Change::Invite, "alice");
        let envelope = deactivate(&mut world, false);
        world.accepted(envelope.clone());
        assert_eq!(world.rejected(envelope), Reason::SessionEnded);
        assert_eq!(world.view().devices("alice").unwrap(), []);
        assert_eq!(world.view().unfinished_departures(8).unwrap(), ["alice"]);
        assert_eq!(joined(&world), 6);
        assert_eq!(continued(&mut world), log::DeactivationContinued { rooms: 6, more: false });
        assert_eq!(joined(&world), 0);
        assert_eq!(world.view().unfinished_departures(8).unwrap(), Vec::<String>::new());
        assert_eq!(continued(&mut world), log::DeactivationContinued::default());
        assert_eq!(world.view().rooms_of("bob").unwrap()[0].room, invited);
        assert_eq!(world.rejected(register("alice", "E")), Reason::UserExists);
        let account = world.view().account("alice").unwrap().unwrap();
        assert!(account.deactivated && !account.password_hash.is_empty(), "its owner is told, and nobody else");
        let open = log::OpenSession {
            localpart: "alice".into(),
            session: Some(session("alice", "E", 0)),
            password_version: 2,
            ..Default::default()
        };
        let open = Envelope { command: command(CommandKind::OpenSession(open)), ..Envelope::default() };
        assert_eq!(world.rejected(open), Reason::UserDeactivated);
    }

    #[test]
    fn sessions_that_a_closed_account_still_has_are_locked_until_they_are_gone() {
        let mut world = world(&["alice"]);
        for n in 0..=2 * PART_DEVICES {
            let session = Some(session("alice", &format!("E{n:03}"), 0));
            let open =
                log::OpenSession { localpart: "alice".into(), session, password_version: 1, ..Default::default() };
            world.accepted(Envelope { command: command(CommandKind::OpenSession(open)), ..Envelope::default() });
        }
        let envelope = deactivate(&mut world, false);
        world.accepted(envelope);
        let left = world.view().devices("alice").unwrap();
        assert_eq!(left.len(), 1);
        let token = session("alice", &left[0].device_id, 0).token_hash;
        assert!(matches!(world.view().session(&token, 0).unwrap(), SessionState::Locked(_)));
        let mut create = world.by("alice", CommandKind::CreateRoom(log::CreateRoom::default()));
        create.device_id = left[0].device_id.clone();
        assert_eq!(world.rejected(create), Reason::UserLocked);
        assert!(!continued(&mut world).more);
        assert!(world.view().devices("alice").unwrap().is_empty() && !world.view().standing("alice").unwrap().locked);
    }

    #[test]
    fn an_erased_account_keeps_neither_profile_nor_data_and_that_of_others_stays() {
        let mut world = world(&["alice", "bob"]);
        for user in ["alice", "bob"] {
            let name = log::SetProfile { display_name: Some("Name".into()), ..Default::default() };
            let name = world.by(user, CommandKind::SetProfile(name));
            world.accepted(name);
            for n in 0..PART_DATA + 3 {
                let put = log::PutAccountData {
                    r#type: format!("t{n}"),
                    content: "{}".into(),
                    max_entries: 1000,
                    ..Default::default()
                };
                let put = world.by(user, CommandKind::PutAccountData(put));
                world.accepted(put);
            }
        }
        let envelope = deactivate(&mut world, true);
        world.accepted(envelope);
        assert_eq!(continued(&mut world), log::DeactivationContinued { rooms: 0, more: false });
        let account = world.view().account("alice").unwrap().unwrap();
        assert!(account.deactivated && account.display_name.is_empty() && account.password_hash.is_empty());
        let last = format!("t{}", PART_DATA + 2);
        assert_eq!(world.view().account_data("alice", None, &last).unwrap(), None);
        assert!(world.view().account_data("bob", None, &last).unwrap().is_some());
        assert_eq!(world.view().account("bob").unwrap().unwrap().display_name, "Name");
    }

    #[test]
    fn a_deactivated_account_keeps_no_backups_and_an_erased_one_no_profile() {
        let mut world = world(&["alice"]);
        let create = log::CreateBackup { algorithm: "a".into(), auth_data: "{}".into(), max_versions: 0 };
        let key = log::BackupKeyInput {
            room_id: "!r".into(),
            session_id: "s".into(),
            session_data: "{}".into(),
            ..Default::default()
        };
        let put = log::PutBackupKeys { version: 1, keys: vec![key], ..Default::default() };
        let field = log::SetProfileField { name: "m.tz".into(), value: Some(r#""UTC""#.into()) };
        for kind in
            [CommandKind::CreateBackup(create), CommandKind::PutBackupKeys(put), CommandKind::SetProfileField(field)]
        {
            let envelope = world.by("alice", kind);
            world.accepted(envelope);
        }
        let envelope = deactivate(&mut world, true);
        world.accepted(envelope);
        let left = |of: Table| world.rows.rows().filter(|(table, ..)| *table == of).count();
        assert_eq!((left(Table::KeyBackup), left(Table::BackupKey)), (0, 0));
        assert!(world.view().profile_fields("alice").unwrap().is_empty());
        assert_eq!(world.view().unfinished_departures(8).unwrap(), Vec::<String>::new());
    }

    #[test]
    fn an_account_whose_password_changed_meanwhile_stays_open() {
        let mut world = world(&["alice"]);
        let late = log::Deactivate { password_version: 2, erase: true };
        let late = world.by("alice", CommandKind::Deactivate(late));
        assert_eq!(world.rejected(late), Reason::WrongPassword);
        let by_user = log::ContinueDeactivation { localpart: "alice".into() };
        let by_user = world.by("alice", CommandKind::ContinueDeactivation(by_user));
        assert_eq!(world.rejected(by_user), Reason::Invalid);
    }
}
