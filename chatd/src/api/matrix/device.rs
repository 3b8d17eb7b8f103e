//! Endpoints for the caller's devices.

use super::context::MatrixContext;
use super::endpoint::EndpointRoutes;
use super::error::MatrixError;
use super::interactive::authenticate_unless_recent;
use super::with_identifier::WithIdentifier;
use crate::service::CallerSession;
use quorate_core::query::DeviceInfo;
use ruma::api::client::device::{self, delete_device, delete_devices, get_device, get_devices, update_device};
use ruma::{MilliSecondsSinceUnixEpoch, OwnedDeviceId, UInt};

pub(super) fn device_routes(routes: EndpointRoutes) -> EndpointRoutes {
    routes
        .with_session("devices", list_devices)
        .with_session("device_get", show_device)
        .with_session("device_set", rename_device)
        .with_session("device_delete", remove_device)
        .with_session("devices_delete", remove_devices)
}

fn to_device(info: DeviceInfo) -> device::Device {
    let mut device = device::Device::new(info.device_id.into());
    device.display_name = Some(info.display_name).filter(|name| !name.is_empty());
    device.last_seen_ip = Some(info.seen_address).filter(|address| !address.is_empty());
    let seen = Some(info.seen_ms).filter(|seen_ms| *seen_ms > 0).and_then(|seen_ms| UInt::try_from(seen_ms).ok());
    device.last_seen_ts = seen.map(MilliSecondsSinceUnixEpoch);
    device
}

async fn list_devices(
    context: MatrixContext,
    session: CallerSession,
    _request: get_devices::v3::Request,
) -> Result<get_devices::v3::Response, MatrixError> {
    let devices = context.read(move |view| view.devices(&session.localpart)).await?;
    Ok(get_devices::v3::Response::new(devices.into_iter().map(to_device).collect()))
}

async fn show_device(
    context: MatrixContext,
    session: CallerSession,
    request: get_device::v3::Request,
) -> Result<get_device::v3::Response, MatrixError> {
    let device_id = request.device_id.to_string();
    let found = context.read(move |view| view.device(&session.localpart, &device_id)).await?;
    let found = found.ok_or_else(|| MatrixError::not_found("You have no such device."))?;
    Ok(get_device::v3::Response::new(to_device(found)))
}

async fn rename_device(
    context: MatrixContext,
    session: CallerSession,
    request: update_device::v3::Request,
) -> Result<update_device::v3::Response, MatrixError> {
    match request.display_name {
        Some(name) => context.service.name_device(&session, request.device_id.to_string(), name).await?,
        // Nothing to change, but only of a device that is there.
        None => {
            let device_id = request.device_id.to_string();
            let found = context.read(move |view| view.device(&session.localpart, &device_id)).await?;
            found.ok_or_else(|| MatrixError::not_found("You have no such device."))?;
        }
    }
    Ok(update_device::v3::Response::new())
}

async fn remove_device(
    context: MatrixContext,
    session: CallerSession,
    WithIdentifier(request): WithIdentifier<delete_device::v3::Request>,
) -> Result<delete_device::v3::Response, MatrixError> {
    let operation = format!("DELETE devices/{}", request.device_id);
    authenticate_unless_recent(&context, &session, &operation, request.auth).await?;
    context.service.remove_devices(&session, vec![request.device_id.to_string()]).await?;
    Ok(delete_device::v3::Response::new())
}

async fn remove_devices(
    context: MatrixContext,
    session: CallerSession,
    WithIdentifier(request): WithIdentifier<delete_devices::v3::Request>,
) -> Result<delete_devices::v3::Response, MatrixError> {
    let mut device_ids: Vec<String> = request.devices.iter().map(OwnedDeviceId::to_string).collect();
    device_ids.sort_unstable();
    device_ids.dedup();
    // Each id is quoted, so that no two lists look alike.
    let operation = format!("POST delete_devices {device_ids:?}");
    authenticate_unless_recent(&context, &session, &operation, request.auth).await?;
    context.service.remove_devices(&session, device_ids).await?;
    Ok(delete_devices::v3::Response::new())
}
