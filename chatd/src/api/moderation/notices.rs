//! Calls about notices of the server.

use crate::service::{Administrator, ChatService, RequestRefusal, notice_text};
use quorate_wire::admin::v1 as pb;

pub(super) async fn send_notice(
    service: &ChatService,
    by: &Administrator,
    request: pb::SendNoticeRequest,
) -> Result<pb::SendNoticeResponse, RequestRefusal> {
    let localpart = service.parse_user(&request.user)?;
    let sent = service.send_notice(by, localpart, notice_text(&request.body)?, request.notice_id).await?;
    Ok(pb::SendNoticeResponse { room_id: sent.room_id, event_id: sent.event_id })
}
