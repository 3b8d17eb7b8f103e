//! Requests together with the body they were read from, for endpoints whose bodies carry fields of the clients' own.

use bytes::Bytes;
use ruma::api::error::DeserializationError;
use ruma::api::{IncomingRequest, Metadata};

/// A request of ruma's type and its body, a JSON object or nothing.
pub(super) struct WithBody<T> {
    pub(super) request: T,
    pub(super) body: Bytes,
}

impl<T: Metadata> Metadata for WithBody<T> {
    const METHOD: http::Method = T::METHOD;
    const RATE_LIMITED: bool = T::RATE_LIMITED;
    type Authentication = T::Authentication;
    type PathBuilder = T::PathBuilder;
    const PATH_BUILDER: T::PathBuilder = T::PATH_BUILDER;
}

impl<T: IncomingRequest> IncomingRequest for WithBody<T> {
    type EndpointError = T::EndpointError;
    type OutgoingResponse = T::OutgoingResponse;

    fn try_from_http_request_inner(
        request: http::Request<&[u8]>,
        path_args: &[&str],
    ) -> Result<Self, DeserializationError> {
        let body = Bytes::copy_from_slice(request.body());
        Ok(Self { request: T::try_from_http_request_inner(request, path_args)?, body })
    }
}
