//! Board of one cluster as its clients see it: requests, refusals, and how fast messages reach them.

use super::annotation::Annotation;
use super::board::{Board, Row};
use super::look::{Colour, Limits, Unit};
use super::page::Page;
use super::panel::Panel;
use super::query::{Query, Scope, failed_requests, mean, or_none, quantile, rate, rate_by};
use super::table::Column;

/// Matchers that leave out `/sync`, which waits on purpose: its time says nothing.
const ANSWERED_AT_ONCE: &str = r#"{*, endpoint!="sync"}"#;

pub(super) fn board() -> Board {
    Board {
        path: "dashboards/clients-and-delivery.json",
        uid: "quorate-clients-and-delivery",
        title: "Quorate / Clients and delivery",
        description: "One chat cluster as its clients see it: requests by endpoint, refusals, delivery, /sync.",
        scope: Scope::Cluster,
        annotations: Annotation::of_a_cluster(),
        rows: vec![
            Row::new("Are clients served?", served()),
            Row::new("Requests", requests()),
            Row::new("Endpoints", vec![endpoints()]),
            Row::new("Delivery", delivery()),
            Row::new("Matrix /sync", sync()),
        ],
    }
}

fn served() -> Vec<Panel> {
    vec![
        Panel::figure("Connections", Unit::Many, Page::Architecture)
            .says("Client connections to the Matrix and gRPC APIs. If the pods are healthy, a sudden drop means that a network or an ingress failed.")
            .query(Query::range("connections", "sum(quorate_door_connections{*})")),
        Panel::figure("Requests", Unit::RequestsPerSecond, Page::Architecture)
            .says("Requests to both APIs; a stream counts once, when it is opened.")
            .query(Query::range("requests", format!("sum({})", rate("quorate_door_requests_total{*}")))),
        Panel::figure("Failed", Unit::Share, Page::ErrorBudgetBurn)
            .says("Share of requests that failed because of the server or whose callers gave up waiting (except for /sync).")
            .limits(Limits::at_most(0.001, 0.01))
            .when_empty("idle")
            .query(Query::range("failed", failed_requests("cluster"))),
        Panel::figure("Events streamed", Unit::PerSecond, Page::Performance)
            .says("Events per second received or sent over streams.")
            .query(Query::range("events", format!("sum({})", rate("quorate_door_events_total{*}")))),
        Panel::figure("Delivery, p99", Unit::Seconds, Page::SlowWrites)
            .says("From an entry being applied on a pod to its events being handed to a reader's stream or /sync.")
            .limits(Limits::at_most(0.1, 0.5))
            .when_empty("idle")
            // The comparison drops NaN: without readers there is no percentile.
            .query(Query::range("p99", format!("{} >= 0", quantile("0.99", "", "quorate_delivery_seconds{*}")))),
        Panel::figure("Reads from disk", Unit::PerSecond, Page::Architecture)
            .says("Reads per second by readers that had fallen behind the newest events in memory and read rows from disk instead.")
            .query(Query::range("reads", format!("sum({})", rate("quorate_feed_lagged_total{*}")))),
    ]
}

fn requests() -> Vec<Panel> {
    let requests = |door: &str| rate_by("endpoint", &format!(r#"quorate_door_requests_total{{*, door="{door}"}}"#));
    vec![
        Panel::stack("gRPC requests", Unit::RequestsPerSecond, Page::Architecture)
            .says("gRPC requests, by endpoint of quorate.chat.v1.")
            .query(Query::range("{{endpoint}}", requests("grpc"))),
        Panel::stack("Matrix requests", Unit::RequestsPerSecond, Page::Architecture)
            .says("Matrix requests, by endpoint of the Client-Server API.")
            // A cluster without Matrix clients has no such requests.
            .query(Query::range("{{endpoint}}", or_none("endpoint", &requests("matrix")))),
        Panel::stack("Refused", Unit::RequestsPerSecond, Page::ErrorBudgetBurn)
            .says("Refused requests, by API and code. `limit_exceeded` protects other users; `unavailable`, `overloaded` and `internal` are the server's fault.")
            // No refusal at all is the best answer there is.
            .query(Query::range(
                "{{door}} {{code}}",
                or_none("code", &rate_by("door, code", r#"quorate_door_requests_total{*, code!="ok"}"#)),
            )),
        Panel::lines("Request latency, p99", Unit::Seconds, Page::SlowWrites)
            .says("Request latency by API, without /sync, which waits on purpose.")
            .wide(12)
            .limits(Limits::at_most(0.1, 0.5))
            .query(Query::range("{{door}}", quantile("0.99", "door", &format!("quorate_door_request_seconds{ANSWERED_AT_ONCE}")))),
        Panel::lines("Linearizable reads", Unit::Seconds, Page::SlowWrites)
            .says("Time to fetch a read index from the leader: what a linearizable read costs on top of a local one.")
            .wide(12)
            .query(Query::range("p50", quantile("0.5", "", "quorate_read_index_seconds{*}")).colour(Colour::Middle))
            .query(Query::range("p99", quantile("0.99", "", "quorate_read_index_seconds{*}")).colour(Colour::Tail)),
    ]
}

fn endpoints() -> Panel {
    let by = "door, endpoint";
    let at = |q| format!("{} >= 0", quantile(q, by, &format!("quorate_door_request_seconds{ANSWERED_AT_ONCE}")));
    let columns = vec![
        Column::label("API", "door"),
        Column::label("Endpoint", "endpoint"),
        Column::value("Requests", Unit::RequestsPerSecond, rate_by(by, "quorate_door_requests_total{*}")),
        Column::value("Failed", Unit::Share, failed_requests(by)).limits(Limits::at_most(0.001, 0.01)),
        Column::value("p50", Unit::Seconds, at("0.5")),
        Column::value("p99", Unit::Seconds, at("0.99")).limits(Limits::at_most(0.1, 0.5)),
        Column::value("Open streams", Unit::Count, "sum by (door, endpoint) (quorate_door_streams{*})"),
    ];
    Panel::table("Endpoints", Page::Architecture, columns)
        .says("One row per endpoint that was called, as of the end of the time range. The latency of a stream is the time to open it.")
        .when_empty("–")
        .high(10)
}

fn delivery() -> Vec<Panel> {
    vec![
        Panel::lines("Delivery, p99", Unit::Seconds, Page::SlowWrites)
            .says("From an entry being applied to its events being handed to a reader, by pod: the time that a message takes after it is acknowledged.")
            .limits(Limits::at_most(0.1, 0.5))
            .query(Query::range("{{pod}}", quantile("0.99", "pod", "quorate_delivery_seconds{*}"))),
        Panel::lines("Events streamed", Unit::PerSecond, Page::Performance)
            .says("Events by endpoint: received over Post, sent over Subscribe and Join.")
            .query(Query::range("{{endpoint}}", rate_by("endpoint", "quorate_door_events_total{*}"))),
        Panel::lines("Open streams", Unit::Count, Page::Architecture)
            .says("Open streams and long polls, by endpoint.")
            .query(Query::range("{{endpoint}}", "sum by (endpoint) (quorate_door_streams{*})")),
        Panel::lines("Waiting readers", Unit::Count, Page::Architecture)
            .says("Readers that wait for something new in their rooms, by pod.")
            .query(Query::range("{{pod}}", "sum by (pod) (quorate_feed_subscribers{*})")),
        Panel::lines("Readers woken", Unit::PerSecond, Page::Performance)
            .says("Wakeups per second. Far more than the message rate times the room size means that readers wake for nothing.")
            .query(Query::range("{{pod}}", rate_by("pod", "quorate_feed_wakeups_total{*}"))),
        Panel::lines("Reads from disk", Unit::PerSecond, Page::Architecture)
            .says("Reads by readers that had fallen behind the newest events in memory, by pod. They lose nothing; all readers do this once after a snapshot is installed.")
            .query(Query::range("{{pod}}", rate_by("pod", "quorate_feed_lagged_total{*}"))),
    ]
}

fn sync() -> Vec<Panel> {
    vec![
        Panel::lines("Waiting calls", Unit::Count, Page::Architecture)
            .says("/sync calls that wait for new events, by pod: about one per Matrix client.")
            .query(Query::range("{{pod}}", "sum by (pod) (quorate_sync_parked{*})")),
        Panel::stack("Answers", Unit::PerSecond, Page::Architecture)
            .says("/sync answers by reason: there were new events, the timeout expired, or it was an initial sync. Many initial syncs mean that clients lose their position.")
            // A cluster without Matrix clients has no such answers.
            .query(Query::range("{{reason}}", or_none("reason", &rate_by("reason", "quorate_sync_answers_total{*}")))),
        Panel::lines("Answer size, mean", Unit::Bytes, Page::Performance)
            .says("Mean size of a /sync answer. The first answer to a client in many rooms is large; the following ones are small.")
            // A cluster without Matrix clients has no such answers.
            .query(Query::range("{{pod}}", or_none("pod", &mean("pod", "quorate_sync_response_bytes{*}")))),
    ]
}
