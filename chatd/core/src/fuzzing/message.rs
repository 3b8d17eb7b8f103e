//! Protobuf.

use bytes::Bytes;
use prost::Message;

/// What is read is written in one form, and that form is read as the same. Whether it is read at all.
///
/// # Panics
/// When it is not.
pub fn stable<M: Message + Default + PartialEq>(bytes: &[u8]) -> bool {
    let Ok(first) = M::decode(Bytes::copy_from_slice(bytes)) else { return false };
    let written = first.encode_to_vec();
    assert_eq!(written.len(), first.encoded_len());
    let second = M::decode(Bytes::from(written.clone()));
    assert!(second.is_ok_and(|second| second == first), "another message is read back");
    true
}
