//! Access token in the header `Authorization`, as both APIs read it.

/// Returns the token of a header's value `Bearer <token>`; `None` for another scheme.
pub(crate) fn bearer_token(value: &str) -> Option<&str> {
    let (scheme, token) = value.split_once(' ')?;
    // Schemes are case-insensitive (RFC 9110, section 11.1).
    scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_bearer_token_is_taken_however_its_scheme_is_written() {
        for good in ["Bearer abc", "bearer abc", "BEARER abc", "bEaReR   abc "] {
            assert_eq!(bearer_token(good), Some("abc"), "{good}");
        }
        for bad in ["", "abc", "Basic abc", "Bearer", "Bearerabc", " Bearer abc", "Bearer\tabc"] {
            assert_eq!(bearer_token(bad), None, "{bad}");
        }
    }
}
