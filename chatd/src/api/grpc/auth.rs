//! The caller of a gRPC request.

use crate::api::caller::CallerAddress;
use crate::service::{Code, Refusal, Service, Session};
use std::net::IpAddr;
use tonic::Request;
use tonic::metadata::MetadataMap;

/// The access token of `authorization: Bearer <token>`.
#[must_use]
pub fn bearer(metadata: &MetadataMap) -> Option<&str> {
    let value = metadata.get("authorization")?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
}

/// The address of a request's caller, as limits count it.
pub(super) fn caller<T>(request: &Request<T>) -> IpAddr {
    let named = request.extensions().get::<CallerAddress>().copied();
    let peer = || request.remote_addr().map(|address| CallerAddress::counted(address.ip()));
    named.or_else(peer).unwrap_or(CallerAddress::UNKNOWN).0
}

/// The session of a request.
///
/// # Errors
/// [`Code::Unauthenticated`] without a token, and as [`Service::authenticate`].
pub(super) async fn session<T>(service: &Service, request: &Request<T>) -> Result<Session, Refusal> {
    let token = bearer(request.metadata()).map(str::to_owned).ok_or_else(|| {
        Refusal::new(Code::Unauthenticated, "no access token: log in and send `authorization: Bearer <token>`")
    })?;
    service.authenticate(&token).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_bearer_token_is_taken() {
        let token = |value: &'static str| {
            let mut metadata = MetadataMap::new();
            metadata.insert("authorization", value.parse().unwrap());
            bearer(&metadata).map(str::to_owned)
        };
        assert_eq!(token("Bearer abc").as_deref(), Some("abc"));
        assert_eq!(token("bearer abc").as_deref(), Some("abc"));
        assert_eq!(token("Basic abc"), None);
        assert_eq!(token("abc"), None);
        assert_eq!(bearer(&MetadataMap::new()), None);
    }
}
