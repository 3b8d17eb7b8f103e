//! `/sync` v3: a pure function of the store (`quorate_core::query`), and the waiting around it.
//!
//! The order that loses nothing: subscribe to the feed, look ([`poll`]), and only then wait. An idle long poll costs no
//! CPU: it is woken by its rooms and its user, never by a timer other than its own.

mod body;
mod ephemeral;
mod poll;
mod receipt_events;
mod state_field;
mod unread;

use super::account::{stored_filter, user_id};
use super::context::MatrixContext;
use super::endpoint::EndpointRoutes;
use super::error::MatrixError;
use super::event;
use super::keys;
use super::presence::presence_level;
use super::push_rules;
use super::room::room_id;
use super::to_device::render_device_messages;
use super::with_query::WithQuery;
use crate::ephemeral::EphemeralNews;
use crate::metrics;
use crate::metrics::delivery::{DeliveryTimer, SyncAnswer};
use crate::push::PUSH_RULES;
use crate::service::{CallerSession, limits};
use crate::trace::LiveSpan;
use axum::response::Response;
use ephemeral::EphemeralPart;
use poll::SyncPoll;
use quorate_core::id::{self, Position, RoomNumber};
use quorate_core::query::sync::{AccountDatum, SyncTimeline, SyncToken};
use quorate_core::query::{RoomEvent, SyncFilter, SyncResponse};
use receipt_events::render_ephemeral;
use ruma::UInt;
use ruma::api::client::sync::sync_events::v3 as api;
use ruma::events::{AnyStrippedStateEvent, AnySyncStateEvent};
use ruma::serde::Raw;
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use state_field::StateField;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use unread::UnreadRooms;

/// Maximum time that a poll is parked, whatever the client asks for: proxies cut connections that are silent for
/// longer.
const MAX_WAIT: Duration = Duration::from_secs(60);

/// Minimum time between two looks at a session that should have run out, and has not on this pod.
const RECHECK: Duration = Duration::from_millis(500);
/// Time for which a poll waits that came to a stopping pod. If it were answered at once, its client would ask again at
/// once, thousands of times until the process ends. Its answer closes the connection.
const STOPPING_WAIT: Duration = Duration::from_secs(1);

/// Name of the endpoint in the metrics.
pub(super) const NAME: &str = "sync";

pub(super) fn sync_routes(routes: EndpointRoutes) -> EndpointRoutes {
    routes.with_session_waiting(NAME, send_sync)
}

async fn send_sync(
    context: MatrixContext,
    session: CallerSession,
    call: Box<WithQuery<api::Request>>,
) -> Result<Response, MatrixError> {
    let delivery = context.metrics.delivery(metrics::ClientApi::Matrix);
    let wanted = Box::pin(WantedSync::of(&context, &session, call)).await?;
    let state = wanted.state;
    body::sync_body(&answer_sync(&context, &session, wanted, delivery).await?, state)
}

/// Arguments of a call, as read from it.
struct WantedSync {
    filter: Arc<SyncFilter>,
    token: Option<SyncToken>,
    full_state: bool,
    state: StateField,
    /// `true` if the pod was stopping when the call came.
    came_late: bool,
    deadline: Instant,
}

impl WantedSync {
    /// Reads a call, and notes what it says in passing: that messages have arrived, and that the user is there.
    async fn of(
        context: &MatrixContext,
        session: &CallerSession,
        call: Box<WithQuery<api::Request>>,
    ) -> Result<Box<Self>, MatrixError> {
        let inline = call.argument("filter");
        let state = StateField::of(&call);
        let api::Request { filter, since, full_state, set_presence, timeout, .. } = call.into_request();
        let filter = requested_filter(context, session, filter, inline).await?;
        let filter = filter_of_request(context, session, filter, state)?;
        let token = since.as_deref().map(limits::sync_token).transpose()?;
        if let Some(received) = token.and_then(|token| token.to_device) {
            context.service.received_messages(session, received);
        }
        if let Some(level) = presence_level(&set_presence) {
            context.service.ephemeral().note_sync(&session.localpart, &session.device_id, level);
        }
        // A poll that is parked when the pod begins to stop is answered then; one that comes later waits a moment.
        let came_late = context.service.stopping().is_cancelled();
        let longest = if came_late { STOPPING_WAIT } else { MAX_WAIT };
        let deadline = Instant::now() + timeout.unwrap_or_default().min(longest);
        Ok(Box::new(Self { filter, token, full_state, state, came_late, deadline }))
    }

    /// Returns the call without its box, which a pattern would keep until the end of the wait.
    fn unboxed(self: Box<Self>) -> Self {
        *self
    }
}

/// Waits for an answer. Thousands of such futures are parked at a time: what is not needed while they are is boxed, so
/// that they keep no room for it.
async fn answer_sync(
    context: &MatrixContext,
    session: &CallerSession,
    wanted: Box<WantedSync>,
    delivery: DeliveryTimer,
) -> Result<api::Response, MatrixError> {
    let WantedSync { filter, token, full_state, came_late, deadline, .. } = wanted.unboxed();
    let since = token.map(|token| token.at);
    // Without a token, with the whole state asked for, or with rooms still to come, there is always something to tell.
    let at_once = token.is_none_or(|token| token.rest.is_some()) || full_state;
    let per_thread = filter.unread_thread_notifications;
    let with_rules = token.is_none() && filter.wants_account_data(PUSH_RULES, "");
    let mut ephemeral = EphemeralPart::new(context, session, filter.clone(), token);
    let mut poll = SyncPoll::open(context, session, token, full_state, filter);
    let mut parked = false;
    loop {
        let response = Box::pin(poll.look()).await?;
        let news = Box::pin(ephemeral.look(poll.rooms(), &response)).await?;
        // After the look, for which even the first may have waited: what was applied after a logout is not given to its
        // session.
        let ends_in = {
            let valid = Box::pin(context.service.revalidate(session)).await?;
            valid.ends_in(context.service.now_ms())
        };
        let why = if at_once {
            Some(SyncAnswer::Initial)
        } else if !response.is_empty() || !news.is_empty() {
            Some(SyncAnswer::Event)
        } else if !came_late && context.service.stopping().is_cancelled() {
            Some(SyncAnswer::Stopping)
        } else {
            (Instant::now() >= deadline).then_some(SyncAnswer::Timeout)
        };
        if let Some(why) = why {
            let rooms = counted_rooms(&response, &news, per_thread);
            let counts = Box::pin(context.service.unread_counts(session, rooms, parked)).await?;
            let unread = UnreadRooms { counts, per_thread };
            let _traced = delivery_spans(context, since, &response);
            let oldest = since.and_then(|since| oldest_after(&response, since));
            delivery.handed(oldest.and_then(|position| context.service.feed().applied_at(position)));
            context.metrics.synced(why);
            let response = if with_rules { with_push_rules(response, session)? } else { response };
            let mut answer = render_sync(response, &news, &unread, context, session)?;
            if let Some(stock) = poll.stock() {
                keys::add_device_stock(&mut answer, stock);
            }
            return Ok(answer);
        }
        drop((response, news));
        let _parked = context.metrics.parked();
        context.park();
        parked = true;
        // One more look when the session runs out: within a second, if it was used meanwhile.
        let ends = ends_in.map_or(deadline, |left| Instant::now() + left.max(RECHECK));
        tokio::select! {
            () = poll.changed() => {}
            () = tokio::time::sleep_until(deadline.min(ends)) => {}
            () = context.service.stopping().cancelled_owned(), if !came_late => {}
        }
    }
}

/// Returns the joined rooms whose counts an answer tells. If threads are counted by themselves, also those where people
/// only type: clients take a room without counts of threads for one in which no thread is unread.
fn counted_rooms(response: &SyncResponse, news: &EphemeralNews, per_thread: bool) -> Vec<RoomNumber> {
    let typing = news.typing.iter().filter(|_| per_thread).map(|typing| typing.room);
    let rooms: BTreeSet<_> = response.join.iter().map(|room| room.room).chain(typing).collect();
    rooms.into_iter().collect()
}

/// Begins spans for the sampled events of the answer; they end when they are dropped.
fn delivery_spans(context: &MatrixContext, since: Option<Position>, answer: &SyncResponse) -> Vec<LiveSpan> {
    let timelines = answer.join.iter().map(|room| &room.timeline).chain(answer.leave.iter().map(|room| &room.timeline));
    let events = timelines.flat_map(|timeline| &timeline.events).map(|event| event.position);
    context.service.feed().deliveries().of(since.unwrap_or(Position::ZERO), events, "matrix")
}

/// Returns the filter without the users whom the caller ignores (of them, only state is sent), and with the state that
/// the request asks for.
fn filter_of_request(
    context: &MatrixContext,
    session: &CallerSession,
    filter: Arc<SyncFilter>,
    state: StateField,
) -> Result<Arc<SyncFilter>, MatrixError> {
    let ignored = context.service.ignored_by(session)?;
    if ignored.is_empty() && !state.is_after() {
        return Ok(filter);
    }
    let mut own = SyncFilter::clone(&filter);
    own.timeline.ignored = ignored;
    own.state_after = state.is_after();
    Ok(Arc::new(own))
}

async fn requested_filter(
    context: &MatrixContext,
    session: &CallerSession,
    filter: Option<api::Filter>,
    inline: Option<String>,
) -> Result<Arc<SyncFilter>, MatrixError> {
    let json = match filter {
        None => return Ok(Arc::default()),
        // As it came: ruma's type knows only some of its fields.
        Some(api::Filter::FilterDefinition(_)) => inline.unwrap_or_default(),
        Some(api::Filter::FilterId(id)) => return filter_of_id(context, session, &id).await,
        Some(_) => return Err(MatrixError::invalid_param("The filter is neither an id nor a definition.")),
    };
    SyncFilter::from_json(json.as_bytes()).map(Arc::new).map_err(MatrixError::bad_json)
}

async fn filter_of_id(
    context: &MatrixContext,
    session: &CallerSession,
    id: &str,
) -> Result<Arc<SyncFilter>, MatrixError> {
    // Any other text is refused below, like the number of a filter that was removed.
    let number = id.parse().ok();
    if let Some(known) = number.and_then(|number| context.shared.filter(&session.localpart, number)) {
        return Ok(known);
    }
    let json = stored_filter(context, session, id).await?;
    let filter = SyncFilter::from_json(&json).map(Arc::new).map_err(MatrixError::bad_json)?;
    if let Some(number) = number {
        context.shared.put_filter(&session.localpart, number, filter.clone());
    }
    Ok(filter)
}

/// Returns the position of the oldest event that is new to a reader who has read up to `since`.
fn oldest_after(found: &SyncResponse, since: Position) -> Option<Position> {
    let rooms = found.join.iter().map(|room| &room.timeline).chain(found.leave.iter().map(|room| &room.timeline));
    // A room that was just joined brings some of its history along.
    rooms.filter_map(|timeline| timeline.events.iter().map(|event| event.position).find(|at| *at > since)).min()
}

/// Adds the default push rules to the first sync of a user who never changed one: clients ask for them nowhere else.
fn with_push_rules(mut found: SyncResponse, session: &CallerSession) -> Result<SyncResponse, MatrixError> {
    if !found.account_data.iter().any(|datum| datum.event_type == PUSH_RULES) {
        let content = push_rules::default_content(session)?;
        found.account_data.push(AccountDatum { event_type: PUSH_RULES.into(), content });
    }
    Ok(found)
}

fn render_sync(
    found: SyncResponse,
    news: &EphemeralNews,
    unread: &UnreadRooms,
    context: &MatrixContext,
    session: &CallerSession,
) -> Result<api::Response, MatrixError> {
    let next = SyncToken { at: found.next, rest: found.rest, to_device: found.to_device.given_to, marks: news.marks };
    let mut response = api::Response::new(next.to_text());
    response.to_device.events = render_device_messages(&found.to_device.messages)?;
    response.account_data.events = account_data(&found.account_data)?;
    response.device_lists = keys::render_device_lists(found.device_lists)?;
    for room in found.join {
        let mut joined = api::JoinedRoom::new();
        joined.timeline = render_timeline(&room.timeline, session)?;
        // Before or after the timeline: `body` gives it the name that was asked for.
        joined.state = api::State::Before(render_state(&room.state, session)?.into());
        joined.account_data.events = account_data(&room.account_data)?;
        joined.ephemeral.events = render_ephemeral(&room.ephemeral)?;
        unread.add_to(room.room, &mut joined)?;
        if let Some(summary) = room.summary {
            joined.summary.heroes = summary.heroes.into_iter().map(user_id).collect::<Result<_, _>>()?;
            joined.summary.joined_member_count = Some(UInt::new_saturating(summary.joined_members));
            joined.summary.invited_member_count = Some(UInt::new_saturating(summary.invited_members));
        }
        response.rooms.join.insert(room_id(room.room_id)?, joined);
    }
    for room in found.invite {
        let mut invited = api::InvitedRoom::new();
        invited.invite_state.events = render_stripped_state(&room.stripped_state)?;
        response.rooms.invite.insert(room_id(room.room_id)?, invited);
    }
    for room in found.knock {
        let mut knocked = api::KnockedRoom::new();
        knocked.knock_state.events = render_stripped_state(&room.stripped_state)?;
        response.rooms.knock.insert(room_id(room.room_id)?, knocked);
    }
    for room in found.leave {
        let mut left = api::LeftRoom::new();
        left.timeline = render_timeline(&room.timeline, session)?;
        left.state = api::State::Before(render_state(&room.state, session)?.into());
        left.account_data.events = account_data(&room.account_data)?;
        response.rooms.leave.insert(room_id(room.room_id)?, left);
    }
    ephemeral::render_news(news, unread, context.service.server_name(), &mut response)?;
    Ok(response)
}

fn render_timeline(found: &SyncTimeline, session: &CallerSession) -> Result<api::Timeline, MatrixError> {
    let mut timeline = api::Timeline::new();
    timeline.limited = found.limited;
    timeline.prev_batch = Some(id::encode_cursor(found.prev_batch));
    timeline.events =
        found.events.iter().map(|event| event::render_without_room(event, session.into())).collect::<Result<_, _>>()?;
    Ok(timeline)
}

fn render_state(events: &[RoomEvent], session: &CallerSession) -> Result<Vec<Raw<AnySyncStateEvent>>, MatrixError> {
    events.iter().map(|event| event::render_without_room(event, session.into())).collect()
}

fn render_stripped_state(events: &[RoomEvent]) -> Result<Vec<Raw<AnyStrippedStateEvent>>, MatrixError> {
    events.iter().map(event::render_stripped).collect()
}

/// Renders account data.
pub(super) fn account_data<T>(data: &[AccountDatum]) -> Result<Vec<Raw<T>>, MatrixError> {
    data.iter().map(|datum| typed_content(&datum.event_type, &datum.content)).collect()
}

/// Renders what has a type and a content, and nothing else.
fn typed_content<T>(event_type: &str, content: &[u8]) -> Result<Raw<T>, MatrixError> {
    #[derive(Serialize)]
    struct Shown<'a> {
        #[serde(rename = "type")]
        event_type: &'a str,
        content: &'a RawValue,
    }
    serde_json::from_slice(content)
        .and_then(|content| to_raw_value(&Shown { event_type, content }))
        .map(Raw::from_json)
        .map_err(|error| MatrixError::damaged("datum", format!("{event_type}: {error}")))
}
