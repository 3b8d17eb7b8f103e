//! Requests as they came, for endpoints whose bodies the specification judges more closely than ruma's types do: the
//! handler reads the arguments of the path and the body itself.

use bytes::Bytes;
use ruma::api::IncomingRequest;
use ruma::api::error::DeserializationError;
use ruma::serde::Raw;
use std::marker::PhantomData;

/// A request to the endpoint of ruma's type `T`, which only gives method, paths and response.
pub(super) struct RawRequest<T> {
    /// Arguments of the path, in order.
    pub(super) arguments: Vec<String>,
    /// Body: a JSON object, `{}` if there was none.
    pub(super) body: Bytes,
    endpoint: PhantomData<fn() -> T>,
}

impl<T> RawRequest<T> {
    /// Returns the arguments of the path, if there are as many.
    pub(super) fn arguments<const N: usize>(&self) -> Option<[&str; N]> {
        let arguments: Vec<&str> = self.arguments.iter().map(String::as_str).collect();
        arguments.try_into().ok()
    }
}

endpoint_of_inner!(RawRequest);

impl<T: IncomingRequest> IncomingRequest for RawRequest<T> {
    type EndpointError = T::EndpointError;
    type OutgoingResponse = T::OutgoingResponse;

    fn try_from_http_request_inner(
        request: http::Request<&[u8]>,
        path_args: &[&str],
    ) -> Result<Self, DeserializationError> {
        let arguments = path_args.iter().map(|argument| (*argument).to_owned()).collect();
        Ok(Self { arguments, body: Bytes::copy_from_slice(request.body()), endpoint: PhantomData })
    }
}

/// Returns the JSON of a raw value as it was sent.
pub(super) fn raw_json<T>(raw: &Raw<T>) -> Bytes {
    Bytes::copy_from_slice(raw.json().get().as_bytes())
}
