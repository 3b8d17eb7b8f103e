//! Calls about accounts: `Register`, `Login`, `Logout`, `WhoAmI`.

use super::auth;
use crate::api::convert;
use crate::service::{ChatService, RegistrationApproval, RequestRefusal};
use quorate_wire::chat::v1::{
    LoginRequest, LogoutRequest, LogoutResponse, RegisterRequest, SessionResponse, WhoAmIRequest, WhoAmIResponse,
};
use tonic::Request;

pub(super) async fn register_account(
    s: &ChatService,
    request: Request<RegisterRequest>,
) -> Result<SessionResponse, RequestRefusal> {
    let caller = auth::caller_address(&request);
    let opened = s.register(request.into_inner().into(), caller, RegistrationApproval::None).await?;
    Ok(convert::session_to_wire(opened, s.server_name()))
}

pub(super) async fn log_in(s: &ChatService, request: Request<LoginRequest>) -> Result<SessionResponse, RequestRefusal> {
    let caller = auth::caller_address(&request);
    let opened = s.login(request.into_inner().into(), caller).await?;
    Ok(convert::session_to_wire(opened, s.server_name()))
}

pub(super) async fn log_out(
    s: &ChatService,
    request: Request<LogoutRequest>,
) -> Result<LogoutResponse, RequestRefusal> {
    let session = auth::caller_session(s, &request).await?;
    s.logout(&session, request.into_inner().all_devices).await?;
    Ok(LogoutResponse {})
}

pub(super) async fn who_am_i(
    s: &ChatService,
    request: Request<WhoAmIRequest>,
) -> Result<WhoAmIResponse, RequestRefusal> {
    let session = auth::caller_session(s, &request).await?;
    Ok(WhoAmIResponse {
        user_id: session.user_id,
        device_id: session.device_id,
        server_name: s.server_name().to_owned(),
    })
}
