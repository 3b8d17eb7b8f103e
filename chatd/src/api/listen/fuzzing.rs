//! Fuzzed decoders of the client listeners; see [`crate::fuzzing`].

use super::body::GrpcFraming;

/// Finds the lengths of gRPC messages in a body that comes in pieces of as many bytes as the first byte says, and
/// checks that they end where they would if the body came whole. Returns `true` if the body ends with a message.
pub(crate) fn check_grpc_framing(bytes: &[u8]) -> bool {
    let Some((size, body)) = bytes.split_first() else { return false };
    let mut whole = GrpcFraming::default();
    let mut pieces = GrpcFraming::default();
    whole.advance(body);
    for piece in body.chunks(usize::from(*size).max(1)) {
        pieces.advance(piece);
    }
    assert_eq!(whole, pieces);
    whole.is_between()
}
