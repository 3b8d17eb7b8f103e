//! Requests for pages of events whose direction may be left out.

use ruma::api::IncomingRequest;
use ruma::api::error::DeserializationError;

/// A request with the argument `dir`, which is forward if the client does not say. The specification requires it, but
/// other homeservers take requests without it: whether the caller may see the room comes first.
pub(super) struct WithDirection<T>(pub(super) T);

endpoint_of_inner!(WithDirection);

impl<T: IncomingRequest> IncomingRequest for WithDirection<T> {
    type EndpointError = T::EndpointError;
    type OutgoingResponse = T::OutgoingResponse;

    fn try_from_http_request_inner(
        mut request: http::Request<&[u8]>,
        path_args: &[&str],
    ) -> Result<Self, DeserializationError> {
        if let Some(uri) = forward(request.uri()) {
            *request.uri_mut() = uri;
        }
        T::try_from_http_request_inner(request, path_args).map(Self)
    }
}

/// Returns the address with a direction; `None` if it has one, or is too long for another argument.
fn forward(uri: &http::Uri) -> Option<http::Uri> {
    let query = uri.query().unwrap_or_default();
    let has_direction = query.split('&').any(|pair| pair == "dir" || pair.starts_with("dir="));
    if has_direction { None } else { format!("{}?{query}&dir=f", uri.path()).parse().ok() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_direction_is_added_where_there_is_none() {
        let query = |uri: &str| forward(&uri.parse().unwrap()).map(|uri| uri.query().unwrap_or_default().to_owned());
        assert_eq!(query("/rooms/r/messages").as_deref(), Some("&dir=f"));
        assert_eq!(query("http://a.org/rooms/r/messages?from=x").as_deref(), Some("from=x&dir=f"));
        assert_eq!((query("/r?dir=b"), query("/r?from=x&dir=")), (None, None));
    }
}
