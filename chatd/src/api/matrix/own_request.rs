//! Requests to endpoints that ruma does not have.

use ruma::api::auth_scheme::NoAuthentication;
use ruma::api::error::{DeserializationError, Error};
use ruma::api::path_builder::SinglePath;
use ruma::api::{IncomingRequest, Metadata};

/// Endpoint that ruma does not have, as the type of what is read from its requests.
pub(super) trait OwnEndpoint: Sized {
    const METHOD: http::Method;
    /// Path, with the names of its arguments in braces.
    const PATH: &'static str;

    /// Reads a request; `arguments` are those of the path, in order.
    fn read(request: &http::Request<&[u8]>, arguments: &[&str]) -> Result<Self, DeserializationError>;
}

/// A request to an endpoint that ruma does not have.
pub(super) struct OwnRequest<T>(pub(super) T);

impl<T: OwnEndpoint> Metadata for OwnRequest<T> {
    const METHOD: http::Method = T::METHOD;
    // This and the next are for clients. The limits are those of the commands, and the routes say who is admitted.
    const RATE_LIMITED: bool = false;
    type Authentication = NoAuthentication;
    type PathBuilder = SinglePath;
    const PATH_BUILDER: SinglePath = SinglePath::new(T::PATH);
}

impl<T: OwnEndpoint> IncomingRequest for OwnRequest<T> {
    type EndpointError = Error;
    // Never made: the handlers render their answers.
    type OutgoingResponse = Error;

    fn try_from_http_request_inner(
        request: http::Request<&[u8]>,
        path_args: &[&str],
    ) -> Result<Self, DeserializationError> {
        T::read(&request, path_args).map(Self)
    }
}
