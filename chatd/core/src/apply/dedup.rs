//! Exactly-once application: an accepted command with a transaction id is answered from memory when it is repeated.

use super::context::{ApplyContext, ApplyResult, CommandAnswer, position_to_proto};
use crate::id::{self, Position};
use crate::proto::log::command::Kind;
use crate::proto::log::{Envelope, EventSent, Outcome, outcome};
use crate::proto::store;
use crate::table::{self, ReadError, ScanControl, ScanRange, Table, TableRead, key};
use bytes::Bytes;
use prost::Message;

/// Maximum length of a transaction id in bytes; it is part of keys and events.
pub(super) const MAX_TRANSACTION_ID_BYTES: usize = 255;

/// Prefix of the transaction ids that pods generate for commands whose clients gave none. Pods repeat such a command
/// for seconds, so its outcome is removed after a day, together with the next one of its kind; otherwise, each would
/// stay as long as its device. The time follows the prefix, so that the oldest outcomes are found.
pub const MADE_BY_POD: &str = "~~";

/// Number of hexadecimal digits of the time that follows [`MADE_BY_POD`].
const MADE_AT_DIGITS: usize = 11;

/// Number of old outcomes removed for each one that is kept: more than one, so that they become fewer.
const FORGOTTEN_AT_ONCE: usize = 2;

/// Memory of a command's outcome, if it is to be kept at all.
pub(super) struct DedupEntry {
    /// Key of the row; `None` if the command carries no transaction id.
    key: Option<Vec<u8>>,
    /// Prefix of the keys of outcomes of which old ones are removed for this one; `None` to remove none.
    short_lived: Option<Vec<u8>>,
    /// `true` if the outcome is removed by its age though the client chose the transaction id, because no event is ever
    /// removed with it. A second row tells the age.
    ages: bool,
    opened_at: Bytes,
}

impl DedupEntry {
    pub(super) fn of(envelope: &Envelope, kind: &Kind, device: &store::Device) -> Self {
        let user = envelope.user.as_str();
        let device_id = envelope.device_id.as_str();
        let scope = transaction_scope(kind);
        let made_at = match scope {
            TransactionScope::Command(_) => made_at_ms(&envelope.transaction_id),
            // Removed with their events, or by age.
            TransactionScope::Event(_) => None,
        };
        let ages = matches!(kind, Kind::SendToDevice(_));
        let key = (!envelope.transaction_id.is_empty()).then(|| match made_at {
            Some(time) => key::pod_dedup_key(user, device_id, scope.parts(), &envelope.transaction_id, time),
            None => key::dedup_key(user, device_id, scope.parts(), &envelope.transaction_id),
        });
        let short_lived = made_at.map(|_| key::pod_dedup_of(user, device_id));
        Self { key, short_lived, ages, opened_at: device.opened_at.clone() }
    }

    /// Returns the earlier outcome if the same device sent this command before.
    pub(super) fn recall(&self, rows: &dyn TableRead, kind: &Kind) -> Result<Option<Outcome>, ReadError> {
        let Some(key) = &self.key else { return Ok(None) };
        let row = table::fetch_row::<store::Dedup>(rows, Table::Dedup, key)?;
        let row = row.filter(|row| row.opened_at == self.opened_at);
        row.map(|row| self::remembered_outcome(row, room_of(kind).unwrap_or_default())).transpose()
    }

    /// Keeps the outcome, unless the command ended its own session: nobody could ask again.
    pub(super) fn keep(self, context: &mut ApplyContext<'_>, kind: &Kind, answer: &CommandAnswer) -> ApplyResult<()> {
        let (Some(key), CommandAnswer::New(answer, at)) = (self.key, answer) else { return Ok(()) };
        if context.ended_own_session {
            return Ok(());
        }
        let event = at.filter(|at| is_own_event(context, *at) && is_sent_to(answer, room_of(kind)));
        let outcome = match event {
            // `remembered_outcome` rebuilds this answer from the position of the event.
            Some(_) => Bytes::new(),
            None => CommandAnswer::New(answer.clone(), *at).into_outcome(context.first).encode_to_vec().into(),
        };
        let event = event.map(table::position_field).unwrap_or_default();
        let row = store::Dedup { outcome, time_ms: context.time_ms, opened_at: self.opened_at, event };
        if let Some(prefix) = self.short_lived {
            forget_oldest(context, &prefix)?;
        }
        let value = table::encode_value(&row);
        if self.ages {
            forget_aged(context)?;
            let second = key::dedup_by_age(context.user, context.device_id, context.time_ms, &key);
            context.rows.put(Table::Dedup, second, value.clone());
        }
        context.rows.put(Table::Dedup, key, value);
        Ok(())
    }
}

/// Forgets the oldest outcomes of the caller's device that have a second row, with both rows, if they are a day old.
fn forget_aged(context: &mut ApplyContext<'_>) -> ApplyResult<()> {
    for second in forget_oldest(context, &key::dedup_by_age_of(context.user, context.device_id))? {
        let first = key::dedup_of_aged(context.user, context.device_id, &second);
        let row = table::fetch_row::<store::Dedup>(&context.rows, Table::Dedup, &first)?;
        // A later device with the same id may have used the transaction id again.
        if row.is_some_and(|row| row.time_ms.saturating_add(REMEMBERED_MS) <= context.time_ms) {
            context.rows.delete(Table::Dedup, first);
        }
    }
    Ok(())
}

/// Forgets the oldest outcomes with these keys, if they are a day old, and returns their keys.
fn forget_oldest(context: &mut ApplyContext<'_>, prefix: &[u8]) -> ApplyResult<Vec<Vec<u8>>> {
    let mut old = Vec::new();
    let now = context.time_ms;
    context.rows.scan(&ScanRange::with_prefix(Table::Dedup, prefix), &mut |(key, value)| {
        let row: store::Dedup = table::decode_value(Table::Dedup, value)?;
        if old.len() == FORGOTTEN_AT_ONCE || row.time_ms.saturating_add(REMEMBERED_MS) > now {
            return Ok(ScanControl::Stop);
        }
        old.push(key.to_vec());
        Ok(ScanControl::More)
    })?;
    for key in &old {
        context.rows.delete(Table::Dedup, key.clone());
    }
    Ok(old)
}

/// Returns `true` if this very command created the event.
fn is_own_event(context: &ApplyContext<'_>, at: Position) -> bool {
    let Position { incarnation, index, .. } = context.first;
    at.incarnation == incarnation && at.index == index && at >= context.first
}

fn is_sent_to(answer: &outcome::Kind, room_id: Option<&str>) -> bool {
    matches!(answer, outcome::Kind::EventSent(sent) if Some(sent.room_id.as_str()) == room_id)
}

/// Returns the outcome that a row keeps of a command to this room.
///
/// # Errors
/// Fails if the outcome cannot be decoded.
pub(crate) fn remembered_outcome(row: store::Dedup, room_id: &str) -> Result<Outcome, ReadError> {
    let Some(at) = table::decode_position(Table::Dedup, &row.event)? else {
        return Outcome::decode(row.outcome)
            .map_err(|e| ReadError::Damaged { table: Table::Dedup, what: e.to_string() });
    };
    let sent = EventSent { event_id: id::event_id(at), room_id: room_id.to_owned(), origin_server_ts: row.time_ms };
    Ok(Outcome { position: Some(position_to_proto(at)), duplicate: false, kind: Some(outcome::Kind::EventSent(sent)) })
}

/// Returns the time in a transaction id that a pod made, in milliseconds since the Unix epoch.
fn made_at_ms(transaction_id: &str) -> Option<u64> {
    let digits = transaction_id.strip_prefix(MADE_BY_POD)?.get(..MADE_AT_DIGITS)?;
    u64::from_str_radix(digits, 16).ok()
}

const SEND: &str = "send";
const REDACT: &str = "redact";
const TO_DEVICE: &str = "to_device";

/// Returns `true` if the log has accepted this command before, from the same device, so that proposing it again would
/// not be a new write. Costs two lookups; a command without a transaction id is never recognised.
///
/// # Errors
/// Fails as [`TableRead::get`] does.
pub fn is_accepted(rows: &dyn TableRead, envelope: &Envelope) -> Result<bool, ReadError> {
    let Some(kind) = envelope.command.as_ref().and_then(|command| command.kind.as_ref()) else { return Ok(false) };
    let device = key::device_key(&envelope.user, &envelope.device_id);
    match table::fetch_row(rows, Table::Device, &device)? {
        Some(device) => Ok(DedupEntry::of(envelope, kind, &device).recall(rows, kind)?.is_some()),
        None => Ok(false),
    }
}

/// Scope in which a transaction id is unique, in addition to the device: the path of the request, as a Matrix client
/// sees it.
enum TransactionScope<'a> {
    /// Scope of an event: the action, the room, and the event type or the redacted event. Of messages to devices: the
    /// action, the type, and the number of the part.
    Event([&'a str; 3]),
    /// Scope of any other command: its name.
    Command([&'static str; 1]),
}

impl TransactionScope<'_> {
    fn parts(&self) -> &[&str] {
        match self {
            Self::Event(parts) => parts,
            Self::Command(name) => name,
        }
    }
}

fn transaction_scope(kind: &Kind) -> TransactionScope<'_> {
    TransactionScope::Command([match kind {
        Kind::SendEvent(command) => return TransactionScope::Event([SEND, &command.room_id, &command.r#type]),
        Kind::Redact(command) => return TransactionScope::Event([REDACT, &command.room_id, &command.event_id]),
        Kind::SendToDevice(command) => {
            return TransactionScope::Event([TO_DEVICE, &command.r#type, &command.part]);
        }
        Kind::Bootstrap(_) => "bootstrap",
        Kind::Register(_) => "register",
        Kind::OpenSession(_) => "open_session",
        Kind::CloseSession(_) => "close_session",
        Kind::ExtendSession(_) => "extend_session",
        Kind::CreateRoom(_) => "create_room",
        Kind::SetMembership(_) => "set_membership",
        Kind::SetProfile(_) => "set_profile",
        Kind::PutFilter(_) => "put_filter",
        Kind::PutAccountData(_) => "put_account_data",
        Kind::PurgeHistory(_) => "purge_history",
        Kind::RepairTime(_) => "repair_time",
        Kind::SweepDevice(_) => "sweep_device",
        Kind::RenewMembers(_) => "renew_members",
        Kind::RaiseLevel(_) => "raise_level",
        Kind::ChangePassword(_) => "change_password",
        Kind::RemoveDevices(_) => "remove_devices",
        Kind::NameDevice(_) => "name_device",
        Kind::Deactivate(_) => "deactivate",
        Kind::ContinueDeactivation(_) => "continue_deactivation",
        Kind::KeepSigningKey(_) => "keep_signing_key",
        Kind::RefreshSession(_) => "refresh_session",
        Kind::ConfirmRefresh(_) => "confirm_refresh",
        Kind::IssueLoginToken(_) => "issue_login_token",
        Kind::DeleteToDevice(_) => "delete_to_device",
        Kind::CreateBackup(_) => "create_backup",
        Kind::UpdateBackup(_) => "update_backup",
        Kind::DeleteBackup(_) => "delete_backup",
        Kind::PutBackupKeys(_) => "put_backup_keys",
        Kind::DeleteBackupKeys(_) => "delete_backup_keys",
        Kind::SetReceipts(_) => "set_receipts",
        Kind::ChangeTag(_) => "change_tag",
        Kind::SetProfileField(_) => "set_profile_field",
        Kind::PutDeviceKeys(_) => "put_device_keys",
        Kind::ClaimKeys(_) => "claim_keys",
        Kind::PutSigningKeys(_) => "put_signing_keys",
        Kind::PutSignatures(_) => "put_signatures",
        Kind::SetAlias(_) => "set_alias",
        Kind::SetListed(_) => "set_listed",
        Kind::UpgradeRoom(_) => "upgrade_room",
        Kind::FileReport(_) => "file_report",
        Kind::Administer(_) => "administer",
        Kind::SetPusher(_) => "set_pusher",
        Kind::AdvancePush(_) => "advance_push",
        Kind::PutDehydratedDevice(_) => "put_dehydrated_device",
        Kind::DeleteDehydratedDevice(_) => "delete_dehydrated_device",
    }])
}

/// Returns the room that is part of the scope.
fn room_of(kind: &Kind) -> Option<&str> {
    match kind {
        Kind::SendEvent(command) => Some(&command.room_id),
        Kind::Redact(command) => Some(&command.room_id),
        _ => None,
    }
}

/// Minimum time for which an answer is remembered, even if the event that it names is removed. Clients repeat a request
/// for minutes, at most for the duration of a journey without a network.
const REMEMBERED_MS: u64 = 24 * 60 * 60 * 1000;

/// Forgets the answer to the request that created an event of a client, unless the client may still repeat the request.
pub(super) fn forget_answer(
    context: &mut ApplyContext<'_>,
    room_id: &str,
    at: Position,
    event: &store::Event,
) -> ApplyResult<()> {
    let Some(user) = id::user_localpart(&event.sender, context.server_name) else { return Ok(()) };
    if event.transaction_id.is_empty() {
        return Ok(());
    }
    for key in event_keys(user, room_id, event)? {
        let Some(row) = table::fetch_row::<store::Dedup>(&context.rows, Table::Dedup, &key)? else { continue };
        // The same device may have used the id again in a later session.
        if names_event(&row, at)? && row.time_ms.saturating_add(REMEMBERED_MS) <= context.time_ms {
            context.rows.delete(Table::Dedup, key);
        }
    }
    Ok(())
}

/// Returns the keys under which the request that created an event of a client can be remembered: it sent the event, or
/// redacted another one.
pub(crate) fn event_keys(localpart: &str, room_id: &str, event: &store::Event) -> Result<Vec<Vec<u8>>, ReadError> {
    let redacted = table::decode_position(Table::Timeline, &event.redacts)?.map(id::event_id);
    let sent = TransactionScope::Event([SEND, room_id, &event.r#type]);
    let redaction = redacted.as_deref().map(|target| TransactionScope::Event([REDACT, room_id, target]));
    let scopes = [Some(sent), redaction].into_iter().flatten();
    let key =
        |scope: TransactionScope<'_>| key::dedup_key(localpart, &event.device_id, scope.parts(), &event.transaction_id);
    Ok(scopes.map(key).collect())
}

/// Returns `true` if the row is the answer to the request that created this event.
fn names_event(row: &store::Dedup, at: Position) -> Result<bool, ReadError> {
    let outcome = remembered_outcome(row.clone(), "")?;
    Ok(matches!(outcome.kind, Some(outcome::Kind::EventSent(sent)) if sent.event_id == id::event_id(at)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::log::SetProfile;
    use crate::testing::{World, world};

    fn put_name(world: &mut World, n: u64, prefix: &str) -> Envelope {
        let name = SetProfile { display_name: Some(n.to_string()), ..Default::default() };
        let mut envelope = world.by("alice", Kind::SetProfile(name));
        envelope.transaction_id = format!("{prefix}{n:011x}");
        envelope
    }

    fn remembered(world: &World) -> usize {
        world.rows.rows().filter(|(table, ..)| *table == Table::Dedup).count()
    }

    #[test]
    fn messages_to_devices_are_remembered_for_a_day() {
        let mut world = world(&["alice"]);
        let send = |world: &mut World, id: &str| {
            let send = crate::proto::log::SendToDevice { r#type: "t".into(), part: "0".into(), ..Default::default() };
            let mut envelope = world.by("alice", Kind::SendToDevice(send));
            envelope.transaction_id = id.into();
            world.accepted(envelope).duplicate
        };
        let again: Vec<_> = ["a", "b", "a", "b"].into_iter().map(|id| send(&mut world, id)).collect();
        assert_eq!((again, remembered(&world)), (vec![false, false, true, true], 4));
        world.time_ms += REMEMBERED_MS;
        assert!(!send(&mut world, "c") && !send(&mut world, "a") && send(&mut world, "c"));
        assert_eq!(remembered(&world), 4);
    }

    #[test]
    fn what_a_pod_numbered_itself_is_forgotten_after_a_day_and_what_a_client_numbered_is_not() {
        let mut world = world(&["alice"]);
        for n in 0..10 {
            let envelope = put_name(&mut world, n, MADE_BY_POD);
            world.accepted(envelope.clone());
            assert!(world.accepted(envelope).duplicate);
            let by_client = put_name(&mut world, n, "client");
            world.accepted(by_client);
        }
        assert_eq!(remembered(&world), 20);
        world.time_ms += REMEMBERED_MS;
        for n in 10..15 {
            let envelope = put_name(&mut world, n, MADE_BY_POD);
            world.accepted(envelope);
        }
        assert_eq!(remembered(&world), 10 + 5);
    }
}
