//! Board of all clusters: which of them needs attention.

use super::annotation::Annotation;
use super::board::{Board, Row};
use super::look::{Limits, Unit};
use super::page::Page;
use super::panel::Panel;
use super::query::{Query, Scope, failed_requests, quantile, rate_by, told_by_operator};
use super::table::Column;

const BY: &str = "namespace, cluster";
const LEGEND: &str = "{{namespace}}/{{cluster}}";
const APPLIED: &str = r#"quorate_proposals_total{*, outcome="applied"}"#;
const DISK_USED: &str = "max by (namespace, cluster) (quorate_storage_used_bytes{*} \
                         / (quorate_storage_used_bytes{*} + quorate_storage_free_bytes{*}))";

pub(super) fn board() -> Board {
    Board {
        path: "dashboards/fleet.json",
        uid: "quorate-fleet",
        title: "Quorate / Fleet",
        description: "All chat clusters, one row each: which of them needs attention.",
        scope: Scope::Namespaces,
        annotations: vec![Annotation::alerts()],
        rows: vec![
            Row::new("What needs attention", needs()),
            Row::new("Clusters", vec![clusters()]),
            Row::new("Comparison", compared()),
        ],
    }
}

/// Returns the clusters that the operator was told to run or whose pods report voters. A cluster whose pods are all
/// silent is still among them.
fn known() -> String {
    format!("({} or max by (namespace, cluster) (quorate_raft_voters{{*}}))", told_by_operator(WANTED))
}

const WANTED: &str = "quorate_operator_cluster_replicas";

fn needs() -> Vec<Panel> {
    // Each query answers 0 when there is nothing to count, because then 0 is the news.
    let leaderless = format!(
        "count({} unless on (namespace, cluster) (quorate_raft_is_leader{{*}} == 1)) or on () vector(0)",
        known()
    );
    let at_risk = "count(sum by (namespace, cluster) (quorate_ready{*} * quorate_raft_is_voter{*}) \
                   <= floor(max by (namespace, cluster) (quorate_raft_voters{*}) / 2) + 1 \
                   and max by (namespace, cluster) (quorate_raft_voters{*}) > 1) or on () vector(0)";
    let missing = format!(
        "sum(clamp_min({} - on (namespace, cluster) (sum by (namespace, cluster) (quorate_ready{{*}}) or 0 * {}), 0)) \
         or on () vector(0)",
        known(),
        known()
    );
    vec![
        Panel::figure("Clusters", Unit::Count, Page::Dashboards)
            .says("Clusters that the operator manages or whose pods are scraped.")
            .query(Query::range("clusters", format!("count({})", known()))),
        Panel::figure("Without a leader", Unit::Count, Page::NoLeader)
            .says("Clusters in which no pod leads, so writes wait. An election takes about a second; anything longer is an outage.")
            .limits(Limits::below(1.0))
            .query(Query::range("clusters", leaderless)),
        Panel::figure("No failure tolerated", Unit::Count, Page::QuorumAtRisk)
            .says("Clusters in which writes stop if one more pod fails.")
            .limits(Limits::worth_a_look(1.0))
            .query(Query::range("clusters", at_risk)),
        Panel::figure("Pods missing", Unit::Count, Page::QuorumAtRisk)
            .says("Desired pods that are not ready, in all clusters. A rollout makes some pods unready for a while.")
            .limits(Limits::worth_a_look(1.0))
            .query(Query::range("pods", missing)),
        Panel::figure("Firing alerts", Unit::Count, Page::Runbooks)
            .says("Quorate alerts that are firing; the marks in the panels below show which ones and since when.")
            .limits(Limits::below(1.0))
            .query(Query::range(
                "alerts",
                r#"count(ALERTS{alertstate="firing", alertname=~"Quorate.*"}) or on () vector(0)"#,
            )),
        Panel::figure("Active operators", Unit::Count, Page::OperatorAway)
            .says("Operators that hold the lease; there should be 1. With 0, clusters keep serving, but nothing is repaired.")
            .limits(Limits::reached(1.0))
            .query(Query::range("operators", "sum(quorate_operator_leading) or on () vector(0)")),
    ]
}

fn clusters() -> Panel {
    let columns = vec![
        Column::label("Namespace", "namespace"),
        Column::label("Cluster", "cluster").leads_to(
            "/d/quorate-cluster?var-datasource=${datasource}&var-namespace=${__data.fields.Namespace}&var-cluster=${__data.fields.Cluster}",
        ),
        Column::label_of(
            "Leader",
            "pod",
            "topk by (namespace, cluster) (1, max by (namespace, cluster, pod) (quorate_raft_is_leader{*} == 1))",
        ),
        Column::value("Ready", Unit::Count, "sum by (namespace, cluster) (quorate_ready{*})"),
        Column::value("Desired", Unit::Count, known()),
        Column::value("Tolerates", Unit::Count, "sum by (namespace, cluster) (quorate_ready{*} * quorate_raft_is_voter{*}) - floor(max by (namespace, cluster) (quorate_raft_voters{*}) / 2) - 1")
            .limits(Limits::at_least(0.0, 1.0)),
        Column::value("Writes/s", Unit::PerSecond, rate_by(BY, APPLIED)),
        // The comparison drops NaN: a cluster without writes has no percentile.
        Column::value("Write p99", Unit::Seconds, format!("{} >= 0", quantile("0.99", BY, "quorate_proposal_seconds{*}")))
            .limits(Limits::at_most(0.1, 0.5)),
        Column::value("Failed", Unit::Share, failed_requests(BY)).limits(Limits::at_most(0.001, 0.01)),
        Column::value("Disk", Unit::Share, DISK_USED).limits(Limits::at_most(0.75, 0.9)),
        // The version is that of most pods; more than one version is a rollout, or one that stopped half way.
        Column::label_of(
            "Version",
            "version",
            "topk by (namespace, cluster) (1, count by (namespace, cluster, version) (quorate_build_info{*}))",
        ),
        Column::value("Versions", Unit::Count, "count by (namespace, cluster) (count by (namespace, cluster, version) (quorate_build_info{*}))")
            .limits(Limits::at_most(2.0, 3.0)),
    ];
    Panel::table("Clusters", Page::Dashboards, columns)
        .says("One row per cluster, as of the end of the time range; the name links to the board of the cluster. If Leader is empty, there is no leader and writes wait. \"Tolerates\" is the number of pods that can fail before writes stop.")
        .when_empty("–")
        .high(9)
}

fn compared() -> Vec<Panel> {
    vec![
        Panel::lines("Writes acknowledged", Unit::PerSecond, Page::Performance)
            .says("Commands per second that a majority has synced to disk: messages, joins, state.")
            .wide(12)
            .query(Query::range(LEGEND, rate_by(BY, APPLIED))),
        Panel::lines("Write latency, p99", Unit::Seconds, Page::SlowWrites)
            .says("From a command's proposal to its outcome, including replication and fsync on a majority. One write in a hundred takes longer.")
            .wide(12)
            .limits(Limits::at_most(0.1, 0.5))
            .query(Query::range(LEGEND, quantile("0.99", BY, "quorate_proposal_seconds{*}"))),
        Panel::lines("Failed requests", Unit::Share, Page::ErrorBudgetBurn)
            .says("Share of requests that failed because of the server: no leader, overload, internal errors, or callers that gave up waiting. Mistakes of the callers do not count.")
            .wide(12)
            .limits(Limits::at_most(0.001, 0.01))
            .query(Query::range(LEGEND, failed_requests(BY))),
        Panel::lines("Fullest disk", Unit::Share, Page::DiskFilling)
            .says("The fullest volume of each cluster.")
            .wide(12)
            .up_to(1.0)
            .limits(Limits::at_most(0.75, 0.9))
            .query(Query::range(LEGEND, DISK_USED)),
    ]
}
