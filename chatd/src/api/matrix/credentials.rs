//! Endpoints for passwords, refresh tokens, and the end of an account.

use super::context::MatrixContext;
use super::endpoint::EndpointRoutes;
use super::error::MatrixError;
use super::interactive::authenticate_afresh;
use super::with_identifier::WithIdentifier;
use crate::service::CallerSession;
use ruma::api::client::account::ThirdPartyIdRemovalStatus;
use ruma::api::client::account::{change_password, deactivate};
use ruma::api::client::session::refresh_token;

pub(super) fn credential_routes(routes: EndpointRoutes) -> EndpointRoutes {
    routes
        .with_session("password_change", replace_password)
        .with_session("deactivate", close_account)
        .open("refresh", refresh_session)
}

async fn replace_password(
    context: MatrixContext,
    session: CallerSession,
    WithIdentifier(request): WithIdentifier<change_password::v3::Request>,
) -> Result<change_password::v3::Response, MatrixError> {
    let verified = authenticate_afresh(&context, &session, "POST account/password", request.auth).await?;
    let end_others = request.logout_devices;
    context.service.change_password(&session, verified, request.new_password, end_others, context.caller).await?;
    Ok(change_password::v3::Response::new())
}

async fn close_account(
    context: MatrixContext,
    session: CallerSession,
    WithIdentifier(request): WithIdentifier<deactivate::v3::Request>,
) -> Result<deactivate::v3::Response, MatrixError> {
    let verified = authenticate_afresh(&context, &session, "POST account/deactivate", request.auth).await?;
    context.service.deactivate(&session, verified, request.erase).await?;
    // There are no third-party identifiers that an identity server would have to be told of.
    Ok(deactivate::v3::Response::new(ThirdPartyIdRemovalStatus::NoSupport))
}

async fn refresh_session(
    context: MatrixContext,
    request: refresh_token::v3::Request,
) -> Result<refresh_token::v3::Response, MatrixError> {
    let tokens = context.service.refresh(&request.refresh_token, context.caller).await?;
    let mut response = refresh_token::v3::Response::new(tokens.access_token);
    response.refresh_token = Some(tokens.refresh_token);
    response.expires_in_ms = Some(tokens.expires_in);
    Ok(response)
}
