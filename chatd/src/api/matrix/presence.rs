//! Endpoints for presence.

use super::account::check_own_account;
use super::context::MatrixContext;
use super::endpoint::EndpointRoutes;
use super::error::MatrixError;
use crate::ephemeral::{PresenceLevel, PresenceStatus};
use crate::service::CallerSession;
use ruma::api::client::presence::{get_presence, set_presence};
use ruma::presence::PresenceState;
use std::time::Duration;

pub(super) fn presence_routes(routes: EndpointRoutes) -> EndpointRoutes {
    routes.with_session("presence_get", read_presence).with_session("presence_set", change_presence)
}

/// Converts a state of presence; `None` for one that is not of the specification.
pub(super) fn presence_level(state: &PresenceState) -> Option<PresenceLevel> {
    match state {
        PresenceState::Offline => Some(PresenceLevel::Offline),
        PresenceState::Unavailable => Some(PresenceLevel::Unavailable),
        PresenceState::Online => Some(PresenceLevel::Online),
        _ => None,
    }
}

/// Converts a level of presence to ruma's type.
pub(super) fn presence_state(level: PresenceLevel) -> PresenceState {
    match level {
        PresenceLevel::Offline => PresenceState::Offline,
        PresenceLevel::Unavailable => PresenceState::Unavailable,
        PresenceLevel::Online => PresenceState::Online,
    }
}

async fn read_presence(
    context: MatrixContext,
    session: CallerSession,
    request: get_presence::v3::Request,
) -> Result<get_presence::v3::Response, MatrixError> {
    let PresenceStatus { level, status, is_active, active_ago_ms } =
        context.service.presence_for(&session, request.user_id.as_str()).await?;
    let mut response = get_presence::v3::Response::new(presence_state(level));
    response.status_msg = status.map(|status| status.to_string());
    response.currently_active = (level == PresenceLevel::Online).then_some(is_active);
    response.last_active_ago = active_ago_ms.map(Duration::from_millis);
    Ok(response)
}

async fn change_presence(
    context: MatrixContext,
    session: CallerSession,
    request: set_presence::v3::Request,
) -> Result<set_presence::v3::Response, MatrixError> {
    check_own_account(&session, &request.user_id)?;
    let level = presence_level(&request.presence).ok_or_else(|| {
        MatrixError::invalid_param(format!("{} is not online, unavailable or offline.", request.presence))
    })?;
    context.service.set_presence(&session, level, request.status_msg.as_deref())?;
    Ok(set_presence::v3::Response::new())
}
