//! Board of all clusters: which of them needs attention.

use super::annotation::Annotation;
use super::board::{Dashboard, PanelRow};
use super::look::{DisplayUnit, PanelThresholds};
use super::page::DocsPage;
use super::panel::Panel;
use super::query::{DashboardScope, PanelQuery, failed_requests, quantile_by, rate_by, told_by_operator};
use super::table::TableColumn;

const BY: &str = "namespace, cluster";
const LEGEND: &str = "{{namespace}}/{{cluster}}";
const APPLIED: &str = r#"quorate_proposals_total{*, outcome="applied"}"#;
const DISK_USED: &str = "max by (namespace, cluster) (quorate_storage_used_bytes{*} \
                         / (quorate_storage_used_bytes{*} + quorate_storage_free_bytes{*}))";

pub(super) fn fleet_dashboard() -> Dashboard {
    Dashboard {
        path: "dashboards/fleet.json",
        uid: "quorate-fleet",
        title: "Quorate / Fleet",
        description: "All chat clusters, one row each: which of them needs attention.",
        scope: DashboardScope::Namespaces,
        annotations: vec![Annotation::alerts()],
        rows: vec![
            PanelRow::new("What needs attention", attention_panels()),
            PanelRow::new("Clusters", vec![cluster_table()]),
            PanelRow::new("Comparison", comparison_panels()),
        ],
    }
}

/// Returns the clusters that the operator was told to run or whose pods report voters. A cluster whose pods are all
/// silent is still among them.
fn known_clusters() -> String {
    format!("({} or max by (namespace, cluster) (quorate_raft_voters{{*}}))", told_by_operator(WANTED))
}

const WANTED: &str = "quorate_operator_cluster_replicas";

fn attention_panels() -> Vec<Panel> {
    // Each query answers 0 when there is nothing to count, because then 0 is the news.
    let leaderless = format!(
        "count({} unless on (namespace, cluster) (quorate_raft_is_leader{{*}} == 1)) or on () vector(0)",
        known_clusters()
    );
    let at_risk = "count(sum by (namespace, cluster) (quorate_ready{*} * quorate_raft_is_voter{*}) \
                   <= floor(max by (namespace, cluster) (quorate_raft_voters{*}) / 2) + 1 \
                   and max by (namespace, cluster) (quorate_raft_voters{*}) > 1) or on () vector(0)";
    let missing = format!(
        "sum(clamp_min({} - on (namespace, cluster) (sum by (namespace, cluster) (quorate_ready{{*}}) or 0 * {}), 0)) \
         or on () vector(0)",
        known_clusters(),
        known_clusters()
    );
    vec![
        Panel::figure("Clusters", DisplayUnit::Count, DocsPage::Dashboards)
            .says("Clusters that the operator manages or whose pods are scraped.")
            .query(PanelQuery::range("clusters", format!("count({})", known_clusters()))),
        Panel::figure("Without a leader", DisplayUnit::Count, DocsPage::NoLeader)
            .says("Clusters in which no pod leads, so writes wait. An election takes about a second; anything longer is an outage.")
            .limits(PanelThresholds::below(1.0))
            .query(PanelQuery::range("clusters", leaderless)),
        Panel::figure("No failure tolerated", DisplayUnit::Count, DocsPage::QuorumAtRisk)
            .says("Clusters in which writes stop if one more pod fails.")
            .limits(PanelThresholds::worth_a_look(1.0))
            .query(PanelQuery::range("clusters", at_risk)),
        Panel::figure("Pods missing", DisplayUnit::Count, DocsPage::QuorumAtRisk)
            .says("Desired pods that are not ready, in all clusters. A rollout makes some pods unready for a while.")
            .limits(PanelThresholds::worth_a_look(1.0))
            .query(PanelQuery::range("pods", missing)),
        Panel::figure("Firing alerts", DisplayUnit::Count, DocsPage::Runbooks)
            .says("Quorate alerts that are firing; the marks in the panels below show which ones and since when.")
            .limits(PanelThresholds::below(1.0))
            .query(PanelQuery::range(
                "alerts",
                r#"count(ALERTS{alertstate="firing", alertname=~"Quorate.*"}) or on () vector(0)"#,
            )),
        Panel::figure("Active operators", DisplayUnit::Count, DocsPage::OperatorAway)
            .says("Operators that hold the lease; there should be 1. With 0, clusters keep serving, but nothing is repaired.")
            .limits(PanelThresholds::reached(1.0))
            .query(PanelQuery::range("operators", "sum(quorate_operator_leading) or on () vector(0)")),
    ]
}

fn cluster_table() -> Panel {
    let columns = vec![
        TableColumn::label("Namespace", "namespace"),
        TableColumn::label("Cluster", "cluster").leads_to(
            "/d/quorate-cluster?var-datasource=${datasource}&var-namespace=${__data.fields.Namespace}&var-cluster=${__data.fields.Cluster}",
        ),
        TableColumn::label_of(
            "Leader",
            "pod",
            "topk by (namespace, cluster) (1, max by (namespace, cluster, pod) (quorate_raft_is_leader{*} == 1))",
        ),
        TableColumn::value("Ready", DisplayUnit::Count, "sum by (namespace, cluster) (quorate_ready{*})"),
        TableColumn::value("Desired", DisplayUnit::Count, known_clusters()),
        TableColumn::value("Tolerates", DisplayUnit::Count, "sum by (namespace, cluster) (quorate_ready{*} * quorate_raft_is_voter{*}) - floor(max by (namespace, cluster) (quorate_raft_voters{*}) / 2) - 1")
            .limits(PanelThresholds::at_least(0.0, 1.0)),
        TableColumn::value("Writes/s", DisplayUnit::PerSecond, rate_by(BY, APPLIED)),
        // The comparison drops NaN: a cluster without writes has no percentile.
        TableColumn::value("Write p99", DisplayUnit::Seconds, format!("{} >= 0", quantile_by("0.99", BY, "quorate_proposal_seconds{*}")))
            .limits(PanelThresholds::at_most(0.1, 0.5)),
        TableColumn::value("Failed", DisplayUnit::Share, failed_requests(BY)).limits(PanelThresholds::at_most(0.001, 0.01)),
        TableColumn::value("Disk", DisplayUnit::Share, DISK_USED).limits(PanelThresholds::at_most(0.75, 0.9)),
        // The version is that of most pods; more than one version is a rollout, or one that stopped half way.
        TableColumn::label_of(
            "Version",
            "version",
            "topk by (namespace, cluster) (1, count by (namespace, cluster, version) (quorate_build_info{*}))",
        ),
        TableColumn::value("Versions", DisplayUnit::Count, "count by (namespace, cluster) (count by (namespace, cluster, version) (quorate_build_info{*}))")
            .limits(PanelThresholds::at_most(2.0, 3.0)),
    ];
    Panel::table("Clusters", DocsPage::Dashboards, columns)
        .says("One row per cluster, as of the end of the time range; the name links to the board of the cluster. If Leader is empty, there is no leader and writes wait. \"Tolerates\" is the number of pods that can fail before writes stop.")
        .when_empty("–")
        .high(9)
}

fn comparison_panels() -> Vec<Panel> {
    vec![
        Panel::lines("Writes acknowledged", DisplayUnit::PerSecond, DocsPage::Performance)
            .says("Commands per second that a majority has synced to disk: messages, joins, state.")
            .wide(12)
            .query(PanelQuery::range(LEGEND, rate_by(BY, APPLIED))),
        Panel::lines("Write latency, p99", DisplayUnit::Seconds, DocsPage::SlowWrites)
            .says("From a command's proposal to its outcome, including replication and fsync on a majority. One write in a hundred takes longer.")
            .wide(12)
            .limits(PanelThresholds::at_most(0.1, 0.5))
            .query(PanelQuery::range(LEGEND, quantile_by("0.99", BY, "quorate_proposal_seconds{*}"))),
        Panel::lines("Failed requests", DisplayUnit::Share, DocsPage::ErrorBudgetBurn)
            .says("Share of requests that failed because of the server: no leader, overload, internal errors, or callers that gave up waiting. Mistakes of the callers do not count.")
            .wide(12)
            .limits(PanelThresholds::at_most(0.001, 0.01))
            .query(PanelQuery::range(LEGEND, failed_requests(BY))),
        Panel::lines("Fullest disk", DisplayUnit::Share, DocsPage::DiskFilling)
            .says("The fullest volume of each cluster.")
            .wide(12)
            .up_to(1.0)
            .limits(PanelThresholds::at_most(0.75, 0.9))
            .query(PanelQuery::range(LEGEND, DISK_USED)),
    ]
}
