//! Requests together with the query they were read from, for arguments of which ruma's types keep only a part.

use ruma::api::error::DeserializationError;
use ruma::api::{IncomingRequest, Metadata};

/// A request of ruma's type, and its query as it came.
pub(super) struct WithQuery<T> {
    pub(super) request: T,
    query: String,
}

impl<T: Metadata> Metadata for WithQuery<T> {
    const METHOD: http::Method = T::METHOD;
    const RATE_LIMITED: bool = T::RATE_LIMITED;
    type Authentication = T::Authentication;
    type PathBuilder = T::PathBuilder;
    const PATH_BUILDER: T::PathBuilder = T::PATH_BUILDER;
}

impl<T: IncomingRequest> IncomingRequest for WithQuery<T> {
    type EndpointError = T::EndpointError;
    type OutgoingResponse = T::OutgoingResponse;

    fn try_from_http_request_inner(
        request: http::Request<&[u8]>,
        path_args: &[&str],
    ) -> Result<Self, DeserializationError> {
        let query = request.uri().query().unwrap_or_default().to_owned();
        Ok(Self { request: T::try_from_http_request_inner(request, path_args)?, query })
    }
}

impl<T> WithQuery<T> {
    /// Returns the value of an argument, decoded; `None` if it is not there.
    pub(super) fn argument(&self, name: &str) -> Option<Vec<u8>> {
        let mut pairs = self.query.split('&').filter_map(|pair| pair.split_once('='));
        pairs.find(|(key, _)| decoded_text(key) == name.as_bytes()).map(|(_, value)| decoded_text(value))
    }
}

/// Decodes a form's text (WHATWG URL Standard, "application/x-www-form-urlencoded parsing").
fn decoded_text(text: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        match byte {
            b'+' => out.push(b' '),
            b'%' => match after.split_first_chunk::<2>().and_then(|(digits, _)| hex_byte(*digits)) {
                Some(decoded) => {
                    out.push(decoded);
                    rest = after.get(2..).unwrap_or_default();
                }
                None => out.push(b'%'),
            },
            other => out.push(*other),
        }
    }
    out
}

fn hex_byte(digits: [u8; 2]) -> Option<u8> {
    // `from_str_radix` would accept a sign.
    let digits = digits.iter().all(u8::is_ascii_hexdigit).then_some(digits)?;
    u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_argument_is_decoded_and_what_is_no_escape_stays() {
        let call = WithQuery { request: (), query: "a=1&fil%74er=%7B%22a+b%22%3A%2%zz%+1%7d&b".into() };
        assert_eq!(call.argument("filter").unwrap(), br#"{"a b":%2%zz% 1}"#);
        assert_eq!((call.argument("a"), call.argument("b"), call.argument("c")), (Some(b"1".to_vec()), None, None));
    }
}
