//! Conventions for names, labels and descriptions of metrics, for people and for the tools that read them.

use crate::{MetricKind, MetricSection, MetricSpec};
use std::collections::BTreeSet;

/// Suffixes of units that are not base units: values must be in seconds, in bytes, or a ratio from 0 to 1.
const NO_BASE_UNITS: [&str; 10] =
    ["_ms", "_millis", "_milliseconds", "_us", "_micros", "_minutes", "_kb", "_kib", "_mib", "_percent"];

/// Returns one sentence for each violation of the conventions. `labels` is the complete list of permitted label names,
/// each with few values that come from the code or the topology of the cluster, never from users.
#[must_use]
pub fn convention_violations(sections: &[MetricSection], prefix: &str, labels: &[&str]) -> Vec<String> {
    let mut names = BTreeSet::new();
    let specs = || sections.iter().flat_map(|section| section.specs);
    let twice = specs().filter(|spec| !names.insert(spec.name)).map(|spec| format!("{} is declared twice", spec.name));
    let twice: Vec<String> = twice.collect();
    specs().flat_map(|spec| spec_violations(spec, prefix, labels)).chain(twice).collect()
}

fn spec_violations(spec: &MetricSpec, prefix: &str, labels: &[&str]) -> Vec<String> {
    let name = spec.name;
    let base = name.strip_suffix("_total").unwrap_or(name);
    let unknown = spec.labels.iter().find(|label| !labels.contains(label));
    let rules = [
        (name.starts_with(prefix), format!("begins with {prefix}")),
        (name.ends_with("_total") == (spec.kind == MetricKind::Counter), "ends in _total when it is a counter".into()),
        (
            !["_bucket", "_sum", "_count"].iter().any(|end| name.ends_with(end)),
            "leaves the endings of a histogram's series to them".into(),
        ),
        (!NO_BASE_UNITS.iter().any(|unit| base.ends_with(unit)), "is in a base unit".into()),
        (
            name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_'),
            "is lower case with underscores".into(),
        ),
        (unknown.is_none(), format!("has labels of the closed list only, not {unknown:?}")),
        (spec.help.ends_with('.') && !spec.help.contains(['|', '\n']), "is explained by sentences".into()),
        (spec.buckets.is_none() || spec.kind == MetricKind::Histogram, "has buckets only as a histogram".into()),
    ];
    rules.into_iter().filter(|(holds, _)| !holds).map(|(_, rule)| format!("{name}: a metric {rule}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &'static str, kind: MetricKind, labels: &'static [&'static str]) -> usize {
        let spec = [MetricSpec { name, kind, labels, help: "Words.", buckets: None }];
        let section = MetricSection { title: "T", specs: Box::leak(Box::new(spec)) };
        convention_violations(&[section], "quorate_", &["api"]).len()
    }

    #[test]
    fn what_breaks_a_convention_is_named() {
        assert_eq!(check("quorate_api_requests_total", MetricKind::Counter, &["api"]), 0);
        assert_eq!(check("quorate_fsync_seconds", MetricKind::Histogram, &[]), 0);
        for (name, kind, labels) in [
            ("api_requests_total", MetricKind::Counter, &["api"][..]),
            ("quorate_api_requests", MetricKind::Counter, &[]),
            ("quorate_streams_total", MetricKind::Gauge, &[]),
            ("quorate_fsync_ms", MetricKind::Histogram, &[]),
            ("quorate_messages_total", MetricKind::Counter, &["room"]),
            ("quorate_batch_count", MetricKind::Gauge, &[]),
        ] {
            assert_eq!(check(name, kind, labels), 1, "{name}");
        }
    }

    #[test]
    fn a_name_in_two_sections_is_named() {
        const SPEC: MetricSpec =
            MetricSpec { name: "quorate_a", kind: MetricKind::Gauge, labels: &[], help: "A.", buckets: None };
        let section = MetricSection { title: "T", specs: &[SPEC] };
        assert_eq!(convention_violations(&[section, section], "quorate_", &[]), ["quorate_a is declared twice"]);
    }
}
