//! Endpoints about what this server has none of. Clients ask for it when they start, and take an error for a fault.

use super::admission::WithSession;
use super::context::MatrixContext;
use super::endpoint::EndpointRoutes;
use super::error::MatrixError;
use crate::service::CallerSession;
use axum::Json;
use axum::response::{IntoResponse as _, Response};
use ruma::api::client::account::get_3pids::v3 as contacts;
use ruma::api::client::thirdparty::get_protocols::v3 as protocols;
use ruma::api::client::voip::get_turn_server_info::v3 as turn_server;
use serde_json::json;
use std::collections::BTreeMap;

pub(super) fn empty_answer_routes(routes: EndpointRoutes) -> EndpointRoutes {
    routes
        .answering("third_party_ids", WithSession, list_contacts)
        .with_session("thirdparty_protocols", list_protocols)
        .answering("turn_server", WithSession, describe_turn_server)
}

/// Returns the e-mail addresses and phone numbers of an account: accounts have none.
async fn list_contacts(
    _context: MatrixContext,
    _session: CallerSession,
    _request: contacts::Request,
) -> Result<Response, MatrixError> {
    // Ruma leaves out an empty list, which clients go through.
    Ok(Json(json!({"threepids": []})).into_response())
}

async fn list_protocols(
    _context: MatrixContext,
    _session: CallerSession,
    _request: protocols::Request,
) -> Result<protocols::Response, MatrixError> {
    Ok(protocols::Response::new(BTreeMap::new()))
}

/// Returns credentials for TURN: there is no such server.
async fn describe_turn_server(
    _context: MatrixContext,
    _session: CallerSession,
    _request: turn_server::Request,
) -> Result<Response, MatrixError> {
    // The specification does not say how a server without TURN answers. This is what Synapse does; an empty list of
    // addresses would be an error to browsers.
    Ok(Json(json!({})).into_response())
}
