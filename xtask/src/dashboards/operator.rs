//! Board of the operator: whether it works, what it does, which cluster keeps it busy.

use super::board::{Board, Row};
use super::look::{Colour, Limits, State, Unit};
use super::page::Page;
use super::panel::Panel;
use super::query::{Query, Scope, mean, or_none, quantile, rate, rate_by, share, told_by_operator};
use super::table::Column;

const LEASE: &[State] = &[State(0, "stands by", Colour::Plain), State(1, "works", Colour::Good)];
const YES: &[State] = &[State(0, "no", Colour::Bad), State(1, "yes", Colour::Good)];

pub(super) fn board() -> Board {
    Board {
        path: "dashboards/operator.json",
        uid: "quorate-operator",
        title: "Quorate / Operator",
        description: "Does the operator work, what does it do, which cluster keeps it busy.",
        scope: Scope::Everything,
        annotations: Vec::new(),
        rows: vec![
            Row::new("Does it work?", works()),
            Row::new("Clusters that it keeps", vec![clusters()]),
            Row::new("Looks and steps", steps()),
            Row::new("Lease and process", process()),
        ],
    }
}

fn works() -> Vec<Panel> {
    let failed =
        share("job", r#"quorate_operator_reconciles_total{*, result="error"}"#, "quorate_operator_reconciles_total{*}");
    vec![
        Panel::name("Holds the lease", Page::OperatorAway)
            .says("The pod that works; the others stand by. Nobody: clusters serve on, and nothing is repaired, rolled or shown.")
            .limits(Limits::reached(1.0))
            // A lease without a holder must be seen as such, not as a panel without data.
            .query(Query::now(
                "{{pod}}",
                r#"(max by (pod) (quorate_operator_leading{*} == 1)) or on () label_replace(vector(0), "pod", "nobody", "", "")"#,
            )),
        Panel::figure("Clusters that serve", Unit::Share, Page::ClusterUnavailable)
            .says("Share of the clusters that the operator sees serving writes.")
            .limits(Limits::at_least(0.5, 1.0))
            .query(Query::range("clusters", format!("avg({})", told_by_operator("quorate_operator_cluster_available")))),
        Panel::figure("Looks", Unit::PerSecond, Page::OperatorStuck)
            .says("Looks at ChatClusters, each second. 0 with clusters there: it stands still.")
            .query(Query::range("looks", format!("sum({})", rate("quorate_operator_reconciles_total{*}")))),
        Panel::figure("Looks that fail", Unit::Share, Page::OperatorFailing)
            .says("Share of looks that end in an error; the log of the operator says which.")
            .limits(Limits::at_most(0.1, 0.5))
            .when_empty("idle")
            .query(Query::range("failed", format!("max({failed})"))),
        Panel::figure("Longest replacement", Unit::Age, Page::ReplacementStalled)
            .says("How long the longest replacement of a member has lasted. 0: none is under way.")
            .limits(Limits::at_most(600.0, 900.0))
            .query(Query::range("replacement", format!("max({})", told_by_operator("quorate_operator_replacement_seconds")))),
        Panel::name("Version", Page::VersionSkew)
            .says("Of the operator's pods; two while it is rolled.")
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
        Column::value("Wanted", Unit::Count, told_by_operator("quorate_operator_cluster_replicas")),
        Column::value("Admin doors", Unit::Count, told_by_operator("quorate_operator_cluster_doors")),
        Column::value("Replacement", Unit::Age, told_by_operator("quorate_operator_replacement_seconds"))
            .limits(Limits::at_most(600.0, 900.0)),
    ];
    Panel::table("Clusters", Page::QuorumAtRisk, columns)
        .says("What the operator sees of each cluster: pods ready of those wanted, admin doors that answer, how long a replacement of a member has lasted.")
        .when_empty("–")
}

fn steps() -> Vec<Panel> {
    vec![
        Panel::stack("Looks", Unit::PerSecond, Page::OperatorStuck)
            .says("By what they came to.")
            .query(Query::range("{{result}}", rate_by("result", "quorate_operator_reconciles_total{*}"))),
        Panel::lines("Time of a look", Unit::Seconds, Page::OperatorStuck)
            .says(
                "With all its reads of the API server. Slow: the API server is, or a pod's admin door does not answer.",
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
            .says("By reason.")
            // No error at all is the best answer there is.
            .query(Query::range(
                "{{reason}}",
                or_none("reason", "sum by (reason) (increase(quorate_operator_errors_total{*}[$__rate_interval]))"),
            )),
        Panel::bars("Steps", Unit::Count, Page::OperatorFailing)
            .says("What it did, by kind and result. The same step again and again does not get on.")
            // A healthy cluster needs no steps.
            .query(Query::range(
                "{{step}} {{result}}",
                or_none(
                    "result",
                    "sum by (step, result) (increase(quorate_operator_steps_total{*}[$__rate_interval]))",
                ),
            )),
        Panel::lines("Time of a step, mean", Unit::Seconds, Page::OperatorStuck)
            .says("By kind.")
            // A healthy cluster needs no steps.
            .query(Query::range("{{step}}", or_none("step", &mean("step", "quorate_operator_step_seconds{*}")))),
        Panel::bars("Status writes and leaders seen", Unit::Count, Page::ElectionsFlapping)
            .says("Writes of a status, and changes of leader that were seen, by cluster.")
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
            .says("Who works. A gap is a pod that does not answer.")
            .high(5)
            .query(Query::range("{{pod}}", "max by (pod) (quorate_operator_leading{*})")),
        Panel::stack("Lease renewals", Unit::PerSecond, Page::OperatorStuck)
            .says("Failed ones: the API server does not answer; after a while another pod takes over.")
            .query(Query::range("{{result}}", rate_by("result", "quorate_operator_lease_renewals_total{*}"))),
        Panel::lines("Memory", Unit::Bytes, Page::OperatorAway)
            .says("Resident memory of each pod of the operator.")
            .query(Query::range("{{pod}}", "max by (pod) (quorate_operator_process_resident_memory_bytes{*})")),
        Panel::lines("CPU", Unit::Many, Page::OperatorAway)
            .says("Cores that each pod of the operator uses.")
            .query(Query::range("{{pod}}", rate_by("pod", "quorate_operator_process_cpu_seconds_total{*}"))),
    ]
}
