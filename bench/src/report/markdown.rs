//! Tables of the results in Markdown.

use crate::goal::{Goal, GoalRival};
use crate::results::{ResultRow, RunResults};
use crate::stats::{ValueSpread, format_figure};
use crate::system::BenchSystem;
use crate::verdict::{GoalVerdict, judge_goals};
use crate::workload::Workload;
use std::fmt::Write as _;

/// Returns the goals, then all figures, then the facts about the machine and the run.
pub(crate) fn render_tables(results: &RunResults) -> String {
    let mut text = String::new();
    text.push_str(&goal_table(results));
    text.push('\n');
    text.push_str(&figure_table(results));
    text.push('\n');
    text.push_str(&run_facts(results));
    text
}

fn goal_table(results: &RunResults) -> String {
    let mut text = "| workload | goal | reached | |\n|---|---|---|---|\n".to_owned();
    for verdict in judge_goals(results) {
        let GoalVerdict { goal, reached } = verdict;
        let verdict = match verdict.met() {
            Some(true) => "met",
            Some(false) => "**missed**",
            None => "not measured",
        };
        let name = workload_label(goal.workload, goal.case);
        let unit = if matches!(goal.rival, GoalRival::Nobody) { "" } else { " ×" };
        let reached = reached.map_or_else(|| "–".to_owned(), |reached| format_spread(reached, unit));
        let _ = writeln!(text, "| {name} | {} | {reached} | {verdict} |", format_goal(&goal));
    }
    text
}

/// Formats a goal: `rate ≥ 1.25 × NATS JetStream`.
fn format_goal(goal: &Goal) -> String {
    let metric = goal.metric.title();
    let sign = goal.bound.sign();
    let factor = format_factor(goal.factor);
    match goal.rival {
        GoalRival::Nobody => format!("{metric} {sign} {factor}"),
        GoalRival::BestOf(systems) => {
            let names: Vec<_> = systems.iter().map(|system| system.title()).collect();
            format!("{metric} {sign} {factor} × {}", names.join(" or "))
        }
        GoalRival::OwnCase(case) => format!("{metric} {sign} {factor} × {case}"),
    }
}

/// Formats a goal's factor as it was written.
fn format_factor(factor: f64) -> String {
    format!("{factor}")
}

fn workload_label(workload: Workload, case: &str) -> String {
    let name = workload.name();
    if case.is_empty() { name.to_owned() } else { format!("{name}, {case}") }
}

fn format_spread(spread: ValueSpread, unit: &str) -> String {
    let ValueSpread { least, median, greatest } = spread.map(|value| value);
    if least == greatest {
        return format!("{}{unit}", format_figure(median));
    }
    format!("{}{unit} ({}–{})", format_figure(median), format_figure(least), format_figure(greatest))
}

fn figure_table(results: &RunResults) -> String {
    let systems = results.systems();
    let titles: Vec<_> = systems.iter().map(|system| system.title()).collect();
    let mut text = format!("| workload | median (least–greatest) | {} |\n|---|---|", titles.join(" | "));
    text.push_str(&"--:|".repeat(titles.len()));
    text.push('\n');
    for row in results.rows() {
        let cell = |system: &BenchSystem| {
            results.spread(&row, *system).map_or_else(|| "–".to_owned(), |s| format_spread(s, ""))
        };
        let cells: Vec<_> = systems.iter().map(cell).collect();
        let ResultRow { workload, case, metric } = &row;
        let _ = writeln!(text, "| {} | {} | {} |", workload_label(*workload, case), metric.title(), cells.join(" | "));
    }
    text
}

fn run_facts(results: &RunResults) -> String {
    let RunResults { machine, settings, .. } = results;
    let mut text = String::new();
    let _ = writeln!(
        text,
        "Taken {} at commit `{}`, in {} s: {}, {} cores, {:.0} GiB, Linux {}, {}, {} appends with `fdatasync` a second; \
         load average {:.2} before. {} repeats of {} s after {} s of warm-up, servers and load on the same cores.",
        results.started,
        results.commit,
        results.took_seconds,
        machine.cpu,
        machine.cores,
        machine.memory_gib,
        machine.kernel,
        machine.file_system,
        format_figure(machine.syncs_per_second),
        machine.load_average,
        settings.repeats,
        settings.steady_seconds,
        settings.warm_seconds,
    );
    let versions: Vec<_> =
        results.versions.iter().map(|(system, version)| format!("{} {version}", system.title())).collect();
    let _ = writeln!(text, "\nVersions: {}.", versions.join("; "));
    if !results.notes.is_empty() {
        text.push_str("\nNot measured:\n\n");
        for note in &results.notes {
            let _ = writeln!(text, "- {}", note.replace('\n', " "));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verdict::tests::results;
    use crate::workload::BenchMetric;

    #[test]
    fn goals_figures_and_facts_are_all_there() {
        let results = results(&[
            (Workload::B1, BenchSystem::Quorate, BenchMetric::Rate, &[30_000.0, 40_000.0, 50_000.0]),
            (Workload::B1, BenchSystem::Nats, BenchMetric::Rate, &[30_000.0, 30_000.0, 30_000.0]),
            (Workload::B1, BenchSystem::Bare, BenchMetric::Rate, &[400_000.0, 400_000.0, 400_000.0]),
        ]);
        let text = render_tables(&results);
        assert!(text.contains("| B1 | per second ≥ 1.25 × NATS JetStream | 1.33 × (1.00–1.67) | met |"), "{text}");
        assert!(text.contains("| B1 | per second ≥ 0.25 × bare | 0.100 × (0.0750–0.125) | **missed** |"), "{text}");
        assert!(text.contains("| B1 | per second ≥ 4 × etcd | – | not measured |"), "{text}");
        assert!(text.contains("| B1 | per second | 40,000 (30,000–50,000) | 30,000 | 400,000 |"), "{text}");
        assert!(text.contains("Quorate 0.1.0") && text.contains("- a note"), "{text}");
    }
}
