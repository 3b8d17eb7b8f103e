//! Fuzz target for log entries; see [`crate::fuzzing`].

use super::{decode_entry, encode_entry};
use bytes::Bytes;

/// Checks that an entry that decodes is equal after it is encoded and decoded again. Returns `false` if the bytes are
/// not an entry.
pub(crate) fn fuzz_entry(bytes: &[u8]) -> bool {
    let Ok(first) = decode_entry(Bytes::copy_from_slice(bytes)) else { return false };
    let second = decode_entry(encode_entry(&first));
    assert!(second.is_ok_and(|second| second == first), "another entry is read back: {first:?}");
    true
}
