//! Endpoints that describe the server: versions, capabilities.

use super::admission::WithSession;
use super::context::MatrixContext;
use super::endpoint::EndpointRoutes;
use super::error::MatrixError;
use super::preview::version_id;
use crate::service::{CallerSession, RequestRefusal};
use axum::Json;
use axum::response::{IntoResponse as _, Response};
use quorate_core::room_version::RoomVersion;
use ruma::api::client::discovery::discover_homeserver as well_known;
use ruma::api::client::discovery::get_capabilities::v3 as capabilities;
use ruma::api::client::discovery::get_supported_versions as versions;
use serde_json::json;

/// Versions of the specification whose endpoints are served, as far as they are served at all.
const VERSIONS: [&str; 12] =
    ["r0.6.1", "v1.1", "v1.2", "v1.3", "v1.4", "v1.5", "v1.6", "v1.7", "v1.8", "v1.9", "v1.10", "v1.11"];

/// Proposals for the specification of which clients learn here that they are served.
const UNSTABLE_FEATURES: [&str; 2] = ["org.matrix.msc3874", "org.matrix.msc4222"];

pub(super) fn discovery_routes(routes: EndpointRoutes) -> EndpointRoutes {
    routes
        .open("versions", |_context, _request: versions::Request| async {
            let mut response = versions::Response::new(VERSIONS.map(String::from).to_vec());
            response.unstable_features = UNSTABLE_FEATURES.map(|feature| (feature.to_owned(), true)).into();
            Ok(response)
        })
        .open("well_known_client", describe_server)
        .answering("capabilities", WithSession, get_capabilities)
}

async fn describe_server(
    context: MatrixContext,
    _request: well_known::Request,
) -> Result<well_known::Response, MatrixError> {
    match &context.service.account_policy().base_url {
        Some(url) => Ok(well_known::Response::new(well_known::HomeserverInfo::new(url.clone()))),
        // Clients then try the server's name itself.
        None => Err(MatrixError::not_found("This server was not told its public address (`publicBaseUrl`).")),
    }
}

async fn get_capabilities(
    context: MatrixContext,
    session: CallerSession,
    _request: capabilities::Request,
) -> Result<Response, MatrixError> {
    let mut all = capabilities::Capabilities::new();
    all.room_versions = capabilities::RoomVersionsCapability::new(
        version_id(RoomVersion::default()),
        RoomVersion::ALL.map(|version| (version_id(version), capabilities::RoomVersionStability::Stable)).into(),
    );
    all.get_login_token = capabilities::GetLoginTokenCapability::new(true);
    // Honest about what has no endpoint: clients hide the button.
    all.thirdparty_id_changes = capabilities::ThirdPartyIdChangesCapability::new(false);
    all.profile_fields = Some(capabilities::ProfileFieldsCapability::new(true));
    let mut shown = serde_json::to_value(&all).map_err(|error| {
        tracing::error!(%error, "the capabilities could not be rendered");
        MatrixError::from(RequestRefusal::internal())
    })?;
    if let Some(shown) = shown.as_object_mut() {
        // ruma's type leaves out a capability that is as clients should assume; there are some that look for it.
        shown.insert("m.change_password".into(), json!({"enabled": true}));
        if context.service.is_administrator(&session).await? {
            shown.insert("m.account_moderation".into(), json!({"lock": true, "suspend": true}));
        }
    }
    Ok(Json(json!({"capabilities": shown})).into_response())
}
