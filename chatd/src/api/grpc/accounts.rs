//! Calls about accounts: `Register`, `Login`, `Logout`, `WhoAmI`.

use super::auth;
use crate::api::convert;
use crate::service::{Refusal, Service};
use quorate_wire::chat::v1::{
    LoginRequest, LogoutRequest, LogoutResponse, RegisterRequest, SessionResponse, WhoAmIRequest, WhoAmIResponse,
};
use tonic::Request;

pub(super) async fn register(s: &Service, request: Request<RegisterRequest>) -> Result<SessionResponse, Refusal> {
    let caller = auth::caller(&request);
    let opened = s.register(request.into_inner().into(), caller).await?;
    Ok(convert::session(opened, s.server_name()))
}

pub(super) async fn login(s: &Service, request: Request<LoginRequest>) -> Result<SessionResponse, Refusal> {
    let caller = auth::caller(&request);
    let opened = s.login(request.into_inner().into(), caller).await?;
    Ok(convert::session(opened, s.server_name()))
}

pub(super) async fn logout(s: &Service, request: Request<LogoutRequest>) -> Result<LogoutResponse, Refusal> {
    let session = auth::session(s, &request).await?;
    s.logout(&session, request.into_inner().all_devices).await?;
    Ok(LogoutResponse {})
}

pub(super) async fn who_am_i(s: &Service, request: Request<WhoAmIRequest>) -> Result<WhoAmIResponse, Refusal> {
    let session = auth::session(s, &request).await?;
    Ok(WhoAmIResponse {
        user_id: session.user_id,
        device_id: session.device_id,
        server_name: s.server_name().to_owned(),
    })
}
