//! Results of a run, as they are written to `results.json`.

use crate::machine::MachineProfile;
use crate::stats::ValueSpread;
use crate::system::BenchSystem;
use crate::workload::{BenchMetric, Workload};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Results of one run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct RunResults {
    /// Time at which the run started, as RFC 3339 in UTC.
    pub(crate) started: String,
    pub(crate) took_seconds: u64,
    pub(crate) commit: String,
    pub(crate) machine: MachineProfile,
    pub(crate) versions: BTreeMap<BenchSystem, String>,
    pub(crate) settings: RunSettings,
    pub(crate) samples: Vec<MetricSample>,
    /// Notes on what could not be measured, and why.
    pub(crate) notes: Vec<String>,
}

/// Settings with which the figures were measured.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct RunSettings {
    pub(crate) repeats: u32,
    pub(crate) warm_seconds: f64,
    pub(crate) steady_seconds: f64,
}

/// One figure of one repeat.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct MetricSample {
    pub(crate) workload: Workload,
    /// Case that distinguishes what one workload measures more than once; usually empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) case: String,
    pub(crate) system: BenchSystem,
    pub(crate) repeat: u32,
    pub(crate) metric: BenchMetric,
    pub(crate) value: f64,
}

/// Row of a table: one figure by which systems are compared.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ResultRow {
    pub(crate) workload: Workload,
    pub(crate) case: String,
    pub(crate) metric: BenchMetric,
}

impl RunResults {
    /// Returns all rows that have figures.
    pub(crate) fn rows(&self) -> BTreeSet<ResultRow> {
        let row = |sample: &MetricSample| ResultRow {
            workload: sample.workload,
            case: sample.case.clone(),
            metric: sample.metric,
        };
        self.samples.iter().map(row).collect()
    }

    /// Returns the systems that have figures.
    pub(crate) fn systems(&self) -> BTreeSet<BenchSystem> {
        self.samples.iter().map(|sample| sample.system).collect()
    }

    /// Returns the figures of a system in a row, by repeat.
    pub(crate) fn values(&self, row: &ResultRow, system: BenchSystem) -> BTreeMap<u32, f64> {
        self.samples
            .iter()
            .filter(|sample| {
                sample.system == system
                    && sample.workload == row.workload
                    && sample.case == row.case
                    && sample.metric == row.metric
            })
            .map(|sample| (sample.repeat, sample.value))
            .collect()
    }

    pub(crate) fn spread(&self, row: &ResultRow, system: BenchSystem) -> Option<ValueSpread> {
        ValueSpread::of(self.values(row, system).into_values())
    }
}
