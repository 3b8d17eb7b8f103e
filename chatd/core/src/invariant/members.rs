//! Invariants of memberships.

use super::{InvariantResult, all_rows, broken_invariant, ensure_holds};
use crate::id::{self, Position, RoomNumber};
use crate::json;
use crate::proto::store;
use crate::proto::store::membership::Kind;
use crate::rows::{self, event_type};
use crate::table::{self, Table, TableRead, key};
use std::collections::BTreeMap;

const AGREE: &str = "memberships_agree_with_state";

/// Checks that both membership tables agree with each other and with the newest member event, that they record when a
/// stay began, and that versions of member events carry the membership in their content.
///
/// # Errors
/// Fails if the property does not hold or a row cannot be read.
pub fn memberships_agree_with_state(rows: &dyn TableRead) -> InvariantResult {
    let server_name = rows::cluster_row(rows)?.unwrap_or_default().server_name;
    let by_room = all_rows(rows, Table::RoomMember)?;
    for (key, value) in &by_room {
        let room = rows::room_in(Table::RoomMember, key)?;
        let Some(localpart) = key.get(8..).and_then(|local| std::str::from_utf8(local).ok()) else {
            return broken_invariant(AGREE, format!("{key:?} is not a key of a member"));
        };
        let mirrored = rows.get(Table::Membership, &key::membership_key(localpart, room))?;
        ensure_holds(mirrored.as_ref() == Some(value), AGREE, || format!("{localpart} in {room} differs by side"))?;
        member_agrees(
            rows,
            room,
            &id::user_id(localpart, &server_name),
            &table::decode_value(Table::RoomMember, value.clone())?,
        )?;
    }
    let by_user = all_rows(rows, Table::Membership)?.len();
    ensure_holds(by_user == by_room.len(), AGREE, || format!("{by_user} rows by user, {} by room", by_room.len()))?;
    every_member_event_has_a_row(rows)
}

fn member_agrees(rows: &dyn TableRead, room: RoomNumber, user_id: &str, row: &store::Membership) -> InvariantResult {
    let mut since = None;
    let mut newest = None;
    for (at, value) in rows::state_versions(rows, room, event_type::MEMBER, user_id)? {
        let kind = rows::member_version_kind(&value)?;
        let content = json::stored_object(&rows::known_event(rows, room, at)?.content);
        let named = json::string_field(&content, "membership");
        ensure_holds(named == Some(rows::membership_name(kind)), AGREE, || {
            format!("{named:?} is kept as {kind:?} at {at:?}")
        })?;
        since = (kind == Kind::Join).then(|| since.unwrap_or(at));
        newest = Some((at, kind));
    }
    let stated = table::decode_position(Table::RoomMember, &row.position)?.map(|at| (at, row.kind()));
    ensure_holds(newest == stated, AGREE, || format!("{user_id} in {room}: state {newest:?}, row {stated:?}"))?;
    let stay = table::decode_position(Table::RoomMember, &row.joined_since)?;
    ensure_holds(stay == since, AGREE, || format!("{user_id} in {room}: stays since {since:?}, row {stay:?}"))
}

fn every_member_event_has_a_row(rows: &dyn TableRead) -> InvariantResult {
    let server_name = rows::cluster_row(rows)?.unwrap_or_default().server_name;
    for (key, _) in all_rows(rows, Table::StateVersion)? {
        let Some((room, event_type::MEMBER, user_id, at)) = key::parse_state_version(&key) else { continue };
        let Some(localpart) = id::user_localpart(user_id, &server_name) else {
            return broken_invariant(AGREE, format!("{at:?} is about {user_id:?}"));
        };
        let row = rows::membership_row(rows, room, localpart)?;
        ensure_holds(row.kind() != Kind::Unspecified, AGREE, || format!("{user_id} in {room} has no row"))?;
    }
    Ok(())
}

/// Checks that each room's counts of joined and invited members are right.
///
/// # Errors
/// Fails if the property does not hold or a row cannot be read.
pub fn member_counts_are_right(rows: &dyn TableRead) -> InvariantResult {
    let mut counts = BTreeMap::<RoomNumber, (u64, u64)>::new();
    for (key, value) in all_rows(rows, Table::RoomMember)? {
        let count = counts.entry(rows::room_in(Table::RoomMember, &key)?).or_default();
        match table::decode_value::<store::Membership>(Table::RoomMember, value)?.kind() {
            Kind::Join => count.0 += 1,
            Kind::Invite => count.1 += 1,
            _ => {}
        }
    }
    for (key, value) in all_rows(rows, Table::Room)? {
        let room = rows::room_in(Table::Room, &key)?;
        let row: store::Room = table::decode_value(Table::Room, value)?;
        let kept = (row.joined_members, row.invited_members);
        let counted = counts.remove(&room).unwrap_or_default();
        ensure_holds(kept == counted, "member_counts_are_right", || format!("{room}: {kept:?}, not {counted:?}"))?;
        let created = table::decode_position(Table::Room, &row.created_at)?.unwrap_or(Position::ZERO);
        ensure_holds(created > Position::ZERO, "member_counts_are_right", || format!("{room} was never created"))?;
    }
    ensure_holds(counts.is_empty(), "member_counts_are_right", || format!("members of no room: {counts:?}"))
}
