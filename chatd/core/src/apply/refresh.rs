//! Refresh tokens: a session's access token expires however much it is used, and its refresh token is exchanged for new
//! tokens.
//!
//! A client that loses the answer to a refresh still has its old tokens. They remain valid until one of the new tokens is
//! used, which shows that the client has them (Matrix specification, "Refreshing access tokens").

use super::context::{ApplyContext, ApplyResult, CommandAnswer, refuse};
use super::device::remove_token;
use super::session::{self, TokenOwner};
use super::standing;
use crate::proto::log::{self, Reason};
use crate::proto::store;
use crate::proto::store::token::Use;
use crate::rows;
use crate::table::{self, Table, key};
use bytes::Bytes;

/// Exchanges a refresh token for new tokens. A repeated hash of the new access token means a repeated request.
pub(super) fn apply_refresh_session(
    context: &mut ApplyContext<'_>,
    command: &log::RefreshSession,
) -> ApplyResult<CommandAnswer> {
    if !context.user.is_empty() {
        return refuse(Reason::Invalid, "this command has no caller");
    }
    if let Some(answer) = refreshed_before(context, command)? {
        return Ok(answer);
    }
    let token = table::fetch_row::<store::Token>(&context.rows, Table::Token, &command.refresh_hash)?;
    let Some(token) = token.filter(|token| token.r#use() == Use::Refresh) else { return unknown_refresh_token() };
    if token.expires_ms != 0 && token.expires_ms <= context.time_ms {
        return refuse(Reason::SessionExpired, "the session expired after too long without use: log in again");
    }
    session::check_fresh(context, &command.new_token_hash)?;
    session::check_fresh(context, &command.new_refresh_hash)?;
    if command.new_token_hash == command.new_refresh_hash {
        return refuse(Reason::Invalid, "the two tokens of a session must differ");
    }
    let owner = TokenOwner { localpart: &token.localpart, device_id: &token.device_id };
    let device_key = key::device_key(owner.localpart, owner.device_id);
    let device = table::fetch_row::<store::Device>(&context.rows, Table::Device, &device_key)?;
    let account = rows::account_row(&context.rows, owner.localpart)?.filter(|account| !account.deactivated);
    let (Some(device), Some(_)) = (device, account) else { return unknown_refresh_token() };
    standing::check_not_locked(context, owner.localpart)?;
    let kept = keep_presented_tokens(context, &device, &command.refresh_hash)?;
    let row = store::Device {
        token_hash: command.new_token_hash.clone(),
        refresh_hash: command.new_refresh_hash.clone(),
        old_token_hash: kept.token_hash,
        old_refresh_hash: kept.refresh_hash,
        expires_ms: session::expiry_time(context.time_ms, command.lifetime_ms),
        session_opened_at: table::position_field(context.first),
        seen_ms: context.time_ms,
        ..device
    };
    context.rows.put(Table::Device, device_key, table::encode_value(&row));
    session::put_token(context, owner, &command.new_refresh_hash, Use::Refresh, command.lifetime_ms);
    let expires_ms =
        session::put_token(context, owner, &command.new_token_hash, Use::RefreshedAccess, command.access_lifetime_ms);
    context.touched.session(owner.localpart);
    let opened = session::opened_outcome(context, owner.localpart, owner.device_id, expires_ms);
    Ok(CommandAnswer::New(opened, None))
}

/// Tokens that a client presented, or could have presented.
struct TokenPair {
    token_hash: Bytes,
    refresh_hash: Bytes,
}

/// Returns the pair of tokens to which the presented refresh token belongs, and removes the device's other pair.
fn keep_presented_tokens(
    context: &mut ApplyContext<'_>,
    device: &store::Device,
    presented: &Bytes,
) -> ApplyResult<TokenPair> {
    let newest = TokenPair { token_hash: device.token_hash.clone(), refresh_hash: device.refresh_hash.clone() };
    let old = TokenPair { token_hash: device.old_token_hash.clone(), refresh_hash: device.old_refresh_hash.clone() };
    // A client that presents the newest token has received it, and needs no older one. One that presents the old token
    // did not receive what came after it.
    let (kept, other) = if newest.refresh_hash == presented {
        (newest, old)
    } else if old.refresh_hash == presented {
        (old, newest)
    } else {
        return unknown_refresh_token();
    };
    remove_token(context, &other.token_hash);
    remove_token(context, &other.refresh_hash);
    Ok(kept)
}

fn unknown_refresh_token<T>() -> ApplyResult<T> {
    refuse(Reason::SessionEnded, "the refresh token is unknown: log in again")
}

/// Returns the answer that this very request was given before.
fn refreshed_before(context: &ApplyContext<'_>, command: &log::RefreshSession) -> ApplyResult<Option<CommandAnswer>> {
    let token = table::fetch_row::<store::Token>(&context.rows, Table::Token, &command.new_token_hash)?;
    let Some(token) = token.filter(|token| token.r#use() == Use::RefreshedAccess) else { return Ok(None) };
    let key = key::device_key(&token.localpart, &token.device_id);
    let device = table::fetch_row::<store::Device>(&context.rows, Table::Device, &key)?.unwrap_or_default();
    let same = device.token_hash == command.new_token_hash
        && device.refresh_hash == command.new_refresh_hash
        && device.old_refresh_hash == command.refresh_hash;
    if !same {
        return Ok(None);
    }
    let at = table::decode_position(Table::Device, &device.session_opened_at)?.unwrap_or_default();
    let opened = session::opened_outcome(context, &token.localpart, &token.device_id, token.expires_ms);
    Ok(Some(CommandAnswer::again(opened, at)))
}

/// Removes the tokens that were replaced, as their successors are in use.
pub(super) fn apply_confirm_refresh(
    context: &mut ApplyContext<'_>,
    command: &log::ConfirmRefresh,
) -> ApplyResult<CommandAnswer> {
    let device = context.session()?;
    if device.token_hash != command.token_hash || device.refresh_hash.is_empty() {
        // Another refresh came first: nothing is left to confirm.
        return Ok(CommandAnswer::done());
    }
    remove_token(context, &device.old_token_hash);
    remove_token(context, &device.old_refresh_hash);
    let row = store::Device { old_token_hash: Bytes::new(), old_refresh_hash: Bytes::new(), ..device };
    context.rows.put(Table::Device, key::device_key(context.user, context.device_id), table::encode_value(&row));
    context.touched.session(context.user);
    Ok(CommandAnswer::done())
}

#[cfg(test)]
mod tests;
