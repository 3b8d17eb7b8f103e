//! Events as the commands print them.

use super::time;
use crate::{output::printable_line, position::EventPosition};
use quorate_wire::chat::v1::Event;
use serde_json::{Value, json};

/// Returns the document of an event: its keys as in the Matrix Client-Server API, and the position.
#[must_use]
pub fn event_document(event: &Event) -> Value {
    let mut document = json!({
        "event_id": event.event_id,
        "room_id": event.room_id,
        "sender": event.sender,
        "type": event.r#type,
        "content": event_content(event),
        "origin_server_ts": event.origin_server_ts,
        "position": event.position.map(EventPosition::from),
    });
    if let Some(object) = document.as_object_mut() {
        if let Some(key) = &event.state_key {
            object.insert("state_key".into(), key.as_str().into());
        }
        if !event.transaction_id.is_empty() {
            object.insert("transaction_id".into(), event.transaction_id.as_str().into());
        }
    }
    document
}

/// Formats an event as one line for people.
#[must_use]
pub fn event_line(event: &Event) -> String {
    let content = event_content(event);
    let field = |name: &str| content.get(name).and_then(Value::as_str).map(printable_line);
    let sender = printable_line(&event.sender);
    let said = match (event.r#type.as_str(), event.state_key.as_deref()) {
        ("m.room.message", None) => match content.get("msgtype").and_then(Value::as_str) {
            Some("m.emote") => format!("* {sender} {}", field("body").unwrap_or_default()),
            _ => format!("{sender}: {}", field("body").unwrap_or_default()),
        },
        ("m.room.member", Some(user)) => {
            format!("-- {}: {} (by {sender})", printable_line(user), field("membership").unwrap_or_default())
        }
        (kind, _) => format!("-- {sender} {}: {}", printable_line(kind), printable_line(&content.to_string())),
    };
    format!("{}  {said}", time::format_utc(event.origin_server_ts))
}

/// Returns the content as JSON or, should it not be JSON, as text.
fn event_content(event: &Event) -> Value {
    let parsed = serde_json::from_slice(&event.content);
    parsed.unwrap_or_else(|_| String::from_utf8_lossy(&event.content).into_owned().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(content: &'static str) -> Event {
        Event { sender: "@a:x".into(), r#type: "m.room.message".into(), content: content.into(), ..Event::default() }
    }

    #[test]
    fn a_message_is_one_harmless_line() {
        let event = message(r#"{"msgtype":"m.text","body":"two\nlines \u001b[31m"}"#);
        assert_eq!(event_line(&event), "1970-01-01 00:00:00  @a:x: two⏎lines \u{fffd}[31m");
    }

    #[test]
    fn content_that_is_not_json_is_shown_as_text() {
        assert_eq!(event_document(&message("oops"))["content"], "oops");
    }

    #[test]
    fn a_state_key_is_there_when_it_is_empty_and_absent_when_it_is_absent() {
        let state = Event { state_key: Some(String::new()), ..message("{}") };
        assert_eq!(event_document(&state)["state_key"], "");
        assert!(event_document(&message("{}")).get("state_key").is_none());
    }
}
