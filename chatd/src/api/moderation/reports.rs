//! Calls about reports.

use super::page_size;
use crate::service::{Administrator, ChatService, ReportName, RequestRefusal};
use quorate_core::id;
use quorate_core::query::FiledReport;
use quorate_wire::admin::v1 as pb;

/// Maximum number of reports on a page. A reason may have four kilobytes, and a message at most four megabytes.
const MAX_REPORTS: usize = 200;

pub(super) async fn list_reports(
    service: &ChatService,
    request: pb::ListReportsRequest,
) -> Result<pb::ListReportsResponse, RequestRefusal> {
    let after = if request.from.is_empty() { None } else { Some(ReportName::parse(&request.from)?) };
    let limit = page_size(request.limit).min(MAX_REPORTS);
    let reports = service.filed_reports(after, limit).await?;
    // A page that is not full is the last one.
    let next = reports.last().filter(|_| reports.len() >= limit).map(|last| ReportName::of(last).to_text());
    Ok(pb::ListReportsResponse {
        reports: reports.into_iter().map(|report| report_to_pb(service.server_name(), report)).collect(),
        next: next.unwrap_or_default(),
    })
}

pub(super) async fn dismiss_report(
    service: &ChatService,
    by: &Administrator,
    request: pb::DismissReportRequest,
) -> Result<pb::DismissReportResponse, RequestRefusal> {
    service.dismiss_report(by, ReportName::parse(&request.id)?).await?;
    Ok(pb::DismissReportResponse {})
}

fn report_to_pb(server_name: &str, report: FiledReport) -> pb::Report {
    let id = ReportName::of(&report).to_text();
    let FiledReport { reporter, at: _, room_id, event_id, user_id, reason, time_ms } = report;
    pb::Report { id, reporter: id::user_id(&reporter, server_name), room_id, event_id, user_id, reason, time_ms }
}
