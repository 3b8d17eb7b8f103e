//! Identifiers: positions, and the event ids, room ids and cursors made of them.
//!
//! Each opaque identifier is base64url of `[kind and version][log id][incarnation][index][ordinal]`, so that no second
//! index is needed to get from an id to its row, and identifiers can belong to more than one log later.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use std::fmt;

/// Position in the cluster's total order. Positions compare field by field, in this order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// Incarnation of the log; rises by one with each restore or forced recovery.
    pub incarnation: u32,
    /// Index of the Raft log entry.
    pub index: u64,
    /// Place in the whole entry: the command's place times [`ORDINALS_PER_COMMAND`], plus the place of the event in the
    /// command.
    pub ordinal: u32,
}

/// Maximum number of events that one command may create; bounds `CreateRoom` with its invitations and initial state.
pub const ORDINALS_PER_COMMAND: u32 = 1 << 16;

/// Length in bytes of a position in keys. The encoding is big-endian, so that byte order is position order.
pub const POSITION_LEN: usize = 16;

impl Position {
    /// Smallest position; no event is before it.
    pub const ZERO: Self = Self { incarnation: 0, index: 0, ordinal: 0 };
    /// Greatest position; no event is after it.
    pub const MAX: Self = Self { incarnation: u32::MAX, index: u64::MAX, ordinal: u32::MAX };

    /// Returns the encoding of the position in keys.
    #[must_use]
    pub fn to_bytes(self) -> [u8; POSITION_LEN] {
        let mut out = [0; POSITION_LEN];
        let (incarnation, rest) = out.split_at_mut(4);
        let (index, ordinal) = rest.split_at_mut(8);
        incarnation.copy_from_slice(&self.incarnation.to_be_bytes());
        index.copy_from_slice(&self.index.to_be_bytes());
        ordinal.copy_from_slice(&self.ordinal.to_be_bytes());
        out
    }

    /// Decodes a position from a key; `None` unless there are exactly [`POSITION_LEN`] bytes.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (incarnation, rest) = bytes.split_first_chunk::<4>()?;
        let (index, rest) = rest.split_first_chunk::<8>()?;
        let ordinal: [u8; 4] = rest.try_into().ok()?;
        Some(Self {
            incarnation: u32::from_be_bytes(*incarnation),
            index: u64::from_be_bytes(*index),
            ordinal: u32::from_be_bytes(ordinal),
        })
    }

    /// Returns the greatest position before this one. [`Position::ZERO`] has none and is returned unchanged.
    #[must_use]
    pub fn before(self) -> Self {
        if self.ordinal > 0 {
            Self { ordinal: self.ordinal - 1, ..self }
        } else if self.index > 0 {
            Self { index: self.index - 1, ordinal: u32::MAX, ..self }
        } else if self.incarnation > 0 {
            Self { incarnation: self.incarnation - 1, index: u64::MAX, ordinal: u32::MAX }
        } else {
            self
        }
    }

    /// Returns the last position of the entry with this index; everything in the entry is at or before it.
    #[must_use]
    pub fn end_of_entry(incarnation: u32, index: u64) -> Self {
        Self { incarnation, index, ordinal: u32::MAX }
    }
}

/// Number of the log to which an identifier belongs. There is one log per cluster, but identifiers carry the number so
/// that there can be more.
pub const LOG: u8 = 0;

/// Kind of an opaque identifier: its first byte, which also carries the version of the format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum IdKind {
    Event = 0x11,
    Room = 0x21,
    Cursor = 0x31,
}

fn encode_id(kind: IdKind, position: Position) -> String {
    // These are 18 bytes, or exactly 24 digits of base64: no second text decodes to the same id.
    let mut raw = [0; 2 + POSITION_LEN];
    let (head, tail) = raw.split_at_mut(2);
    head.copy_from_slice(&[kind as u8, LOG]);
    tail.copy_from_slice(&position.to_bytes());
    URL_SAFE_NO_PAD.encode(raw)
}

fn decode_id(kind: IdKind, text: &str) -> Option<Position> {
    let raw = URL_SAFE_NO_PAD.decode(text).ok()?;
    let rest = raw.strip_prefix(&[kind as u8, LOG])?;
    Position::from_bytes(rest)
}

/// Returns the id (`$…`) of the event at this position.
#[must_use]
pub fn event_id(position: Position) -> String {
    format!("${}", encode_id(IdKind::Event, position))
}

/// Returns the position that an event id names; `None` if the id was not made by Quorate.
#[must_use]
pub fn parse_event_id(id: &str) -> Option<Position> {
    decode_id(IdKind::Event, id.strip_prefix('$')?)
}

/// Returns the id (`!…:server`) of the room whose create event is at this position.
#[must_use]
pub fn room_id(created_at: Position, server_name: &str) -> String {
    format!("!{}:{server_name}", encode_id(IdKind::Room, created_at))
}

/// Returns the position of the create event of the room with this id; `None` if the id was not made by Quorate or its
/// server name is not this cluster's.
#[must_use]
pub fn parse_room_id(id: &str, server_name: &str) -> Option<Position> {
    let (opaque, server) = id.strip_prefix('!')?.split_once(':')?;
    (server == server_name).then(|| decode_id(IdKind::Room, opaque)).flatten()
}

/// Returns the id (`!…`, without a server name) of the room of version 12 or later whose create event is at this
/// position: that of the create event, with another first character (Matrix specification, "Room version 12").
#[must_use]
pub fn room_id_without_server(created_at: Position) -> String {
    format!("!{}", encode_id(IdKind::Event, created_at))
}

/// Returns the position of the create event of the room with this id without a server name; `None` if the id was not
/// made by Quorate.
#[must_use]
pub fn parse_room_id_without_server(id: &str) -> Option<Position> {
    decode_id(IdKind::Event, id.strip_prefix('!')?)
}

/// Returns an opaque cursor that means "everything up to and including this position has been seen".
#[must_use]
pub fn encode_cursor(position: Position) -> String {
    format!("q{}", encode_id(IdKind::Cursor, position))
}

/// Returns the position that a cursor stands for; `None` if the text is not a cursor.
#[must_use]
pub fn parse_cursor(text: &str) -> Option<Position> {
    decode_id(IdKind::Cursor, text.strip_prefix('q')?)
}

/// Checks the form of a server name: host or address, with an optional port (Matrix specification, "Server Name").
pub(crate) fn is_server_name(name: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"-.:[]".contains(&b);
    !name.is_empty() && name.bytes().all(allowed)
}

/// Returns the full user id, `@localpart:server`.
#[must_use]
pub fn user_id(localpart: &str, server_name: &str) -> String {
    format!("@{localpart}:{server_name}")
}

/// Returns the localpart of a user id of this server, or of a bare localpart. `None` for users of other servers and for
/// names outside the grammar (Matrix specification, "User Identifiers": `a-z 0-9 . _ = - / +`, at most 255 bytes in
/// all).
#[must_use]
pub fn user_localpart<'a>(user: &'a str, server_name: &str) -> Option<&'a str> {
    let local = match user.strip_prefix('@') {
        Some(full) => full.strip_suffix(server_name)?.strip_suffix(':')?,
        None => user,
    };
    // Two more bytes for `@` and `:`.
    let fits = !local.is_empty() && local.len() + server_name.len() + 2 <= 255;
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._=-/+".contains(&b);
    (fits && local.bytes().all(allowed)).then_some(local)
}

/// Returns the full room alias, `#localpart:server`.
#[must_use]
pub fn room_alias(localpart: &str, server_name: &str) -> String {
    format!("#{localpart}:{server_name}")
}

/// Returns the localpart of a room alias of this server, or of a bare localpart. `None` for aliases of other servers
/// and for aliases outside the grammar (Matrix specification, "Room Aliases": no colon, no NUL, at most 255 bytes in
/// all). Whitespace is not accepted either, because people type aliases.
#[must_use]
pub fn alias_localpart<'a>(alias: &'a str, server_name: &str) -> Option<&'a str> {
    let local = match alias.strip_prefix('#') {
        Some(full) => full.strip_suffix(server_name)?.strip_suffix(':')?,
        None => alias,
    };
    // Two more bytes for `#` and `:`.
    let fits = !local.is_empty() && local.len() + server_name.len() + 2 <= 255;
    let allowed = |c: char| c != ':' && c != '#' && !c.is_control() && !c.is_whitespace();
    (fits && local.chars().all(allowed)).then_some(local)
}

/// Number of a room: allocated by apply, and of fixed width in keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RoomNumber(pub u64);

impl fmt::Display for RoomNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOME: Position = Position { incarnation: 1, index: 7_000_000_000, ordinal: 65_537 };

    #[test]
    fn names_lead_back_to_their_position() {
        assert_eq!(parse_event_id(&event_id(SOME)), Some(SOME));
        assert_eq!(parse_room_id(&room_id(SOME, "a.org"), "a.org"), Some(SOME));
        assert_eq!(parse_cursor(&encode_cursor(SOME)), Some(SOME));
    }

    #[test]
    fn a_name_of_one_kind_is_not_read_as_another() {
        assert_eq!(parse_event_id(&format!("${}", &encode_cursor(SOME)[1..])), None);
        assert_eq!(parse_room_id(&room_id(SOME, "a.org"), "b.org"), None);
    }

    #[test]
    fn key_order_is_position_order() {
        let later = Position { ordinal: SOME.ordinal + 1, ..SOME };
        let next_entry = Position { index: SOME.index + 1, ordinal: 0, ..SOME };
        assert!(SOME.to_bytes() < later.to_bytes() && later.to_bytes() < next_entry.to_bytes());
        assert!(SOME < later && later < next_entry);
    }

    #[test]
    fn a_localpart_is_taken_from_either_form_and_checked() {
        assert_eq!(user_localpart("@al.ice:a.org", "a.org"), Some("al.ice"));
        assert_eq!(user_localpart("alice", "a.org"), Some("alice"));
        for bad in ["", "@alice:b.org", "Alice", "al ice", "@:a.org", "al\0ice"] {
            assert_eq!(user_localpart(bad, "a.org"), None, "{bad:?}");
        }
    }
}
