//! Endpoints for the caller's dehydrated device (MSC3814), under their unstable paths. `versions` does not name them:
//! clients find out by asking for the device, as the proposal has no name for that.

use super::admission::WithSession;
use super::context::MatrixContext;
use super::endpoint::EndpointRoutes;
use super::error::MatrixError;
use super::keys::{key_inputs, to_raw};
use super::own_request::{OwnEndpoint, OwnRequest};
use super::raw_request::raw_json;
use super::to_device::render_device_messages;
use crate::service::{CallerSession, limits};
use axum::Json;
use axum::response::{IntoResponse as _, Response};
use quorate_core::id;
use quorate_core::proto::log::PutDehydratedDevice;
use quorate_core::query::{DehydratedMessages, MAX_QUEUED_MESSAGES, StateView};
use ruma::api::client::dehydrated_device::{
    delete_dehydrated_device::unstable as delete_device, get_dehydrated_device::unstable as get_device,
    get_events::unstable as get_events, put_dehydrated_device::unstable as put_device,
};
use ruma::api::error::DeserializationError;
use ruma::events::AnyToDeviceEvent;
use ruma::serde::Raw;
use serde::Serialize;

pub(super) fn dehydrated_routes(routes: EndpointRoutes) -> EndpointRoutes {
    routes
        .with_session("dehydrated_put", put_one)
        .with_session("dehydrated_get", show_one)
        .with_session("dehydrated_delete", delete_one)
        .answering("dehydrated_events", WithSession, list_events)
        .with_session("dehydrated_events_post", list_events_by_post)
}

async fn put_one(
    context: MatrixContext,
    session: CallerSession,
    request: put_device::Request,
) -> Result<put_device::Response, MatrixError> {
    // What else is in it is the client's business.
    if !matches!(request.device_data.get_field::<String>("algorithm"), Ok(Some(_))) {
        return Err(MatrixError::bad_json("device_data must be an object that names its algorithm."));
    }
    let put = PutDehydratedDevice {
        device_id: request.device_id.to_string(),
        display_name: request.initial_device_display_name.unwrap_or_default(),
        data: raw_json(&request.device_data),
        device_keys: raw_json(&request.device_keys),
        one_time_keys: key_inputs(&request.one_time_keys),
        fallback_keys: key_inputs(&request.fallback_keys),
    };
    context.service.put_dehydrated_device(&session, put).await?;
    Ok(put_device::Response::new(request.device_id))
}

async fn show_one(
    context: MatrixContext,
    session: CallerSession,
    _request: get_device::Request,
) -> Result<get_device::Response, MatrixError> {
    let found = context.read(move |view| view.dehydrated_device(&session.localpart)).await?;
    let device = found.ok_or_else(|| MatrixError::not_found("You have no dehydrated device."))?;
    Ok(get_device::Response::new(device.device_id.into(), to_raw(&device.data)?))
}

async fn delete_one(
    context: MatrixContext,
    session: CallerSession,
    _request: delete_device::Request,
) -> Result<delete_device::Response, MatrixError> {
    let device_id = context.service.delete_dehydrated_device(&session).await?;
    Ok(delete_device::Response::new(device_id.into()))
}

/// Request for messages as newer clients make it, which ruma does not have.
struct EventsRequest {
    device_id: String,
    from: Option<String>,
    limit: Option<String>,
}

impl OwnEndpoint for EventsRequest {
    const METHOD: http::Method = http::Method::GET;
    const PATH: &'static str = "/_matrix/client/unstable/org.matrix.msc3814.v1/dehydrated_device/{device_id}/events";

    fn read(request: &http::Request<&[u8]>, arguments: &[&str]) -> Result<Self, DeserializationError> {
        let mut read =
            Self { device_id: arguments.first().copied().unwrap_or_default().to_owned(), from: None, limit: None };
        for (key, value) in form_urlencoded::parse(request.uri().query().unwrap_or_default().as_bytes()) {
            match &*key {
                "from" => read.from = Some(value.into_owned()),
                "limit" => read.limit = Some(value.into_owned()),
                _ => {}
            }
        }
        Ok(read)
    }
}

/// Page of messages. Clients read on while there is a `next_batch`, and a null would be one.
#[derive(Serialize)]
struct EventsPage {
    events: Vec<Raw<AnyToDeviceEvent>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_batch: Option<String>,
}

async fn list_events(
    context: MatrixContext,
    session: CallerSession,
    OwnRequest(request): OwnRequest<EventsRequest>,
) -> Result<Response, MatrixError> {
    let limit = match &request.limit {
        Some(limit) => limit.parse::<usize>().map_err(|_| MatrixError::invalid_param("limit is not a number."))?,
        None => MAX_QUEUED_MESSAGES,
    };
    let page = find_events(&context, session, request.device_id, request.from.as_deref(), limit).await?;
    let next_batch = page.has_more.then(|| id::encode_cursor(page.next));
    Ok(Json(EventsPage { events: render_device_messages(&page.messages)?, next_batch }).into_response())
}

/// Answers as an older form of the proposal says, with a `next_batch` even if there is nothing more.
async fn list_events_by_post(
    context: MatrixContext,
    session: CallerSession,
    request: get_events::Request,
) -> Result<get_events::Response, MatrixError> {
    let device_id = request.device_id.to_string();
    let page = find_events(&context, session, device_id, request.next_batch.as_deref(), MAX_QUEUED_MESSAGES).await?;
    let mut response = get_events::Response::new(render_device_messages(&page.messages)?);
    response.next_batch = Some(id::encode_cursor(page.next));
    Ok(response)
}

/// Returns messages to the dehydrated device. They stay, so that a client which is interrupted can begin again.
async fn find_events(
    context: &MatrixContext,
    session: CallerSession,
    device_id: String,
    from: Option<&str>,
    limit: usize,
) -> Result<DehydratedMessages, MatrixError> {
    let after = from.map(limits::cursor_position).transpose()?;
    let question = move |view: &StateView<'_>| view.dehydrated_messages(&session.localpart, &device_id, after, limit);
    let page = context.read_at(after, question).await?;
    page.ok_or_else(|| MatrixError::forbidden("This is not your dehydrated device."))
}
