//! Ids, aliases and cursors: whatever can be parsed is written exactly as it was, so that no two texts name the same
//! thing.

use crate::id;
use crate::query::DirectoryPlace;
use crate::query::sync::SyncToken;

const SERVER: &str = "a.org";

/// Parses the bytes as each kind of name. Returns `true` if they are any of them.
pub(super) fn fuzz_names(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    let mut read = false;
    if let Some(at) = id::parse_event_id(text) {
        read = true;
        assert_eq!(id::event_id(at), text);
    }
    if let Some(at) = id::parse_room_id(text, SERVER) {
        read = true;
        assert_eq!(id::room_id(at, SERVER), text);
    }
    if let Some(at) = id::parse_room_id_without_server(text) {
        read = true;
        assert_eq!(id::room_id_without_server(at), text);
    }
    if let Some(at) = id::parse_cursor(text) {
        read = true;
        assert_eq!(id::encode_cursor(at), text);
    }
    if let Some(token) = SyncToken::parse(text) {
        read = true;
        assert_eq!(token.to_text(), text);
    }
    if let Some(place) = DirectoryPlace::parse(text) {
        read = true;
        assert_eq!(place.to_text(), text);
    }
    if let Some(local) = id::user_localpart(text, SERVER) {
        read = true;
        let full = id::user_id(local, SERVER);
        assert!(text == local || text == full);
        assert_eq!(id::user_localpart(&full, SERVER), Some(local));
        assert!(full.len() <= 255 && !full.contains('\0'));
    }
    if let Some(local) = id::alias_localpart(text, SERVER) {
        read = true;
        let full = id::room_alias(local, SERVER);
        assert!(text == local || text == full);
        assert_eq!(id::alias_localpart(&full, SERVER), Some(local));
        assert!(full.len() <= 255 && !full.contains('\0'));
    }
    read
}
