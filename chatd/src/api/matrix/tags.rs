//! Endpoints for tags of rooms, and what may not be set as plain account data.

use super::account::check_own_account;
use super::admission::WithSession;
use super::context::MatrixContext;
use super::endpoint::EndpointRoutes;
use super::error::MatrixError;
use super::with_body::WithBody;
use crate::service::CallerSession;
use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use quorate_core::query::QueryError;
use ruma::api::client::tag::{create_tag, delete_tag, get_tags};
use serde_json::{Map, Value, json};

/// Type of the account data that holds the tags.
const TAG: &str = "m.tag";

pub(super) fn tag_routes(routes: EndpointRoutes) -> EndpointRoutes {
    routes
        .answering("tags_get", WithSession, list_tags)
        .with_session("tag_set", set_tag)
        .with_session("tag_delete", remove_tag)
}

/// Refuses types of account data that have endpoints of their own.
pub(super) fn check_settable(event_type: &str) -> Result<(), MatrixError> {
    let instead = match event_type {
        "m.fully_read" => "/rooms/{roomId}/read_markers",
        "m.push_rules" => "/pushrules",
        _ => return Ok(()),
    };
    let message = format!("{event_type} cannot be set as account data: use {instead}.");
    Err(MatrixError::new(StatusCode::METHOD_NOT_ALLOWED, "M_BAD_JSON", message))
}

/// Lists the tags as they are stored: ruma's type has no place for fields of the clients' own.
async fn list_tags(
    context: MatrixContext,
    session: CallerSession,
    request: get_tags::v3::Request,
) -> Result<Response, MatrixError> {
    check_own_account(&session, &request.user_id)?;
    let localpart = session.localpart.clone();
    let content = context
        .read(move |view| match view.resolve_room(request.room_id.as_str()) {
            // As in a room that exists: no tags of one's own.
            Err(QueryError::RoomNotFound) => Ok(None),
            room => view.account_data(&localpart, Some(room?), TAG),
        })
        .await?;
    let mut content: Map<String, Value> =
        content.and_then(|content| serde_json::from_slice(&content).ok()).unwrap_or_default();
    let tags = content.remove("tags").filter(Value::is_object).unwrap_or_else(|| json!({}));
    Ok(Json(json!({ "tags": tags })).into_response())
}

async fn set_tag(
    context: MatrixContext,
    session: CallerSession,
    call: WithBody<create_tag::v3::Request>,
) -> Result<create_tag::v3::Response, MatrixError> {
    let WithBody { request, body } = call;
    check_own_account(&session, &request.user_id)?;
    context.service.change_tag(&session, request.room_id.as_str(), &request.tag, Some(body)).await?;
    Ok(create_tag::v3::Response::new())
}

async fn remove_tag(
    context: MatrixContext,
    session: CallerSession,
    request: delete_tag::v3::Request,
) -> Result<delete_tag::v3::Response, MatrixError> {
    check_own_account(&session, &request.user_id)?;
    context.service.change_tag(&session, request.room_id.as_str(), &request.tag, None).await?;
    Ok(delete_tag::v3::Response::new())
}
