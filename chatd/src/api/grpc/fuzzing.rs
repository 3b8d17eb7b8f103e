//! Fuzzed decoders of the gRPC API; see [`crate::fuzzing`].

use super::reads::PageToken;

/// Parses a page token, and checks that its number is that of its digits. Returns `true` if the token is valid.
pub(crate) fn check_page_token(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    let Ok(page) = PageToken::parse(text) else { return false };
    let last = match page {
        PageToken::Mine(last) | PageToken::Public(last) => last,
    };
    let digits = text.get(1..).unwrap_or_default();
    assert_eq!(last.map(|room| room.0), digits.parse().ok(), "{text}");
    true
}
