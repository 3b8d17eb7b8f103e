//! Calls about accounts.

use super::page_size;
use crate::service::{AccountDetails, Administrator, ChatService, RequestRefusal, limits};
use quorate_core::query::{DeviceInfo, ListedAccount};
use quorate_wire::admin::v1 as pb;

pub(super) async fn list_users(
    service: &ChatService,
    request: pb::ListUsersRequest,
) -> Result<pb::ListUsersResponse, RequestRefusal> {
    limits::check_text("search", &request.search)?;
    limits::optional_name("from", &request.from)?;
    let from = Some(request.from).filter(|from| !from.is_empty());
    let page = service.list_accounts(request.search, from, page_size(request.limit)).await?;
    Ok(pb::ListUsersResponse {
        users: page.accounts.into_iter().map(account_to_pb).collect(),
        next: page.next.unwrap_or_default(),
    })
}

pub(super) async fn get_user(
    service: &ChatService,
    request: pb::GetUserRequest,
) -> Result<pb::GetUserResponse, RequestRefusal> {
    let localpart = service.parse_user(&request.user)?;
    let AccountDetails { account, devices, joined_rooms } = service.account_details(localpart).await?;
    Ok(pb::GetUserResponse {
        user: Some(account_to_pb(account)),
        devices: devices.into_iter().map(device_to_pb).collect(),
        joined_rooms: u32::try_from(joined_rooms).unwrap_or(u32::MAX),
    })
}

pub(super) async fn set_standing(
    service: &ChatService,
    by: &Administrator,
    request: pb::SetUserStandingRequest,
) -> Result<pb::SetUserStandingResponse, RequestRefusal> {
    let localpart = service.parse_user(&request.user)?;
    let account = service.set_standing(by, &localpart, request.locked, request.suspended).await?;
    Ok(pb::SetUserStandingResponse { user: Some(account_to_pb(account)) })
}

pub(super) async fn reset_password(
    service: &ChatService,
    by: &Administrator,
    request: pb::ResetPasswordRequest,
) -> Result<pb::ResetPasswordResponse, RequestRefusal> {
    let localpart = service.parse_user(&request.user)?;
    service.reset_password(by, &localpart, request.new_password, !request.keep_sessions).await?;
    Ok(pb::ResetPasswordResponse {})
}

pub(super) async fn deactivate_user(
    service: &ChatService,
    by: &Administrator,
    request: pb::DeactivateUserRequest,
) -> Result<pb::DeactivateUserResponse, RequestRefusal> {
    let localpart = service.parse_user(&request.user)?;
    let more = service.close_account(by, &localpart, request.erase).await?;
    Ok(pb::DeactivateUserResponse { more })
}

fn account_to_pb(account: ListedAccount) -> pb::UserAccount {
    let ListedAccount { localpart: _, user_id, display_name, created_ms, administrator, deactivated, standing } =
        account;
    pb::UserAccount {
        user_id,
        display_name,
        created_ms,
        administrator,
        deactivated,
        locked: standing.locked,
        suspended: standing.suspended,
    }
}

fn device_to_pb(device: DeviceInfo) -> pb::UserDevice {
    let DeviceInfo { device_id, display_name, created_ms: _, expires_ms, seen_ms, seen_address, has_session: _ } =
        device;
    pb::UserDevice { device_id, display_name, seen_ms, seen_address, expires_ms }
}
