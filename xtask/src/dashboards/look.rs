//! Units, colours and limits: closed lists, so that the same thing looks the same on every board.

use serde_json::{Value, json};

/// Unit of a number. Grafana's name of the unit scales and labels the axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DisplayUnit {
    /// A plain number, never shortened.
    Count,
    /// A number that is shortened, as in "12 K".
    Many,
    /// A state that is shown by a name.
    State,
    Seconds,
    /// A long time, as in "3 days".
    Age,
    Bytes,
    BytesPerSecond,
    PerSecond,
    RequestsPerSecond,
    /// Share from 0 to 1, shown as percent.
    Share,
}

impl DisplayUnit {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Count | Self::State => "none",
            Self::Many => "short",
            Self::Seconds => "s",
            Self::Age => "dtdurations",
            Self::Bytes => "bytes",
            Self::BytesPerSecond => "Bps",
            Self::PerSecond => "cps",
            Self::RequestsPerSecond => "reqps",
            Self::Share => "percentunit",
        }
    }
}

/// Meaning of a colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Colour {
    Good,
    Warning,
    Bad,
    /// Neither good nor bad.
    Plain,
    /// The middle of many: a median.
    Middle,
    /// The slow end of many: a high percentile.
    Tail,
    /// Something that is on its way: a learner, a start.
    Underway,
    Absent,
}

impl Colour {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Good => "semi-dark-green",
            Self::Warning => "semi-dark-orange",
            Self::Bad => "semi-dark-red",
            Self::Plain => "semi-dark-blue",
            Self::Middle => "light-blue",
            Self::Tail => "dark-purple",
            Self::Underway => "semi-dark-purple",
            Self::Absent => "text",
        }
    }

    pub(super) fn fixed(self) -> Value {
        json!({"mode": "fixed", "fixedColor": self.name()})
    }
}

/// Thresholds: the values from which on each colour applies.
#[derive(Clone, Debug)]
pub(super) struct PanelThresholds {
    lowest: Colour,
    steps: Vec<(f64, Colour)>,
}

impl PanelThresholds {
    /// Creates limits with one colour, whatever the value.
    pub(super) fn none(colour: Colour) -> Self {
        Self { lowest: colour, steps: Vec::new() }
    }

    /// Creates limits that turn orange at `warning` and red at `bad`: more is worse.
    pub(super) fn at_most(warning: f64, bad: f64) -> Self {
        Self { lowest: Colour::Good, steps: vec![(warning, Colour::Warning), (bad, Colour::Bad)] }
    }

    /// Creates limits that turn red at `bad`.
    pub(super) fn below(bad: f64) -> Self {
        Self { lowest: Colour::Good, steps: vec![(bad, Colour::Bad)] }
    }

    /// Creates limits that turn orange at `warning`: the value is worth a look, but not bad.
    pub(super) fn worth_a_look(warning: f64) -> Self {
        Self { lowest: Colour::Good, steps: vec![(warning, Colour::Warning)] }
    }

    /// Creates limits that turn green at `good`: anything less is bad.
    pub(super) fn reached(good: f64) -> Self {
        Self { lowest: Colour::Bad, steps: vec![(good, Colour::Good)] }
    }

    /// Creates limits that turn orange at `warning` and green at `good`: less is worse.
    pub(super) fn at_least(warning: f64, good: f64) -> Self {
        Self { lowest: Colour::Bad, steps: vec![(warning, Colour::Warning), (good, Colour::Good)] }
    }

    /// Returns `true` if there is any limit.
    pub(super) fn are_set(&self) -> bool {
        !self.steps.is_empty()
    }

    pub(super) fn json(&self) -> Value {
        let mut steps = vec![json!({"color": self.lowest.name(), "value": null})];
        steps.extend(self.steps.iter().map(|(value, colour)| json!({"color": colour.name(), "value": value})));
        json!({"mode": "absolute", "steps": steps})
    }
}

/// Number that stands for a state, with the state's name and colour.
#[derive(Clone, Copy, Debug)]
pub(super) struct StateMapping(pub(super) i64, pub(super) &'static str, pub(super) Colour);

/// Returns Grafana's value mappings of some states.
pub(super) fn value_mappings(states: &[StateMapping]) -> Value {
    let options: serde_json::Map<String, Value> = states
        .iter()
        .enumerate()
        .map(|(index, StateMapping(value, text, colour))| {
            (value.to_string(), json!({"text": text, "color": colour.name(), "index": index}))
        })
        .collect();
    json!([{"type": "value", "options": options}])
}
