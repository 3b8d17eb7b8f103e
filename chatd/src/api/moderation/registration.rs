//! Calls about registration tokens.

use super::page_size;
use crate::service::{Administrator, ChatService, RequestRefusal, limits};
use quorate_core::proto::log::PutRegistrationToken;
use quorate_core::query::RegistrationTokenInfo;
use quorate_wire::admin::v1 as pb;

pub(super) async fn list_tokens(
    service: &ChatService,
    request: pb::ListRegistrationTokensRequest,
) -> Result<pb::ListRegistrationTokensResponse, RequestRefusal> {
    limits::optional_name("from", &request.from)?;
    let from = Some(request.from).filter(|from| !from.is_empty());
    let limit = page_size(request.limit);
    let tokens = service.registration_tokens(from, limit).await?;
    // A page that is not full is the last one.
    let next = tokens.last().filter(|_| tokens.len() >= limit).map(|last| last.token.clone());
    Ok(pb::ListRegistrationTokensResponse {
        tokens: tokens.into_iter().map(token_to_pb).collect(),
        next: next.unwrap_or_default(),
    })
}

pub(super) async fn put_token(
    service: &ChatService,
    by: &Administrator,
    request: pb::PutRegistrationTokenRequest,
) -> Result<pb::PutRegistrationTokenResponse, RequestRefusal> {
    let pb::PutRegistrationTokenRequest { token, uses_allowed, expires_ms } = request;
    let made = service.put_registration_token(by, PutRegistrationToken { token, uses_allowed, expires_ms }).await?;
    Ok(pb::PutRegistrationTokenResponse { token: Some(token_to_pb(made)) })
}

pub(super) async fn delete_token(
    service: &ChatService,
    by: &Administrator,
    request: pb::DeleteRegistrationTokenRequest,
) -> Result<pb::DeleteRegistrationTokenResponse, RequestRefusal> {
    service.delete_registration_token(by, request.token).await?;
    Ok(pb::DeleteRegistrationTokenResponse {})
}

fn token_to_pb(token: RegistrationTokenInfo) -> pb::RegistrationToken {
    let RegistrationTokenInfo { token, uses_allowed, used, expires_ms, created_ms } = token;
    pb::RegistrationToken { token, uses_allowed, used, expires_ms, created_ms }
}
