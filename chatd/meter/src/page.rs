//! Rendering of declarations as Markdown.

use crate::Section;
use std::fmt::Write as _;

/// Renders one table for each section, under third-level headings.
#[must_use]
pub fn page(sections: &[Section]) -> String {
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
            let (labels, unit) = (labels.join(", "), spec.unit().unwrap_or_default());
            let _ = writeln!(out, "| `{}` | {} | {labels} | {unit} | {} |", spec.name, spec.kind.label(), spec.help);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Kind, Spec};

    #[test]
    fn a_metric_is_a_row_with_its_unit() {
        const WAIT: Spec = Spec {
            name: "quorate_wait_seconds",
            kind: Kind::Histogram,
            labels: &["door"],
            help: "A wait.",
            buckets: None,
        };
        const USED: Spec = Spec { name: "quorate_used_bytes_total", kind: Kind::Counter, ..WAIT };
        const QUEUE: Spec = Spec { name: "quorate_queue", kind: Kind::Gauge, labels: &[], ..WAIT };
        let text = page(&[Section { title: "Doors", specs: &[WAIT, USED, QUEUE] }]);
        assert!(text.contains("### Doors\n"), "{text}");
        assert!(text.contains("| `quorate_wait_seconds` | histogram | `door` | seconds | A wait. |\n"), "{text}");
        assert!(text.contains("| `quorate_used_bytes_total` | counter | `door` | bytes | A wait. |\n"), "{text}");
        assert!(text.contains("| `quorate_queue` | gauge |  |  | A wait. |\n"), "{text}");
    }
}
