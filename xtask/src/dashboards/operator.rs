//! Board of the operator: whether it works, what it does, and which cluster keeps it busy.

use super::board::{Dashboard, PanelRow};
use super::look::{Colour, DisplayUnit, PanelThresholds, StateMapping};
use super::page::DocsPage;
use super::panel::Panel;
use super::query::{
    DashboardScope, PanelQuery, mean_by, or_none, quantile_by, rate_by, rate_of, share_by, told_by_operator,
};
use super::table::TableColumn;

const LEASE: &[StateMapping] = &[StateMapping(0, "standby", Colour::Plain), StateMapping(1, "active", Colour::Good)];
const YES: &[StateMapping] = &[StateMapping(0, "no", Colour::Bad), StateMapping(1, "yes", Colour::Good)];

pub(super) fn operator_dashboard() -> Dashboard {
    Dashboard {
        path: "dashboards/operator.json",
        uid: "quorate-operator",
        title: "Quorate / Operator",
        description: "Does the operator work, what does it do, and which cluster keeps it busy?",
        scope: DashboardScope::Everything,
        annotations: Vec::new(),
        rows: vec![
            PanelRow::new("Does it work?", health_panels()),
            PanelRow::new("Managed clusters", vec![cluster_table()]),
            PanelRow::new("Reconciles and steps", reconcile_panels()),
            PanelRow::new("Lease and process", process_panels()),
        ],
    }
}

fn health_panels() -> Vec<Panel> {
    let failed = share_by(
        "job",
        r#"quorate_operator_reconciles_total{*, result="error"}"#,
        "quorate_operator_reconciles_total{*}",
    );
    vec![
        Panel::name("Lease holder", DocsPage::OperatorAway)
            .says("Active pod; the others are on standby. With \"nobody\", clusters keep serving, but nothing is repaired, rolled out or reported.")
            .limits(PanelThresholds::reached(1.0))
            // A lease without a holder must be seen as such, not as a panel without data.
            .query(PanelQuery::now(
                "{{pod}}",
                r#"(max by (pod) (quorate_operator_leading{*} == 1)) or on () label_replace(vector(0), "pod", "nobody", "", "")"#,
            )),
        Panel::figure("Serving clusters", DisplayUnit::Share, DocsPage::ClusterUnavailable)
            .says("Share of clusters that serve writes, as the operator sees them.")
            .limits(PanelThresholds::at_least(0.5, 1.0))
            .query(PanelQuery::range("clusters", format!("avg({})", told_by_operator("quorate_operator_cluster_available")))),
        Panel::figure("Reconciles", DisplayUnit::PerSecond, DocsPage::OperatorStuck)
            .says("Reconciles of ChatClusters per second. 0 although there are clusters means that the operator is stuck.")
            .query(PanelQuery::range("reconciles", format!("sum({})", rate_of("quorate_operator_reconciles_total{*}")))),
        Panel::figure("Failed reconciles", DisplayUnit::Share, DocsPage::OperatorFailing)
            .says("Share of reconciles that end in an error; the log of the operator has the errors.")
            .limits(PanelThresholds::at_most(0.1, 0.5))
            .when_empty("idle")
            .query(PanelQuery::range("failed", format!("max({failed})"))),
        Panel::figure("Longest replacement", DisplayUnit::Age, DocsPage::ReplacementStalled)
            .says("Time since the longest-running replacement of a member began; 0 if none is in progress.")
            .limits(PanelThresholds::at_most(600.0, 900.0))
            .query(PanelQuery::range("replacement", format!("max({})", told_by_operator("quorate_operator_replacement_seconds")))),
        Panel::name("Version", DocsPage::VersionSkew)
            .says("Version of the operator's pods; there are two during a rollout.")
            .limits(PanelThresholds::reached(1.0))
            .query(PanelQuery::now("{{version}}", "count by (version) (quorate_operator_build_info{*})")),
    ]
}

fn cluster_table() -> Panel {
    let columns = vec![
        TableColumn::label("Namespace", "namespace"),
        TableColumn::label("Cluster", "cluster").leads_to(
            "/d/quorate-cluster?var-datasource=${datasource}&var-namespace=${__data.fields.Namespace}&var-cluster=${__data.fields.Cluster}",
        ),
        TableColumn::value("Serves", DisplayUnit::State, told_by_operator("quorate_operator_cluster_available")).states(YES),
        TableColumn::value("Ready", DisplayUnit::Count, told_by_operator("quorate_operator_cluster_ready")),
        TableColumn::value("Desired", DisplayUnit::Count, told_by_operator("quorate_operator_cluster_replicas")),
        TableColumn::value("Admin APIs", DisplayUnit::Count, told_by_operator("quorate_operator_cluster_pods_answering")),
        TableColumn::value("Replacement", DisplayUnit::Age, told_by_operator("quorate_operator_replacement_seconds"))
            .limits(PanelThresholds::at_most(600.0, 900.0)),
    ];
    Panel::table("Clusters", DocsPage::QuorumAtRisk, columns)
        .says("What the operator sees of each cluster: ready and desired pods, admin APIs that answer, and how long the replacement of a member has been in progress.")
        .when_empty("–")
}

fn reconcile_panels() -> Vec<Panel> {
    vec![
        Panel::stack("Reconciles", DisplayUnit::PerSecond, DocsPage::OperatorStuck)
            .says("Reconciles of ChatClusters, by result.")
            .query(PanelQuery::range("{{result}}", rate_by("result", "quorate_operator_reconciles_total{*}"))),
        Panel::lines("Reconcile duration", DisplayUnit::Seconds, DocsPage::OperatorStuck)
            .says(
                "Duration of a reconcile, including its reads from the API server. If it is slow, the API server is slow or a pod's admin API does not answer.",
            )
            .limits(PanelThresholds::at_most(5.0, 10.0))
            .query(
                PanelQuery::range("p50", quantile_by("0.5", "", "quorate_operator_reconcile_seconds{*}"))
                    .colour(Colour::Middle),
            )
            .query(
                PanelQuery::range("p99", quantile_by("0.99", "", "quorate_operator_reconcile_seconds{*}")).colour(Colour::Tail),
            ),
        Panel::bars("Errors", DisplayUnit::Count, DocsPage::OperatorFailing)
            .says("Errors of reconciles, objects and steps, by reason.")
            // No error at all is the best answer there is.
            .query(PanelQuery::range(
                "{{reason}}",
                or_none("reason", "sum by (reason) (increase(quorate_operator_errors_total{*}[$__rate_interval]))"),
            )),
        Panel::bars("Steps", DisplayUnit::Count, DocsPage::OperatorFailing)
            .says("Steps taken, by kind and result. The same step repeated over and over makes no progress.")
            // A healthy cluster needs no steps.
            .query(PanelQuery::range(
                "{{step}} {{result}}",
                or_none(
                    "result",
                    "sum by (step, result) (increase(quorate_operator_steps_total{*}[$__rate_interval]))",
                ),
            )),
        Panel::lines("Step duration, mean", DisplayUnit::Seconds, DocsPage::OperatorStuck)
            .says("Mean duration of a step, by kind.")
            // A healthy cluster needs no steps.
            .query(PanelQuery::range("{{step}}", or_none("step", &mean_by("step", "quorate_operator_step_seconds{*}")))),
        Panel::bars("Status writes and leader changes", DisplayUnit::Count, DocsPage::ElectionsFlapping)
            .says("Status writes, and leader changes that the operator observed, by cluster.")
            .query(PanelQuery::range(
                "{{cluster}} status",
                "sum by (cluster) (increase(quorate_operator_status_writes_total{*}[$__rate_interval]))",
            ))
            // An operator that started lately has seen no change of leader.
            .query(PanelQuery::range(
                "{{cluster}} leader",
                or_none(
                    "cluster",
                    "sum by (cluster) (increase(quorate_operator_leader_changes_total{*}[$__rate_interval]))",
                ),
            )),
    ]
}

fn process_panels() -> Vec<Panel> {
    vec![
        Panel::bands("Lease", LEASE, DocsPage::OperatorAway)
            .says("State of each pod. A gap is a pod that does not answer.")
            .high(5)
            .query(PanelQuery::range("{{pod}}", "max by (pod) (quorate_operator_leading{*})")),
        Panel::stack("Lease renewals", DisplayUnit::PerSecond, DocsPage::OperatorStuck)
            .says("Lease renewals, by result. If they fail, the API server does not answer; after a while another pod takes over.")
            .query(PanelQuery::range("{{result}}", rate_by("result", "quorate_operator_lease_renewals_total{*}"))),
        Panel::lines("Memory", DisplayUnit::Bytes, DocsPage::OperatorAway)
            .says("Resident memory of each pod of the operator.")
            .query(PanelQuery::range("{{pod}}", "max by (pod) (quorate_operator_process_resident_memory_bytes{*})")),
        Panel::lines("CPU", DisplayUnit::Many, DocsPage::OperatorAway)
            .says("CPU cores used by each pod of the operator.")
            .query(PanelQuery::range("{{pod}}", rate_by("pod", "quorate_operator_process_cpu_seconds_total{*}"))),
    ]
}
