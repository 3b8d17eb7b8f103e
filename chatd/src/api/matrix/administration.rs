//! Endpoints of administrators: who somebody is, and whether an account is locked or suspended.
//!
//! The caller's right is checked first, so that nobody else learns which accounts exist.

use super::account::user_id;
use super::admission::AsAdministrator;
use super::context::MatrixContext;
use super::endpoint::EndpointRoutes;
use super::error::MatrixError;
use crate::service::{Administrator, CallerSession};
use quorate_core::query::DeviceInfo;
use ruma::api::client::admin::get_user_info::v3 as whois;
use ruma::api::client::admin::{is_user_locked, is_user_suspended, lock_user, suspend_user};
use ruma::{MilliSecondsSinceUnixEpoch, UInt};

pub(super) fn administration_routes(routes: EndpointRoutes) -> EndpointRoutes {
    routes
        .with_session("admin_whois", describe_user)
        .admitting("admin_lock_get", AsAdministrator, show_lock)
        .admitting("admin_lock_set", AsAdministrator, set_lock)
        .admitting("admin_suspend_get", AsAdministrator, show_suspension)
        .admitting("admin_suspend_set", AsAdministrator, set_suspension)
}

async fn describe_user(
    context: MatrixContext,
    session: CallerSession,
    request: whois::Request,
) -> Result<whois::Response, MatrixError> {
    // Everybody may ask about themselves.
    if request.user_id.as_str() != session.user_id {
        context.service.require_administrator(&session).await?;
    }
    let localpart = context.service.parse_user(request.user_id.as_str())?;
    let details = context.service.account_details(localpart).await?;
    let mut response = whois::Response::new();
    response.user_id = Some(user_id(details.account.user_id)?);
    let with_session = details.devices.into_iter().filter(|device| device.has_session);
    response.devices = with_session.map(describe_device).collect();
    Ok(response)
}

/// Returns a device with its one session. The address is that of the login, or of the last extension of the session.
fn describe_device(device: DeviceInfo) -> (String, whois::DeviceInfo) {
    let mut connection = whois::ConnectionInfo::new();
    connection.ip = Some(device.seen_address).filter(|address| !address.is_empty());
    connection.last_seen =
        UInt::try_from(device.seen_ms).ok().filter(|_| device.seen_ms != 0).map(MilliSecondsSinceUnixEpoch);
    let mut session = whois::SessionInfo::new();
    session.connections.push(connection);
    let mut described = whois::DeviceInfo::new();
    described.sessions.push(session);
    (device.device_id, described)
}

async fn show_lock(
    context: MatrixContext,
    by: Administrator,
    request: is_user_locked::v1::Request,
) -> Result<is_user_locked::v1::Response, MatrixError> {
    let localpart = context.service.parse_user(request.user_id.as_str())?;
    let account = context.service.open_account(&by, &localpart).await?;
    Ok(is_user_locked::v1::Response::new(account.standing.locked))
}

async fn set_lock(
    context: MatrixContext,
    by: Administrator,
    request: lock_user::v1::Request,
) -> Result<lock_user::v1::Response, MatrixError> {
    let localpart = context.service.parse_user(request.user_id.as_str())?;
    let account = context.service.set_standing(&by, &localpart, Some(request.locked), None).await?;
    Ok(lock_user::v1::Response::new(account.standing.locked))
}

async fn show_suspension(
    context: MatrixContext,
    by: Administrator,
    request: is_user_suspended::v1::Request,
) -> Result<is_user_suspended::v1::Response, MatrixError> {
    let localpart = context.service.parse_user(request.user_id.as_str())?;
    let account = context.service.open_account(&by, &localpart).await?;
    Ok(is_user_suspended::v1::Response::new(account.standing.suspended))
}

async fn set_suspension(
    context: MatrixContext,
    by: Administrator,
    request: suspend_user::v1::Request,
) -> Result<suspend_user::v1::Response, MatrixError> {
    let localpart = context.service.parse_user(request.user_id.as_str())?;
    let account = context.service.set_standing(&by, &localpart, None, Some(request.suspended)).await?;
    Ok(suspend_user::v1::Response::new(account.standing.suspended))
}
