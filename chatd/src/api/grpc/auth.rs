//! Caller of a gRPC request: token, session and address.

use crate::api::bearer;
use crate::caller::CallerAddress;
use crate::service::{CallerSession, ChatService, RefusalCode, RequestRefusal};
use std::net::IpAddr;
use tonic::Request;
use tonic::metadata::MetadataMap;

/// Returns the access token of `authorization: Bearer <token>`.
#[must_use]
pub fn bearer_token(metadata: &MetadataMap) -> Option<&str> {
    bearer::bearer_token(metadata.get("authorization")?.to_str().ok()?)
}

/// Returns the address of a request's caller, as limits count it.
pub(super) fn caller_address<T>(request: &Request<T>) -> IpAddr {
    let named = request.extensions().get::<CallerAddress>().copied();
    let peer = || request.remote_addr().map(|address| CallerAddress::counted(address.ip()));
    named.or_else(peer).unwrap_or(CallerAddress::UNKNOWN).0
}

/// Returns the session of a request.
///
/// # Errors
/// [`RefusalCode::Unauthenticated`] without a token, and the refusals of [`ChatService::authenticate`].
pub(super) async fn caller_session<T>(
    service: &ChatService,
    request: &Request<T>,
) -> Result<CallerSession, RequestRefusal> {
    // The gate has looked the session up already, before it read the request.
    if let Some(GateSession(known)) = request.extensions().get() {
        return known.clone();
    }
    authenticate_token(service, bearer_token(request.metadata()), false).await
}

/// Session or refusal that the gate found for a caller, in the extensions of the request.
#[derive(Clone)]
pub(super) struct GateSession(pub(super) Result<CallerSession, RequestRefusal>);

/// Returns the session of a token; of a locked account only if `even_locked`.
pub(super) async fn authenticate_token(
    service: &ChatService,
    token: Option<&str>,
    even_locked: bool,
) -> Result<CallerSession, RequestRefusal> {
    let token = token.ok_or_else(|| {
        RequestRefusal::new(
            RefusalCode::Unauthenticated,
            "no access token: log in and send `authorization: Bearer <token>`",
        )
    })?;
    if even_locked { service.authenticate_even_locked(token).await } else { service.authenticate(token).await }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_bearer_token_is_taken() {
        let token = |value: &'static str| {
            let mut metadata = MetadataMap::new();
            metadata.insert("authorization", value.parse().unwrap());
            bearer_token(&metadata).map(str::to_owned)
        };
        assert_eq!(token("Bearer abc").as_deref(), Some("abc"));
        assert_eq!(token("bearer abc").as_deref(), Some("abc"));
        assert_eq!(token("Basic abc"), None);
        assert_eq!(token("abc"), None);
        assert_eq!(bearer_token(&MetadataMap::new()), None);
    }
}
