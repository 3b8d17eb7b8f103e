//! Board of the operator: whether it works, what it does, and which cluster keeps it busy.

use super::board::{Board, Row};
use super::look::{Colour, Limits, State, Unit};
use super::page::Page;
use super::panel::Panel;
use super::query::{Query, Scope, mean, or_none, quantile, rate, rate_by, share, told_by_operator};
use super::table::Column;

const LEASE: &[State] = &[State(0, "standby", Colour::Plain), State(1, "active", Colour::Good)];
const YES: &[State] = &[State(0, "no", Colour::Bad), State(1, "yes", Colour::Good)];

pub(super) fn board() -> Board {
    Board {
        path: "dashboards/operator.json",
        uid: "quorate-operator",
        title: "Quorate / Operator",
        description: "Does the operator work, what does it do, and which cluster keeps it busy?",
        scope: Scope::Everything,
        annotations: Vec::new(),
        rows: vec![
            Row::new("Does it work?", works()),
            Row::new("Managed clusters", vec![clusters()]),
            Row::new("Reconciles and steps", steps()),
            Row::new("Lease and process", process()),
        ],
    }
}

fn works() -> Vec<Panel> {
    let failed =
        share("job", r#"quorate_operator_reconciles_total{*, result="error"}"#, "quorate_operator_reconciles_total{*}");
    vec![
        Panel::name("Lease holder", Page::OperatorAway)
            .says("Active pod; the others are on standby. With \"nobody\", clusters keep serving, but nothing is repaired, rolled out or reported.")
            .limits(Limits::reached(1.0))
            // A lease without a holder must be seen as such, not as a panel without data.
            .query(Query::now(
                "{{pod}}",
                r#"(max by (pod) (quorate_operator_leading{*} == 1)) or on () label_replace(vector(0), "pod", "nobody", "", "")"#,
            )),
        Panel::figure("Serving clusters", Unit::Share, Page::ClusterUnavailable)
            .says("Share of clusters that serve writes, as the operator sees them.")
            .limits(Limits::at_least(0.5, 1.0))
            .query(Query::range("clusters", format!("avg({})", told_by_operator("quorate_operator_cluster_available")))),
        Panel::figure("Reconciles", Unit::PerSecond, Page::OperatorStuck)
            .says("Reconciles of ChatClusters per second. 0 although there are clusters means that the operator is stuck.")
            .query(Query::range("reconciles", format!("sum({})", rate("quorate_operator_reconciles_total{*}")))),
        Panel::figure("Failed reconciles", Unit::Share, Page::OperatorFailing)
            .says("Share of reconciles that end in an error; the log of the operator has the errors.")
            .limits(Limits::at_most(0.1, 0.5))
            .when_empty("idle")
            .query(Query::range("failed", format!("max({failed})"))),
        Panel::figure("Longest replacement", Unit::Age, Page::ReplacementStalled)
            .says("Time since the longest-running replacement of a member began; 0 if none is in progress.")
            .limits(Limits::at_most(600.0, 900.0))
            .query(Query::range("replacement", format!("max({})", told_by_operator("quorate_operator_replacement_seconds")))),
        Panel::name("Version", Page::VersionSkew)
            .says("Version of the operator's pods; there are two during a rollout.")
            .limits(Limits::reached(1.0))
            .query(Query::now("{{version}}", "count by (version) (quorate_operator_build_info{*})")),
    ]
}

fn clusters() -> Panel {
    let columns = vec![
        Column::label("Namespace", "namespace"),
        Column::label("Cluster", "cluster").leads_to(
            "/d/quorate-cluster?var-datasource=${datasource}&var-namespace=${__data.fields.Namespace}&var-cluster=${__data.fields.Cluster}",
        ),
        Column::value("Serves", Unit::State, told_by_operator("quorate_operator_cluster_available")).states(YES),
        Column::value("Ready", Unit::Count, told_by_operator("quorate_operator_cluster_ready")),
        Column::value("Desired", Unit::Count, told_by_operator("quorate_operator_cluster_replicas")),
        Column::value("Admin APIs", Unit::Count, told_by_operator("quorate_operator_cluster_doors")),
        Column::value("Replacement", Unit::Age, told_by_operator("quorate_operator_replacement_seconds"))
            .limits(Limits::at_most(600.0, 900.0)),
    ];
    Panel::table("Clusters", Page::QuorumAtRisk, columns)
        .says("What the operator sees of each cluster: ready and desired pods, admin APIs that answer, and how long the replacement of a member has been in progress.")
        .when_empty("–")
}

fn steps() -> Vec<Panel> {
    vec![
        Panel::stack("Reconciles", Unit::PerSecond, Page::OperatorStuck)
            .says("Reconciles of ChatClusters, by result.")
            .query(Query::range("{{result}}", rate_by("result", "quorate_operator_reconciles_total{*}"))),
        Panel::lines("Reconcile duration", Unit::Seconds, Page::OperatorStuck)
            .says(
                "Duration of a reconcile, including its reads from the API server. If it is slow, the API server is slow or a pod's admin API does not answer.",
            )
            .limits(Limits::at_most(5.0, 10.0))
            .query(
                Query::range("p50", quantile("0.5", "", "quorate_operator_reconcile_seconds{*}"))
                    .colour(Colour::Middle),
            )
            .query(
                Query::range("p99", quantile("0.99", "", "quorate_operator_reconcile_seconds{*}")).colour(Colour::Tail),
            ),
        Panel::bars("Errors", Unit::Count, Page::OperatorFailing)
            .says("Errors of reconciles, objects and steps, by reason.")
            // No error at all is the best answer there is.
            .query(Query::range(
                "{{reason}}",
                or_none("reason", "sum by (reason) (increase(quorate_operator_errors_total{*}[$__rate_interval]))"),
            )),
        Panel::bars("Steps", Unit::Count, Page::OperatorFailing)
            .says("Steps taken, by kind and result. The same step repeated over and over makes no progress.")
            // A healthy cluster needs no steps.
            .query(Query::range(
                "{{step}} {{result}}",
                or_none(
                    "result",
                    "sum by (step, result) (increase(quorate_operator_steps_total{*}[$__rate_interval]))",
                ),
            )),
        Panel::lines("Step duration, mean", Unit::Seconds, Page::OperatorStuck)
            .says("Mean duration of a step, by kind.")
            // A healthy cluster needs no steps.
            .query(Query::range("{{step}}", or_none("step", &mean("step", "quorate_operator_step_seconds{*}")))),
        Panel::bars("Status writes and leader changes", Unit::Count, Page::ElectionsFlapping)
            .says("Status writes, and leader changes that the operator observed, by cluster.")
            .query(Query::range(
                "{{cluster}} status",
                "sum by (cluster) (increase(quorate_operator_status_writes_total{*}[$__rate_interval]))",
            ))
            // An operator that started lately has seen no change of leader.
            .query(Query::range(
                "{{cluster}} leader",
                or_none(
                    "cluster",
                    "sum by (cluster) (increase(quorate_operator_leader_changes_total{*}[$__rate_interval]))",
                ),
            )),
    ]
}

fn process() -> Vec<Panel> {
    vec![
        Panel::bands("Lease", LEASE, Page::OperatorAway)
            .says("State of each pod. A gap is a pod that does not answer.")
            .high(5)
            .query(Query::range("{{pod}}", "max by (pod) (quorate_operator_leading{*})")),
        Panel::stack("Lease renewals", Unit::PerSecond, Page::OperatorStuck)
            .says("Lease renewals, by result. If they fail, the API server does not answer; after a while another pod takes over.")
            .query(Query::range("{{result}}", rate_by("result", "quorate_operator_lease_renewals_total{*}"))),
        Panel::lines("Memory", Unit::Bytes, Page::OperatorAway)
            .says("Resident memory of each pod of the operator.")
            .query(Query::range("{{pod}}", "max by (pod) (quorate_operator_process_resident_memory_bytes{*})")),
        Panel::lines("CPU", Unit::Many, Page::OperatorAway)
            .says("CPU cores used by each pod of the operator.")
            .query(Query::range("{{pod}}", rate_by("pod", "quorate_operator_process_cpu_seconds_total{*}"))),
    ]
}
