//! Installation of received snapshots: openraft, as the receiver of snapshots sees it.

use super::StateMachine;
use crate::raft::snapshot::{RaftSnapshot, SnapshotInstaller};
use crate::raft::types::{TypeConfig, Vote};
use crate::store::StateStore;
use futures::future::BoxFuture;

impl<S: StateStore> SnapshotInstaller for openraft::Raft<TypeConfig, StateMachine<S>> {
    fn vote(&self) -> Vote {
        use openraft::async_runtime::WatchReceiver as _;
        self.metrics().borrow_watched().vote
    }

    fn install(&self, leader: Vote, snapshot: RaftSnapshot) -> BoxFuture<'_, Result<Vote, String>> {
        Box::pin(async move {
            let installed = self.install_full_snapshot(leader, snapshot).await;
            installed.map(|response| response.vote).map_err(|error| error.to_string())
        })
    }
}
