//! Queries, and the few shapes of PromQL that panels need.
//!
//! `{*}` and `{*, label="value"}` stand for the board's scope: the matchers of its variables. No query can forget them,
//! and the same query serves two boards.

use super::look::Colour;
use serde_json::{Value, json};

/// Scope of a board: the series that it is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DashboardScope {
    /// All clusters of the chosen namespaces.
    Namespaces,
    /// One cluster of one namespace.
    Cluster,
    /// Everything that the data source has.
    Everything,
}

impl DashboardScope {
    fn matchers(self) -> &'static str {
        match self {
            Self::Namespaces => r#"namespace=~"$namespace""#,
            Self::Cluster => r#"namespace="$namespace", cluster="$cluster""#,
            // Every scraped series has a pod.
            Self::Everything => r#"pod!="""#,
        }
    }

    /// Returns the expression with the scope filled in.
    pub(super) fn fill(self, expression: &str) -> String {
        let matchers = self.matchers();
        expression
            .replace("{exported *", &format!("{{{}", matchers.replace("namespace=", "exported_namespace=")))
            .replace("{*", &format!("{{{matchers}"))
    }
}

/// Returns the rate of a counter, per second.
pub(super) fn rate_of(counter: &str) -> String {
    format!("rate({counter}[$__rate_interval])")
}

/// Returns the sum of a counter's rates, by labels.
pub(super) fn rate_by(labels: &str, counter: &str) -> String {
    format!("sum by ({labels}) ({})", rate_of(counter))
}

/// Returns a quantile of a histogram, by labels (none: over all series).
pub(super) fn quantile_by(quantile: &str, labels: &str, histogram: &str) -> String {
    let by = if labels.is_empty() { "le".to_owned() } else { format!("{labels}, le") };
    let buckets = histogram.replacen('{', "_bucket{", 1);
    format!("histogram_quantile({quantile}, {})", rate_by(&by, &buckets))
}

/// Returns the mean of a histogram's observations, by labels.
pub(super) fn mean_by(labels: &str, histogram: &str) -> String {
    let of = |part: &str| rate_by(labels, &histogram.replacen('{', &format!("{part}{{"), 1));
    format!("{} / ({} > 0)", of("_sum"), of("_count"))
}

/// Returns the expression, or 0 if it has no series at all; the reason is given at each use.
pub(super) fn or_zero(expression: &str) -> String {
    format!("({expression}) or on () vector(0)")
}

/// Returns the expression or, if it has no series, 0 with `none` as the value of the label, for one line per value.
pub(super) fn or_none(label: &str, expression: &str) -> String {
    format!(r#"({expression}) or on () label_replace(vector(0), "{label}", "none", "", "")"#)
}

/// Returns the share of a part in the whole, by labels: 0 while the part has no series, nothing while the whole is 0.
pub(super) fn share_by(labels: &str, part: &str, whole: &str) -> String {
    let part = rate_by(labels, part);
    let whole = rate_by(labels, whole);
    format!("({part} or 0 * {whole}) / ({whole} > 0)")
}

/// Returns the share of requests that failed through the server's fault, as the alerts on the objective count them: 0
/// while none failed, nothing while there were no requests.
///
/// Errors of callers are no failures. A caller that gave up does count, because most often it waited for a leader; only
/// `/sync` is also cancelled by clients that merely look away.
pub(super) fn failed_requests(labels: &str) -> String {
    let requests = |matchers: &str| rate_of(&format!("quorate_api_requests_total{{*, {matchers}}}"));
    let given_up = requests(r#"code="cancelled", endpoint!="sync""#);
    let faulty = requests(r#"code=~"unavailable|overloaded|internal""#);
    let ended = requests(r#"code!="cancelled""#);
    format!(
        "(sum by ({labels}) ({faulty} or {given_up}) or 0 * {}) / (sum by ({labels}) ({ended} or {given_up}) > 0)",
        rate_by(labels, "quorate_api_requests_total{*}")
    )
}

/// Returns what the operator with the lease says of clusters, by namespace and cluster; one that lost the lease keeps
/// its last figures. The operator is scraped with a namespace of its own, so the cluster's arrives as
/// `exported_namespace`.
pub(super) fn told_by_operator(metric: &str) -> String {
    format!(
        r#"max by (namespace, cluster) (label_replace(({metric}{{exported *}} or {metric}{{*, exported_namespace=""}}) and on (pod) (quorate_operator_leading == 1), "namespace", "$1", "exported_namespace", "(.+)"))"#
    )
}

/// Mode in which a query is evaluated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum QueryMode {
    /// The values over the time range.
    Range,
    /// The value at the end of the time range.
    Now,
    /// The values at the end of the time range, as rows of a table.
    Rows,
}

/// One query of a panel.
#[derive(Clone, Debug)]
pub(super) struct PanelQuery {
    pub(super) expression: String,
    legend: String,
    reading: QueryMode,
    pub(super) colour: Option<Colour>,
}

impl PanelQuery {
    /// Creates a query over the time range, whose legend may name labels: `{{pod}}`.
    pub(super) fn range(legend: &str, expression: impl Into<String>) -> Self {
        Self { expression: expression.into(), legend: legend.to_owned(), reading: QueryMode::Range, colour: None }
    }

    /// Creates a query for the value at the end of the time range.
    pub(super) fn now(legend: &str, expression: impl Into<String>) -> Self {
        Self { reading: QueryMode::Now, ..Self::range(legend, expression) }
    }

    /// Creates a query for the rows of a table, one for each series.
    pub(super) fn rows(expression: impl Into<String>) -> Self {
        Self { reading: QueryMode::Rows, ..Self::range("", expression) }
    }

    pub(super) fn colour(self, colour: Colour) -> Self {
        Self { colour: Some(colour), ..self }
    }

    /// Returns `true` if the query may answer with several series.
    pub(super) fn names_labels(&self) -> bool {
        self.legend.contains("{{")
    }

    pub(super) fn json(&self, scope: DashboardScope, reference: char) -> Value {
        let now = self.reading != QueryMode::Range;
        let format = if self.reading == QueryMode::Rows { "table" } else { "time_series" };
        json!({
            "refId": reference.to_string(),
            "datasource": data_source(),
            "expr": scope.fill(&self.expression),
            "legendFormat": self.legend,
            "format": format,
            "instant": now,
            "range": !now,
        })
    }
}

/// Returns the data source that the board's variable chooses.
pub(super) fn data_source() -> Value {
    json!({"type": "prometheus", "uid": "${datasource}"})
}
