//! See [`crate::fuzzing`].

use super::{decode_entry, encode_entry};
use bytes::Bytes;

/// What is read is written in one form, and that form is read as the same.
pub(crate) fn entry(bytes: &[u8]) -> bool {
    let Ok(first) = decode_entry(Bytes::copy_from_slice(bytes)) else { return false };
    let second = decode_entry(encode_entry(&first));
    assert!(second.is_ok_and(|second| second == first), "another entry is read back: {first:?}");
    true
}
