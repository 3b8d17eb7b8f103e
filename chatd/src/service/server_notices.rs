//! Notices of the server to its users.

use super::write::{no_randomness, unexpected_outcome};
use super::{Administrator, ChatService, RequestRefusal, limits, token};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;
use quorate_core::proto::log::administer::Action;
use quorate_core::proto::log::{EventSent, SendNotice, outcome};
use serde_json::json;

/// Name of the rooms, and of the account that sends.
const ROOM_NAME: &str = "Server notices";

/// Number of random bytes in the name of a notice.
const ID_BYTES: usize = 16;

impl ChatService {
    /// Sends a notice to a user, a message with this content. `notice_id` is a name that the caller chooses, so that a
    /// repeated call sends nothing twice; if it is empty, the call has a name of its own.
    ///
    /// # Errors
    /// [`RefusalCode::UserNotFound`](super::RefusalCode::UserNotFound) if there is no such user, or the account is closed;
    /// [`RefusalCode::UserExists`](super::RefusalCode::UserExists) if the account that would send is somebody's;
    /// [`RefusalCode::TooLarge`](super::RefusalCode::TooLarge), and the refusals of the proposer.
    pub async fn send_notice(
        &self,
        by: &Administrator,
        localpart: String,
        content: Bytes,
        notice_id: String,
    ) -> Result<EventSent, RequestRefusal> {
        limits::optional_name("notice_id", &notice_id)?;
        limits::check_content("content", &content)?;
        let notice_id = if notice_id.is_empty() { random_id()? } else { notice_id };
        let notice = SendNotice {
            localpart: localpart.clone(),
            sender: self.account_policy().notices_user.clone(),
            notice_id,
            content,
            room_name: ROOM_NAME.to_owned(),
        };
        let sent = match self.administer(by, Action::SendNotice(notice)).await?.kind {
            Some(outcome::Kind::EventSent(sent)) => sent,
            other => return Err(unexpected_outcome(other.as_ref())),
        };
        tracing::info!(%by, user = localpart, event_id = %sent.event_id, "an administrator sent a notice");
        Ok(sent)
    }
}

/// Returns the content of a notice that consists of text.
///
/// # Errors
/// [`RefusalCode::Invalid`](super::RefusalCode::Invalid) if there is no text.
pub fn notice_text(body: &str) -> Result<Bytes, RequestRefusal> {
    if body.trim().is_empty() {
        return Err(RequestRefusal::invalid("the notice is empty; write something"));
    }
    Ok(json!({"msgtype": "m.text", "body": body}).to_string().into())
}

fn random_id() -> Result<String, RequestRefusal> {
    token::random_bytes::<ID_BYTES>().map(|bytes| URL_SAFE_NO_PAD.encode(bytes)).map_err(no_randomness)
}
