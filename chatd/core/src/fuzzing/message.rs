//! Protobuf messages in general.

use bytes::Bytes;
use prost::Message;

/// Decodes a message and checks that it is encoded in one form, which decodes to the same message. Returns `true` if
/// the bytes are a message at all.
///
/// # Panics
/// Panics if another message is read back.
pub fn fuzz_protobuf<M: Message + Default + PartialEq>(bytes: &[u8]) -> bool {
    let Ok(first) = M::decode(Bytes::copy_from_slice(bytes)) else { return false };
    let written = first.encode_to_vec();
    assert_eq!(written.len(), first.encoded_len());
    let second = M::decode(Bytes::from(written.clone()));
    assert!(second.is_ok_and(|second| second == first), "another message is read back");
    true
}
