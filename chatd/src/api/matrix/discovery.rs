//! Endpoints that describe the server: versions, capabilities.

use super::context::MatrixContext;
use super::endpoint::EndpointRoutes;
use super::error::MatrixError;
use crate::service::CallerSession;
use ruma::RoomVersionId;
use ruma::api::client::discovery::get_capabilities::v3 as capabilities;
use ruma::api::client::discovery::get_supported_versions as versions;
use std::collections::BTreeMap;

/// Versions of the specification whose endpoints are served, as far as they are served at all.
const VERSIONS: [&str; 12] =
    ["r0.6.1", "v1.1", "v1.2", "v1.3", "v1.4", "v1.5", "v1.6", "v1.7", "v1.8", "v1.9", "v1.10", "v1.11"];

pub(super) fn discovery_routes(routes: EndpointRoutes) -> EndpointRoutes {
    routes
        .open("versions", |_context, _request: versions::Request| async {
            Ok(versions::Response::new(VERSIONS.map(String::from).to_vec()))
        })
        .with_session("capabilities", get_capabilities)
}

async fn get_capabilities(
    _context: MatrixContext,
    _session: CallerSession,
    _request: capabilities::Request,
) -> Result<capabilities::Response, MatrixError> {
    let mut all = capabilities::Capabilities::new();
    all.room_versions = capabilities::RoomVersionsCapability::new(
        RoomVersionId::V11,
        BTreeMap::from([(RoomVersionId::V11, capabilities::RoomVersionStability::Stable)]),
    );
    // Honest about what has no endpoint yet: clients hide the button.
    all.change_password = capabilities::ChangePasswordCapability::new(false);
    Ok(capabilities::Response::new(all))
}
