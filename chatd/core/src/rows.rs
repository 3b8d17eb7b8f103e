//! Typed reads of rows, shared by apply and query.

use crate::entry_events::EventRuns;
use crate::id::{self, Position, RoomNumber};
use crate::proto::store;
use crate::proto::store::membership::Kind;
use crate::room_version::RoomVersion;
use crate::table::{self, ReadError, ScanControl, ScanRange, Table, TableRead, key};

/// Event types that the server itself interprets.
pub(crate) mod event_type {
    /// Types that the authorization rules judge even without a state key. Events of other types may be sent without one,
    /// and then change nothing.
    pub(crate) const ONLY_STATE: [&str; 3] = [CREATE, MEMBER, POWER_LEVELS];
    pub(crate) const CREATE: &str = "m.room.create";
    pub(crate) const MEMBER: &str = "m.room.member";
    pub(crate) const POWER_LEVELS: &str = "m.room.power_levels";
    pub(crate) const JOIN_RULES: &str = "m.room.join_rules";
    pub(crate) const HISTORY_VISIBILITY: &str = "m.room.history_visibility";
    pub(crate) const GUEST_ACCESS: &str = "m.room.guest_access";
    pub(crate) const NAME: &str = "m.room.name";
    pub(crate) const TOPIC: &str = "m.room.topic";
    pub(crate) const AVATAR: &str = "m.room.avatar";
    pub(crate) const ENCRYPTION: &str = "m.room.encryption";
    pub(crate) const ENCRYPTED: &str = "m.room.encrypted";
    pub(crate) const CANONICAL_ALIAS: &str = "m.room.canonical_alias";
    pub(crate) const REDACTION: &str = "m.room.redaction";
    pub(crate) const RETENTION: &str = "m.room.retention";
    pub(crate) const SERVER_ACL: &str = "m.room.server_acl";
    pub(crate) const TOMBSTONE: &str = "m.room.tombstone";
    pub(crate) const SPACE_CHILD: &str = "m.space.child";
    /// Types of account data.
    pub(crate) const FULLY_READ: &str = "m.fully_read";
    pub(crate) const TAG: &str = "m.tag";
    pub(crate) const IGNORED_USERS: &str = "m.ignored_user_list";
}

/// Usages of cross-signing keys.
pub(crate) mod key_usage {
    pub(crate) const MASTER: &str = "master";
    pub(crate) const SELF_SIGNING: &str = "self_signing";
    pub(crate) const USER_SIGNING: &str = "user_signing";
}

/// Returns a user's cross-signing key of a usage.
pub(crate) fn signing_key_row(
    rows: &dyn TableRead,
    localpart: &str,
    usage: &str,
) -> Result<Option<store::CrossSigningKey>, ReadError> {
    table::fetch_row(rows, Table::CrossSigningKey, &key::signing_key(localpart, usage))
}

/// Returns the row of the cluster itself; `None` before the cluster's first command.
pub(crate) fn cluster_row(rows: &dyn TableRead) -> Result<Option<store::Cluster>, ReadError> {
    table::fetch_row(rows, Table::Meta, key::CLUSTER)
}

/// Returns the number of the room whose create event is at this position.
pub(crate) fn room_number(rows: &dyn TableRead, created_at: Position) -> Result<Option<RoomNumber>, ReadError> {
    let value = rows.get(Table::RoomByPosition, &key::position_key(created_at))?;
    value.map(|value| room_in(Table::RoomByPosition, &value)).transpose()
}

/// Returns the id of the room of this row.
pub(crate) fn room_id_of(row: &store::Room, server_name: &str) -> Result<String, ReadError> {
    let created_at = table::decode_position(Table::Room, &row.created_at)?.unwrap_or_default();
    Ok(room_id_at(created_at, RoomVersion::of_row(row), server_name))
}

/// Returns the id of a room of this version whose create event is at this position.
pub(crate) fn room_id_at(created_at: Position, version: RoomVersion, server_name: &str) -> String {
    if version.has_powerful_creators() {
        id::room_id_without_server(created_at)
    } else {
        id::room_id(created_at, server_name)
    }
}

/// Returns the position of the create event that a room id names, whichever form it has. The room may be of a version
/// whose ids have the other form: see [`has_id`].
pub(crate) fn position_in_room_id(room_id: &str, server_name: &str) -> Option<Position> {
    id::parse_room_id(room_id, server_name).or_else(|| id::parse_room_id_without_server(room_id))
}

/// Returns `true` if this id, which names the create event of the room, is the room's. A room has one id, as scopes of
/// transaction ids contain it.
pub(crate) fn has_id(row: &store::Room, room_id: &str) -> bool {
    // Room ids with a server name contain a colon; opaque parts never do.
    RoomVersion::of_row(row).has_powerful_creators() != room_id.contains(':')
}

/// Returns the room with this id.
pub(crate) fn room_by_id(
    rows: &dyn TableRead,
    room_id: &str,
    server_name: &str,
) -> Result<Option<RoomNumber>, ReadError> {
    let Some(created_at) = position_in_room_id(room_id, server_name) else { return Ok(None) };
    let Some(number) = room_number(rows, created_at)? else { return Ok(None) };
    Ok(room_row(rows, number)?.filter(|row| has_id(row, room_id)).map(|_| number))
}

/// Returns the room that contains the event at this position.
pub(crate) fn room_of_event(rows: &dyn TableRead, at: Position) -> Result<Option<RoomNumber>, ReadError> {
    Ok(EventRuns::fetch(rows, at)?.room_of(at.ordinal))
}

/// Decodes a value that consists of nothing but a room number.
pub(crate) fn room_in(table: Table, value: &[u8]) -> Result<RoomNumber, ReadError> {
    key::leading_room(value).ok_or_else(|| ReadError::Damaged { table, what: "a room number is truncated".into() })
}

/// Decodes the position at the end of a key.
pub(crate) fn position_in(table: Table, key: &[u8]) -> Result<Position, ReadError> {
    key::trailing_position(key).ok_or_else(|| ReadError::Damaged { table, what: "a key lacks its position".into() })
}

/// Decodes the key of a row of `EventRoom`: the position at which its entry begins.
pub(crate) fn entry_in(key: &[u8]) -> Result<Position, ReadError> {
    key::parse_entry_key(key)
        .ok_or_else(|| ReadError::Damaged { table: Table::EventRoom, what: format!("{key:?} does not name an entry") })
}

pub(crate) fn room_row(rows: &dyn TableRead, room: RoomNumber) -> Result<Option<store::Room>, ReadError> {
    table::fetch_row(rows, Table::Room, &key::room_key(room))
}

pub(crate) fn event_row(
    rows: &dyn TableRead,
    room: RoomNumber,
    at: Position,
) -> Result<Option<store::Event>, ReadError> {
    table::fetch_row(rows, Table::Timeline, &key::room_position(room, at))
}

/// Returns `true` if the event that is missing at this position was removed with the room's history.
pub(crate) fn is_purged(rows: &dyn TableRead, number: RoomNumber, at: Position) -> Result<bool, ReadError> {
    let row = room_row(rows, number)?.unwrap_or_default();
    Ok(table::decode_position(Table::Room, &row.purged_to)?.is_some_and(|purged_to| at <= purged_to))
}

/// Returns the newest event that has a relation of this type to an event.
pub(crate) fn newest_relation(
    rows: &dyn TableRead,
    room: RoomNumber,
    target: Position,
    relation_type: &str,
) -> Result<Option<Position>, ReadError> {
    let prefix = key::relations_of_type(room, target, relation_type);
    let mut found = None;
    rows.scan(&ScanRange::with_prefix(Table::Relation, &prefix).backward(), &mut |(key, _)| {
        found = Some(position_in(Table::Relation, key)?);
        Ok(ScanControl::Stop)
    })?;
    Ok(found)
}

/// Returns an event that another row points to, so that it must exist.
pub(crate) fn known_event(rows: &dyn TableRead, room: RoomNumber, at: Position) -> Result<store::Event, ReadError> {
    event_row(rows, room, at)?.ok_or_else(|| ReadError::Damaged {
        table: Table::Timeline,
        what: format!("room {room} has no event at {at:?}, though another row points there"),
    })
}

pub(crate) fn account_row(rows: &dyn TableRead, localpart: &str) -> Result<Option<store::Account>, ReadError> {
    table::fetch_row(rows, Table::Account, &key::account_key(localpart))
}

/// Returns what administrators have decided about an account; the default for accounts that are neither locked nor
/// suspended.
pub(crate) fn standing_row(rows: &dyn TableRead, localpart: &str) -> Result<store::Standing, ReadError> {
    table::fetch_row(rows, Table::Meta, &key::standing_key(localpart)).map(Option::unwrap_or_default)
}

/// Returns a registration token.
pub(crate) fn registration_token_row(
    rows: &dyn TableRead,
    token: &str,
) -> Result<Option<store::RegistrationToken>, ReadError> {
    table::fetch_row(rows, Table::Meta, &key::registration_token(token))
}

/// Returns the account that was registered in a dialogue.
pub(crate) fn registered_dialogue_row(
    rows: &dyn TableRead,
    expires_ms: u64,
    digest: &[u8],
) -> Result<Option<store::RegisteredDialogue>, ReadError> {
    table::fetch_row(rows, Table::Meta, &key::registered_dialogue(expires_ms, digest))
}

/// Returns `true` if an account can be registered with the token at this time.
pub(crate) fn is_usable_token(row: &store::RegistrationToken, time_ms: u64) -> bool {
    row.uses_allowed.is_none_or(|allowed| row.used < allowed) && (row.expires_ms == 0 || row.expires_ms > time_ms)
}

/// Returns the row of a room that nobody enters any more.
pub(crate) fn room_block_row(rows: &dyn TableRead, room: RoomNumber) -> Result<Option<store::RoomBlock>, ReadError> {
    table::fetch_row(rows, Table::Meta, &key::room_block(room))
}

/// Returns the room in which a user gets notices of the server; the default (room 0) if there is none.
pub(crate) fn notice_room_row(rows: &dyn TableRead, localpart: &str) -> Result<store::NoticeRoom, ReadError> {
    table::fetch_row(rows, Table::Meta, &key::notice_room(localpart)).map(Option::unwrap_or_default)
}

/// Returns the fields of a user's profile other than display name and avatar.
pub(crate) fn profile_fields(rows: &dyn TableRead, localpart: &str) -> Result<store::ProfileFields, ReadError> {
    table::fetch_row(rows, Table::Meta, &key::profile_key(localpart)).map(Option::unwrap_or_default)
}

/// Returns the global account data of a user that the server removed lately.
pub(crate) fn removed_data(rows: &dyn TableRead, localpart: &str) -> Result<store::RemovedData, ReadError> {
    table::fetch_row(rows, Table::Meta, &key::removed_data_key(localpart)).map(Option::unwrap_or_default)
}

/// Returns the current membership; the default (kind unspecified) for users who never had one.
pub(crate) fn membership_row(
    rows: &dyn TableRead,
    room: RoomNumber,
    localpart: &str,
) -> Result<store::Membership, ReadError> {
    table::fetch_row(rows, Table::RoomMember, &key::room_member(room, localpart)).map(Option::unwrap_or_default)
}

/// Returns the position of the version of one (type, state key) that is in effect at `at`.
pub(crate) fn state_version(
    rows: &dyn TableRead,
    room: RoomNumber,
    event_type: &str,
    state_key: &str,
    at: Position,
) -> Result<Option<Position>, ReadError> {
    let prefix = key::state_prefix(room, event_type, state_key);
    let mut from = prefix.clone();
    from.extend_from_slice(&Position::ZERO.to_bytes());
    let mut to = prefix;
    to.extend_from_slice(&at.to_bytes());
    // The upper bound of a scan is exclusive, so it lies just after `at`: no key is longer than its position.
    to.push(0);
    let mut found = None;
    rows.scan(&ScanRange::between(Table::StateVersion, &from, &to).backward(), &mut |(key, _)| {
        found = Some(position_in(Table::StateVersion, key)?);
        Ok(ScanControl::Stop)
    })?;
    Ok(found)
}

/// Returns a user's membership after the event at `at`, with the position of the member event.
pub(crate) fn member_kind_at(
    rows: &dyn TableRead,
    room: RoomNumber,
    user_id: &str,
    at: Position,
) -> Result<Option<(Kind, Position)>, ReadError> {
    let Some(position) = state_version(rows, room, event_type::MEMBER, user_id, at)? else { return Ok(None) };
    let key = key::state_version(room, event_type::MEMBER, user_id, position);
    let value = rows.get(Table::StateVersion, &key)?.unwrap_or_default();
    Ok(Some((member_version_kind(&value)?, position)))
}

/// Returns the state event that is in effect at `at`, with its position.
pub(crate) fn state_event(
    rows: &dyn TableRead,
    room: RoomNumber,
    event_type: &str,
    state_key: &str,
    at: Position,
) -> Result<Option<(Position, store::Event)>, ReadError> {
    match state_version(rows, room, event_type, state_key, at)? {
        Some(position) => Ok(Some((position, known_event(rows, room, position)?))),
        None => Ok(None),
    }
}

/// Returns all versions of one (type, state key), oldest first, with the values of their rows.
pub(crate) fn state_versions(
    rows: &dyn TableRead,
    room: RoomNumber,
    event_type: &str,
    state_key: &str,
) -> Result<Vec<(Position, Vec<u8>)>, ReadError> {
    let prefix = key::state_prefix(room, event_type, state_key);
    let mut out = Vec::new();
    rows.scan(&ScanRange::with_prefix(Table::StateVersion, &prefix), &mut |(key, value)| {
        out.push((position_in(Table::StateVersion, key)?, value.to_vec()));
        Ok(ScanControl::More)
    })?;
    Ok(out)
}

/// Returns the value of a `StateVersion` row of an `m.room.member` event. It holds the membership, so that history can
/// be read without the events. (A redaction leaves the membership as it is.)
pub(crate) fn member_version_value(kind: Kind) -> Vec<u8> {
    vec![table::VALUE_VERSION, u8::try_from(i32::from(kind)).unwrap_or_default()]
}

/// Decodes a value made by [`member_version_value`].
pub(crate) fn member_version_kind(value: &[u8]) -> Result<Kind, ReadError> {
    let kind = match value {
        [table::VALUE_VERSION, kind] => Kind::try_from(i32::from(*kind)).ok(),
        _ => None,
    };
    kind.ok_or_else(|| ReadError::Damaged {
        table: Table::StateVersion,
        what: format!("{value:?} is not a membership"),
    })
}

/// Returns the membership as events spell it.
pub(crate) fn membership_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Join => "join",
        Kind::Invite => "invite",
        Kind::Ban => "ban",
        Kind::Knock => "knock",
        Kind::Leave | Kind::Unspecified => "leave",
    }
}
