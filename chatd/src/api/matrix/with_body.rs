//! Requests together with the body they were read from, for endpoints whose bodies carry fields of the clients' own.

use bytes::Bytes;
use ruma::api::IncomingRequest;
use ruma::api::error::DeserializationError;

/// A request of ruma's type and its body, a JSON object or nothing.
pub(super) struct WithBody<T> {
    pub(super) request: T,
    pub(super) body: Bytes,
}

endpoint_of_inner!(WithBody);

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
