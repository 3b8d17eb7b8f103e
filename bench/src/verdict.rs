//! Verdicts on the goals, by the measured figures.

use crate::goal::{GOALS, Goal, GoalRival};
use crate::results::{ResultRow, RunResults};
use crate::stats::ValueSpread;
use crate::system::BenchSystem;

/// A goal, and what was reached.
#[derive(Clone, Copy, Debug)]
pub(crate) struct GoalVerdict {
    pub(crate) goal: Goal,
    /// Ratio to the rival, or the value if there is no rival; `None` if something was not measured.
    pub(crate) reached: Option<ValueSpread>,
}

impl GoalVerdict {
    /// Returns `Some(true)` if the median reaches the line, or `None` if something was not measured.
    pub(crate) fn met(&self) -> Option<bool> {
        self.reached.map(|reached| self.goal.bound.holds(reached.median, self.goal.factor))
    }
}

/// Returns the verdicts on all goals whose workload was run.
pub(crate) fn judge_goals(results: &RunResults) -> Vec<GoalVerdict> {
    let ran = |goal: &&Goal| results.samples.iter().any(|sample| sample.workload == goal.workload);
    GOALS.iter().filter(ran).map(|goal| GoalVerdict { goal: *goal, reached: reached_spread(results, goal) }).collect()
}

/// Returns what was reached. Ratios are taken within each repeat, where both had the same neighbours, and their median
/// counts.
fn reached_spread(results: &RunResults, goal: &Goal) -> Option<ValueSpread> {
    let row = ResultRow { workload: goal.workload, case: goal.case.to_owned(), metric: goal.metric };
    let ours = results.values(&row, BenchSystem::Quorate);
    let theirs: Vec<_> = match goal.rival {
        GoalRival::Nobody => return ValueSpread::of(ours.into_values()),
        GoalRival::BestOf(rivals) => rivals.iter().map(|rival| results.values(&row, *rival)).collect(),
        GoalRival::OwnCase(case) => {
            vec![results.values(&ResultRow { case: case.to_owned(), ..row }, BenchSystem::Quorate)]
        }
    };
    let ratio = |(repeat, value): (&u32, &f64)| {
        let best =
            theirs.iter().filter_map(|values| values.get(repeat).copied()).reduce(|a, b| goal.bound.best(a, b))?;
        (best > 0.0).then(|| value / best)
    };
    ValueSpread::of(ours.iter().filter_map(ratio))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::goal::{FEW_ROOMS, MANY_ROOMS};
    use crate::machine::MachineProfile;
    use crate::results::{MetricSample, RunSettings};
    use crate::workload::{BenchMetric, Workload};

    pub(crate) fn results(figures: &[(Workload, BenchSystem, BenchMetric, &[f64])]) -> RunResults {
        let samples = figures.iter().flat_map(|(workload, system, metric, values)| {
            (0..).zip(values.iter()).map(|(repeat, value)| MetricSample {
                workload: *workload,
                case: String::new(),
                system: *system,
                repeat,
                metric: *metric,
                value: *value,
            })
        });
        RunResults {
            started: "2026-01-01T00:00:00Z".into(),
            took_seconds: 1,
            commit: "abc".into(),
            machine: MachineProfile::default(),
            versions: [(BenchSystem::Quorate, "0.1.0".to_owned())].into(),
            settings: RunSettings { repeats: 3, warm_seconds: 1.0, steady_seconds: 3.0 },
            samples: samples.collect(),
            notes: vec!["a note".into()],
        }
    }

    #[test]
    fn a_ratio_is_taken_within_each_repeat() {
        // The machine became twice as slow after the first repeat: the ratio is 2 in each.
        let results = results(&[
            (Workload::B1, BenchSystem::Quorate, BenchMetric::Rate, &[40.0, 20.0, 18.0]),
            (Workload::B1, BenchSystem::Nats, BenchMetric::Rate, &[20.0, 10.0, 9.0]),
        ]);
        let verdicts = judge_goals(&results);
        assert_eq!(verdicts.len(), 3, "only goals of the workload that ran");
        assert_eq!(verdicts[0].reached, Some(ValueSpread { least: 2.0, median: 2.0, greatest: 2.0 }));
        assert_eq!(verdicts[0].met(), Some(true));
        assert_eq!(verdicts[1].met(), None, "etcd was not measured");
    }

    #[test]
    fn the_best_rival_counts_and_less_can_be_better() {
        let results = results(&[
            (Workload::B4, BenchSystem::Quorate, BenchMetric::P50, &[2.0]),
            (Workload::B4, BenchSystem::Ejabberd, BenchMetric::P50, &[4.0]),
            (Workload::B4, BenchSystem::SocketIo, BenchMetric::P50, &[2.2]),
        ]);
        let verdict = judge_goals(&results)[0];
        assert!((verdict.reached.unwrap().median - 2.0 / 2.2).abs() < 1e-9);
        assert_eq!(verdict.met(), Some(false));
    }

    #[test]
    fn one_case_may_be_the_rival_of_another() {
        let mut results = results(&[
            (Workload::B6, BenchSystem::Quorate, BenchMetric::P50, &[2.0, 3.0]),
            (Workload::B6, BenchSystem::Quorate, BenchMetric::P50, &[4.0, 3.0]),
        ]);
        let cases = [FEW_ROOMS, FEW_ROOMS, MANY_ROOMS, MANY_ROOMS];
        for (sample, case) in results.samples.iter_mut().zip(cases) {
            case.clone_into(&mut sample.case);
        }
        let verdict = judge_goals(&results).into_iter().find(|verdict| verdict.goal.case == MANY_ROOMS).unwrap();
        assert_eq!(verdict.reached, Some(ValueSpread { least: 1.0, median: 1.5, greatest: 2.0 }));
        assert_eq!(verdict.met(), Some(false));
    }

    #[test]
    fn one_lost_acknowledgement_misses_the_goal() {
        let lost = |n| results(&[(Workload::B9, BenchSystem::Quorate, BenchMetric::Lost, &[0.0, n, n])]);
        let met = |results: &RunResults| judge_goals(results).last().and_then(GoalVerdict::met);
        assert_eq!(met(&lost(0.0)), Some(true));
        assert_eq!(met(&lost(1.0)), Some(false));
    }
}
