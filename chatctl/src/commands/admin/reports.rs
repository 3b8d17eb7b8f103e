//! The `chatctl admin reports` commands, about what users have reported.

use super::AdminTarget;
use crate::{
    commands::time::format_utc,
    context::CommandContext,
    error::Error,
    output::{format_table, printable_line},
};
use clap::{Args, Subcommand};
use quorate_wire::admin::v1::{DismissReportRequest, ListReportsRequest, Report};
use serde_json::{Value, json};

/// Arguments of `chatctl admin reports`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  chatctl admin reports list --admin 127.0.0.1:7401 --tls-dir ./cluster
  chatctl --output json admin reports list --admin 127.0.0.1:7401 --tls-dir ./cluster | jq -r '.reports[].id'")]
pub(super) struct ReportsArgs {
    #[command(subcommand)]
    action: ReportAction,
}

#[derive(Debug, Subcommand)]
enum ReportAction {
    /// List the reports, by reporter and then oldest first
    List(ListReportsArgs),
    /// Remove a report that was dealt with
    Dismiss(DismissReportArgs),
}

/// Arguments of `chatctl admin reports list`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  chatctl admin reports list --limit 20 --admin 127.0.0.1:7401 --tls-dir ./cluster")]
struct ListReportsArgs {
    #[command(flatten)]
    target: AdminTarget,
    /// Maximum number of reports to list
    #[arg(long, default_value_t = 1000, value_name = "N")]
    limit: usize,
}

/// Arguments of `chatctl admin reports dismiss`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  chatctl admin reports dismiss \"$ID\" --admin 127.0.0.1:7401 --tls-dir ./cluster")]
struct DismissReportArgs {
    #[command(flatten)]
    target: AdminTarget,
    /// Id of the report, as `chatctl admin reports list` prints it
    id: String,
}

/// Runs the chosen action.
pub(super) async fn run_reports(command: ReportsArgs, context: &CommandContext) -> Result<(), Error> {
    match command.action {
        ReportAction::List(command) => list_reports(command, context).await,
        ReportAction::Dismiss(command) => dismiss_report(command, context).await,
    }
}

async fn list_reports(command: ListReportsArgs, context: &CommandContext) -> Result<(), Error> {
    let (connection, _) = command.target.any().await?;
    let mut reports = Vec::new();
    let mut from = String::new();
    while reports.len() < command.limit {
        let limit = u32::try_from(command.limit - reports.len()).unwrap_or(u32::MAX);
        let request = ListReportsRequest { from, limit };
        let page = connection.moderate(|mut api| async move { api.list_reports(request).await }).await?;
        reports.extend(page.reports);
        from = page.next;
        if from.is_empty() {
            break;
        }
    }
    let document = json!({ "reports": reports.iter().map(report_document).collect::<Vec<_>>() });
    context.out.emit(&document, || report_table(&reports))
}

async fn dismiss_report(command: DismissReportArgs, context: &CommandContext) -> Result<(), Error> {
    let DismissReportArgs { target, id } = command;
    let (connection, _) = target.any().await?;
    let request = DismissReportRequest { id: id.clone() };
    connection.moderate(|mut api| async move { api.dismiss_report(request).await }).await?;
    context.out.emit(&json!({ "id": id, "dismissed": true }), || format!("{id}: dismissed"))
}

fn report_document(report: &Report) -> Value {
    json!({
        "id": report.id,
        "reporter": report.reporter,
        "room_id": report.room_id,
        "event_id": report.event_id,
        "user_id": report.user_id,
        "reason": report.reason,
        "time_ms": report.time_ms,
    })
}

fn report_table(reports: &[Report]) -> String {
    let row = |report: &Report| {
        let about = [&report.user_id, &report.event_id, &report.room_id];
        let about = about.into_iter().find(|about| !about.is_empty()).cloned().unwrap_or_default();
        vec![
            format_utc(report.time_ms),
            printable_line(&report.reporter),
            printable_line(&about),
            printable_line(&report.reason),
            report.id.clone(),
        ]
    };
    format_table(&["TIME (UTC)", "REPORTER", "ABOUT", "REASON", "ID"], &reports.iter().map(row).collect::<Vec<_>>())
}
