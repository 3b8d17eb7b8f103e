//! Grafana dashboards: boards of rows of panels of queries, written to `dashboards/*.json`.
//!
//! Each board is one file here. The appearance of panels is defined in [`panel`] and [`look`], so that all boards look
//! alike: a pod has the same colour everywhere, and what someone on call needs first comes first.

mod annotation;
mod board;
mod clients_and_delivery;
mod cluster;
mod fleet;
mod look;
mod operator;
mod page;
mod panel;
mod query;
mod raft_and_storage;
mod table;

use crate::generate::GeneratedFile;
use board::Dashboard;

/// Returns all boards, in the order in which people look at them.
fn all_dashboards() -> [Dashboard; 5] {
    [
        fleet::fleet_dashboard(),
        cluster::cluster_dashboard(),
        raft_and_storage::storage_dashboard(),
        clients_and_delivery::clients_dashboard(),
        operator::operator_dashboard(),
    ]
}

/// Returns the files of all boards.
///
/// # Errors
/// Returns an error if a board cannot be written as JSON.
pub(crate) fn dashboard_files() -> anyhow::Result<Vec<GeneratedFile>> {
    all_dashboards()
        .into_iter()
        .map(|board| {
            Ok(GeneratedFile { path: board.path, content: serde_json::to_string_pretty(&board.json())? + "\n" })
        })
        .collect()
}

#[cfg(test)]
mod tests;
