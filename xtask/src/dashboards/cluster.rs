//! Board of one cluster: whether it serves, who leads, what changed, which pod is the odd one out.

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
    State(-1, "silent", Colour::Bad),
    State(0, "not ready", Colour::Warning),
    State(1, "follows", Colour::Plain),
    State(2, "leads, not ready", Colour::Warning),
    State(3, "leads", Colour::Good),
    State(4, "learns, not ready", Colour::Underway),
    State(5, "learns", Colour::Underway),
];
/// Text for the leader itself, which has no leader to hear from.
const CONTACT: &[State] = &[State(-1, "–", Colour::Absent)];

pub(super) fn board() -> Board {
    Board {
        path: "dashboards/cluster.json",
        uid: "quorate-cluster",
        title: "Quorate / Cluster",
        description: "One chat cluster: does it serve, who leads, what changed, which pod is the odd one out.",
        scope: Scope::Cluster,
        annotations: Annotation::of_a_cluster(),
        rows: vec![
            Row::new("Does it serve?", serves()),
            Row::new("Who leads", leads()),
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
            .says("The pod that leads and that a majority acknowledged lately. Nobody for more than a second: writes wait.")
            .limits(Limits::reached(1.0))
            // A missing leader must be seen as such, not as a panel without data.
            .query(Query::now(
                "{{pod}}",
                r#"(max by (pod) (quorate_raft_is_leader{*} == 1)) or on () label_replace(vector(0), "pod", "nobody", "", "")"#,
            )),
        Panel::figure("Pods it can lose", Unit::Count, Page::QuorumAtRisk)
            .says("Ready voters beyond a majority: how many pods may go before writes stop. Below 0 they have stopped.")
            .limits(Limits::at_least(0.0, 1.0))
            .query(Query::range(
                "pods",
                "sum(quorate_ready{*} * quorate_raft_is_voter{*}) - floor(max(quorate_raft_voters{*}) / 2) - 1",
            )),
        Panel::figure("Failed requests", Unit::Share, Page::ErrorBudgetBurn)
            .says("Share of requests that failed through the server's fault: no leader, overload, internal faults, or their callers gave up.")
            .limits(Limits::at_most(0.001, 0.01))
            .when_empty("idle")
            .query(Query::range("failed", failed_requests("cluster"))),
        Panel::figure("Time of a write, p99", Unit::Seconds, Page::SlowWrites)
            .says("From a command's proposal to its outcome, replication and fsync on a majority included.")
            .limits(Limits::at_most(0.1, 0.5))
            .when_empty("idle")
            // The comparison drops NaN: without writes there is no percentile.
            .query(Query::range("p99", format!("{} >= 0", quantile("0.99", "", "quorate_proposal_seconds{*}")))),
        Panel::figure("Posts acknowledged", Unit::PerSecond, Page::Performance)
            .says("Commands that a majority has synced to its disks, each second.")
            .query(Query::range("posts", r#"sum(rate(quorate_proposals_total{*, outcome="applied"}[$__rate_interval]))"#)),
        Panel::figure("Alerts that fire", Unit::Count, Page::Runbooks)
            .says("Alerts of this cluster that fire now; red marks in the panels say which and since when.")
            .limits(Limits::below(1.0))
            .query(Query::range("alerts", r#"count(ALERTS{*, alertstate="firing"}) or on () vector(0)"#)),
    ]
}

fn leads() -> Vec<Panel> {
    vec![
        Panel::bands("Leader and members over time", STATES, Page::ElectionsFlapping)
            .says("Each pod's state. Green moves at an election (orange mark); a pod that started has a blue mark, a new version a purple one, an alert a red one. A gap or \"silent\" is a pod that does not answer.")
            .query(Query::range("{{pod}}", STATE)),
        Panel::bars("Elections", Unit::Count, Page::ElectionsFlapping)
            .says("Terms that began. One at a rollout or a loss is right; several without a cause are not.")
            .wide(12)
            .high(6)
            .query(
                Query::range(
                    "elections",
                    "clamp_min(max(quorate_raft_term{*}) - max(quorate_raft_term{*} offset $__interval), 0)",
                )
                    .colour(Colour::Warning),
            ),
        Panel::lines("Age of the last quorum", Unit::Seconds, Page::NoLeader)
            .says("Time since a majority last acknowledged the leader. It stays near the heartbeat's interval; a leader that loses its majority stops to lead.")
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
            .says("Of a write, from proposal to outcome; and from an entry applied to its events handed to a reader.")
            .wide(12)
            .limits(Limits::at_most(0.1, 0.5))
            .query(Query::range("write p50", at("0.5")).colour(Colour::Middle))
            .query(Query::range("write p99", at("0.99")).colour(Colour::Tail))
            .query(
                Query::range("delivery p99", quantile("0.99", "", "quorate_delivery_seconds{*}")).colour(Colour::Good),
            ),
        Panel::lines("Traffic", Unit::PerSecond, Page::Performance)
            .says("Requests at both doors, commands acknowledged, and events that went through streams, each second.")
            .wide(12)
            .query(Query::range("requests", format!("sum({})", rate("quorate_door_requests_total{*}"))).colour(Colour::Middle))
            .query(
                Query::range("posts acknowledged", format!("sum({})", rate(r#"quorate_proposals_total{*, outcome="applied"}"#)))
                    .colour(Colour::Plain),
            )
            .query(Query::range("events streamed", format!("sum({})", rate("quorate_door_events_total{*}"))).colour(Colour::Tail)),
        Panel::stack("Errors", Unit::RequestsPerSecond, Page::ErrorBudgetBurn)
            .says("Requests refused, by code. `unavailable`, `overloaded`, `internal` are the server's fault, and `cancelled` (not of /sync) most often is; the others are the callers'.")
            .wide(12)
            // No refusal at all is the best answer there is.
            .query(Query::range("{{code}}", or_none("code", &rate_by("code", r#"quorate_door_requests_total{*, code!="ok"}"#)))),
        Panel::lines("Saturation", Unit::Share, Page::SlowWrites)
            .says("How near the fullest pod is to each of its limits. Memory shows only where the container has a limit.")
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
        Column::value("Leader heard", Unit::Seconds, "max by (pod) (quorate_raft_leader_contact_age_seconds{*})")
            .states(CONTACT)
            .limits(Limits::at_most(0.5, 1.0)),
        Column::value("Connections", Unit::Count, "sum by (pod) (quorate_door_connections{*})"),
        Column::value("Cores", Unit::Many, "sum by (pod) (rate(quorate_process_cpu_seconds_total{*}[$__rate_interval]))"),
        Column::value("Memory", Unit::Bytes, "max by (pod) (quorate_process_resident_memory_bytes{*})"),
        Column::value(
            "Disk",
            Unit::Share,
            "max by (pod) (quorate_storage_used_bytes{*} / (quorate_storage_used_bytes{*} + quorate_storage_free_bytes{*}))",
        )
        .limits(Limits::at_most(0.75, 0.9)),
        Column::value("Up", Unit::Age, "time() - max by (pod) (quorate_process_start_time_seconds{*})"),
        Column::label_of("Version", "version", "max by (pod, version) (quorate_build_info{*})"),
    ];
    Panel::table("Members", Page::MemberLagging, columns)
        .says("One row for each pod, as of the end of the time range: the odd one out is the one to look at.")
        .when_empty("–")
        .high(6)
}

fn pods() -> Vec<Panel> {
    vec![
        Panel::lines("CPU", Unit::Many, Page::Performance)
            .says("Cores that each pod uses, user and system.")
            .query(Query::range("{{pod}}", rate_by("pod", "quorate_process_cpu_seconds_total{*}"))),
        Panel::lines("Memory", Unit::Bytes, Page::MemoryNearLimit)
            .says("Resident memory of each pod; the highest limit of a container where there is one.")
            .query(Query::range("{{pod}}", "max by (pod) (quorate_process_resident_memory_bytes{*})"))
            // A pod without a limit has no series for it, which is no error.
            .query(Query::range("limit", or_zero("max(quorate_process_memory_limit_bytes{*})")).colour(Colour::Bad)),
        Panel::lines("Connections", Unit::Count, Page::Architecture)
            .says("Clients of both doors on each pod. They come back to other pods after a loss.")
            .query(Query::range("{{pod}}", "sum by (pod) (quorate_door_connections{*})")),
    ]
}

fn processes() -> Vec<Panel> {
    vec![
        Panel::lines("Runtime, busy", Unit::Share, Page::Performance)
            .says("Share of the workers' time in which they ran tasks. Near all of it: the pod needs more cores.")
            .up_to(1.0)
            .query(Query::range(
                "{{pod}}",
                "max by (pod) (rate(quorate_runtime_busy_seconds_total{*}[$__rate_interval]) / quorate_runtime_workers{*})",
            )),
        Panel::lines("Runtime, tasks that wait", Unit::Count, Page::Performance)
            .says("In the queue that all workers share.")
            .query(Query::range("{{pod}}", "max by (pod) (quorate_runtime_queue_tasks{*})")),
        Panel::lines("Runtime, tasks", Unit::Many, Page::Architecture)
            .says("That are alive: some for each connection and stream. Rising without them: a leak.")
            .query(Query::range("{{pod}}", "max by (pod) (quorate_runtime_tasks{*})")),
        Panel::lines("File descriptors", Unit::Many, Page::Architecture)
            .says("That are open: connections, segments of the log, table files.")
            .query(Query::range("{{pod}}", "max by (pod) (quorate_process_open_fds{*})")),
        Panel::lines("Threads", Unit::Count, Page::Architecture)
            .says("Of each pod's process.")
            .query(Query::range("{{pod}}", "max by (pod) (quorate_process_threads{*})")),
        Panel::lines("Up since", Unit::Age, Page::PodRestarting)
            .says("Time since each process began. A saw: it ends again and again.")
            .query(Query::range("{{pod}}", "time() - max by (pod) (quorate_process_start_time_seconds{*})")),
    ]
}
