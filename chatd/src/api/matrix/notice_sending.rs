//! Notices of the server, at the paths and in the form that tools for Synapse use
//! (<https://element-hq.github.io/synapse/latest/admin_api/server_notices.html>).

use super::admission::AsAdministrator;
use super::context::MatrixContext;
use super::endpoint::EndpointRoutes;
use super::error::MatrixError;
use super::own_request::{OwnEndpoint, OwnRequest};
use crate::service::Administrator;
use axum::Json;
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use ruma::OwnedUserId;
use ruma::api::error::DeserializationError;
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;

pub(super) fn notice_routes(routes: EndpointRoutes) -> EndpointRoutes {
    let routes = routes.answering("server_notice", AsAdministrator, send_unnamed);
    routes.answering("server_notice_named", AsAdministrator, send_named)
}

/// Notice to send.
#[derive(Deserialize)]
struct NoticeBody {
    user_id: OwnedUserId,
    content: Box<RawValue>,
    #[serde(default, rename = "type")]
    event_type: Option<String>,
    #[serde(default)]
    state_key: Option<String>,
}

/// Request to send a notice. A repeated request sends it again.
struct UnnamedNotice(NoticeBody);

/// Request to send a notice under a transaction id. A repeated request sends nothing.
struct NamedNotice {
    txn_id: String,
    notice: NoticeBody,
}

impl OwnEndpoint for UnnamedNotice {
    const METHOD: http::Method = http::Method::POST;
    const PATH: &'static str = "/_synapse/admin/v1/send_server_notice";

    fn read(request: &http::Request<&[u8]>, _: &[&str]) -> Result<Self, DeserializationError> {
        Ok(Self(serde_json::from_slice(request.body())?))
    }
}

impl OwnEndpoint for NamedNotice {
    const METHOD: http::Method = http::Method::PUT;
    const PATH: &'static str = "/_synapse/admin/v1/send_server_notice/{txn_id}";

    fn read(request: &http::Request<&[u8]>, arguments: &[&str]) -> Result<Self, DeserializationError> {
        let txn_id = arguments.first().copied().unwrap_or_default().to_owned();
        Ok(Self { txn_id, notice: serde_json::from_slice(request.body())? })
    }
}

async fn send_unnamed(
    context: MatrixContext,
    by: Administrator,
    OwnRequest(UnnamedNotice(notice)): OwnRequest<UnnamedNotice>,
) -> Result<Response, MatrixError> {
    send_notice(&context, &by, notice, String::new()).await
}

async fn send_named(
    context: MatrixContext,
    by: Administrator,
    OwnRequest(NamedNotice { txn_id, notice }): OwnRequest<NamedNotice>,
) -> Result<Response, MatrixError> {
    let notice_id = notice_id(by.name(), &txn_id);
    send_notice(&context, &by, notice, notice_id).await
}

/// Returns the name of a notice: two administrators may use the same transaction id.
fn notice_id(localpart: &str, txn_id: &str) -> String {
    // No localpart contains a colon, so that it is clear where the transaction id begins.
    format!("{localpart}:{txn_id}")
}

async fn send_notice(
    context: &MatrixContext,
    by: &Administrator,
    notice: NoticeBody,
    notice_id: String,
) -> Result<Response, MatrixError> {
    let NoticeBody { user_id, content, event_type, state_key } = notice;
    if event_type.is_some_and(|event_type| event_type != "m.room.message") || state_key.is_some() {
        return Err(MatrixError::invalid_param("A notice is a message: leave out \"type\" and \"state_key\"."));
    }
    let localpart = context.service.parse_user(user_id.as_str())?;
    let content = Bytes::from(content.get().to_owned());
    let sent = context.service.send_notice(by, localpart, content, notice_id).await?;
    Ok(Json(json!({"event_id": sent.event_id})).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notices_of_different_administrators_have_different_names() {
        assert_ne!(notice_id("a", "b/c"), notice_id("a/b", "c"));
        assert_ne!(notice_id("a", "t"), notice_id("b", "t"));
    }
}
