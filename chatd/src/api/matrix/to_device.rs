//! Endpoint for messages to devices, and how a sync shows them.

use super::context::MatrixContext;
use super::endpoint::EndpointRoutes;
use super::error::MatrixError;
use super::raw_request::raw_json;
use crate::service::CallerSession;
use quorate_core::proto::log::DeviceMessage;
use quorate_core::query::QueuedMessage;
use ruma::api::client::to_device::send_event_to_device::v3 as send;
use ruma::serde::Raw;
use ruma::to_device::DeviceIdOrAllDevices;
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

pub(super) fn to_device_routes(routes: EndpointRoutes) -> EndpointRoutes {
    routes.with_session("to_device_send", send_messages)
}

async fn send_messages(
    context: MatrixContext,
    session: CallerSession,
    request: send::Request,
) -> Result<send::Response, MatrixError> {
    let event_type = request.event_type.to_string();
    let messages = into_messages(request.messages);
    context.service.send_to_device(&session, &event_type, messages, request.txn_id.as_str()).await?;
    Ok(send::Response::new())
}

/// Returns the messages in the order of users and devices, which is the same whenever the request is repeated.
fn into_messages(by_user: send::Messages) -> Vec<DeviceMessage> {
    let mut messages = Vec::new();
    for (user, mut by_device) in by_user {
        // A message to all devices stands for those to some, as on other servers.
        if let Some(content) = by_device.remove(&DeviceIdOrAllDevices::AllDevices) {
            by_device.clear();
            by_device.insert(DeviceIdOrAllDevices::AllDevices, content);
        }
        messages.extend(by_device.into_iter().map(|(device, content)| DeviceMessage {
            user: user.to_string(),
            device_id: device.to_string(),
            content: raw_json(&content),
        }));
    }
    messages
}

/// Renders messages as a sync shows them.
pub(super) fn render_device_messages<T>(messages: &[QueuedMessage]) -> Result<Vec<Raw<T>>, MatrixError> {
    #[derive(Serialize)]
    struct Shown<'a> {
        content: &'a RawValue,
        sender: &'a str,
        #[serde(rename = "type")]
        event_type: &'a str,
    }
    let shown = messages.iter().map(|message| {
        let QueuedMessage { sender, event_type, content } = message;
        serde_json::from_slice(content)
            .and_then(|content| to_raw_value(&Shown { content, sender, event_type }))
            .map(Raw::from_json)
            .map_err(|error| MatrixError::damaged("message", error))
    });
    shown.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use serde_json::json;

    #[test]
    fn a_message_to_all_devices_stands_for_those_to_some() {
        let messages = json!({"@b:x": {"*": {"n": 1}, "D": {"n": 2}}, "@a:x": {"E": {"n": 4}, "D": {"n": 3}}});
        let sent = into_messages(serde_json::from_value(messages).unwrap());
        let named: Vec<_> = sent.iter().map(|message| (message.user.as_str(), message.device_id.as_str())).collect();
        assert_eq!(named, [("@a:x", "D"), ("@a:x", "E"), ("@b:x", "*")]);
        assert_eq!(sent[2].content, r#"{"n":1}"#);
    }

    #[test]
    fn a_message_is_shown_with_its_sender_and_type() {
        let content = Bytes::from_static(br#"{"n":0.5}"#);
        let message = QueuedMessage { sender: "@a:x".into(), event_type: "m.t".into(), content };
        let shown = render_device_messages::<()>(&[message]).unwrap();
        assert_eq!(shown[0].json().get(), r#"{"content":{"n":0.5},"sender":"@a:x","type":"m.t"}"#);
    }
}
