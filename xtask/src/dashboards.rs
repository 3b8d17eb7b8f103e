//! Grafana dashboards: boards of rows of panels of queries, written as `dashboards/*.json`.
//!
//! A board is one file here. What panels look like stands in [`panel`] and [`look`], so that all boards look alike: a
//! pod has the same colour everywhere, what is first is what someone on call needs first.

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

use crate::generate::Generated;
use board::Board;

/// All boards, in the order in which they are looked at.
fn boards() -> [Board; 5] {
    [fleet::board(), cluster::board(), raft_and_storage::board(), clients_and_delivery::board(), operator::board()]
}

/// The files of all boards.
///
/// # Errors
/// When a board cannot be written as JSON.
pub(crate) fn files() -> anyhow::Result<Vec<Generated>> {
    boards()
        .into_iter()
        .map(|board| Ok(Generated { path: board.path, content: serde_json::to_string_pretty(&board.json())? + "\n" }))
        .collect()
}

#[cfg(test)]
mod tests;
