//! Translation of requests into commands for the log, or refusals. Pure functions: the APIs and [`super::ChatService`] do
//! the rest.
//!
//! Everything that need not reach the log is refused here. What may change on the way to the log (sessions, membership,
//! power levels) is decided in apply.

use super::limits::{self, MAX_INITIAL};
use super::{CallerSession, RequestRefusal};
use quorate_core::proto::log::{
    CreateRoom, Envelope, PutAccountData, PutFilter, Redact, RoomRef, SendEvent, SetMembership, SetProfile,
    command::Kind, room_ref::By,
};

/// Builds an envelope of the caller's session; `transaction_id` is empty if the client gave none.
pub(super) fn session_envelope(
    caller: &CallerSession,
    transaction_id: &str,
    kind: Kind,
) -> Result<Envelope, RequestRefusal> {
    limits::optional_name("transaction_id", transaction_id)?;
    Ok(Envelope {
        user: caller.localpart.clone(),
        device_id: caller.device_id.clone(),
        transaction_id: transaction_id.to_owned(),
        ..super::WriteProposal::envelope(kind)
    })
}

/// Parses a room named by id (`!…`) or by alias (`#…`).
///
/// # Errors
/// If the name has another form, or breaks the limits on names.
pub fn room_ref(room: &str) -> Result<RoomRef, RequestRefusal> {
    limits::check_name("room", room)?;
    let by = match room.as_bytes().first() {
        Some(b'!') => By::RoomId(room.to_owned()),
        Some(b'#') => By::Alias(room.to_owned()),
        _ => return Err(RequestRefusal::invalid("name the room by its id (!…) or an alias (#name:server)")),
    };
    Ok(RoomRef { by: Some(by) })
}

/// Builds the command that creates a room.
pub(super) fn create_room(caller: &CallerSession, room: CreateRoom, txn: &str) -> Result<Envelope, RequestRefusal> {
    limits::check_text("name", &room.name)?;
    limits::check_text("topic", &room.topic)?;
    limits::optional_name("alias", &room.alias)?;
    limits::optional_name("room_type", &room.room_type)?;
    limits::optional_name("room_version", &room.room_version)?;
    if room.invite.len() > MAX_INITIAL || room.initial_state.len() > MAX_INITIAL {
        let message = format!(
            "a new room can have at most {MAX_INITIAL} invites and {MAX_INITIAL} state events; add the rest later"
        );
        return Err(RequestRefusal::new(super::RefusalCode::TooLarge, message));
    }
    for user in &room.invite {
        limits::check_name("invite", user)?;
    }
    // Each becomes an event of its own, and has the limits of one.
    for state in &room.initial_state {
        limits::check_name("initial_state.type", &state.r#type)?;
        limits::optional_name("initial_state.state_key", &state.state_key)?;
        limits::check_content("initial_state.content", &state.content)?;
    }
    // They become the contents of the power levels and of the create event.
    for (field, json) in
        [("power_level_override", &room.power_level_override), ("creation_content", &room.creation_content)]
    {
        if !json.is_empty() {
            limits::check_content(field, json)?;
        }
    }
    session_envelope(caller, txn, Kind::CreateRoom(room))
}

/// Builds the command that changes a user's membership.
pub(super) fn set_membership(
    caller: &CallerSession,
    change: SetMembership,
    txn: &str,
) -> Result<Envelope, RequestRefusal> {
    if change.room.as_ref().and_then(|room| room.by.as_ref()).is_none() {
        return Err(RequestRefusal::invalid("the room is missing; give its id or alias"));
    }
    limits::optional_name("user_id", &change.target)?;
    limits::check_text("reason", &change.reason)?;
    if !change.content.is_empty() {
        // The client's own fields stand in the member event, whose content is canonical JSON.
        limits::check_content("the body", &change.content)?;
    }
    session_envelope(caller, txn, Kind::SetMembership(change))
}

/// Builds the command that sends an event, with or without a state key.
pub(super) fn send_event(caller: &CallerSession, event: SendEvent, txn: &str) -> Result<Envelope, RequestRefusal> {
    limits::check_name("room_id", &event.room_id)?;
    limits::check_name("type", &event.r#type)?;
    limits::optional_name("state_key", event.state_key.as_deref().unwrap_or_default())?;
    limits::check_content("content", &event.content)?;
    session_envelope(caller, txn, Kind::SendEvent(event))
}

/// Builds the command that redacts an event.
pub(super) fn redact_event(caller: &CallerSession, redaction: Redact, txn: &str) -> Result<Envelope, RequestRefusal> {
    limits::check_name("room_id", &redaction.room_id)?;
    limits::check_name("event_id", &redaction.event_id)?;
    limits::check_text("reason", &redaction.reason)?;
    session_envelope(caller, txn, Kind::Redact(redaction))
}

/// Builds the command that changes the caller's display name or avatar.
pub(super) fn set_profile(caller: &CallerSession, change: SetProfile) -> Result<Envelope, RequestRefusal> {
    limits::check_text("display_name", change.display_name.as_deref().unwrap_or_default())?;
    limits::check_text("avatar_url", change.avatar_url.as_deref().unwrap_or_default())?;
    // No client names a transaction here: the server adds an id before it proposes the command.
    session_envelope(caller, "", Kind::SetProfile(change))
}

/// Builds the command that stores a filter.
pub(super) fn put_filter(caller: &CallerSession, filter: PutFilter) -> Result<Envelope, RequestRefusal> {
    // No event carries it, so numbers need not be canonical.
    limits::check_json_object("filter", &filter.filter)?;
    session_envelope(caller, "", Kind::PutFilter(filter))
}

/// Builds the command that sets account data, of a room or global.
pub(super) fn put_account_data(caller: &CallerSession, data: PutAccountData) -> Result<Envelope, RequestRefusal> {
    limits::optional_name("room_id", &data.room_id)?;
    limits::check_name("type", &data.r#type)?;
    // The `order` of `m.tag` is a fraction (specification, "Room Tagging"), which no event may contain.
    limits::check_json_object("content", &data.content)?;
    session_envelope(caller, "", Kind::PutAccountData(data))
}

#[cfg(test)]
mod tests {
    use super::super::RefusalCode;
    use super::*;
    use bytes::Bytes;

    fn alice() -> CallerSession {
        CallerSession {
            localpart: "alice".into(),
            user_id: "@alice:a.org".into(),
            device_id: "D".into(),
            expires_ms: 0,
            token_hash: [0; 32],
        }
    }

    fn message(content: &'static str) -> SendEvent {
        let content = Bytes::from_static(content.as_bytes());
        SendEvent { room_id: "!r:a.org".into(), r#type: "m.room.message".into(), state_key: None, content }
    }

    #[test]
    fn an_envelope_names_its_caller_and_transaction() {
        let envelope = send_event(&alice(), message("{}"), "t1").unwrap();
        let named = (envelope.user.as_str(), envelope.device_id.as_str(), envelope.transaction_id.as_str());
        assert_eq!(named, ("alice", "D", "t1"));
    }

    #[test]
    fn bad_parts_are_refused_by_their_name() {
        let refusal = send_event(&alice(), message("[]"), "t1").unwrap_err();
        assert!(refusal.message.contains("content"), "{refusal}");
        let refusal = send_event(&alice(), SendEvent { r#type: String::new(), ..message("{}") }, "t").unwrap_err();
        assert!(refusal.message.starts_with("type"), "{refusal}");
        let refusal = send_event(&alice(), message("{}"), &"t".repeat(256)).unwrap_err();
        assert_eq!(refusal.code, RefusalCode::TooLarge);
        assert_eq!(room_ref("ops").unwrap_err().code, RefusalCode::Invalid);
    }

    #[test]
    fn rooms_are_named_by_id_or_alias() {
        assert_eq!(room_ref("!a:b").unwrap().by, Some(By::RoomId("!a:b".into())));
        assert_eq!(room_ref("#a:b").unwrap().by, Some(By::Alias("#a:b".into())));
    }
}
