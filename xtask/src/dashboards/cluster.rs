//! Board of one cluster: whether it serves, who leads, what changed, and which pod differs from the others.

use super::annotation::Annotation;
use super::board::{Dashboard, PanelRow};
use super::look::{Colour, DisplayUnit, PanelThresholds, StateMapping};
use super::page::DocsPage;
use super::panel::Panel;
use super::query::{DashboardScope, PanelQuery, failed_requests, or_none, or_zero, quantile_by, rate_by, rate_of};
use super::table::TableColumn;

/// State of a pod, from three of its gauges; -1 if the pod does not answer.
const STATE: &str = "max by (pod) (quorate_ready{*} + 2 * quorate_raft_is_leader{*} + 4 * (1 - quorate_raft_is_voter{*})) \
                     or max by (pod) (up{*} == 0) - 1";
const STATES: &[StateMapping] = &[
    StateMapping(-1, "unreachable", Colour::Bad),
    StateMapping(0, "not ready", Colour::Warning),
    StateMapping(1, "follower", Colour::Plain),
    StateMapping(2, "leader, not ready", Colour::Warning),
    StateMapping(3, "leader", Colour::Good),
    StateMapping(4, "learner, not ready", Colour::Underway),
    StateMapping(5, "learner", Colour::Underway),
];
/// Text for the leader itself, which has no leader to hear from.
const CONTACT: &[StateMapping] = &[StateMapping(-1, "–", Colour::Absent)];

pub(super) fn cluster_dashboard() -> Dashboard {
    Dashboard {
        path: "dashboards/cluster.json",
        uid: "quorate-cluster",
        title: "Quorate / Cluster",
        description: "One chat cluster: does it serve, who leads, what changed, and which pod differs from the others.",
        scope: DashboardScope::Cluster,
        annotations: Annotation::of_a_cluster(),
        rows: vec![
            PanelRow::new("Does it serve?", health_panels()),
            PanelRow::new("Leadership", leadership_panels()),
            PanelRow::new("Golden signals", signal_panels()),
            PanelRow::new("Members", vec![member_table()]),
            PanelRow::new("Pods", pod_panels()),
            PanelRow::folded("Processes", process_panels()),
        ],
    }
}

fn health_panels() -> Vec<Panel> {
    vec![
        Panel::name("Leader", DocsPage::NoLeader)
            .says("Pod that leads with a majority behind it. If it is \"nobody\" for more than a second, writes wait.")
            .limits(PanelThresholds::reached(1.0))
            // A missing leader must be seen as such, not as a panel without data.
            .query(PanelQuery::now(
                "{{pod}}",
                r#"(max by (pod) (quorate_raft_is_leader{*} == 1)) or on () label_replace(vector(0), "pod", "nobody", "", "")"#,
            )),
        Panel::figure("Failures tolerated", DisplayUnit::Count, DocsPage::QuorumAtRisk)
            .says("Ready voters beyond a majority: how many more pods can fail before writes stop. Below 0, writes have stopped.")
            .limits(PanelThresholds::at_least(0.0, 1.0))
            .query(PanelQuery::range(
                "pods",
                "sum(quorate_ready{*} * quorate_raft_is_voter{*}) - floor(max(quorate_raft_voters{*}) / 2) - 1",
            )),
        Panel::figure("Failed requests", DisplayUnit::Share, DocsPage::ErrorBudgetBurn)
            .says("Share of requests that failed because of the server: no leader, overload, internal errors, or callers that gave up waiting.")
            .limits(PanelThresholds::at_most(0.001, 0.01))
            .when_empty("idle")
            .query(PanelQuery::range("failed", failed_requests("cluster"))),
        Panel::figure("Write latency, p99", DisplayUnit::Seconds, DocsPage::SlowWrites)
            .says("From a command's proposal to its outcome, including replication and fsync on a majority.")
            .limits(PanelThresholds::at_most(0.1, 0.5))
            .when_empty("idle")
            // The comparison drops NaN: without writes there is no percentile.
            .query(PanelQuery::range("p99", format!("{} >= 0", quantile_by("0.99", "", "quorate_proposal_seconds{*}")))),
        Panel::figure("Writes acknowledged", DisplayUnit::PerSecond, DocsPage::Performance)
            .says("Commands per second that a majority has synced to disk.")
            .query(PanelQuery::range("posts", r#"sum(rate(quorate_proposals_total{*, outcome="applied"}[$__rate_interval]))"#)),
        Panel::figure("Firing alerts", DisplayUnit::Count, DocsPage::Runbooks)
            .says("Alerts of this cluster that are firing; red marks in the panels show which ones and since when.")
            .limits(PanelThresholds::below(1.0))
            .query(PanelQuery::range("alerts", r#"count(ALERTS{*, alertstate="firing"}) or on () vector(0)"#)),
    ]
}

fn leadership_panels() -> Vec<Panel> {
    vec![
        Panel::bands("Member states over time", STATES, DocsPage::ElectionsFlapping)
            .says("State of each pod; the leader is green. Marks: orange for an election, blue for a pod that started, purple for a new version, red for an alert. A gap or \"unreachable\" is a pod that does not answer.")
            .query(PanelQuery::range("{{pod}}", STATE)),
        Panel::bars("Elections", DisplayUnit::Count, DocsPage::ElectionsFlapping)
            .says("New terms. One at a rollout or after a failure is normal; several without a cause are not.")
            .wide(12)
            .high(6)
            .query(
                PanelQuery::range(
                    "elections",
                    "clamp_min(max(quorate_raft_term{*}) - max(quorate_raft_term{*} offset $__interval), 0)",
                )
                    .colour(Colour::Warning),
            ),
        Panel::lines("Time since the last quorum acknowledgement", DisplayUnit::Seconds, DocsPage::NoLeader)
            .says("Time since a majority last acknowledged the leader. Normally close to the heartbeat interval; a leader that loses its majority steps down.")
            .wide(12)
            .high(6)
            .limits(PanelThresholds::at_most(0.5, 1.0))
            .query(PanelQuery::range("{{pod}}", "max by (pod) (quorate_raft_quorum_ack_age_seconds{*} >= 0)")),
    ]
}

fn signal_panels() -> Vec<Panel> {
    let at = |q| quantile_by(q, "", "quorate_proposal_seconds{*}");
    vec![
        Panel::lines("Latency", DisplayUnit::Seconds, DocsPage::SlowWrites)
            .says("Writes: from proposal to outcome. Delivery: from an entry being applied to its events being handed to a reader.")
            .wide(12)
            .limits(PanelThresholds::at_most(0.1, 0.5))
            .query(PanelQuery::range("write p50", at("0.5")).colour(Colour::Middle))
            .query(PanelQuery::range("write p99", at("0.99")).colour(Colour::Tail))
            .query(
                PanelQuery::range("delivery p99", quantile_by("0.99", "", "quorate_delivery_seconds{*}")).colour(Colour::Good),
            ),
        Panel::lines("Traffic", DisplayUnit::PerSecond, DocsPage::Performance)
            .says("Requests to the Matrix and gRPC APIs, commands acknowledged, and events sent over streams, per second.")
            .wide(12)
            .query(PanelQuery::range("requests", format!("sum({})", rate_of("quorate_api_requests_total{*}"))).colour(Colour::Middle))
            .query(
                PanelQuery::range("writes acknowledged", format!("sum({})", rate_of(r#"quorate_proposals_total{*, outcome="applied"}"#)))
                    .colour(Colour::Plain),
            )
            .query(PanelQuery::range("events streamed", format!("sum({})", rate_of("quorate_api_events_total{*}"))).colour(Colour::Tail)),
        Panel::stack("Errors", DisplayUnit::RequestsPerSecond, DocsPage::ErrorBudgetBurn)
            .says("Failed requests, by code. `unavailable`, `overloaded` and `internal` are the server's fault, and so usually is `cancelled` (except for /sync); the others are the callers' fault.")
            .wide(12)
            // No refusal at all is the best answer there is.
            .query(PanelQuery::range("{{code}}", or_none("code", &rate_by("code", r#"quorate_api_requests_total{*, code!="ok"}"#)))),
        Panel::lines("Saturation", DisplayUnit::Share, DocsPage::SlowWrites)
            .says("How close the fullest pod is to each of its limits. Memory is shown only if the container has a limit.")
            .wide(12)
            .up_to(1.0)
            .limits(PanelThresholds::at_most(0.75, 0.9))
            .query(PanelQuery::range(
                "disk",
                "max(quorate_storage_used_bytes{*} / (quorate_storage_used_bytes{*} + quorate_storage_free_bytes{*}))",
            ))
            // Without a limit (0) there is no share of it, and 0 is shown; the same holds for file descriptors.
            .query(PanelQuery::range(
                "memory",
                or_zero("max(quorate_process_resident_memory_bytes{*} / (quorate_process_memory_limit_bytes{*} > 0))"),
            ))
            .query(PanelQuery::range("file descriptors", or_zero("max(quorate_process_open_fds{*} / (quorate_process_max_fds{*} > 0))")))
            .query(PanelQuery::range(
                "runtime",
                "max(rate(quorate_runtime_busy_seconds_total{*}[$__rate_interval]) / quorate_runtime_workers{*})",
            )),
    ]
}

fn member_table() -> Panel {
    let columns = vec![
        TableColumn::label("Pod", "pod"),
        TableColumn::value("State", DisplayUnit::State, STATE).states(STATES),
        TableColumn::value("Term", DisplayUnit::Count, "max by (pod) (quorate_raft_term{*})"),
        TableColumn::value(
            "Entries behind",
            DisplayUnit::Many,
            "clamp_min(scalar(max(quorate_raft_committed_index{*})) - max by (pod) (quorate_raft_applied_index{*}), 0)",
        )
        .limits(PanelThresholds::at_most(1000.0, 10_000.0)),
        TableColumn::value("Leader contact", DisplayUnit::Seconds, "max by (pod) (quorate_raft_leader_contact_age_seconds{*})")
            .states(CONTACT)
            .limits(PanelThresholds::at_most(0.5, 1.0)),
        TableColumn::value("Connections", DisplayUnit::Count, "sum by (pod) (quorate_api_connections{*})"),
        TableColumn::value("CPU cores", DisplayUnit::Many, "sum by (pod) (rate(quorate_process_cpu_seconds_total{*}[$__rate_interval]))"),
        TableColumn::value("Memory", DisplayUnit::Bytes, "max by (pod) (quorate_process_resident_memory_bytes{*})"),
        TableColumn::value(
            "Disk",
            DisplayUnit::Share,
            "max by (pod) (quorate_storage_used_bytes{*} / (quorate_storage_used_bytes{*} + quorate_storage_free_bytes{*}))",
        )
        .limits(PanelThresholds::at_most(0.75, 0.9)),
        TableColumn::value("Uptime", DisplayUnit::Age, "time() - max by (pod) (quorate_process_start_time_seconds{*})"),
        TableColumn::label_of("Version", "version", "max by (pod, version) (quorate_build_info{*})"),
    ];
    Panel::table("Members", DocsPage::MemberLagging, columns)
        .says("One row per pod, as of the end of the time range: look at the pod that differs from the others.")
        .when_empty("–")
        .high(6)
}

fn pod_panels() -> Vec<Panel> {
    vec![
        Panel::lines("CPU", DisplayUnit::Many, DocsPage::Performance)
            .says("Cores that each pod uses, user and system.")
            .wide(6)
            .query(PanelQuery::range("{{pod}}", rate_by("pod", "quorate_process_cpu_seconds_total{*}"))),
        Panel::lines("Memory", DisplayUnit::Bytes, DocsPage::MemoryNearLimit)
            .says("Resident memory of each pod, and the highest container limit if there is one.")
            .wide(6)
            .query(PanelQuery::range("{{pod}}", "max by (pod) (quorate_process_resident_memory_bytes{*})"))
            // A pod without a limit has no series for it, which is no error.
            .query(
                PanelQuery::range("limit", or_zero("max(quorate_process_memory_limit_bytes{*})")).colour(Colour::Bad),
            ),
        Panel::lines("Connections", DisplayUnit::Count, DocsPage::Architecture)
            .says("Client connections to both APIs, by pod. After a pod fails, its clients reconnect to the others.")
            .wide(6)
            .query(PanelQuery::range("{{pod}}", "sum by (pod) (quorate_api_connections{*})")),
        Panel::lines("Format level", DisplayUnit::Count, DocsPage::VersionSkew)
            .says("Level that each pod knows, and the one in force. While a pod knows more than is in force, what its version adds is refused: an upgrade is under way or has stopped partway.")
            .wide(6)
            .query(PanelQuery::range("{{pod}} knows", "max by (pod) (quorate_format_level_known{*})"))
            .query(PanelQuery::range("in force", "max(quorate_format_level{*})").colour(Colour::Good)),
    ]
}

fn process_panels() -> Vec<Panel> {
    vec![
        Panel::lines("Runtime utilization", DisplayUnit::Share, DocsPage::Performance)
            .says("Share of time that the runtime workers spend running tasks. Close to 100 % means that the pod needs more cores.")
            .up_to(1.0)
            .query(PanelQuery::range(
                "{{pod}}",
                "max by (pod) (rate(quorate_runtime_busy_seconds_total{*}[$__rate_interval]) / quorate_runtime_workers{*})",
            )),
        Panel::lines("Runtime queue", DisplayUnit::Count, DocsPage::Performance)
            .says("Tasks waiting in the queue that all workers share.")
            .query(PanelQuery::range("{{pod}}", "max by (pod) (quorate_runtime_queue_tasks{*})")),
        Panel::lines("Runtime tasks", DisplayUnit::Many, DocsPage::Architecture)
            .says("Live tasks: a few per connection and stream. A rise without more connections or streams is a leak.")
            .query(PanelQuery::range("{{pod}}", "max by (pod) (quorate_runtime_tasks{*})")),
        Panel::lines("File descriptors", DisplayUnit::Many, DocsPage::Architecture)
            .says("Open file descriptors: connections, log segments, table files.")
            .query(PanelQuery::range("{{pod}}", "max by (pod) (quorate_process_open_fds{*})")),
        Panel::lines("Threads", DisplayUnit::Count, DocsPage::Architecture)
            .says("Threads of each pod's process.")
            .query(PanelQuery::range("{{pod}}", "max by (pod) (quorate_process_threads{*})")),
        Panel::lines("Uptime", DisplayUnit::Age, DocsPage::PodRestarting)
            .says("Time since each process started. A sawtooth means that the process keeps restarting.")
            .query(PanelQuery::range("{{pod}}", "time() - max by (pod) (quorate_process_start_time_seconds{*})")),
    ]
}
