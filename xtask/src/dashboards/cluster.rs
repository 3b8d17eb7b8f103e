//! Board of one cluster: whether it serves, who leads, what changed, and which pod differs from the others.

use super::annotation::Annotation;
use super::board::{Board, Row};
use super::look::{Colour, Limits, State, Unit};
use super::page::Page;
use super::panel::Panel;
use super::query::{Query, Scope, failed_requests, or_none, or_zero, quantile, rate, rate_by};
use super::table::Column;

/// State of a pod, from three of its gauges; -1 if the pod does not answer.
const STATE: &str = "max by (pod) (quorate_ready{*} + 2 * quorate_raft_is_leader{*} + 4 * (1 - quorate_raft_is_voter{*})) \
                     or max by (pod) (up{*} == 0) - 1";
const STATES: &[State] = &[
    State(-1, "unreachable", Colour::Bad),
    State(0, "not ready", Colour::Warning),
    State(1, "follower", Colour::Plain),
    State(2, "leader, not ready", Colour::Warning),
    State(3, "leader", Colour::Good),
    State(4, "learner, not ready", Colour::Underway),
    State(5, "learner", Colour::Underway),
];
/// Text for the leader itself, which has no leader to hear from.
const CONTACT: &[State] = &[State(-1, "–", Colour::Absent)];

pub(super) fn board() -> Board {
    Board {
        path: "dashboards/cluster.json",
        uid: "quorate-cluster",
        title: "Quorate / Cluster",
        description: "One chat cluster: does it serve, who leads, what changed, and which pod differs from the others.",
        scope: Scope::Cluster,
        annotations: Annotation::of_a_cluster(),
        rows: vec![
            Row::new("Does it serve?", serves()),
            Row::new("Leadership", leads()),
            Row::new("Golden signals", signals()),
            Row::new("Members", vec![members()]),
            Row::new("Pods", pods()),
            Row::folded("Processes", processes()),
        ],
    }
}

fn serves() -> Vec<Panel> {
    vec![
        Panel::name("Leader", Page::NoLeader)
            .says("Pod that leads with a majority behind it. If it is \"nobody\" for more than a second, writes wait.")
            .limits(Limits::reached(1.0))
            // A missing leader must be seen as such, not as a panel without data.
            .query(Query::now(
                "{{pod}}",
                r#"(max by (pod) (quorate_raft_is_leader{*} == 1)) or on () label_replace(vector(0), "pod", "nobody", "", "")"#,
            )),
        Panel::figure("Failures tolerated", Unit::Count, Page::QuorumAtRisk)
            .says("Ready voters beyond a majority: how many more pods can fail before writes stop. Below 0, writes have stopped.")
            .limits(Limits::at_least(0.0, 1.0))
            .query(Query::range(
                "pods",
                "sum(quorate_ready{*} * quorate_raft_is_voter{*}) - floor(max(quorate_raft_voters{*}) / 2) - 1",
            )),
        Panel::figure("Failed requests", Unit::Share, Page::ErrorBudgetBurn)
            .says("Share of requests that failed because of the server: no leader, overload, internal errors, or callers that gave up waiting.")
            .limits(Limits::at_most(0.001, 0.01))
            .when_empty("idle")
            .query(Query::range("failed", failed_requests("cluster"))),
        Panel::figure("Write latency, p99", Unit::Seconds, Page::SlowWrites)
            .says("From a command's proposal to its outcome, including replication and fsync on a majority.")
            .limits(Limits::at_most(0.1, 0.5))
            .when_empty("idle")
            // The comparison drops NaN: without writes there is no percentile.
            .query(Query::range("p99", format!("{} >= 0", quantile("0.99", "", "quorate_proposal_seconds{*}")))),
        Panel::figure("Writes acknowledged", Unit::PerSecond, Page::Performance)
            .says("Commands per second that a majority has synced to disk.")
            .query(Query::range("posts", r#"sum(rate(quorate_proposals_total{*, outcome="applied"}[$__rate_interval]))"#)),
        Panel::figure("Firing alerts", Unit::Count, Page::Runbooks)
            .says("Alerts of this cluster that are firing; red marks in the panels show which ones and since when.")
            .limits(Limits::below(1.0))
            .query(Query::range("alerts", r#"count(ALERTS{*, alertstate="firing"}) or on () vector(0)"#)),
    ]
}

fn leads() -> Vec<Panel> {
    vec![
        Panel::bands("Member states over time", STATES, Page::ElectionsFlapping)
            .says("State of each pod; the leader is green. Marks: orange for an election, blue for a pod that started, purple for a new version, red for an alert. A gap or \"unreachable\" is a pod that does not answer.")
            .query(Query::range("{{pod}}", STATE)),
        Panel::bars("Elections", Unit::Count, Page::ElectionsFlapping)
            .says("New terms. One at a rollout or after a failure is normal; several without a cause are not.")
            .wide(12)
            .high(6)
            .query(
                Query::range(
                    "elections",
                    "clamp_min(max(quorate_raft_term{*}) - max(quorate_raft_term{*} offset $__interval), 0)",
                )
                    .colour(Colour::Warning),
            ),
        Panel::lines("Time since the last quorum acknowledgement", Unit::Seconds, Page::NoLeader)
            .says("Time since a majority last acknowledged the leader. Normally close to the heartbeat interval; a leader that loses its majority steps down.")
            .wide(12)
            .high(6)
            .limits(Limits::at_most(0.5, 1.0))
            .query(Query::range("{{pod}}", "max by (pod) (quorate_raft_quorum_ack_age_seconds{*} >= 0)")),
    ]
}

fn signals() -> Vec<Panel> {
    let at = |q| quantile(q, "", "quorate_proposal_seconds{*}");
    vec![
        Panel::lines("Latency", Unit::Seconds, Page::SlowWrites)
            .says("Writes: from proposal to outcome. Delivery: from an entry being applied to its events being handed to a reader.")
            .wide(12)
            .limits(Limits::at_most(0.1, 0.5))
            .query(Query::range("write p50", at("0.5")).colour(Colour::Middle))
            .query(Query::range("write p99", at("0.99")).colour(Colour::Tail))
            .query(
                Query::range("delivery p99", quantile("0.99", "", "quorate_delivery_seconds{*}")).colour(Colour::Good),
            ),
        Panel::lines("Traffic", Unit::PerSecond, Page::Performance)
            .says("Requests to the Matrix and gRPC APIs, commands acknowledged, and events sent over streams, per second.")
            .wide(12)
            .query(Query::range("requests", format!("sum({})", rate("quorate_door_requests_total{*}"))).colour(Colour::Middle))
            .query(
                Query::range("writes acknowledged", format!("sum({})", rate(r#"quorate_proposals_total{*, outcome="applied"}"#)))
                    .colour(Colour::Plain),
            )
            .query(Query::range("events streamed", format!("sum({})", rate("quorate_door_events_total{*}"))).colour(Colour::Tail)),
        Panel::stack("Errors", Unit::RequestsPerSecond, Page::ErrorBudgetBurn)
            .says("Failed requests, by code. `unavailable`, `overloaded` and `internal` are the server's fault, and so usually is `cancelled` (except for /sync); the others are the callers' fault.")
            .wide(12)
            // No refusal at all is the best answer there is.
            .query(Query::range("{{code}}", or_none("code", &rate_by("code", r#"quorate_door_requests_total{*, code!="ok"}"#)))),
        Panel::lines("Saturation", Unit::Share, Page::SlowWrites)
            .says("How close the fullest pod is to each of its limits. Memory is shown only if the container has a limit.")
            .wide(12)
            .up_to(1.0)
            .limits(Limits::at_most(0.75, 0.9))
            .query(Query::range(
                "disk",
                "max(quorate_storage_used_bytes{*} / (quorate_storage_used_bytes{*} + quorate_storage_free_bytes{*}))",
            ))
            // Without a limit (0) there is no share of it, and 0 is shown; the same holds for file descriptors.
            .query(Query::range(
                "memory",
                or_zero("max(quorate_process_resident_memory_bytes{*} / (quorate_process_memory_limit_bytes{*} > 0))"),
            ))
            .query(Query::range("file descriptors", or_zero("max(quorate_process_open_fds{*} / (quorate_process_max_fds{*} > 0))")))
            .query(Query::range(
                "runtime",
                "max(rate(quorate_runtime_busy_seconds_total{*}[$__rate_interval]) / quorate_runtime_workers{*})",
            )),
    ]
}

fn members() -> Panel {
    let columns = vec![
        Column::label("Pod", "pod"),
        Column::value("State", Unit::State, STATE).states(STATES),
        Column::value("Term", Unit::Count, "max by (pod) (quorate_raft_term{*})"),
        Column::value(
            "Entries behind",
            Unit::Many,
            "clamp_min(scalar(max(quorate_raft_committed_index{*})) - max by (pod) (quorate_raft_applied_index{*}), 0)",
        )
        .limits(Limits::at_most(1000.0, 10_000.0)),
        Column::value("Leader contact", Unit::Seconds, "max by (pod) (quorate_raft_leader_contact_age_seconds{*})")
            .states(CONTACT)
            .limits(Limits::at_most(0.5, 1.0)),
        Column::value("Connections", Unit::Count, "sum by (pod) (quorate_door_connections{*})"),
        Column::value("CPU cores", Unit::Many, "sum by (pod) (rate(quorate_process_cpu_seconds_total{*}[$__rate_interval]))"),
        Column::value("Memory", Unit::Bytes, "max by (pod) (quorate_process_resident_memory_bytes{*})"),
        Column::value(
            "Disk",
            Unit::Share,
            "max by (pod) (quorate_storage_used_bytes{*} / (quorate_storage_used_bytes{*} + quorate_storage_free_bytes{*}))",
        )
        .limits(Limits::at_most(0.75, 0.9)),
        Column::value("Uptime", Unit::Age, "time() - max by (pod) (quorate_process_start_time_seconds{*})"),
        Column::label_of("Version", "version", "max by (pod, version) (quorate_build_info{*})"),
    ];
    Panel::table("Members", Page::MemberLagging, columns)
        .says("One row per pod, as of the end of the time range: look at the pod that differs from the others.")
        .when_empty("–")
        .high(6)
}

fn pods() -> Vec<Panel> {
    vec![
        Panel::lines("CPU", Unit::Many, Page::Performance)
            .says("Cores that each pod uses, user and system.")
            .query(Query::range("{{pod}}", rate_by("pod", "quorate_process_cpu_seconds_total{*}"))),
        Panel::lines("Memory", Unit::Bytes, Page::MemoryNearLimit)
            .says("Resident memory of each pod, and the highest container limit if there is one.")
            .query(Query::range("{{pod}}", "max by (pod) (quorate_process_resident_memory_bytes{*})"))
            // A pod without a limit has no series for it, which is no error.
            .query(Query::range("limit", or_zero("max(quorate_process_memory_limit_bytes{*})")).colour(Colour::Bad)),
        Panel::lines("Connections", Unit::Count, Page::Architecture)
            .says("Client connections to both APIs, by pod. After a pod fails, its clients reconnect to the others.")
            .query(Query::range("{{pod}}", "sum by (pod) (quorate_door_connections{*})")),
    ]
}

fn processes() -> Vec<Panel> {
    vec![
        Panel::lines("Runtime utilization", Unit::Share, Page::Performance)
            .says("Share of time that the runtime workers spend running tasks. Close to 100 % means that the pod needs more cores.")
            .up_to(1.0)
            .query(Query::range(
                "{{pod}}",
                "max by (pod) (rate(quorate_runtime_busy_seconds_total{*}[$__rate_interval]) / quorate_runtime_workers{*})",
            )),
        Panel::lines("Runtime queue", Unit::Count, Page::Performance)
            .says("Tasks waiting in the queue that all workers share.")
            .query(Query::range("{{pod}}", "max by (pod) (quorate_runtime_queue_tasks{*})")),
        Panel::lines("Runtime tasks", Unit::Many, Page::Architecture)
            .says("Live tasks: a few per connection and stream. A rise without more connections or streams is a leak.")
            .query(Query::range("{{pod}}", "max by (pod) (quorate_runtime_tasks{*})")),
        Panel::lines("File descriptors", Unit::Many, Page::Architecture)
            .says("Open file descriptors: connections, log segments, table files.")
            .query(Query::range("{{pod}}", "max by (pod) (quorate_process_open_fds{*})")),
        Panel::lines("Threads", Unit::Count, Page::Architecture)
            .says("Threads of each pod's process.")
            .query(Query::range("{{pod}}", "max by (pod) (quorate_process_threads{*})")),
        Panel::lines("Uptime", Unit::Age, Page::PodRestarting)
            .says("Time since each process started. A sawtooth means that the process keeps restarting.")
            .query(Query::range("{{pod}}", "time() - max by (pod) (quorate_process_start_time_seconds{*})")),
    ]
}
