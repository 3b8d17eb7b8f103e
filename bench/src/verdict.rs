//! Verdicts on the goals, by the measured figures.

use crate::goal::{GOALS, Goal, Rival};
use crate::results::{Results, Row};
use crate::stats::Spread;
use crate::system::System;

/// A goal, and what was reached.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Verdict {
    pub(crate) goal: Goal,
    /// Ratio to the rival, or the value if there is no rival; `None` if something was not measured.
    pub(crate) reached: Option<Spread>,
}

impl Verdict {
    /// Returns `Some(true)` if the median reaches the line, or `None` if something was not measured.
    pub(crate) fn met(&self) -> Option<bool> {
        self.reached.map(|reached| self.goal.bound.holds(reached.median, self.goal.factor))
    }
}

/// Returns the verdicts on all goals whose workload was run.
pub(crate) fn verdicts(results: &Results) -> Vec<Verdict> {
    let ran = |goal: &&Goal| results.samples.iter().any(|sample| sample.workload == goal.workload);
    GOALS.iter().filter(ran).map(|goal| Verdict { goal: *goal, reached: reached(results, goal) }).collect()
}

/// Returns what was reached. Ratios are taken within each repeat, where both had the same neighbours, and their median
/// counts.
fn reached(results: &Results, goal: &Goal) -> Option<Spread> {
    let row = Row { workload: goal.workload, case: goal.case.to_owned(), metric: goal.metric };
    let ours = results.values(&row, System::Quorate);
    let Rival::BestOf(rivals) = goal.rival else { return Spread::of(ours.into_values()) };
    let theirs: Vec<_> = rivals.iter().map(|rival| results.values(&row, *rival)).collect();
    let ratio = |(repeat, value): (&u32, &f64)| {
        let best =
            theirs.iter().filter_map(|values| values.get(repeat).copied()).reduce(|a, b| goal.bound.best(a, b))?;
        (best > 0.0).then(|| value / best)
    };
    Spread::of(ours.iter().filter_map(ratio))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::machine::Machine;
    use crate::results::{Sample, Settings};
    use crate::workload::{Metric, Workload};

    pub(crate) fn results(figures: &[(Workload, System, Metric, &[f64])]) -> Results {
        let samples = figures.iter().flat_map(|(workload, system, metric, values)| {
            (0..).zip(values.iter()).map(|(repeat, value)| Sample {
                workload: *workload,
                case: String::new(),
                system: *system,
                repeat,
                metric: *metric,
                value: *value,
            })
        });
        Results {
            started: "2026-01-01T00:00:00Z".into(),
            took_seconds: 1,
            commit: "abc".into(),
            machine: Machine::default(),
            versions: [(System::Quorate, "0.1.0".to_owned())].into(),
            settings: Settings { repeats: 3, warm_seconds: 1.0, steady_seconds: 3.0 },
            samples: samples.collect(),
            notes: vec!["a note".into()],
        }
    }

    #[test]
    fn a_ratio_is_taken_within_each_repeat() {
        // The machine became twice as slow after the first repeat: the ratio is 2 in each.
        let results = results(&[
            (Workload::B1, System::Quorate, Metric::Rate, &[40.0, 20.0, 18.0]),
            (Workload::B1, System::Nats, Metric::Rate, &[20.0, 10.0, 9.0]),
        ]);
        let verdicts = verdicts(&results);
        assert_eq!(verdicts.len(), 3, "only goals of the workload that ran");
        assert_eq!(verdicts[0].reached, Some(Spread { least: 2.0, median: 2.0, greatest: 2.0 }));
        assert_eq!(verdicts[0].met(), Some(true));
        assert_eq!(verdicts[1].met(), None, "etcd was not measured");
    }

    #[test]
    fn the_best_rival_counts_and_less_can_be_better() {
        let results = results(&[
            (Workload::B4, System::Quorate, Metric::P50, &[2.0]),
            (Workload::B4, System::Ejabberd, Metric::P50, &[4.0]),
            (Workload::B4, System::SocketIo, Metric::P50, &[2.2]),
        ]);
        let verdict = verdicts(&results)[0];
        assert!((verdict.reached.unwrap().median - 2.0 / 2.2).abs() < 1e-9);
        assert_eq!(verdict.met(), Some(false));
    }

    #[test]
    fn one_lost_acknowledgement_misses_the_goal() {
        let lost = |n| results(&[(Workload::B9, System::Quorate, Metric::Lost, &[0.0, n, n])]);
        let met = |results: &Results| verdicts(results).last().and_then(Verdict::met);
        assert_eq!(met(&lost(0.0)), Some(true));
        assert_eq!(met(&lost(1.0)), Some(false));
    }
}
