//! Board of one cluster as its clients see it: requests, refusals, and how fast messages reach them.

use super::annotation::Annotation;
use super::board::{Dashboard, PanelRow};
use super::look::{Colour, DisplayUnit, PanelThresholds};
use super::page::DocsPage;
use super::panel::Panel;
use super::query::{DashboardScope, PanelQuery, failed_requests, mean_by, or_none, quantile_by, rate_by, rate_of};
use super::table::TableColumn;

/// Matchers that leave out `/sync`, which waits on purpose: its time says nothing.
const ANSWERED_AT_ONCE: &str = r#"{*, endpoint!="sync"}"#;

pub(super) fn clients_dashboard() -> Dashboard {
    Dashboard {
        path: "dashboards/clients-and-delivery.json",
        uid: "quorate-clients-and-delivery",
        title: "Quorate / Clients and delivery",
        description: "One chat cluster as its clients see it: requests by endpoint, refusals, delivery, /sync.",
        scope: DashboardScope::Cluster,
        annotations: Annotation::of_a_cluster(),
        rows: vec![
            PanelRow::new("Are clients served?", service_panels()),
            PanelRow::new("Requests", request_panels()),
            PanelRow::new("Endpoints", vec![endpoint_table()]),
            PanelRow::new("Delivery", delivery_panels()),
            PanelRow::new("Matrix /sync", sync_panels()),
        ],
    }
}

fn service_panels() -> Vec<Panel> {
    vec![
        Panel::figure("Connections", DisplayUnit::Many, DocsPage::Architecture)
            .says("Client connections to the Matrix and gRPC APIs. If the pods are healthy, a sudden drop means that a network or an ingress failed.")
            .query(PanelQuery::range("connections", "sum(quorate_api_connections{*})")),
        Panel::figure("Requests", DisplayUnit::RequestsPerSecond, DocsPage::Architecture)
            .says("Requests to both APIs; a stream counts once, when it is opened.")
            .query(PanelQuery::range("requests", format!("sum({})", rate_of("quorate_api_requests_total{*}")))),
        Panel::figure("Failed", DisplayUnit::Share, DocsPage::ErrorBudgetBurn)
            .says("Share of requests that failed because of the server or whose callers gave up waiting (except for /sync).")
            .limits(PanelThresholds::at_most(0.001, 0.01))
            .when_empty("idle")
            .query(PanelQuery::range("failed", failed_requests("cluster"))),
        Panel::figure("Events streamed", DisplayUnit::PerSecond, DocsPage::Performance)
            .says("Events per second received or sent over streams.")
            .query(PanelQuery::range("events", format!("sum({})", rate_of("quorate_api_events_total{*}")))),
        Panel::figure("Delivery, p99", DisplayUnit::Seconds, DocsPage::SlowWrites)
            .says("From an entry being applied on a pod to its events being handed to a reader's stream or /sync.")
            .limits(PanelThresholds::at_most(0.1, 0.5))
            .when_empty("idle")
            // The comparison drops NaN: without readers there is no percentile.
            .query(PanelQuery::range("p99", format!("{} >= 0", quantile_by("0.99", "", "quorate_delivery_seconds{*}")))),
        Panel::figure("Reads from disk", DisplayUnit::PerSecond, DocsPage::Architecture)
            .says("Reads per second by readers that had fallen behind the newest events in memory and read rows from disk instead.")
            .query(PanelQuery::range("reads", format!("sum({})", rate_of("quorate_feed_lagged_total{*}")))),
    ]
}

fn request_panels() -> Vec<Panel> {
    let requests = |api: &str| rate_by("endpoint", &format!(r#"quorate_api_requests_total{{*, api="{api}"}}"#));
    vec![
        Panel::stack("gRPC requests", DisplayUnit::RequestsPerSecond, DocsPage::Architecture)
            .says("gRPC requests, by endpoint of quorate.chat.v1.")
            .query(PanelQuery::range("{{endpoint}}", requests("grpc"))),
        Panel::stack("Matrix requests", DisplayUnit::RequestsPerSecond, DocsPage::Architecture)
            .says("Matrix requests, by endpoint of the Client-Server API.")
            // A cluster without Matrix clients has no such requests.
            .query(PanelQuery::range("{{endpoint}}", or_none("endpoint", &requests("matrix")))),
        Panel::stack("Refused", DisplayUnit::RequestsPerSecond, DocsPage::ErrorBudgetBurn)
            .says("Refused requests, by API and code. `limit_exceeded` protects other users; `unavailable`, `overloaded` and `internal` are the server's fault.")
            // No refusal at all is the best answer there is.
            .query(PanelQuery::range(
                "{{api}} {{code}}",
                or_none("code", &rate_by("api, code", r#"quorate_api_requests_total{*, code!="ok"}"#)),
            )),
        Panel::stack("Rate-limited", DisplayUnit::PerSecond, DocsPage::Security)
            .says("Commands that the leader refused because a user or address did too much, by class of `rateLimit`; `guesses` are passwords that were not tried after too many wrong ones. A single user or program is the usual cause, and only its own commands are refused.")
            // Nobody does too much, as a rule.
            .query(PanelQuery::range("{{class}}", or_none("class", &rate_by("class", "quorate_rate_limited_total{*}")))),
        Panel::lines("Request latency, p99", DisplayUnit::Seconds, DocsPage::SlowWrites)
            .says("Request latency by API, without /sync, which waits on purpose.")
            .limits(PanelThresholds::at_most(0.1, 0.5))
            .query(PanelQuery::range("{{api}}", quantile_by("0.99", "api", &format!("quorate_api_request_seconds{ANSWERED_AT_ONCE}")))),
        Panel::lines("Linearizable reads", DisplayUnit::Seconds, DocsPage::SlowWrites)
            .says("Time to fetch a read index from the leader: what a linearizable read costs on top of a local one.")
            .query(PanelQuery::range("p50", quantile_by("0.5", "", "quorate_read_index_seconds{*}")).colour(Colour::Middle))
            .query(PanelQuery::range("p99", quantile_by("0.99", "", "quorate_read_index_seconds{*}")).colour(Colour::Tail)),
    ]
}

fn endpoint_table() -> Panel {
    let by = "api, endpoint";
    let at = |q| format!("{} >= 0", quantile_by(q, by, &format!("quorate_api_request_seconds{ANSWERED_AT_ONCE}")));
    let columns = vec![
        TableColumn::label("API", "api"),
        TableColumn::label("Endpoint", "endpoint"),
        TableColumn::value("Requests", DisplayUnit::RequestsPerSecond, rate_by(by, "quorate_api_requests_total{*}")),
        TableColumn::value("Failed", DisplayUnit::Share, failed_requests(by))
            .limits(PanelThresholds::at_most(0.001, 0.01)),
        TableColumn::value("p50", DisplayUnit::Seconds, at("0.5")),
        TableColumn::value("p99", DisplayUnit::Seconds, at("0.99")).limits(PanelThresholds::at_most(0.1, 0.5)),
        TableColumn::value("Open streams", DisplayUnit::Count, "sum by (api, endpoint) (quorate_api_streams{*})"),
    ];
    Panel::table("Endpoints", DocsPage::Architecture, columns)
        .says("One row per endpoint that was called, as of the end of the time range. The latency of a stream is the time to open it.")
        .when_empty("–")
        .high(10)
}

fn delivery_panels() -> Vec<Panel> {
    vec![
        Panel::lines("Delivery, p99", DisplayUnit::Seconds, DocsPage::SlowWrites)
            .says("From an entry being applied to its events being handed to a reader, by pod: the time that a message takes after it is acknowledged.")
            .limits(PanelThresholds::at_most(0.1, 0.5))
            .query(PanelQuery::range("{{pod}}", quantile_by("0.99", "pod", "quorate_delivery_seconds{*}"))),
        Panel::lines("Events streamed", DisplayUnit::PerSecond, DocsPage::Performance)
            .says("Events by endpoint: received over Post, sent over Subscribe and Join.")
            .query(PanelQuery::range("{{endpoint}}", rate_by("endpoint", "quorate_api_events_total{*}"))),
        Panel::lines("Open streams", DisplayUnit::Count, DocsPage::Architecture)
            .says("Open streams and long polls, by endpoint.")
            .query(PanelQuery::range("{{endpoint}}", "sum by (endpoint) (quorate_api_streams{*})")),
        Panel::lines("Waiting readers", DisplayUnit::Count, DocsPage::Architecture)
            .says("Readers that wait for something new in their rooms, by pod.")
            .query(PanelQuery::range("{{pod}}", "sum by (pod) (quorate_feed_subscribers{*})")),
        Panel::lines("Readers woken", DisplayUnit::PerSecond, DocsPage::Performance)
            .says("Wakeups per second. Far more than the message rate times the room size means that readers wake for nothing.")
            .query(PanelQuery::range("{{pod}}", rate_by("pod", "quorate_feed_wakeups_total{*}"))),
        Panel::lines("Reads from disk", DisplayUnit::PerSecond, DocsPage::Architecture)
            .says("Reads by readers that had fallen behind the newest events in memory, by pod. They lose nothing; all readers do this once after a snapshot is installed.")
            .query(PanelQuery::range("{{pod}}", rate_by("pod", "quorate_feed_lagged_total{*}"))),
    ]
}

fn sync_panels() -> Vec<Panel> {
    vec![
        Panel::lines("Waiting calls", DisplayUnit::Count, DocsPage::Architecture)
            .says("/sync calls that wait for new events, by pod: about one per Matrix client.")
            .query(PanelQuery::range("{{pod}}", "sum by (pod) (quorate_sync_parked{*})")),
        Panel::stack("Answers", DisplayUnit::PerSecond, DocsPage::Architecture)
            .says("/sync answers by reason: there were new events, the timeout expired, or it was an initial sync. Many initial syncs mean that clients lose their position.")
            // A cluster without Matrix clients has no such answers.
            .query(PanelQuery::range("{{reason}}", or_none("reason", &rate_by("reason", "quorate_sync_answers_total{*}")))),
        Panel::lines("Answer size, mean", DisplayUnit::Bytes, DocsPage::Performance)
            .says("Mean size of a /sync answer. The first answer to a client in many rooms is large; the following ones are small.")
            // A cluster without Matrix clients has no such answers.
            .query(PanelQuery::range("{{pod}}", or_none("pod", &mean_by("pod", "quorate_sync_response_bytes{*}")))),
    ]
}
