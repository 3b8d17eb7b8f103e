//! Joins of restricted rooms, each in the name of a member who could have invited the user (Matrix specification,
//! "Restricted rooms").

use super::context::{ApplyContext, ApplyResult, RoomHandle, refuse};
use crate::id;
use crate::json;
use crate::proto::log::Reason;
use crate::proto::store;
use crate::proto::store::membership::Kind;
use crate::rows;
use crate::table::{self, ScanControl, ScanRange, Table, TableRead as _, key};
use bytes::Bytes;

/// Maximum number of members examined for one who may let somebody in.
const MAX_AUTHORISERS: usize = 1000;

/// Field of a member event that names the member in whose name the room was joined.
pub(super) const AUTHORISED_VIA: &str = "join_authorised_via_users_server";

/// Names in the content of a join the member who could have invited the user.
pub(super) fn with_authoriser(context: &ApplyContext<'_>, room: &RoomHandle, content: &[u8]) -> ApplyResult<Bytes> {
    let Some(member) = find_authoriser(context, room)? else {
        return refuse(Reason::Forbidden, "nobody in this room has the power to let you in; ask to be invited");
    };
    let mut object = json::stored_object(content);
    object.insert(AUTHORISED_VIA.into(), id::user_id(&member, context.server_name).into());
    Ok(json::canonical_json(&object))
}

/// Returns a joined member with the power to invite: of those with a power of their own the first, and otherwise the
/// first of all members.
fn find_authoriser(context: &ApplyContext<'_>, room: &RoomHandle) -> ApplyResult<Option<String>> {
    let levels = room.levels();
    let powerful = levels.users.iter().filter(|user| user.level >= levels.invite).map(|user| &user.name);
    for user in levels.creators.iter().chain(powerful).take(MAX_AUTHORISERS) {
        if rows::membership_row(&context.rows, room.number, user)?.kind() == Kind::Join {
            return Ok(Some(user.clone()));
        }
    }
    if levels.users_default < levels.invite {
        return Ok(None);
    }
    let prefix = key::room_key(room.number);
    let mut found = None;
    let mut looked_at = 0;
    context.rows.scan(&ScanRange::with_prefix(Table::RoomMember, &prefix), &mut |(key, value)| {
        let user = std::str::from_utf8(key.get(prefix.len()..).unwrap_or_default()).unwrap_or_default();
        let row: store::Membership = table::decode_value(Table::RoomMember, value)?;
        if row.kind() == Kind::Join && levels.of(user) >= levels.invite {
            found = Some(user.to_owned());
        }
        looked_at += 1;
        Ok(if found.is_none() && looked_at < MAX_AUTHORISERS { ScanControl::More } else { ScanControl::Stop })
    })?;
    Ok(found)
}
