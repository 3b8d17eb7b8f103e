//! See [`crate::fuzzing`].

use super::body::Messages;

/// The lengths of gRPC messages in a body, which comes in pieces of as many bytes as the first byte says: they end where
/// they would if it came whole. Whether the body ends with a message.
pub(crate) fn messages(bytes: &[u8]) -> bool {
    let Some((size, body)) = bytes.split_first() else { return false };
    let (mut whole, mut pieces) = (Messages::default(), Messages::default());
    whole.advance(body);
    for piece in body.chunks(usize::from(*size).max(1)) {
        pieces.advance(piece);
    }
    assert_eq!(whole, pieces);
    whole.is_between()
}
