//! A pod that is behind takes over the snapshot of one that is ahead.

use super::{End, told_to};
use crate::raft::snapshot::tests::crash;
use std::path::Path;
use std::process::Command;

/// The pod's directory, and that of the one ahead.
fn both(dir: &Path) -> [std::path::PathBuf; 2] {
    ["pod", "ahead"].map(|name| dir.join(name))
}

/// Makes both once.
pub(super) async fn prepare(template: &Path) {
    let [pod, ahead] = both(template);
    crash::prepare(&pod, &ahead).await;
}

/// Copies both for one try.
pub(super) fn lay_out(template: &Path, dir: &Path) {
    let copied = Command::new("cp").arg("-a").args(both(template)).arg(dir).status().expect("cp");
    assert!(copied.success());
}

/// Nothing to test by itself: the work of the process that crashes.
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
