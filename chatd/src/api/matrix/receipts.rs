//! Endpoints that say how far a user has read.

use super::context::MatrixContext;
use super::endpoint::EndpointRoutes;
use super::error::MatrixError;
use super::raw_request::RawRequest;
use crate::service::CallerSession;
use quorate_core::proto::log::SetReceipts;
use ruma::api::client::read_marker::set_read_marker;
use ruma::api::client::receipt::create_receipt;
use serde_json::{Map, Value};

pub(super) fn receipt_routes(routes: EndpointRoutes) -> EndpointRoutes {
    routes.with_session("receipt", set_receipt).with_session("read_markers", set_markers)
}

async fn set_receipt(
    context: MatrixContext,
    session: CallerSession,
    request: RawRequest<create_receipt::v3::Request>,
) -> Result<create_receipt::v3::Response, MatrixError> {
    let Some([room_id, receipt_type, event_id]) = request.arguments() else {
        return Err(MatrixError::unrecognized());
    };
    // ruma reads a thread that is no string as a body that is no JSON; the specification has another code for it.
    let body: Map<String, Value> = serde_json::from_slice(&request.body)
        .map_err(|error| MatrixError::bad_json(format!("The body must be a JSON object: {error}.")))?;
    let thread_id = match body.get("thread_id") {
        None => String::new(),
        Some(Value::String(thread_id)) if !thread_id.is_empty() => thread_id.clone(),
        Some(_) => return Err(MatrixError::invalid_param("The field thread_id must be a non-empty string.")),
    };
    if !event_id.starts_with('$') {
        return Err(MatrixError::invalid_param("An event id begins with $."));
    }
    let mut receipts = SetReceipts { room_id: room_id.into(), thread_id, ..SetReceipts::default() };
    match receipt_type {
        "m.read" => receipts.read = event_id.into(),
        "m.read.private" => receipts.read_private = event_id.into(),
        "m.fully_read" => receipts.fully_read = event_id.into(),
        _ => {
            let message = "The type of a receipt is m.read, m.read.private or m.fully_read.";
            return Err(MatrixError::invalid_param(message));
        }
    }
    context.service.set_receipts(&session, receipts).await?;
    Ok(create_receipt::v3::Response::new())
}

async fn set_markers(
    context: MatrixContext,
    session: CallerSession,
    request: set_read_marker::v3::Request,
) -> Result<set_read_marker::v3::Response, MatrixError> {
    let text = |event_id: Option<ruma::OwnedEventId>| event_id.map(String::from).unwrap_or_default();
    let receipts = SetReceipts {
        room_id: request.room_id.to_string(),
        read: text(request.read_receipt),
        read_private: text(request.private_read_receipt),
        fully_read: text(request.fully_read),
        thread_id: String::new(),
    };
    context.service.set_receipts(&session, receipts).await?;
    Ok(set_read_marker::v3::Response::new())
}
