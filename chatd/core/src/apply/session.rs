//! Opening, extending and closing of sessions. A session is a device with a token, of which only the hash is known
//! here.

use super::context::{ApplyContext, ApplyResult, CommandAnswer, refuse};
use super::device::{self, MAX_FORGOTTEN, list_devices, remove_device};
use super::{login_token, quota, sequence, standing};
use crate::id::{self, Position};
use crate::proto::log::{self, Reason, outcome};
use crate::proto::store;
use crate::rows;
use crate::table::{self, Table, TableRead as _, key};
use bytes::Bytes;

/// Length of a SHA-256 hash in bytes.
const TOKEN_HASH_BYTES: usize = 32;

/// Maximum length of a device id in bytes; it is part of keys.
const MAX_DEVICE_ID_BYTES: usize = 255;

/// Maximum length of a device's name in bytes.
pub(super) const MAX_DISPLAY_NAME_BYTES: usize = 1024;

/// Maximum length of a caller's address in bytes: an IPv6 address has at most 45 characters.
const MAX_ADDRESS_BYTES: usize = 45;

/// Opens a session after the API has verified the password, or with a login token. A repeated token hash means a
/// repeated request.
pub(super) fn apply_open_session(
    context: &mut ApplyContext<'_>,
    command: &log::OpenSession,
) -> ApplyResult<CommandAnswer> {
    let Some(new) = &command.session else { return refuse(Reason::Invalid, "the new session is missing") };
    let Some(account) = rows::account_row(&context.rows, &command.localpart)? else {
        return refuse(Reason::UserNotFound, "there is no such user");
    };
    if account.deactivated {
        return refuse(Reason::UserDeactivated, "this account was closed for good: log in to another");
    }
    // Before the version of the password is compared: a repeated request gets its first answer even if the password
    // was changed since.
    if let Some((opened, at)) = opened_before(context, &command.localpart, new)? {
        return Ok(CommandAnswer::again(opened, at));
    }
    if !command.login_token_hash.is_empty() {
        login_token::redeem_login_token(context, &command.localpart, &command.login_token_hash)?;
    } else if account.password_version != command.password_version {
        return refuse(Reason::WrongPassword, "the password was changed meanwhile: log in again");
    }
    // Only now: who does not know the password is not told.
    standing::check_not_locked(context, &command.localpart)?;
    put_session(context, &command.localpart, new).map(|opened| CommandAnswer::New(opened, None))
}

/// Writes the rows of a new session. An older session of the same device ends. If the command says so, the device
/// itself continues: it keeps its name, and its transaction ids are still known.
pub(super) fn put_session(
    context: &mut ApplyContext<'_>,
    localpart: &str,
    new: &log::NewSession,
) -> ApplyResult<outcome::Kind> {
    check_device_names(&new.device_id, &new.display_name)?;
    if new.address.len() > MAX_ADDRESS_BYTES {
        return refuse(Reason::TooLarge, format!("an address must have at most {MAX_ADDRESS_BYTES} bytes"));
    }
    check_fresh(context, &new.token_hash)?;
    if !new.refresh_hash.is_empty() {
        check_fresh(context, &new.refresh_hash)?;
        if new.refresh_hash == new.token_hash {
            return refuse(Reason::Invalid, "the two tokens of a session must differ");
        }
    }
    let mut forgettable = MAX_FORGOTTEN;
    let expires_ms = expiry_time(context.time_ms, new.lifetime_ms);
    let made = store::Device {
        display_name: new.display_name.clone(),
        token_hash: new.token_hash.clone(),
        created_ms: context.time_ms,
        expires_ms,
        opened_at: table::position_field(context.first),
        session_opened_at: Bytes::new(),
        seen_ms: context.time_ms,
        seen_address: new.address.clone(),
        refresh_hash: new.refresh_hash.clone(),
        old_token_hash: Bytes::new(),
        old_refresh_hash: Bytes::new(),
        login_token_hash: Bytes::new(),
    };
    let device = match going_on(context, localpart, new)? {
        Some(old) => store::Device {
            display_name: old.display_name,
            opened_at: old.opened_at,
            session_opened_at: table::position_field(context.first),
            ..made
        },
        None => {
            // First, so that the device which is replaced does not count against the limit.
            remove_device(context, localpart, &new.device_id, &mut forgettable)?;
            quota::make_room(context, localpart, new.max_devices, &mut forgettable)?;
            made
        }
    };
    context.rows.put(Table::Device, key::device_key(localpart, &new.device_id), table::encode_value(&device));
    let owner = TokenOwner { localpart, device_id: &new.device_id };
    let token_expires_ms = if new.refresh_hash.is_empty() {
        put_token(context, owner, &new.token_hash, store::token::Use::Access, new.lifetime_ms)
    } else {
        put_token(context, owner, &new.refresh_hash, store::token::Use::Refresh, new.lifetime_ms);
        put_token(context, owner, &new.token_hash, store::token::Use::RefreshedAccess, new.access_lifetime_ms)
    };
    context.touched.user(localpart);
    Ok(opened_outcome(context, localpart, &new.device_id, token_expires_ms))
}

/// Refuses an id or a name that no device can have.
pub(super) fn check_device_names(device_id: &str, display_name: &str) -> ApplyResult<()> {
    let id_fits = !device_id.is_empty() && device_id.len() <= MAX_DEVICE_ID_BYTES;
    if !id_fits || device_id.contains('\0') {
        return refuse(
            Reason::Invalid,
            format!("a device id must have 1 to {MAX_DEVICE_ID_BYTES} bytes, none of them zero"),
        );
    }
    if display_name.len() > MAX_DISPLAY_NAME_BYTES {
        return refuse(Reason::TooLarge, format!("a device's name must have at most {MAX_DISPLAY_NAME_BYTES} bytes"));
    }
    Ok(())
}

/// Refuses a hash that is not that of a new token.
pub(super) fn check_fresh(context: &ApplyContext<'_>, hash: &[u8]) -> ApplyResult<()> {
    if hash.len() != TOKEN_HASH_BYTES || context.rows.get(Table::Token, hash)?.is_some() {
        return refuse(Reason::Invalid, "the token's hash must be a fresh SHA-256");
    }
    Ok(())
}

/// Account and device that a token belongs to.
#[derive(Clone, Copy)]
pub(super) struct TokenOwner<'o> {
    pub(super) localpart: &'o str,
    pub(super) device_id: &'o str,
}

/// Writes the row of a token, and returns the time at which it expires.
pub(super) fn put_token(
    context: &mut ApplyContext<'_>,
    owner: TokenOwner<'_>,
    hash: &[u8],
    good_for: store::token::Use,
    lifetime_ms: u64,
) -> u64 {
    let token = store::Token {
        localpart: owner.localpart.to_owned(),
        device_id: owner.device_id.to_owned(),
        expires_ms: expiry_time(context.time_ms, lifetime_ms),
        lifetime_ms,
        r#use: good_for.into(),
    };
    context.rows.put(Table::Token, hash.to_vec(), table::encode_value(&token));
    token.expires_ms
}

/// Returns the device that continues under a new session, if there is one, and ends its old session.
fn going_on(
    context: &mut ApplyContext<'_>,
    localpart: &str,
    new: &log::NewSession,
) -> ApplyResult<Option<store::Device>> {
    if !new.continues_device {
        return Ok(None);
    }
    let key = key::device_key(localpart, &new.device_id);
    let old = table::fetch_row::<store::Device>(&context.rows, Table::Device, &key)?;
    // A dehydrated device has no session to continue: it gives way to the new one.
    let Some(old) = old.filter(|old| !old.token_hash.is_empty()) else { return Ok(None) };
    device::remove_tokens(context, &old);
    context.touched.session(localpart);
    // The sequences belong to streams of the old session; what those still have to send is sent again as a new
    // sequence.
    sequence::forget_sequences(context, localpart, &new.device_id)?;
    Ok(Some(old))
}

/// Returns the session that this very request opened before, and the position of that request.
pub(super) fn opened_before(
    context: &ApplyContext<'_>,
    localpart: &str,
    new: &log::NewSession,
) -> ApplyResult<Option<(outcome::Kind, Position)>> {
    let token = table::fetch_row::<store::Token>(&context.rows, Table::Token, &new.token_hash)?;
    let Some(token) = token.filter(|token| token.localpart == localpart && token.device_id == new.device_id) else {
        return Ok(None);
    };
    let device =
        table::fetch_row::<store::Device>(&context.rows, Table::Device, &key::device_key(localpart, &token.device_id))?;
    let device = device.unwrap_or_default();
    let at = if device.session_opened_at.is_empty() { device.opened_at } else { device.session_opened_at };
    let at = table::decode_position(Table::Device, &at)?.unwrap_or_default();
    Ok(Some((opened_outcome(context, localpart, &token.device_id, token.expires_ms), at)))
}

pub(super) fn opened_outcome(
    context: &ApplyContext<'_>,
    localpart: &str,
    device_id: &str,
    expires_at_ms: u64,
) -> outcome::Kind {
    outcome::Kind::SessionOpened(log::SessionOpened {
        user_id: id::user_id(localpart, context.server_name),
        device_id: device_id.to_owned(),
        expires_at_ms,
    })
}

/// Returns the time at which a session that is used at `now` expires; 0, which means never, for a lifetime of 0.
pub(super) fn expiry_time(now: u64, lifetime_ms: u64) -> u64 {
    match lifetime_ms {
        0 => 0,
        lifetime => now.saturating_add(lifetime),
    }
}

pub(super) fn apply_extend_session(
    context: &mut ApplyContext<'_>,
    command: &log::ExtendSession,
) -> ApplyResult<CommandAnswer> {
    let token = table::fetch_row::<store::Token>(&context.rows, Table::Token, &command.token_hash)?;
    let Some(token) = token.filter(|t| t.localpart == context.user && t.device_id == context.device_id) else {
        return refuse(Reason::SessionEnded, "the session was closed: log in again");
    };
    if token.r#use() != store::token::Use::Access {
        return refuse(Reason::Invalid, "use does not extend a session that has a refresh token");
    }
    let device = store::Device {
        expires_ms: expiry_time(context.time_ms, command.lifetime_ms),
        seen_ms: context.time_ms,
        ..context.session()?
    };
    let token = store::Token { expires_ms: device.expires_ms, lifetime_ms: command.lifetime_ms, ..token };
    context.rows.put(Table::Device, key::device_key(context.user, context.device_id), table::encode_value(&device));
    context.rows.put(Table::Token, command.token_hash.to_vec(), table::encode_value(&token));
    context.touched.session(context.user);
    Ok(CommandAnswer::done())
}

pub(super) fn apply_close_session(
    context: &mut ApplyContext<'_>,
    command: &log::CloseSession,
) -> ApplyResult<CommandAnswer> {
    if command.all_devices && command.at_most > 0 {
        return quota::close_some(context, command.at_most, command.keep_own);
    }
    let device_ids = if command.all_devices {
        all_device_ids(context)?
    } else if command.device_id.is_empty() {
        vec![context.device_id.to_owned()]
    } else {
        vec![command.device_id.clone()]
    };
    let mut forgettable = MAX_FORGOTTEN;
    for device_id in &device_ids {
        if !remove_device(context, context.user, device_id, &mut forgettable)? {
            return refuse(Reason::Invalid, "you have no such device");
        }
        context.ended_own_session |= device_id == context.device_id;
    }
    context.touched.user(context.user);
    Ok(CommandAnswer::done())
}

fn all_device_ids(context: &ApplyContext<'_>) -> ApplyResult<Vec<String>> {
    Ok(list_devices(context, context.user, usize::MAX)?.into_iter().map(|(device_id, _)| device_id).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::log::Envelope;
    use crate::proto::log::command::Kind;
    use crate::query::SessionState;
    use crate::testing::{World, command, session, world};

    fn open(device: &str, token: &str, lifetime_ms: u64, password_version: u64) -> Envelope {
        let mut new = session("alice", device, lifetime_ms);
        new.token_hash = format!("{token:.>32}").into();
        let open =
            log::OpenSession { localpart: "alice".into(), session: Some(new), password_version, ..Default::default() };
        Envelope { command: command(Kind::OpenSession(open)), ..Envelope::default() }
    }

    fn state(world: &World, token: &str) -> SessionState {
        world.view().session(format!("{token:.>32}").as_bytes(), world.time_ms).unwrap()
    }

    #[test]
    fn opening_again_with_the_same_token_is_the_same_session() {
        let mut world = world(&["alice"]);
        let first = world.accepted(open("E", "one", 1000, 1));
        assert_eq!(world.accepted(open("E", "one", 1000, 1)), log::Outcome { duplicate: true, ..first });
        assert_eq!(world.rejected(open("E", "two", 1000, 2)), Reason::WrongPassword);
    }

    #[test]
    fn a_new_session_of_a_device_ends_the_old_one() {
        let mut world = world(&["alice"]);
        world.accepted(open("E", "one", 0, 1));
        world.accepted(open("E", "two", 0, 1));
        assert_eq!(state(&world, "one"), SessionState::Unknown);
        assert!(matches!(state(&world, "two"), SessionState::Alive(_)));
    }

    /// Pods remember sessions, so whatever ends one must name its user.
    #[test]
    fn whatever_ends_a_session_says_whose() {
        let mut world = world(&["alice"]);
        let of = |envelope: Envelope, world: &mut World| world.apply(vec![envelope]).remove(0).touched.sessions;
        let mut again = open("E", "two", 0, 1);
        let Some(Kind::OpenSession(log::OpenSession { session: Some(new), .. })) =
            again.command.as_mut().and_then(|command| command.kind.as_mut())
        else {
            panic!("another command")
        };
        new.continues_device = true;
        assert_eq!(of(open("E", "one", 0, 1), &mut world), Vec::<String>::new());
        assert_eq!(of(again, &mut world), ["alice"]);
        assert_eq!(state(&world, "one"), SessionState::Unknown);
        assert_eq!(of(open("E", "three", 0, 1), &mut world), ["alice"]);
        let close = log::CloseSession { all_devices: true, at_most: 64, ..Default::default() };
        let close = world.by("alice", Kind::CloseSession(close));
        assert_eq!(of(close, &mut world), ["alice"]);
    }

    #[test]
    fn a_session_expires_by_the_entrys_time_and_use_extends_it() {
        let mut world = world(&["alice"]);
        world.accepted(open("E", "one", 100, 1));
        let extend = || {
            let extend = log::ExtendSession { token_hash: format!("{:.>32}", "one").into(), lifetime_ms: 100 };
            Envelope {
                user: "alice".into(),
                device_id: "E".into(),
                command: command(Kind::ExtendSession(extend)),
                ..Envelope::default()
            }
        };
        world.time_ms += 50;
        world.accepted(extend());
        world.time_ms += 60;
        assert!(matches!(state(&world, "one"), SessionState::Alive(session) if session.wants_extension(world.time_ms)));
        world.time_ms += 60;
        assert_eq!(state(&world, "one"), SessionState::Expired);
        assert_eq!(world.rejected(extend()), Reason::SessionExpired);
    }

    #[test]
    fn all_sessions_are_closed_at_once_and_their_transactions_forgotten() {
        let mut world = world(&["alice"]);
        world.accepted(open("E", "one", 0, 1));
        world.public_room("alice");
        let close = log::CloseSession { all_devices: true, ..Default::default() };
        let close = world.by("alice", Kind::CloseSession(close));
        world.accepted(close);
        assert_eq!(world.view().devices("alice").unwrap(), []);
        assert_eq!(world.rows.rows().filter(|(table, ..)| *table == Table::Dedup).count(), 0);
    }

    #[test]
    fn a_device_that_is_not_there_cannot_be_closed() {
        let mut world = world(&["alice", "bob"]);
        let close = log::CloseSession { device_id: "X".into(), ..Default::default() };
        let close = world.by("alice", Kind::CloseSession(close));
        assert_eq!(world.rejected(close), Reason::Invalid);
    }
}
