//! Rendering of declarations as Markdown.

use crate::MetricSection;
use std::fmt::Write as _;

/// Renders one table for each section, under third-level headings.
#[must_use]
pub fn metrics_markdown(sections: &[MetricSection]) -> String {
    let mut out = String::new();
    for section in sections {
        // Writing to a string does not fail.
        let _ = writeln!(
            out,
            "\n### {}\n\n| metric | type | labels | unit | meaning |\n|---|---|---|---|---|",
            section.title
        );
        for spec in section.specs {
            let labels: Vec<String> = spec.labels.iter().map(|label| format!("`{label}`")).collect();
            let labels = labels.join(", ");
            let unit = spec.unit().unwrap_or_default();
            let _ = writeln!(out, "| `{}` | {} | {labels} | {unit} | {} |", spec.name, spec.kind.label(), spec.help);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{MetricKind, MetricSpec};

    #[test]
    fn a_metric_is_a_row_with_its_unit() {
        const WAIT: MetricSpec = MetricSpec {
            name: "quorate_wait_seconds",
            kind: MetricKind::Histogram,
            labels: &["api"],
            help: "A wait.",
            buckets: None,
        };
        const USED: MetricSpec = MetricSpec { name: "quorate_used_bytes_total", kind: MetricKind::Counter, ..WAIT };
        const QUEUE: MetricSpec = MetricSpec { name: "quorate_queue", kind: MetricKind::Gauge, labels: &[], ..WAIT };
        let text = metrics_markdown(&[MetricSection { title: "Listeners", specs: &[WAIT, USED, QUEUE] }]);
        assert!(text.contains("### Listeners\n"), "{text}");
        assert!(text.contains("| `quorate_wait_seconds` | histogram | `api` | seconds | A wait. |\n"), "{text}");
        assert!(text.contains("| `quorate_used_bytes_total` | counter | `api` | bytes | A wait. |\n"), "{text}");
        assert!(text.contains("| `quorate_queue` | gauge |  |  | A wait. |\n"), "{text}");
    }
}
