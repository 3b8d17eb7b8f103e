//! Body of a request to a push gateway.
//! Source: Matrix specification, "Push Gateway API", `POST /_matrix/push/v1/notify`.

use super::counts::UnreadCounter;
use super::examine::{invited_user, recipient_reading};
use super::judge::JudgedRoom;
use super::queue::{PusherName, QueuedPush};
use bytes::Bytes;
use http::Uri;
use quorate_core::id;
use quorate_core::proto::store;
use quorate_core::proto::store::membership::Kind;
use quorate_core::query::{QueryError, RoomEvent, StateView};
use ruma::push::{Action, Tweak};
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

/// Age in milliseconds after which nobody wants a notification any more, the same as in Synapse.
const LONGEST_MS: u64 = 24 * 60 * 60 * 1000;
/// Limits on what is counted for the number on an app's icon: rooms of the user, and events that are judged anew.
const BADGE_ROOMS: usize = 200;
const BADGE_JUDGED: usize = 2_000;

/// Format of notifications in which the gateway is not told what they are about.
const EVENT_ID_ONLY: &str = "event_id_only";

/// Priorities of notifications: whether the phone is to be woken for one.
const HIGH: &str = "high";
const LOW: &str = "low";

/// Notification that is ready to be sent.
pub(super) struct PreparedPush {
    pub(super) gateway: Uri,
    pub(super) body: Bytes,
    /// Time at which the pusher was set.
    pub(super) set_ms: u64,
    /// Number of rooms with unread notifications, which the gateway is told.
    pub(super) unread: usize,
}

/// Result of a look at the state for a notification.
pub(super) enum Preparation {
    Send(Box<PreparedPush>),
    /// Nobody wants it any more.
    Moot,
    /// The notification waited for too long.
    Expired,
}

#[derive(Serialize)]
struct PushBody<'b> {
    notification: ShownNotification<'b>,
}

#[derive(Serialize)]
struct ShownNotification<'b> {
    #[serde(skip_serializing_if = "Option::is_none")]
    event_id: Option<&'b str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    room_id: Option<&'b str>,
    prio: &'static str,
    counts: ShownCounts,
    devices: [ShownDevice<'b>; 1],
    #[serde(flatten)]
    contents: Option<ShownContents<'b>>,
}

/// Fields that are left out of notifications that have only the id of the event.
#[derive(Serialize)]
struct ShownContents<'b> {
    /// Name of `event_id` before it was specified, which some gateways expect.
    id: &'b str,
    #[serde(rename = "type")]
    event_type: &'b str,
    sender: &'b str,
    content: &'b RawValue,
    #[serde(skip_serializing_if = "String::is_empty")]
    sender_display_name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    room_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    room_alias: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_is_target: Option<bool>,
    /// Membership of a member event, as Synapse says it.
    #[serde(skip_serializing_if = "Option::is_none")]
    membership: Option<String>,
}

#[derive(Serialize)]
struct ShownCounts {
    unread: usize,
}

#[derive(Serialize)]
struct ShownDevice<'b> {
    app_id: &'b str,
    pushkey: &'b str,
    /// Time at which the pushkey was set, in seconds.
    pushkey_ts: u64,
    data: &'b Map<String, Value>,
    #[serde(skip_serializing_if = "Map::is_empty")]
    tweaks: Map<String, Value>,
}

/// Makes the request of a notification from the state as it is now. `told` is the number of rooms with unread
/// notifications that the gateway was told last, if it is known.
pub(super) fn prepare_push(
    view: &StateView<'_>,
    counter: &UnreadCounter,
    name: &PusherName,
    push: QueuedPush,
    told: Option<usize>,
) -> Result<Preparation, QueryError> {
    let localpart = &*name.localpart;
    let Some(pusher) = view.pusher(localpart, &name.app_id, &name.pushkey)? else { return Ok(Preparation::Moot) };
    // Whoever is locked out is told nothing of what others write, by this way neither.
    if view.standing(localpart)?.locked {
        return Ok(Preparation::Moot);
    }
    if push.is_badge() {
        return prepare_badge(view, counter, &pusher, localpart, told);
    }
    match prepare_event(view, counter, &pusher, localpart, push)? {
        // Most likely it was read: the gateway is told so, which it was not as long as this waited.
        Preparation::Moot if told.is_some() => prepare_badge(view, counter, &pusher, localpart, told),
        prepared => Ok(prepared),
    }
}

/// Makes the request that tells how much is unread, if that is less than the gateway was told: what makes it more
/// notifies, and is told by the notification.
fn prepare_badge(
    view: &StateView<'_>,
    counter: &UnreadCounter,
    pusher: &store::Pusher,
    localpart: &str,
    told: Option<usize>,
) -> Result<Preparation, QueryError> {
    if told == Some(0) {
        return Ok(Preparation::Moot);
    }
    let unread = unread_rooms(view, counter, localpart)?;
    let prepared = if told.is_some_and(|told| unread >= told) { None } else { render_badge(pusher, unread) };
    Ok(prepared.map_or(Preparation::Moot, |prepared| Preparation::Send(Box::new(prepared))))
}

/// Makes the request of an event's notification.
fn prepare_event(
    view: &StateView<'_>,
    counter: &UnreadCounter,
    pusher: &store::Pusher,
    localpart: &str,
    push: QueuedPush,
) -> Result<Preparation, QueryError> {
    let Some(reading) = recipient_reading(view, localpart, push.room)? else { return Ok(Preparation::Moot) };
    let Some(event) = view.pushed_event(push.room, &reading.room_id, push.at)? else { return Ok(Preparation::Moot) };
    // Whoever left, and is invited again, gets nothing else of the room.
    let is_invited = view.membership(push.room, localpart)? == Some(Kind::Invite);
    if is_invited && invited_user(view, &event).is_none_or(|user| user != localpart) {
        return Ok(Preparation::Moot);
    }
    if event.origin_server_ts.saturating_add(LONGEST_MS) < view.time_ms() {
        return Ok(Preparation::Expired);
    }
    if reading.points.has_read(view.thread_of(push.room, &event.content)?, push.at) {
        return Ok(Preparation::Moot);
    }
    let Some(rules) = counter.rules_of(view, localpart)? else { return Ok(Preparation::Moot) };
    let Some(room) = JudgedRoom::new(&reading, view.member_name(push.room, localpart)?) else {
        return Ok(Preparation::Moot);
    };
    let actions = counter.actions_in(view, &rules, &room, &event)?;
    if !actions.iter().any(Action::should_notify) {
        return Ok(Preparation::Moot);
    }
    let unread = unread_rooms(view, counter, localpart)?;
    Ok(match render_push(view, pusher, &event, localpart, actions, unread)? {
        Some(prepared) => Preparation::Send(Box::new(prepared)),
        None => Preparation::Moot,
    })
}

/// Returns the number of rooms in which a user has unread notifications.
fn unread_rooms(view: &StateView<'_>, counter: &UnreadCounter, localpart: &str) -> Result<usize, QueryError> {
    let joined = view.rooms_of(localpart)?.into_iter().filter(|room| room.kind == Kind::Join);
    let rooms: Vec<_> = joined.map(|room| room.room).take(BADGE_ROOMS).collect();
    let counts = counter.count_within(view, localpart, &rooms, BADGE_JUDGED)?;
    Ok(counts.values().filter(|counts| counts.total().notified > 0).count())
}

/// Returns the request that only says how much is unread; `None` if the data of the pusher cannot be used.
fn render_badge(pusher: &store::Pusher, unread: usize) -> Option<PreparedPush> {
    let (gateway, data) = gateway_and_data(pusher)?;
    let notification = ShownNotification {
        event_id: None,
        room_id: None,
        prio: LOW,
        counts: ShownCounts { unread },
        devices: [shown_device(pusher, &data, Map::new())],
        contents: None,
    };
    prepared_push(pusher, gateway, &PushBody { notification }, unread)
}

/// Returns the gateway of a pusher, and the data that the gateway gets.
fn gateway_and_data(pusher: &store::Pusher) -> Option<(Uri, Map<String, Value>)> {
    let mut data: Map<String, Value> = serde_json::from_slice(&pusher.data).ok()?;
    let url = data.remove("url")?;
    Some((super::gateway::check_gateway(url.as_str()?).ok()?, data))
}

fn shown_device<'b>(
    pusher: &'b store::Pusher,
    data: &'b Map<String, Value>,
    tweaks: Map<String, Value>,
) -> ShownDevice<'b> {
    ShownDevice { app_id: &pusher.app_id, pushkey: &pusher.pushkey, pushkey_ts: pusher.set_ms / 1000, data, tweaks }
}

fn prepared_push(pusher: &store::Pusher, gateway: Uri, body: &PushBody<'_>, unread: usize) -> Option<PreparedPush> {
    let body = serde_json::to_vec(body).ok()?.into();
    Some(PreparedPush { gateway, body, set_ms: pusher.set_ms, unread })
}

/// Returns the request; `None` if the data of the pusher, or the content of the event, cannot be used.
fn render_push(
    view: &StateView<'_>,
    pusher: &store::Pusher,
    event: &RoomEvent,
    localpart: &str,
    actions: &[Action],
    unread: usize,
) -> Result<Option<PreparedPush>, QueryError> {
    let Some((gateway, data)) = gateway_and_data(pusher) else { return Ok(None) };
    let id_only = data.get("format").and_then(Value::as_str) == Some(EVENT_ID_ONLY);
    let tweaks = tweaks_of(actions);
    let urgent = event.event_type == "m.room.encrypted" || tweaks.contains_key("sound") || is_highlight(&tweaks);
    let contents = if id_only { None } else { contents_of(view, event, localpart)? };
    let notification = ShownNotification {
        event_id: Some(&event.event_id),
        room_id: Some(&event.room_id),
        prio: if urgent { HIGH } else { LOW },
        counts: ShownCounts { unread },
        devices: [shown_device(pusher, &data, if id_only { Map::new() } else { tweaks })],
        contents,
    };
    Ok(prepared_push(pusher, gateway, &PushBody { notification }, unread))
}

fn is_highlight(tweaks: &Map<String, Value>) -> bool {
    tweaks.get("highlight").is_some_and(|value| *value != Value::Bool(false))
}

fn tweaks_of(actions: &[Action]) -> Map<String, Value> {
    let tweaks = actions.iter().filter_map(|action| match action {
        Action::SetTweak(tweak) => Some((tweak.set_tweak().to_owned(), value_of(tweak))),
        _ => None,
    });
    tweaks.collect()
}

fn value_of(tweak: &Tweak) -> Value {
    let given = tweak.value().and_then(|value| serde_json::from_str::<Value>(value.get()).ok());
    // A highlight without a value is one (specification, "Actions").
    given.unwrap_or(Value::Bool(true))
}

fn contents_of<'e>(
    view: &StateView<'_>,
    event: &'e RoomEvent,
    localpart: &str,
) -> Result<Option<ShownContents<'e>>, QueryError> {
    let Ok(content) = serde_json::from_slice::<&RawValue>(&event.content) else { return Ok(None) };
    let sender_display_name = match id::user_localpart(&event.sender, view.server_name()) {
        Some(sender) => view.member_name(event.room, sender)?,
        None => String::new(),
    };
    let is_member = event.is_state("m.room.member");
    let membership = if is_member { text_of(&event.content, "membership") } else { None };
    let user = id::user_id(localpart, view.server_name());
    Ok(Some(ShownContents {
        id: &event.event_id,
        event_type: &event.event_type,
        sender: &event.sender,
        content,
        sender_display_name,
        room_name: state_text(view, event, "m.room.name", "name")?,
        room_alias: state_text(view, event, "m.room.canonical_alias", "alias")?,
        user_is_target: is_member.then(|| event.state_key.as_deref() == Some(user.as_str())),
        membership,
    }))
}

/// Returns a text in the content of a piece of the room's state.
fn state_text(
    view: &StateView<'_>,
    event: &RoomEvent,
    event_type: &str,
    field: &str,
) -> Result<Option<String>, QueryError> {
    let state = view.state_event(event.room, event_type, "", None)?;
    Ok(state.and_then(|state| text_of(&state.content, field)).filter(|text| !text.is_empty()))
}

fn text_of(content: &[u8], field: &str) -> Option<String> {
    let content: Map<String, Value> = serde_json::from_slice(content).ok()?;
    content.get(field).and_then(Value::as_str).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::push::counts::tests::ChatRoom;
    use quorate_core::id::Position;
    use quorate_core::proto::log::command::Kind as Command;
    use quorate_core::proto::log::set_membership::Change;
    use quorate_core::proto::log::{self, Outcome, administer, room_ref};

    fn with_pusher(format: &str) -> ChatRoom {
        let mut chat = ChatRoom::new();
        let data = format!(r#"{{"url":"https://a.org/_matrix/push/v1/notify","format":"{format}","a":1}}"#);
        let set = log::SetPusher {
            app_id: "app".into(),
            pushkey: "key".into(),
            kind: "http".into(),
            data: data.into(),
            ..log::SetPusher::default()
        };
        chat.apply("bob", Command::SetPusher(set));
        chat.say("alice", r#"{"body":"hello bob","msgtype":"m.text"}"#.into());
        chat
    }

    fn moved(chat: &mut ChatRoom, user: &str, change: Change) -> Outcome {
        let room = Some(log::RoomRef { by: Some(room_ref::By::RoomId(chat.room_id.clone())) });
        let target = if change == Change::Invite { "@bob:a.org".to_owned() } else { String::new() };
        let set = log::SetMembership { room, target, change: change.into(), ..log::SetMembership::default() };
        chat.apply(user, Command::SetMembership(set))
    }

    fn locked(chat: &mut ChatRoom, locked: bool) {
        let set = log::SetStanding { localpart: "bob".into(), locked: Some(locked), suspended: None };
        let action = Some(administer::Action::SetStanding(set));
        chat.apply("", Command::Administer(log::Administer { configured: false, action }));
    }

    /// Returns what Bob's gateway is told of an event; `None` if nothing.
    fn told(chat: &ChatRoom, at: Position) -> Option<Value> {
        told_after(chat, at, None)
    }

    /// Returns what Bob's gateway is told of an event if it was told last that so many rooms are unread.
    fn told_after(chat: &ChatRoom, at: Position, unread: Option<usize>) -> Option<Value> {
        let view = StateView::open(&chat.rows).unwrap();
        let push = QueuedPush::new(at, view.resolve_room(&chat.room_id).unwrap());
        sent_body(&view, push, unread)
    }

    fn sent_body(view: &StateView<'_>, push: QueuedPush, unread: Option<usize>) -> Option<Value> {
        let name = PusherName::new("bob", "app", "key");
        match prepare_push(view, &UnreadCounter::default(), &name, push, unread).unwrap() {
            Preparation::Send(prepared) => Some(serde_json::from_slice::<Value>(&prepared.body).unwrap()),
            Preparation::Moot | Preparation::Expired => None,
        }
    }

    #[test]
    fn a_gateway_gets_the_content_or_the_id_alone_and_never_its_own_url() {
        for (format, has_content) in [("", true), (EVENT_ID_ONLY, false)] {
            let chat = with_pusher(format);
            let notification = told(&chat, chat.sent[0]).unwrap()["notification"].clone();
            assert_eq!(notification["event_id"], id::event_id(chat.sent[0]));
            assert_eq!(notification["counts"]["unread"], 1);
            for field in ["content", "sender", "type", "id"] {
                assert_eq!(notification.get(field).is_some(), has_content, "{field}");
            }
            assert_eq!(notification["devices"][0]["data"], serde_json::json!({"format": format, "a": 1}));
            assert_eq!(notification["devices"][0].get("tweaks").is_some(), has_content);
        }
    }

    #[test]
    fn how_much_is_unread_is_told_by_itself_only_if_it_is_less_than_the_gateway_was_told() {
        let mut chat = with_pusher("");
        let said = chat.sent[0];
        let badge = |chat: &ChatRoom, unread| {
            let view = StateView::open(&chat.rows).unwrap();
            let body = sent_body(&view, QueuedPush::of_badge(said), unread)?;
            body["notification"]["counts"]["unread"].as_u64()
        };
        assert_eq!([0, 1].map(|unread| badge(&chat, Some(unread))), [None, None], "one is unread, and is notified of");
        assert_eq!([Some(2), None].map(|unread| badge(&chat, unread)), [Some(1), Some(1)]);
        let room_id = chat.room_id.clone();
        let read = log::SetReceipts { room_id, read: id::event_id(said), ..log::SetReceipts::default() };
        chat.apply("bob", Command::SetReceipts(read));
        assert_eq!([0, 1].map(|unread| badge(&chat, Some(unread))), [None, Some(0)]);
        let instead = told_after(&chat, said, Some(1)).unwrap()["notification"].clone();
        assert_eq!((&instead["counts"]["unread"], instead.get("event_id")), (&Value::from(0), None), "it was read");
        assert_eq!([None, Some(0)].map(|unread| told_after(&chat, said, unread)), [None, None]);
    }

    #[test]
    fn whoever_left_or_is_locked_out_is_told_nothing_but_of_a_new_invitation() {
        let mut chat = with_pusher("");
        let said = chat.sent[0];
        locked(&mut chat, true);
        assert!(told(&chat, said).is_none());
        locked(&mut chat, false);
        assert!(told(&chat, said).is_some());
        moved(&mut chat, "bob", Change::Leave);
        assert!(told(&chat, said).is_none());
        let log::Position { incarnation, index, ordinal } = moved(&mut chat, "alice", Change::Invite).position.unwrap();
        assert!(told(&chat, said).is_none(), "a message of before");
        assert!(told(&chat, Position { incarnation, index, ordinal }).is_some());
        moved(&mut chat, "bob", Change::Join);
        assert!(told(&chat, said).is_none(), "it was before the join");
    }
}
