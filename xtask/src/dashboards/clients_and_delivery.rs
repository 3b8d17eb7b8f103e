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
            .says("Clients of both doors. A sudden fall is a network or an ingress that went, if the pods are well.")
            .query(Query::range("connections", "sum(quorate_door_connections{*})")),
        Panel::figure("Requests", Unit::RequestsPerSecond, Page::Architecture)
            .says("At both doors; a stream counts once, when it is opened.")
            .query(Query::range("requests", format!("sum({})", rate("quorate_door_requests_total{*}")))),
        Panel::figure("Failed", Unit::Share, Page::ErrorBudgetBurn)
            .says("Share of requests that failed through the server's fault, or whose callers gave up (not of /sync).")
            .limits(Limits::at_most(0.001, 0.01))
            .when_empty("idle")
            .query(Query::range("failed", failed_requests("cluster"))),
        Panel::figure("Events streamed", Unit::PerSecond, Page::Performance)
            .says("Events that came in or went out over streams.")
            .query(Query::range("events", format!("sum({})", rate("quorate_door_events_total{*}")))),
        Panel::figure("Delivery, p99", Unit::Seconds, Page::SlowWrites)
            .says("From an entry applied on a pod to its events handed to a reader's stream or /sync.")
            .limits(Limits::at_most(0.1, 0.5))
            .when_empty("idle")
            // The comparison drops NaN: without readers there is no percentile.
            .query(Query::range("p99", format!("{} >= 0", quantile("0.99", "", "quorate_delivery_seconds{*}")))),
        Panel::figure("Reads from the disk", Unit::PerSecond, Page::Architecture)
            .says("Readers that had fallen behind the newest events, which are kept in memory, and read rows instead, each second.")
            .query(Query::range("reads", format!("sum({})", rate("quorate_feed_lagged_total{*}")))),
    ]
}

fn requests() -> Vec<Panel> {
    let requests = |door: &str| rate_by("endpoint", &format!(r#"quorate_door_requests_total{{*, door="{door}"}}"#));
    vec![
        Panel::stack("gRPC requests", Unit::RequestsPerSecond, Page::Architecture)
            .says("By endpoint of quorate.chat.v1.")
            .query(Query::range("{{endpoint}}", requests("grpc"))),
        Panel::stack("Matrix requests", Unit::RequestsPerSecond, Page::Architecture)
            .says("By endpoint of the Client-Server API.")
            // A cluster without Matrix clients has no such requests.
            .query(Query::range("{{endpoint}}", or_none("endpoint", &requests("matrix")))),
        Panel::stack("Refused", Unit::RequestsPerSecond, Page::ErrorBudgetBurn)
            .says("By door and code. `limit_exceeded` protects the others; `unavailable`, `overloaded` and `internal` are the server's fault.")
            // No refusal at all is the best answer there is.
            .query(Query::range(
                "{{door}} {{code}}",
                or_none("code", &rate_by("door, code", r#"quorate_door_requests_total{*, code!="ok"}"#)),
            )),
        Panel::lines("Time of a request, p99", Unit::Seconds, Page::SlowWrites)
            .says("By door, without /sync, which waits on purpose.")
            .wide(12)
            .limits(Limits::at_most(0.1, 0.5))
            .query(Query::range("{{door}}", quantile("0.99", "door", &format!("quorate_door_request_seconds{ANSWERED_AT_ONCE}")))),
        Panel::lines("Linearizable reads", Unit::Seconds, Page::SlowWrites)
            .says("Time to fetch a read index from the leader: what a read adds to be sure that it is not old.")
            .wide(12)
            .query(Query::range("p50", quantile("0.5", "", "quorate_read_index_seconds{*}")).colour(Colour::Middle))
            .query(Query::range("p99", quantile("0.99", "", "quorate_read_index_seconds{*}")).colour(Colour::Tail)),
    ]
}

fn endpoints() -> Panel {
    let by = "door, endpoint";
    let at = |q| format!("{} >= 0", quantile(q, by, &format!("quorate_door_request_seconds{ANSWERED_AT_ONCE}")));
    let columns = vec![
        Column::label("Door", "door"),
        Column::label("Endpoint", "endpoint"),
        Column::value("Requests", Unit::RequestsPerSecond, rate_by(by, "quorate_door_requests_total{*}")),
        Column::value("Failed", Unit::Share, failed_requests(by)).limits(Limits::at_most(0.001, 0.01)),
        Column::value("p50", Unit::Seconds, at("0.5")),
        Column::value("p99", Unit::Seconds, at("0.99")).limits(Limits::at_most(0.1, 0.5)),
        Column::value("Open streams", Unit::Count, "sum by (door, endpoint) (quorate_door_streams{*})"),
    ];
    Panel::table("Endpoints", Page::Architecture, columns)
        .says("One row for each endpoint that was called, as of the end of the time range. The time of a stream is that of its opening.")
        .when_empty("–")
        .high(10)
}

fn delivery() -> Vec<Panel> {
    vec![
        Panel::lines("Delivery, p99", Unit::Seconds, Page::SlowWrites)
            .says("From an entry applied to its events handed to a reader, by pod: what a message takes after it is acknowledged.")
            .limits(Limits::at_most(0.1, 0.5))
            .query(Query::range("{{pod}}", quantile("0.99", "pod", "quorate_delivery_seconds{*}"))),
        Panel::lines("Events streamed", Unit::PerSecond, Page::Performance)
            .says("By endpoint: what came in over Post, what went out over Subscribe and Join.")
            .query(Query::range("{{endpoint}}", rate_by("endpoint", "quorate_door_events_total{*}"))),
        Panel::lines("Open streams", Unit::Count, Page::Architecture)
            .says("Streams and long polls, by endpoint.")
            .query(Query::range("{{endpoint}}", "sum by (endpoint) (quorate_door_streams{*})")),
        Panel::lines("Readers that wait", Unit::Count, Page::Architecture)
            .says("For something new in their rooms, by pod.")
            .query(Query::range("{{pod}}", "sum by (pod) (quorate_feed_subscribers{*})")),
        Panel::lines("Readers woken", Unit::PerSecond, Page::Performance)
            .says("Each second. Far above the messages' rate times the rooms' size: readers wake for nothing.")
            .query(Query::range("{{pod}}", rate_by("pod", "quorate_feed_wakeups_total{*}"))),
        Panel::lines("Reads from the disk", Unit::PerSecond, Page::Architecture)
            .says("Readers that had fallen behind the newest events, which are kept in memory, by pod. They lose nothing; all do it once after a snapshot came.")
            .query(Query::range("{{pod}}", rate_by("pod", "quorate_feed_lagged_total{*}"))),
    ]
}

fn sync() -> Vec<Panel> {
    vec![
        Panel::lines("Calls that wait", Unit::Count, Page::Architecture)
            .says("/sync calls that wait for news, by pod: about one for each Matrix client.")
            .query(Query::range("{{pod}}", "sum by (pod) (quorate_sync_parked{*})")),
        Panel::stack("Answers", Unit::PerSecond, Page::Architecture)
            .says("By reason: there was news, the time ran out, or it was a client's first. Many first ones: clients lose their place.")
            // A cluster without Matrix clients has no such answers.
            .query(Query::range("{{reason}}", or_none("reason", &rate_by("reason", "quorate_sync_answers_total{*}")))),
        Panel::lines("Size of an answer, mean", Unit::Bytes, Page::Performance)
            .says("The first answer of a client in many rooms is large; those that follow are small.")
            // A cluster without Matrix clients has no such answers.
            .query(Query::range("{{pod}}", or_none("pod", &mean("pod", "quorate_sync_response_bytes{*}")))),
    ]
}
