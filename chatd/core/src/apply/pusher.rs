//! Pushers: the places to which a user's notifications are sent. Each belongs to a device, and goes with it.
//! Source: Matrix specification, `POST /pushers/set`.

use super::context::{ApplyContext, ApplyResult, CommandAnswer, refuse};
use super::{append, push_progress};
use crate::proto::log::{self, Reason};
use crate::proto::store;
use crate::table::{self, ScanControl, ScanRange, Table, TableRead as _, key};
use bytes::Bytes;

/// The only kind of pusher: a push gateway, to which notifications are sent by HTTP.
const HTTP: &str = "http";

/// Maximum length of ids in bytes (specification: 64 characters and 512 bytes), and of texts for people.
const MAX_APP_ID_BYTES: usize = 256;
const MAX_PUSHKEY_BYTES: usize = 512;
const MAX_TEXT_BYTES: usize = 1024;
/// Maximum size of the data in bytes: a URL, and a payload that is sent along with each notification.
const MAX_DATA_BYTES: usize = 8192;
/// Maximum number of other users whose pushers with the same ids one command removes. There are that many only if
/// clients have asked to keep them, as nobody who shares a phone does.
const MAX_REPLACED: usize = 256;

pub(super) fn apply_set_pusher(context: &mut ApplyContext<'_>, command: &log::SetPusher) -> ApplyResult<CommandAnswer> {
    check_pusher(command)?;
    let localpart = context.user;
    let key = key::pusher_key(localpart, &command.app_id, &command.pushkey);
    let old = table::fetch_row::<store::Pusher>(&context.rows, Table::Pusher, &key)?;
    if command.kind.is_empty() {
        if old.is_some() {
            remove_pusher(context, localpart, &command.app_id, &command.pushkey)?;
        }
        return Ok(CommandAnswer::done());
    }
    if !command.append {
        replace_others(context, command)?;
    }
    // A pusher that is changed keeps what waits for it.
    let added_at = match old {
        Some(old) => old.added_at,
        None => {
            check_number(context, command.max_pushers)?;
            table::position_field(context.first)
        }
    };
    let row = store::Pusher {
        app_id: command.app_id.clone(),
        pushkey: command.pushkey.clone(),
        kind: command.kind.clone(),
        app_display_name: command.app_display_name.clone(),
        device_display_name: command.device_display_name.clone(),
        profile_tag: command.profile_tag.clone(),
        lang: command.lang.clone(),
        data: command.data.clone(),
        device_id: context.device_id.to_owned(),
        set_ms: context.time_ms,
        added_at,
    };
    context.rows.put(Table::Pusher, key, table::encode_value(&row));
    let by_ids = key::pusher_user(&command.app_id, &command.pushkey, localpart);
    context.rows.put(Table::PusherUser, by_ids, Bytes::new());
    note_change(context)?;
    Ok(CommandAnswer::done())
}

fn check_pusher(command: &log::SetPusher) -> ApplyResult<()> {
    let log::SetPusher { app_id, pushkey, kind, .. } = command;
    if app_id.is_empty() || pushkey.is_empty() {
        return refuse(Reason::Invalid, "a pusher needs app_id and pushkey");
    }
    let texts = [&command.app_display_name, &command.device_display_name, &command.profile_tag, &command.lang];
    let is_long = app_id.len() > MAX_APP_ID_BYTES
        || pushkey.len() > MAX_PUSHKEY_BYTES
        || texts.into_iter().any(|text| text.len() > MAX_TEXT_BYTES)
        || command.data.len() > MAX_DATA_BYTES;
    if is_long {
        let message = format!(
            "a pusher can have {MAX_PUSHKEY_BYTES} bytes of pushkey, {MAX_TEXT_BYTES} of each text and \
             {MAX_DATA_BYTES} of data"
        );
        return refuse(Reason::TooLarge, message);
    }
    match kind.as_str() {
        "" => Ok(()),
        HTTP => append::check_object(&command.data),
        _ => refuse(Reason::Invalid, "this server has pushers of the kind http only"),
    }
}

fn check_number(context: &ApplyContext<'_>, max_pushers: u32) -> ApplyResult<()> {
    let max_pushers = usize::try_from(max_pushers).unwrap_or(usize::MAX);
    if max_pushers == 0 {
        return Ok(());
    }
    let mut present = 0;
    let prefix = key::devices_of(context.user);
    context.rows.scan(&ScanRange::with_prefix(Table::Pusher, &prefix), &mut |_| {
        present += 1;
        Ok(ScanControl::More)
    })?;
    if present < max_pushers {
        return Ok(());
    }
    refuse(Reason::QuotaReached, format!("an account can have at most {max_pushers} pushers: remove one first"))
}

/// Removes the pushers of other users with the same ids: the installation of the app has another user now.
fn replace_others(context: &mut ApplyContext<'_>, command: &log::SetPusher) -> ApplyResult<()> {
    let log::SetPusher { app_id, pushkey, .. } = command;
    let prefix = key::users_of_pusher(app_id, pushkey);
    let mut others = Vec::new();
    context.rows.scan(&ScanRange::with_prefix(Table::PusherUser, &prefix), &mut |(key, _)| {
        others.push(String::from_utf8_lossy(key.get(prefix.len()..).unwrap_or_default()).into_owned());
        Ok(if others.len() > MAX_REPLACED { ScanControl::Stop } else { ScanControl::More })
    })?;
    let own = context.user;
    for localpart in others.iter().filter(|localpart| localpart.as_str() != own) {
        remove_pusher(context, localpart, app_id, pushkey)?;
    }
    Ok(())
}

/// Removes a pusher with what waits for it.
pub(super) fn remove_pusher(
    context: &mut ApplyContext<'_>,
    localpart: &str,
    app_id: &str,
    pushkey: &str,
) -> ApplyResult<()> {
    context.rows.delete(Table::Pusher, key::pusher_key(localpart, app_id, pushkey));
    context.rows.delete(Table::PusherUser, key::pusher_user(app_id, pushkey, localpart));
    for key in push_progress::waiting_keys(context, &key::waiting_for(localpart, app_id, pushkey))? {
        context.rows.delete(Table::WaitingPush, key);
    }
    note_change(context)
}

/// Removes the pushers of a device that is removed.
pub(super) fn forget_pushers(context: &mut ApplyContext<'_>, localpart: &str, device_id: &str) -> ApplyResult<()> {
    let mut gone = Vec::new();
    let prefix = key::devices_of(localpart);
    context.rows.scan(&ScanRange::with_prefix(Table::Pusher, &prefix), &mut |(_, value)| {
        let row: store::Pusher = table::decode_value(Table::Pusher, value)?;
        if row.device_id == device_id {
            gone.push(row);
        }
        Ok(ScanControl::More)
    })?;
    for row in &gone {
        remove_pusher(context, localpart, &row.app_id, &row.pushkey)?;
    }
    Ok(())
}

/// Notes that there are other pushers than before, for those who send.
fn note_change(context: &mut ApplyContext<'_>) -> ApplyResult<()> {
    let state = table::fetch_row::<store::PushState>(&context.rows, Table::Meta, key::PUSH_STATE)?;
    let state = store::PushState { pushers_changed: table::position_field(context.first), ..state.unwrap_or_default() };
    context.rows.put(Table::Meta, key::PUSH_STATE.to_vec(), table::encode_value(&state));
    Ok(())
}

#[cfg(test)]
mod tests;
