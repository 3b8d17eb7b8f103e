//! Marks across all panels of a board: what happened, and when.

use super::look::Colour;
use super::query::{Scope, datasource};
use serde_json::{Value, json};

/// When a mark is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum When {
    /// While the value is above 0.
    Positive,
    /// At the time that the value is, in milliseconds.
    Value,
}

/// One kind of mark.
#[derive(Clone, Debug)]
pub(super) struct Annotation {
    name: &'static str,
    colour: Colour,
    title: &'static str,
    pub(super) expression: &'static str,
    when: When,
}

impl Annotation {
    /// All that a cluster's boards mark.
    pub(super) fn of_a_cluster() -> Vec<Self> {
        vec![Self::elections(), Self::starts(), Self::rollouts(), Self::alerts()]
    }

    /// A pod that leads and did not an interval ago. Nothing on most days: 0 marks nothing, and is no error.
    fn elections() -> Self {
        Self {
            name: "Elections",
            colour: Colour::Warning,
            title: "{{pod}} leads",
            expression: "(max by (pod) (quorate_raft_is_leader{*} == 1) \
                         unless on (pod) (quorate_raft_is_leader{*} offset $__rate_interval == 1)) or on () vector(0)",
            when: When::Positive,
        }
    }

    /// When each process that runs, or ran in the time range, began.
    fn starts() -> Self {
        Self {
            name: "Starts",
            colour: Colour::Plain,
            title: "{{pod}} started",
            expression: "max by (pod) (quorate_process_start_time_seconds{*}) * 1000",
            when: When::Value,
        }
    }

    /// A version that no pod of a cluster that was there had an interval ago. 0, which marks nothing, while there is none.
    fn rollouts() -> Self {
        Self {
            name: "Rollouts",
            colour: Colour::Underway,
            title: "version {{version}}",
            expression: "(max by (version) (quorate_build_info{*}) \
                         unless on (version) (quorate_build_info{*} offset $__rate_interval) \
                         and on () (quorate_build_info{*} offset $__rate_interval)) or on () vector(0)",
            when: When::Positive,
        }
    }

    /// Alerts that fire. 0, which marks nothing, while there is none.
    pub(super) fn alerts() -> Self {
        Self {
            name: "Alerts",
            colour: Colour::Bad,
            title: "{{alertname}}",
            expression: r#"(max by (alertname) (ALERTS{*, alertstate="firing"})) or on () vector(0)"#,
            when: When::Positive,
        }
    }

    pub(super) fn json(&self, scope: Scope) -> Value {
        json!({
            "name": self.name,
            "enable": true,
            "hide": false,
            "iconColor": self.colour.name(),
            "datasource": datasource(),
            "expr": scope.fill(self.expression),
            "step": "15s",
            "titleFormat": self.title,
            "textFormat": "",
            "tagKeys": "",
            "useValueForTime": self.when == When::Value,
        })
    }
}
