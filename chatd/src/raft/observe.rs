//! What Raft itself tells the metrics: elections, votes, appends to members, snapshots under way.

use super::leadership::Leadership;
use super::propose::{NoObserver, ProposeObserver};
use std::sync::Arc;
use std::time::Duration;

/// What was asked of a voter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ballot {
    /// Its vote.
    Vote,
    /// Whether it would vote; changes nothing.
    PreVote,
}

/// Called where it happens: counts and returns. All default to nothing.
pub trait RaftObserver: ProposeObserver {
    /// This node stood for election.
    fn candidate(&self) {}
    /// This node answered a request for its vote.
    fn voted(&self, ballot: Ballot, granted: bool) {
        let _ = (ballot, granted);
    }
    /// Who is told of what goes to the member of this name.
    fn peer(&self, name: &str) -> Arc<dyn PeerObserver> {
        let _ = name;
        Arc::new(NoObserver)
    }
    /// So many bytes of a snapshot were received and written.
    fn snapshot_received(&self, bytes: u64) {
        let _ = bytes;
    }
}

/// Of one member, on the leader.
pub trait PeerObserver: Send + Sync + 'static {
    /// It answered an append of entries, so long after that was sent.
    fn appended(&self, took: Duration) {
        let _ = took;
    }
    /// Another `bytes` of a snapshot were sent to it, `sent` of `of` in this transfer.
    fn snapshot_sending(&self, bytes: u64, sent: u64, of: u64) {
        let _ = (bytes, sent, of);
    }
    /// The transfer is over, however it ended.
    fn snapshot_ended(&self) {}
}

impl RaftObserver for NoObserver {}
impl PeerObserver for NoObserver {}

/// Tells of each term in which this node stands for election; runs as long as the node.
pub(super) async fn candidacies(mut leadership: Leadership, observer: Arc<dyn RaftObserver>) {
    // A vote for itself that it had on its disk was told of in an earlier life.
    let mut last = leadership.stood_in();
    while leadership.changed().await {
        let now = leadership.stood_in();
        if now > last {
            observer.candidate();
            last = now;
        }
    }
}
