//! Keys of what administrators decide, all of them in `Table::Meta`.

use super::room_key;
use crate::id::RoomNumber;

/// Returns the key of a user's `Standing` row in `Table::Meta`.
#[must_use]
pub fn standing_key(localpart: &str) -> Vec<u8> {
    [b"standing/", localpart.as_bytes()].concat()
}

/// Common prefix of the keys of `RegistrationToken` rows in `Table::Meta`.
pub const REGISTRATION_TOKENS: &[u8] = b"registration/";

/// Returns the key of a `RegistrationToken` row in `Table::Meta`.
#[must_use]
pub fn registration_token(token: &str) -> Vec<u8> {
    [REGISTRATION_TOKENS, token.as_bytes()].concat()
}

/// Returns the key of a room's `RoomBlock` row in `Table::Meta`.
#[must_use]
pub fn room_block(room: RoomNumber) -> Vec<u8> {
    [b"block/", room_key(room).as_slice()].concat()
}

/// Common prefix of the keys of `RoomClearing` rows in `Table::Meta`.
pub const CLEARINGS: &[u8] = b"clear/";

/// Returns the key of a room's `RoomClearing` row in `Table::Meta`.
#[must_use]
pub fn room_clearing(room: RoomNumber) -> Vec<u8> {
    [CLEARINGS, room_key(room).as_slice()].concat()
}

/// Returns the key of a user's `NoticeRoom` row in `Table::Meta`.
#[must_use]
pub fn notice_room(localpart: &str) -> Vec<u8> {
    [b"notice/", localpart.as_bytes()].concat()
}
