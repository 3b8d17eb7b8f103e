//! Plot of the figures as bars, in SVG: one group for each row, each scaled to its longest bar.

use crate::goal::SENDERS;
use crate::results::{ResultRow, RunResults};
use crate::stats::format_figure;
use crate::system::BenchSystem;
use crate::workload::{BenchMetric, Workload};
use std::fmt::Write as _;

const WIDTH: f64 = 760.0;
const LEFT: f64 = 150.0;
/// Length of the longest bar; its figure stands behind it.
const BAR: f64 = 430.0;
const HEIGHT: f64 = 17.0;
const HEAD: f64 = 24.0;
const GAP: f64 = 14.0;

/// Returns `true` if a row is drawn: each workload is drawn by the figure that its goal is about.
fn is_drawn(row: &ResultRow) -> bool {
    let metric = match row.workload {
        Workload::B6 if row.case == SENDERS => BenchMetric::Rate,
        Workload::B6 => BenchMetric::P50,
        Workload::B1 | Workload::B2 | Workload::B5 | Workload::Growth => BenchMetric::Rate,
        Workload::B3 | Workload::B4 => BenchMetric::P50,
        Workload::B7 => BenchMetric::Cpu,
        Workload::B8 => BenchMetric::MemoryEach,
        Workload::B9 => BenchMetric::Gap,
        Workload::B10 | Workload::Crowd => BenchMetric::P99,
    };
    row.metric == metric
}

const fn bar_colour(system: BenchSystem) -> &'static str {
    match system {
        BenchSystem::Quorate => "#0b6e4f",
        BenchSystem::Bare => "#c4c4c4",
        _ => "#7a8fa6",
    }
}

/// Returns the whole picture as SVG.
pub(crate) fn render_plot(results: &RunResults) -> String {
    let mut body = String::new();
    let mut y = GAP;
    for row in results.rows().iter().filter(|row| is_drawn(row)) {
        y = draw_group(results, row, y, &mut body);
    }
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {y:.0}\" width=\"{WIDTH}\" \
         font-family=\"system-ui, sans-serif\" font-size=\"12\">\n\
         <title>Quorate and its peers: median, minimum and maximum</title>\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n{body}</svg>\n"
    )
}

fn draw_group(results: &RunResults, row: &ResultRow, mut y: f64, body: &mut String) -> f64 {
    let bars: Vec<_> =
        results.systems().into_iter().filter_map(|system| Some((system, results.spread(row, system)?))).collect();
    let longest = bars.iter().map(|(_, spread)| spread.greatest).fold(0.0, f64::max);
    let case = if row.case.is_empty() { String::new() } else { format!(", {}", row.case) };
    let better = if row.metric == BenchMetric::Rate { "more" } else { "less" };
    let head =
        format!("{}: {}{case} ({}; {better} is better)", row.workload.name(), row.workload.title(), row.metric.title());
    let _ = writeln!(body, "<text x=\"12\" y=\"{:.0}\" font-weight=\"600\">{}</text>", y + 12.0, escape_xml(&head));
    y += HEAD;
    for (system, spread) in bars {
        let at = |value: f64| if longest > 0.0 { value / longest * BAR } else { 0.0 };
        let least = LEFT + at(spread.least);
        let median = at(spread.median);
        let greatest = LEFT + at(spread.greatest);
        let middle = y + HEIGHT / 2.0;
        let _ = writeln!(
            body,
            "<text x=\"{:.0}\" y=\"{:.0}\" text-anchor=\"end\">{}</text>\
             <rect x=\"{LEFT:.0}\" y=\"{:.0}\" width=\"{median:.1}\" height=\"{:.0}\" fill=\"{}\"/>\
             <line x1=\"{least:.1}\" y1=\"{middle:.1}\" x2=\"{greatest:.1}\" y2=\"{middle:.1}\" stroke=\"#222222\"/>\
             <text x=\"{:.1}\" y=\"{:.0}\">{}</text>",
            LEFT - 8.0,
            y + 12.0,
            escape_xml(system.title()),
            y + 1.0,
            HEIGHT - 3.0,
            bar_colour(system),
            greatest + 8.0,
            y + 12.0,
            format_figure(spread.median),
        );
        y += HEIGHT;
    }
    y + GAP
}

fn escape_xml(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verdict::tests::results;

    #[test]
    fn each_system_has_a_bar_in_proportion() {
        let svg = render_plot(&results(&[
            (Workload::B1, BenchSystem::Quorate, BenchMetric::Rate, &[50.0]),
            (Workload::B1, BenchSystem::Nats, BenchMetric::Rate, &[25.0]),
            (Workload::B1, BenchSystem::Quorate, BenchMetric::P99, &[1.0]),
        ]));
        assert_eq!(svg.matches("<rect").count(), 3, "the background and two bars; latencies of B1 are not drawn");
        assert!(svg.contains("width=\"430.0\"") && svg.contains("width=\"215.0\""), "{svg}");
        assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"));
    }
}
