//! Requests together with the query they were read from, for arguments of which ruma's types keep only a part.

use ruma::api::IncomingRequest;
use ruma::api::error::DeserializationError;

/// A request of ruma's type, and its query as it came.
pub(super) struct WithQuery<T> {
    pub(super) request: T,
    query: String,
}

endpoint_of_inner!(WithQuery);

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
    /// Returns the request alone.
    pub(super) fn into_request(self) -> T {
        self.request
    }

    /// Returns the value of an argument, decoded; `None` if it is not there.
    pub(super) fn argument(&self, name: &str) -> Option<String> {
        let mut pairs = form_urlencoded::parse(self.query.as_bytes());
        pairs.find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_argument_is_decoded_and_what_is_no_escape_stays() {
        let call = WithQuery { request: (), query: "a=1&fil%74er=%7B%22a+b%22%3A%2%zz%+1%7d&b".into() };
        assert_eq!(call.argument("filter").unwrap(), r#"{"a b":%2%zz% 1}"#);
        assert_eq!(
            (call.argument("a"), call.argument("b"), call.argument("c")),
            (Some("1".to_owned()), Some(String::new()), None)
        );
    }
}
