//! Endpoints for pushers, and for the list of what has notified a user.

use super::admission::WithSession;
use super::context::MatrixContext;
use super::endpoint::EndpointRoutes;
use super::error::MatrixError;
use super::event;
use crate::push::{NotifiedEvent, NotifiedQuery};
use crate::service::{CallerSession, limits};
use axum::Json;
use axum::response::{IntoResponse, Response};
use quorate_core::id::{self, Position};
use quorate_core::proto::log::SetPusher;
use quorate_core::query::UserPusher;
use ruma::api::client::push::set_pusher::v3::PusherAction;
use ruma::api::client::push::{Pusher, PusherIds, PusherInit, PusherKind, get_notifications, get_pushers, set_pusher};
use ruma::events::AnySyncTimelineEvent;
use ruma::push::Action;
use ruma::serde::Raw;
use serde::Serialize;

/// Number of events in a page of the list: of one whose size the client leaves open, and at most.
const NOTIFICATIONS: usize = 20;
const MOST_NOTIFICATIONS: usize = 100;

/// Filter of the list for highlighted events.
const HIGHLIGHT: &str = "highlight";

pub(super) fn pusher_routes(routes: EndpointRoutes) -> EndpointRoutes {
    routes
        .with_session("pushers_set", set_one)
        .with_session("pushers_get", list_pushers)
        // Events are rendered as elsewhere, and not as ruma's type has them.
        .answering("notifications", WithSession, list_notifications)
}

async fn set_one(
    context: MatrixContext,
    session: CallerSession,
    request: set_pusher::v3::Request,
) -> Result<set_pusher::v3::Response, MatrixError> {
    let (set, url) = match request.action {
        PusherAction::Post(post) => wanted_pusher(post.pusher, post.append)?,
        PusherAction::Delete(ids) => {
            let set = SetPusher { app_id: ids.app_id, pushkey: ids.pushkey, ..SetPusher::default() };
            (set, String::new())
        }
        _ => return Err(MatrixError::invalid_param("The action is unknown.")),
    };
    context.service.set_pusher(&session, set, &url).await?;
    Ok(set_pusher::v3::Response::new())
}

/// Returns the command that sets a pusher, and the URL of its gateway.
fn wanted_pusher(pusher: Pusher, append: bool) -> Result<(SetPusher, String), MatrixError> {
    let PusherKind::Http(data) = pusher.kind else {
        return Err(MatrixError::invalid_param("This server has pushers of the kind http only."));
    };
    let json = serde_json::to_vec(&data).map_err(|error| MatrixError::bad_json(error.to_string()))?;
    let set = SetPusher {
        app_id: pusher.ids.app_id,
        pushkey: pusher.ids.pushkey,
        kind: "http".into(),
        app_display_name: pusher.app_display_name,
        device_display_name: pusher.device_display_name,
        profile_tag: pusher.profile_tag.unwrap_or_default(),
        lang: pusher.lang,
        data: json.into(),
        append,
        max_pushers: 0,
    };
    Ok((set, data.url))
}

async fn list_pushers(
    context: MatrixContext,
    session: CallerSession,
    _request: get_pushers::v3::Request,
) -> Result<get_pushers::v3::Response, MatrixError> {
    let localpart = session.localpart.clone();
    let pushers = context.read(move |view| view.pushers_of(&localpart)).await?;
    let pushers = pushers.into_iter().map(shown_pusher).collect::<Result<_, _>>()?;
    Ok(get_pushers::v3::Response::new(pushers))
}

fn shown_pusher(found: UserPusher) -> Result<Pusher, MatrixError> {
    let row = found.pusher;
    let data = serde_json::from_slice(&row.data).map_err(|error| MatrixError::damaged("pusher", error))?;
    Ok(PusherInit {
        ids: PusherIds::new(row.pushkey, row.app_id),
        kind: PusherKind::Http(data),
        app_display_name: row.app_display_name,
        device_display_name: row.device_display_name,
        profile_tag: Some(row.profile_tag).filter(|tag| !tag.is_empty()),
        lang: row.lang,
    }
    .into())
}

/// Page of notifications. Unlike ruma's type, it always says whether there is a profile tag, as Synapse does.
#[derive(Serialize)]
struct ShownPage {
    notifications: Vec<ShownNotification>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_token: Option<String>,
}

#[derive(Serialize)]
struct ShownNotification {
    room_id: String,
    profile_tag: Option<String>,
    actions: Vec<Action>,
    event: Raw<AnySyncTimelineEvent>,
    read: bool,
    ts: u64,
}

async fn list_notifications(
    context: MatrixContext,
    session: CallerSession,
    request: get_notifications::v3::Request,
) -> Result<Response, MatrixError> {
    let until = match &request.from {
        Some(from) => limits::cursor_position(from)?,
        None => Position::MAX,
    };
    let limit = request.limit.and_then(|limit| usize::try_from(u64::from(limit)).ok()).unwrap_or(NOTIFICATIONS);
    let only_highlights = request.only.as_deref() == Some(HIGHLIGHT);
    let query = NotifiedQuery { until, limit: limit.clamp(1, MOST_NOTIFICATIONS), only_highlights };
    let page = context.service.notified_events(&session, query).await?;
    let shown = |notified| shown_notification(notified, &session);
    let notifications = page.events.into_iter().map(shown).collect::<Result<_, _>>()?;
    let page = ShownPage { notifications, next_token: page.next.map(id::encode_cursor) };
    Ok(Json(page).into_response())
}

fn shown_notification(notified: NotifiedEvent, session: &CallerSession) -> Result<ShownNotification, MatrixError> {
    let NotifiedEvent { event, actions, read } = notified;
    Ok(ShownNotification {
        profile_tag: None,
        actions,
        event: event::render_without_room(&event, session.into())?,
        read,
        ts: event.origin_server_ts,
        room_id: event.room_id,
    })
}
