//! Annotations: marks of events across all panels of a board.

use super::look::Colour;
use super::query::{DashboardScope, data_source};
use serde_json::{Value, json};

/// Rule for the time of a mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum MarkTime {
    /// The mark lasts while the value is above 0.
    Positive,
    /// The mark is set at the time that is the value, in milliseconds since the Unix epoch.
    Value,
}

/// One kind of mark.
#[derive(Clone, Debug)]
pub(super) struct Annotation {
    name: &'static str,
    colour: Colour,
    title: &'static str,
    pub(super) expression: &'static str,
    when: MarkTime,
}

impl Annotation {
    /// Returns all annotations of a cluster's boards.
    pub(super) fn of_a_cluster() -> Vec<Self> {
        vec![Self::elections(), Self::starts(), Self::rollouts(), Self::alerts()]
    }

    /// Marks a pod that leads and did not lead an interval ago. On most days there is none: the value is then 0, which
    /// marks nothing and is no error.
    fn elections() -> Self {
        Self {
            name: "Elections",
            colour: Colour::Warning,
            title: "{{pod}} leads",
            expression: "(max by (pod) (quorate_raft_is_leader{*} == 1) \
                         unless on (pod) (quorate_raft_is_leader{*} offset $__rate_interval == 1)) or on () vector(0)",
            when: MarkTime::Positive,
        }
    }

    /// Marks the start of each process that runs, or ran in the time range.
    fn starts() -> Self {
        Self {
            name: "Starts",
            colour: Colour::Plain,
            title: "{{pod}} started",
            expression: "max by (pod) (quorate_process_start_time_seconds{*}) * 1000",
            when: MarkTime::Value,
        }
    }

    /// Marks a version that no pod had an interval ago, if the cluster was there then. While there is none, the value
    /// is 0, which marks nothing.
    fn rollouts() -> Self {
        Self {
            name: "Rollouts",
            colour: Colour::Underway,
            title: "version {{version}}",
            expression: "(max by (version) (quorate_build_info{*}) \
                         unless on (version) (quorate_build_info{*} offset $__rate_interval) \
                         and on () (quorate_build_info{*} offset $__rate_interval)) or on () vector(0)",
            when: MarkTime::Positive,
        }
    }

    /// Marks alerts that fire. While there is none, the value is 0, which marks nothing.
    pub(super) fn alerts() -> Self {
        Self {
            name: "Alerts",
            colour: Colour::Bad,
            title: "{{alertname}}",
            expression: r#"(max by (alertname) (ALERTS{*, alertstate="firing"})) or on () vector(0)"#,
            when: MarkTime::Positive,
        }
    }

    pub(super) fn json(&self, scope: DashboardScope) -> Value {
        json!({
            "name": self.name,
            "enable": true,
            "hide": false,
            "iconColor": self.colour.name(),
            "datasource": data_source(),
            "expr": scope.fill(self.expression),
            "step": "15s",
            "titleFormat": self.title,
            "textFormat": "",
            "tagKeys": "",
            "useValueForTime": self.when == MarkTime::Value,
        })
    }
}
