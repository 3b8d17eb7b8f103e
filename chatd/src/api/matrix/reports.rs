//! Endpoints by which users report content to the administrators.

use super::context::MatrixContext;
use super::endpoint::EndpointRoutes;
use super::error::MatrixError;
use crate::service::CallerSession;
use quorate_core::proto::log::FileReport;
use ruma::api::client::reporting::report_user;
use ruma::api::client::room::{report_content, report_room};

pub(super) fn report_routes(routes: EndpointRoutes) -> EndpointRoutes {
    routes
        .with_session("report_event", event_report)
        .with_session("report_room", room_report)
        .with_session("report_user", user_report)
}

async fn event_report(
    context: MatrixContext,
    session: CallerSession,
    request: report_content::v3::Request,
) -> Result<report_content::v3::Response, MatrixError> {
    let report = FileReport {
        room_id: request.room_id.to_string(),
        event_id: request.event_id.to_string(),
        reason: request.reason.unwrap_or_default(),
        ..FileReport::default()
    };
    context.service.file_report(&session, report).await?;
    Ok(report_content::v3::Response::new())
}

async fn room_report(
    context: MatrixContext,
    session: CallerSession,
    request: report_room::v3::Request,
) -> Result<report_room::v3::Response, MatrixError> {
    let report = FileReport { room_id: request.room_id.to_string(), reason: request.reason, ..FileReport::default() };
    context.service.file_report(&session, report).await?;
    Ok(report_room::v3::Response::new())
}

async fn user_report(
    context: MatrixContext,
    session: CallerSession,
    request: report_user::v3::Request,
) -> Result<report_user::v3::Response, MatrixError> {
    let report = FileReport { user_id: request.user_id.to_string(), reason: request.reason, ..FileReport::default() };
    context.service.file_report(&session, report).await?;
    Ok(report_user::v3::Response::new())
}
