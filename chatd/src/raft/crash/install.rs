//! Workload of a pod that is behind and installs the snapshot of one that is ahead.

use super::{End, told_to};
use crate::raft::snapshot::tests::crash;
use std::path::Path;
use std::process::Command;

/// Returns the directories of the pod and of the one that is ahead.
fn both(dir: &Path) -> [std::path::PathBuf; 2] {
    ["pod", "ahead"].map(|name| dir.join(name))
}

/// Prepares both directories, once.
pub(super) async fn prepare(template: &Path) {
    let [pod, ahead] = both(template);
    crash::prepare(&pod, &ahead).await;
}

/// Copies both directories for one try.
pub(super) fn lay_out(template: &Path, dir: &Path) {
    let copied = Command::new("cp").arg("-a").args(both(template)).arg(dir).status().expect("cp");
    assert!(copied.success());
}

/// Workload of the process that crashes; tests nothing by itself.
#[test]
fn a_process_that_is_told_to_takes_a_snapshot_over() {
    let Some(dir) = told_to() else { return };
    let [pod, ahead] = both(&dir);
    super::runtime().block_on(async {
        crash::take_over(&pod, &ahead, &super::say).await;
        super::say("done");
    });
}

pub(super) async fn check(dir: &Path, end: &End) {
    let [pod, ahead] = both(dir);
    crash::check(&pod, &ahead, end.said("installed")).await;
}
