//! Application of the commands of one log entry to the state.
//!
//! For each command, in order: check that the caller's session is alive → look up whether the transaction id was
//! applied before → make the command's own checks and write its rows → keep the rows, or undo them if the command is
//! refused.
//!
//! - The session is checked before the transaction id: retries may not read what their session may no longer read. A
//!   retried logout is therefore answered with `SESSION_ENDED`, which is what the caller wanted.
//! - A refusal changes no row and is not remembered; otherwise, a message refused once could never be sent again. The
//!   one exception is the row that counts a [`sequence`]: a refused command has had its turn.
//! - An accepted command with a transaction id is remembered under (user, device, scope, transaction id) with its
//!   outcome. The scope is the command's name, and for events also their room and type, as in the path of the HTTP
//!   request (Matrix specification, "Transaction identifiers").
//! - `PurgeHistory`, `RepairTime`, `SweepDevice`, `RenewMembers`, `RaiseLevel`, `ContinueDeactivation`,
//!   `KeepSigningKey` and `AdvancePush` come from the cluster itself and can be repeated: they do whatever remains to be
//!   done.
//! - `Administer` comes with a caller or without one, and can be repeated too.
//! - Commands before there is a session (`Bootstrap`, `Register`, `OpenSession`, `RefreshSession`) carry a random value
//!   of their own (hash of a token, salt of a password), by which a repetition is recognised: they need no transaction
//!   id.

mod account;
mod account_data;
mod administer;
mod aggregate;
mod alias;
mod append;
mod authoriser;
mod bootstrap;
mod context;
mod create_room;
mod cross_signing;
mod deactivate;
mod dedup;
mod dehydrated;
mod device;
mod device_keys;
mod device_list;
mod device_settings;
mod dialogue;
mod directory;
mod entry;
mod filter;
mod hints;
mod history;
mod initial_state;
mod key_backup;
mod key_changes;
mod level;
mod login_token;
mod member;
mod membership_quota;
mod one_time_keys;
mod password;
mod profile;
mod profile_field;
mod push_progress;
mod pusher;
pub(crate) mod quota;
mod receipt;
mod redact;
mod refresh;
mod relation;
mod report;
mod send;
mod sequence;
mod session;
mod signing_key;
mod standing;
mod state_change;
mod successor;
mod tag;
mod time;
mod to_device;
mod upgrade;

use crate::id::{ORDINALS_PER_COMMAND, Position};
use crate::proto::log::command::Kind;
use crate::proto::log::{self, Reason, outcome};
use crate::proto::store;
use crate::rows;
use crate::table::{self, Overlay, ReadError, Table, TableWrite, key};
use context::{ApplyContext, ApplyResult, CommandAnswer, CommandError, EntryScope, EntryStamp, refuse};

pub use cross_signing::MAX_SIGNATURES;
pub use dedup::{MADE_BY_POD, is_accepted};
pub(crate) use dedup::{event_keys, remembered_outcome as remembered};
pub use device_list::MAX_DEVICES_REMOVED;
pub use hints::{ChangeHints, KeyChangeHint};
pub use level::{KnownFormat, level_in_force};
pub use one_time_keys::MAX_CLAIMS;
pub use push_progress::MAX_PUSH_ITEMS;
pub use signing_key::SIGNING_KEY_BYTES;
pub(crate) use time::effective_time;
pub use time::{HELD_STEP_MS, advanced_time};

/// Result of applying one command.
#[derive(Clone, Debug, PartialEq)]
pub struct AppliedCommand {
    /// Answer to the caller.
    pub outcome: log::Outcome,
    /// Rooms and users whose readers are to be woken.
    pub touched: ChangeHints,
}

/// Reason why an entry is not applied. The process must then stop, because the other pods apply the entry.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// The entry contains commands of a format level that this version does not know.
    #[error("it needs format level {needed}, and this version knows levels up to {known}: upgrade this pod")]
    TooNew {
        /// Level of the entry.
        needed: u32,
        /// Highest level of this version.
        known: u32,
    },
    /// A row cannot be read, or the entry was applied before.
    #[error(transparent)]
    Read(#[from] ReadError),
}

/// Stands for a command that the version does not know: as protobuf decodes it, without its content.
static UNKNOWN: log::Envelope = log::Envelope {
    user: String::new(),
    device_id: String::new(),
    transaction_id: String::new(),
    command: None,
    sequence: None,
    quotas: None,
    guess_count: None,
};

/// Applies the commands of one entry in order, and returns one [`AppliedCommand`] for each. The log's time advances to the
/// entry's stamp, as far as the stamp is trusted ([`advanced_time`]).
///
/// # Errors
/// Fails if the batch needs a format level that this version does not know, if a row cannot be read, or if the entry was
/// applied before. `tx` then contains a part of the entry and must be dropped.
pub fn apply_batch(
    format: &KnownFormat,
    tx: &mut Overlay<'_>,
    index: u64,
    batch: &log::Batch,
) -> Result<Vec<AppliedCommand>, ApplyError> {
    let needed = level::level_of_batch(batch);
    if needed > format.level {
        return Err(ApplyError::TooNew { needed, known: format.level });
    }
    let mut cluster = rows::cluster_row(tx)?.unwrap_or_default();
    if is_bootstrapped(&cluster) && index <= cluster.index {
        let what = format!("entry {index} was already applied: the state is at entry {}", cluster.index);
        return Err(ReadError::Damaged { table: Table::Meta, what }.into());
    }
    let stamp = EntryStamp::of(batch);
    cluster.time_ms = advanced_time(cluster.time_ms, stamp.time_ms, stamp.trust);
    cluster.index = index;
    let entry = EntryScope::default();
    let mut all = Vec::with_capacity(batch.envelopes.len());
    for (place, envelope) in batch.envelopes.iter().enumerate() {
        let envelope = if format.knows(envelope) { envelope } else { &UNKNOWN };
        all.push(apply_command(tx, &entry, &mut cluster, stamp, place, envelope)?);
    }
    entry.write_index(tx, Position { incarnation: cluster.incarnation, index, ordinal: 0 });
    // Commands refused before the bootstrap leave no row behind, not even this one.
    if is_bootstrapped(&cluster) {
        tx.put(Table::Meta, key::CLUSTER.to_vec(), table::encode_value(&cluster));
    }
    Ok(all)
}

/// Applies an entry like [`apply_batch`] and writes its changes at once: for tests and models, which have no commit of
/// several entries.
///
/// # Errors
/// Fails as [`apply_batch`] does; `rows` are then unchanged.
pub fn batch_in_place(
    rows: &mut impl TableWrite,
    index: u64,
    batch: &log::Batch,
) -> Result<Vec<AppliedCommand>, ApplyError> {
    batch_in_place_as(&KnownFormat::CURRENT, rows, index, batch)
}

/// Applies an entry like [`batch_in_place`], as a version that knows this format does.
///
/// # Errors
/// Fails as [`apply_batch`] does; `rows` are then unchanged.
pub fn batch_in_place_as(
    format: &KnownFormat,
    rows: &mut impl TableWrite,
    index: u64,
    batch: &log::Batch,
) -> Result<Vec<AppliedCommand>, ApplyError> {
    let mut tx = Overlay::new(rows);
    let applied = self::apply_batch(format, &mut tx, index, batch)?;
    tx.into_changes().write_to(rows);
    Ok(applied)
}

/// Begins the next incarnation, after a restore or a forced recovery and before its first entry. The new log counts
/// from 0 again, and what follows must still be ordered after everything before. The end of the old incarnation is
/// kept, because tokens handed out beyond that end name entries that are not part of this history.
///
/// # Errors
/// Fails if the cluster's row cannot be read.
pub fn begin_incarnation(tx: &mut dyn TableWrite) -> Result<(), ReadError> {
    let Some(mut cluster) = rows::cluster_row(tx)? else { return Ok(()) };
    let end = Position::end_of_entry(cluster.incarnation, cluster.index);
    cluster.incarnation_ends.push(table::position_field(end));
    cluster.incarnation += 1;
    cluster.index = 0;
    tx.put(Table::Meta, key::CLUSTER.to_vec(), table::encode_value(&cluster));
    Ok(())
}

fn is_bootstrapped(cluster: &store::Cluster) -> bool {
    !cluster.cluster_id.is_empty()
}

fn apply_command(
    tx: &mut Overlay<'_>,
    entry: &EntryScope,
    cluster: &mut store::Cluster,
    stamp: EntryStamp,
    place: usize,
    envelope: &log::Envelope,
) -> Result<AppliedCommand, ReadError> {
    let ordinal = u32::try_from(place).ok().and_then(|place| place.checked_mul(ORDINALS_PER_COMMAND));
    let first =
        Position { incarnation: cluster.incarnation, index: cluster.index, ordinal: ordinal.unwrap_or_default() };
    tx.begin();
    let mut context = ApplyContext::new(tx, entry, cluster, stamp, first, envelope);
    let answer = match ordinal {
        Some(_) => check_and_apply(&mut context, envelope),
        None => refuse(Reason::TooLarge, "too many commands in one entry: send it again"),
    };
    let turn = context.turn.take();
    match answer {
        Ok(answer) => {
            let (touched, new_cluster) = context.finish();
            sequence::pass_turn(tx, turn);
            if let Some(new) = new_cluster {
                *cluster = new;
            }
            let outcome = answer.into_outcome(first);
            Ok(AppliedCommand { outcome, touched })
        }
        Err(CommandError::Rejected(rejected)) => {
            // A command beyond the last position made no event, and `first` is that of another one.
            if ordinal.is_some() {
                // Asked before the rows are taken back, which forgets what was touched.
                entry.take_back(first, tx.touched(Table::Room));
            }
            tx.take_back();
            sequence::pass_turn(tx, turn);
            let kind = Some(outcome::Kind::Rejected(rejected));
            let outcome = log::Outcome { position: Some(context::position_to_proto(first)), duplicate: false, kind };
            Ok(AppliedCommand { outcome, touched: ChangeHints::default() })
        }
        Err(CommandError::Read(error)) => Err(error),
    }
}

fn check_and_apply<'a>(context: &mut ApplyContext<'a>, envelope: &'a log::Envelope) -> ApplyResult<CommandAnswer> {
    let Some(kind) = envelope.command.as_ref().and_then(|command| command.kind.as_ref()) else {
        return refuse(Reason::Invalid, "the command is missing or newer than this version: upgrade all pods first");
    };
    // The one command that comes before the cluster has a name.
    if let Kind::Bootstrap(command) = kind {
        return bootstrap::apply_bootstrap(context, command);
    }
    if context.server_name.is_empty() {
        return refuse(Reason::NotBootstrapped, "the cluster is not initialised yet");
    }
    match kind {
        Kind::Register(command) => return account::apply_register(context, command),
        Kind::OpenSession(command) => return session::apply_open_session(context, command),
        Kind::PurgeHistory(command) => return history::apply_purge_history(context, command),
        Kind::RepairTime(_) => return time::apply_repair_time(context),
        Kind::SweepDevice(command) => return quota::apply_sweep_device(context, command),
        Kind::RenewMembers(command) => return profile::apply_renew_members(context, command),
        Kind::RaiseLevel(command) => return level::apply_raise_level(context, command),
        Kind::ContinueDeactivation(command) => return deactivate::apply_continue_deactivation(context, command),
        Kind::KeepSigningKey(command) => return signing_key::apply_keep_signing_key(context, command),
        Kind::RefreshSession(command) => return refresh::apply_refresh_session(context, command),
        Kind::Administer(command) => return administer::apply_administer(context, command),
        Kind::AdvancePush(command) => return push_progress::apply_advance_push(context, command),
        _ => {}
    }
    let device = context.session()?;
    let standing = standing::unlocked_standing(context, kind)?;
    if envelope.transaction_id.len() > dedup::MAX_TRANSACTION_ID_BYTES {
        let message = format!("a transaction id has at most {} bytes", dedup::MAX_TRANSACTION_ID_BYTES);
        return refuse(Reason::Invalid, message);
    }
    // Before the outcome is recalled: a repeated command has its turn too, or all that follow it would be refused.
    if let Some(sequence) = &envelope.sequence {
        context.turn = Some(sequence::check_turn(context, sequence)?);
    }
    // Receipts only move forward, so that a repetition changes nothing; and there would be as many remembered outcomes as
    // receipts.
    if let Kind::SetReceipts(command) = kind {
        return receipt::apply_set_receipts(context, command);
    }
    let memory = dedup::DedupEntry::of(envelope, kind, &device);
    if let Some(outcome) = memory.recall(&context.rows, kind)? {
        return Ok(CommandAnswer::Again(outcome));
    }
    // After the outcome is recalled: what was accepted before the account was suspended is answered as before.
    standing::check_not_suspended(context, standing, kind)?;
    let answer = for_session(context, kind)?;
    memory.keep(context, kind, &answer)?;
    if context.ended_own_session {
        // The rows of the session's sequences were removed with it.
        context.turn = None;
    }
    Ok(answer)
}

fn for_session(context: &mut ApplyContext<'_>, kind: &Kind) -> ApplyResult<CommandAnswer> {
    match kind {
        Kind::Bootstrap(_)
        | Kind::Register(_)
        | Kind::OpenSession(_)
        | Kind::PurgeHistory(_)
        | Kind::RepairTime(_)
        | Kind::SweepDevice(_)
        | Kind::RenewMembers(_)
        | Kind::RaiseLevel(_)
        | Kind::ContinueDeactivation(_)
        | Kind::KeepSigningKey(_)
        | Kind::AdvancePush(_)
        | Kind::RefreshSession(_)
        | Kind::Administer(_) => refuse(Reason::Invalid, "this command is not one of a session"),
        Kind::CloseSession(command) => session::apply_close_session(context, command),
        Kind::ExtendSession(command) => session::apply_extend_session(context, command),
        Kind::CreateRoom(command) => create_room::apply_create_room(context, command),
        Kind::SetMembership(command) => member::apply_set_membership(context, command),
        Kind::SendEvent(command) => send::apply_send_event(context, command),
        Kind::SetProfile(command) => profile::apply_set_profile(context, command),
        Kind::PutFilter(command) => filter::apply_put_filter(context, command),
        Kind::PutAccountData(command) => account_data::apply_put_account_data(context, command),
        Kind::Redact(command) => redact::apply_redact(context, command),
        Kind::ChangePassword(command) => password::apply_change_password(context, command),
        Kind::RemoveDevices(command) => device_list::apply_remove_devices(context, command),
        Kind::NameDevice(command) => device_list::apply_name_device(context, command),
        Kind::Deactivate(command) => deactivate::apply_deactivate(context, command),
        Kind::ConfirmRefresh(command) => refresh::apply_confirm_refresh(context, command),
        Kind::IssueLoginToken(command) => login_token::apply_issue_login_token(context, command),
        Kind::SendToDevice(command) => to_device::apply_send_to_device(context, command),
        Kind::DeleteToDevice(command) => to_device::apply_delete_to_device(context, command),
        Kind::CreateBackup(command) => key_backup::apply_create_backup(context, command),
        Kind::UpdateBackup(command) => key_backup::apply_update_backup(context, command),
        Kind::DeleteBackup(command) => key_backup::apply_delete_backup(context, command),
        Kind::PutBackupKeys(command) => key_backup::keys::apply_put_backup_keys(context, command),
        Kind::DeleteBackupKeys(command) => key_backup::keys::apply_delete_backup_keys(context, command),
        Kind::SetReceipts(command) => receipt::apply_set_receipts(context, command),
        Kind::ChangeTag(command) => tag::apply_change_tag(context, command),
        Kind::SetProfileField(command) => profile_field::apply_set_profile_field(context, command),
        Kind::PutDeviceKeys(command) => device_keys::apply_put_device_keys(context, command),
        Kind::ClaimKeys(command) => one_time_keys::apply_claim_keys(context, command),
        Kind::PutSigningKeys(command) => cross_signing::apply_put_signing_keys(context, command),
        Kind::PutSignatures(command) => cross_signing::apply_put_signatures(context, command),
        Kind::SetAlias(command) => alias::apply_set_alias(context, command),
        Kind::SetListed(command) => directory::apply_set_listed(context, command),
        Kind::UpgradeRoom(command) => upgrade::apply_upgrade_room(context, command),
        Kind::FileReport(command) => report::apply_file_report(context, command),
        Kind::SetPusher(command) => pusher::apply_set_pusher(context, command),
        Kind::PutDehydratedDevice(command) => dehydrated::apply_put_dehydrated_device(context, command),
        Kind::DeleteDehydratedDevice(_) => dehydrated::apply_delete_dehydrated_device(context),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::query::StateView;
    use crate::testing::{SERVER, World, position, session, world};

    #[test]
    fn a_transaction_id_repeated_gives_the_first_answer_and_no_second_event() {
        let mut world = world(&["alice"]);
        let (_, room) = world.public_room("alice");
        let envelope = world.event("alice", &room, "m.room.message", None, r#"{"body":"x"}"#);
        let first = world.accepted(envelope.clone());
        let rows = world.rows.clone();
        let again = world.accepted(envelope);
        assert_eq!(again, log::Outcome { duplicate: true, ..first });
        let changed: Vec<_> = world.rows.rows().filter(|row| !rows.rows().any(|old| old == *row)).collect();
        assert!(changed.iter().all(|(table, ..)| *table == Table::Meta));
    }

    #[test]
    fn a_repetition_in_the_same_entry_is_known_too() {
        let mut world = world(&["alice"]);
        let (_, room) = world.public_room("alice");
        let envelope = world.event("alice", &room, "t", None, "{}");
        let both = world.apply(vec![envelope.clone(), envelope]);
        assert_eq!(both[0].outcome.position, both[1].outcome.position);
        assert!(!both[0].outcome.duplicate && both[1].outcome.duplicate);
        assert_eq!(both[1].touched, ChangeHints::default());
    }

    #[test]
    fn the_same_transaction_id_for_another_room_type_or_device_is_another_message() {
        let mut world = world(&["alice"]);
        let (_, one) = world.public_room("alice");
        let (_, two) = world.public_room("alice");
        let open = open_session(&world, "alice", "E", 1);
        world.accepted(open);
        let envelope = world.event("alice", &one, "t", None, "{}");
        let mut elsewhere = world.event("alice", &two, "t", None, "{}");
        let mut other_type = world.event("alice", &one, "u", None, "{}");
        let mut other_device = envelope.clone();
        other_device.device_id = "E".into();
        for other in [&mut elsewhere, &mut other_type, &mut other_device] {
            other.transaction_id = envelope.transaction_id.clone();
        }
        for envelope in [envelope, elsewhere, other_type, other_device] {
            assert!(!world.accepted(envelope).duplicate);
        }
    }

    #[test]
    fn a_transaction_id_too_long_for_a_key_is_refused() {
        let mut world = world(&["alice"]);
        let (_, room) = world.public_room("alice");
        let mut envelope = world.event("alice", &room, "t", None, "{}");
        envelope.transaction_id = "x".repeat(256);
        assert_eq!(world.rejected(envelope.clone()), Reason::Invalid);
        envelope.transaction_id.pop();
        world.accepted(envelope);
    }

    #[test]
    fn a_refusal_is_not_remembered() {
        let mut world = world(&["alice", "bob"]);
        let (_, room) = world.public_room("alice");
        let envelope = world.event("bob", &room, "t", None, "{}");
        assert_eq!(world.rejected(envelope.clone()), Reason::NotMember);
        world.moved("bob", &room, log::set_membership::Change::Join, "");
        assert!(!world.accepted(envelope).duplicate);
    }

    fn open_session(_: &World, user: &str, device: &str, password_version: u64) -> log::Envelope {
        let open = log::OpenSession {
            localpart: user.into(),
            session: Some(session(user, device, 0)),
            password_version,
            ..Default::default()
        };
        log::Envelope { command: crate::testing::command(Kind::OpenSession(open)), ..Default::default() }
    }

    #[test]
    fn a_closed_session_gets_no_answer_even_to_a_retry() {
        let mut world = world(&["alice"]);
        let (_, room) = world.public_room("alice");
        let envelope = world.event("alice", &room, "t", None, "{}");
        world.accepted(envelope.clone());
        let close = world.by("alice", Kind::CloseSession(log::CloseSession::default()));
        world.accepted(close.clone());
        assert_eq!(world.rejected(envelope.clone()), Reason::SessionEnded);
        assert_eq!(world.rejected(close), Reason::SessionEnded);
        // After a new login with the same device id, the client begins its transaction ids anew.
        let open = open_session(&world, "alice", "D", 1);
        world.accepted(open);
        assert!(!world.accepted(envelope).duplicate);
    }

    #[test]
    fn positions_count_commands_and_the_events_within() {
        let mut world = world(&["alice"]);
        let (_, room) = world.public_room("alice");
        let envelopes = (0..3).map(|_| world.event("alice", &room, "t", None, "{}")).collect();
        let applied = world.apply(envelopes);
        let ordinals: Vec<_> = applied.iter().map(|applied| position(&applied.outcome).ordinal).collect();
        assert_eq!(ordinals, [0, ORDINALS_PER_COMMAND, 2 * ORDINALS_PER_COMMAND]);
    }

    #[test]
    fn time_never_goes_back_and_an_entry_is_applied_once() {
        let mut world = world(&["alice"]);
        let (room, room_id) = world.public_room("alice");
        world.say("alice", &room_id, "now");
        world.time_ms = 5;
        let at = world.say("alice", &room_id, "stamped by a slow clock");
        let times: Vec<_> =
            world.view().state(room, None).unwrap().iter().map(|event| event.origin_server_ts).collect();
        let last = world.view().event("alice", &crate::id::event_id(at)).unwrap().origin_server_ts;
        assert!(times.iter().all(|time| *time <= last));
        let index = world.index;
        let again = batch_in_place(&mut world.rows, index, &log::Batch::default());
        assert!(matches!(again, Err(ApplyError::Read(ReadError::Damaged { .. }))));
    }

    #[test]
    fn a_new_incarnation_goes_on_after_the_old_and_takes_back_tokens_beyond_its_end() {
        let mut world = world(&["alice"]);
        let (room, room_id) = world.public_room("alice");
        let before = world.say("alice", &room_id, "x");
        let end = world.view().now();
        let lost = Position { index: end.index + 7, ..end };
        begin_incarnation(&mut world.rows).unwrap();
        world.index = 0;
        let after = world.say("alice", &room_id, "y");
        assert!(before < after && after.index == 1 && end < after && lost < after);
        let view = world.view();
        assert_eq!((view.clamp(lost), view.clamp(before), view.clamp(after)), (end, before, after));
        let scope = crate::query::FeedScope::Room(room);
        let seen = view.events_after("alice", scope, lost, 9).unwrap().events;
        assert_eq!(seen.iter().map(|event| event.position).collect::<Vec<_>>(), [after]);
    }

    #[test]
    fn what_was_accepted_is_known_while_its_session_lasts() {
        let mut world = world(&["alice"]);
        let (_, room) = world.public_room("alice");
        let envelope = world.event("alice", &room, "t", None, "{}");
        assert!(!is_accepted(&world.rows, &envelope).unwrap());
        world.accepted(envelope.clone());
        assert!(is_accepted(&world.rows, &envelope).unwrap());
        let close = world.by("alice", Kind::CloseSession(log::CloseSession::default()));
        world.accepted(close);
        assert!(!is_accepted(&world.rows, &envelope).unwrap());
    }

    #[test]
    fn nothing_but_the_first_command_is_taken_before_it() {
        let mut rows = crate::table::MemTable::default();
        let register = crate::testing::register("alice", "D");
        let early = batch_in_place(
            &mut rows,
            1,
            &log::Batch { time_ms: 1, envelopes: vec![register.clone()], ..Default::default() },
        )
        .unwrap();
        assert!(
            matches!(&early[0].outcome.kind, Some(outcome::Kind::Rejected(r)) if r.reason() == Reason::NotBootstrapped)
        );
        assert_eq!(rows, crate::table::MemTable::default());
        assert!(StateView::open(&rows).is_err());
    }

    #[test]
    fn an_unknown_command_is_refused_with_what_to_do() {
        let mut world = world(&["alice"]);
        assert_eq!(world.rejected(log::Envelope::default()), Reason::Invalid);
    }

    #[test]
    fn touched_names_rooms_and_users_once() {
        let mut world = world(&["alice", "bob"]);
        let create = log::CreateRoom { invite: vec![crate::id::user_id("bob", SERVER)], ..Default::default() };
        let envelope = world.by("alice", Kind::CreateRoom(create));
        let applied = world.apply(vec![envelope]).remove(0);
        assert_eq!(applied.touched.rooms.len(), 1);
        assert_eq!(applied.touched.users, ["alice", "bob"]);
    }
}
