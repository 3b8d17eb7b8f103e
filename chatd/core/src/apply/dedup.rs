//! Exactly once: an accepted command with a transaction id is answered from memory when it comes again.

use super::context::{Answer, Applies, Context};
use crate::id::{self, Position};
use crate::proto::log::command::Kind;
use crate::proto::log::{Envelope, Outcome, outcome};
use crate::proto::store;
use crate::table::{self, Read, ReadError, Table, Write, key};
use bytes::Bytes;
use prost::Message;

/// Longest transaction id: it stands in keys and events.
pub(super) const MAX_TRANSACTION_ID_BYTES: usize = 255;

/// Where a command's outcome is kept, if it is.
pub(super) struct Memory {
    /// `None`: the command carries no transaction id.
    key: Option<Vec<u8>>,
    opened_at: Bytes,
}

impl Memory {
    pub(super) fn of(envelope: &Envelope, kind: &Kind, device: &store::Device) -> Self {
        let key = (!envelope.transaction_id.is_empty())
            .then(|| key::dedup(&envelope.user, &envelope.device_id, &scope(kind), &envelope.transaction_id));
        Self { key, opened_at: device.opened_at.clone() }
    }

    /// The outcome of then, if the same session sent this before.
    pub(super) fn recall(&self, rows: &dyn Read) -> Result<Option<Outcome>, ReadError> {
        let Some(key) = &self.key else { return Ok(None) };
        let row = table::fetch::<store::Dedup>(rows, Table::Dedup, key)?;
        row.filter(|row| row.opened_at == self.opened_at)
            .map(|row| {
                Outcome::decode(row.outcome)
                    .map_err(|e| ReadError::Damaged { table: Table::Dedup, what: e.to_string() })
            })
            .transpose()
    }

    /// Keeps the outcome. Not for a session that the command itself ended: nobody could ask again.
    pub(super) fn keep(self, context: &mut Context<'_>, answer: &Answer) -> Applies<()> {
        let (Some(key), Answer::New(kind, at)) = (self.key, answer) else { return Ok(()) };
        if context.ended_own_session {
            return Ok(());
        }
        let outcome = Answer::New(kind.clone(), *at).into_outcome(context.first);
        let row = store::Dedup {
            outcome: outcome.encode_to_vec().into(),
            time_ms: context.time_ms,
            opened_at: self.opened_at,
        };
        context.rows.put(Table::Dedup, key, table::encode(&row));
        Ok(())
    }
}

/// Whether the log has accepted this command before, from the same session: then proposing it again is no new write.
/// Looks two rows up; a command without a transaction id is never known.
///
/// # Errors
/// As [`Read::get`](crate::table::Read::get).
pub fn is_accepted(rows: &dyn Read, envelope: &Envelope) -> Result<bool, ReadError> {
    let Some(kind) = envelope.command.as_ref().and_then(|command| command.kind.as_ref()) else { return Ok(false) };
    let device = key::device(&envelope.user, &envelope.device_id);
    match table::fetch(rows, Table::Device, &device)? {
        Some(device) => Ok(Memory::of(envelope, kind, &device).recall(rows)?.is_some()),
        None => Ok(false),
    }
}

/// What a transaction id is unique in, beside the device: the request's path, as a Matrix client sees it.
fn scope(kind: &Kind) -> String {
    match kind {
        Kind::SendEvent(command) => send_scope(&command.room_id, &command.r#type),
        Kind::Redact(command) => redact_scope(&command.room_id, &command.event_id),
        Kind::Bootstrap(_) => "bootstrap".into(),
        Kind::Register(_) => "register".into(),
        Kind::OpenSession(_) => "open_session".into(),
        Kind::CloseSession(_) => "close_session".into(),
        Kind::ExtendSession(_) => "extend_session".into(),
        Kind::CreateRoom(_) => "create_room".into(),
        Kind::SetMembership(_) => "set_membership".into(),
        Kind::SetProfile(_) => "set_profile".into(),
        Kind::PutFilter(_) => "put_filter".into(),
        Kind::PutAccountData(_) => "put_account_data".into(),
        Kind::PurgeHistory(_) => "purge_history".into(),
    }
}

fn send_scope(room_id: &str, event_type: &str) -> String {
    format!("send/{room_id}/{event_type}")
}

fn redact_scope(room_id: &str, event_id: &str) -> String {
    format!("redact/{room_id}/{event_id}")
}

/// An answer is remembered at least this long, though the event it names be removed: clients repeat a request for
/// minutes, at most for as long as a journey without a network.
const REMEMBERED_MS: u64 = 24 * 60 * 60 * 1000;

/// Forgets the answer to the request that made an event of a client, unless the client may still repeat it.
pub(super) fn forget(context: &mut Context<'_>, room_id: &str, at: Position, event: &store::Event) -> Applies<()> {
    let Some(user) = id::localpart(&event.sender, context.server_name) else { return Ok(()) };
    if event.transaction_id.is_empty() {
        return Ok(());
    }
    let redacted = table::position(Table::Timeline, &event.redacts)?;
    let scopes =
        [Some(send_scope(room_id, &event.r#type)), redacted.map(|target| redact_scope(room_id, &id::event_id(target)))];
    for scope in scopes.into_iter().flatten() {
        let key = key::dedup(user, &event.device_id, &scope, &event.transaction_id);
        let Some(row) = table::fetch::<store::Dedup>(&context.rows, Table::Dedup, &key)? else { continue };
        // The same device may have used the id again, in a later session.
        if names(&row, at)? && row.time_ms.saturating_add(REMEMBERED_MS) <= context.time_ms {
            context.rows.delete(Table::Dedup, key);
        }
    }
    Ok(())
}

/// Is it the answer to the request that made this event?
fn names(row: &store::Dedup, at: Position) -> Result<bool, ReadError> {
    let outcome = Outcome::decode(row.outcome.clone())
        .map_err(|e| ReadError::Damaged { table: Table::Dedup, what: e.to_string() })?;
    Ok(matches!(outcome.kind, Some(outcome::Kind::EventSent(sent)) if sent.event_id == id::event_id(at)))
}
