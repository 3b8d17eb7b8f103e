//! Hooks through which the metrics observe Raft: elections, votes, appends to members, snapshots and their transfers,
//! and the state machine.

use super::leadership::Leadership;
use super::propose::{NoObserver, ProposeObserver};
use std::sync::Arc;
use std::time::Duration;

/// Kind of a vote request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VoteKind {
    /// A request for a vote.
    Vote,
    /// A question whether the node would vote, which changes nothing (pre-vote).
    PreVote,
}

/// Observer of Raft, called where events happen: it must only count and return. All methods do nothing by default.
pub trait RaftObserver: ProposeObserver {
    /// Reports that this node started an election.
    fn candidate(&self) {}
    /// Reports that this node answered a vote request.
    fn voted(&self, ballot: VoteKind, granted: bool) {
        let _ = (ballot, granted);
    }
    /// Returns the observer of the traffic to the member with this name.
    fn peer(&self, name: &str) -> Arc<dyn PeerObserver> {
        let _ = name;
        Arc::new(NoObserver)
    }
    /// Reports that this many bytes of a snapshot were received and written.
    fn snapshot_received(&self, bytes: u64) {
        let _ = bytes;
    }
}

/// Observer of one member, on the leader.
pub trait PeerObserver: Send + Sync + 'static {
    /// Reports that the member answered an append of entries, `took` after it was sent.
    fn appended(&self, took: Duration) {
        let _ = took;
    }
    /// Reports that another `bytes` of a snapshot were sent to the member, `sent` of `of` bytes in this transfer.
    fn snapshot_sending(&self, bytes: u64, sent: u64, of: u64) {
        let _ = (bytes, sent, of);
    }
    /// Reports that the transfer is over, however it ended.
    fn snapshot_ended(&self) {}
}

/// One commit of the apply thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AppliedBatch {
    /// Number of log entries.
    pub entries: usize,
    /// Number of commands in the entries.
    pub commands: usize,
    /// Encoded size of the commands, in bytes.
    pub bytes: usize,
    /// Index of the last entry.
    pub last_index: u64,
    /// Time from decoding the first entry to the end of the commit.
    pub elapsed: Duration,
}

/// Observer of the state machine and its snapshots, called on the thread that does the work: it must not block. `()`
/// ignores everything.
pub trait MachineObserver: Send + Sync + 'static {
    /// Reports a batch that was committed and answered.
    fn applied(&self, _batch: &AppliedBatch) {}
    /// Reports a snapshot that was built.
    fn snapshot_built(&self, _elapsed: Duration, _bytes: u64) {}
    /// Reports that a snapshot could not be built; the previous one stays in use.
    fn snapshot_failed(&self) {}
    /// Reports that a received snapshot became the state.
    fn snapshot_installed(&self) {}
}

impl MachineObserver for () {}
impl RaftObserver for NoObserver {}
impl PeerObserver for NoObserver {}

/// Reports each term in which this node starts an election, for as long as the node runs.
pub(super) async fn report_elections(mut leadership: Leadership, observer: Arc<dyn RaftObserver>) {
    // A vote for itself that was already on disk was reported by an earlier process.
    let mut last = leadership.stood_in();
    while leadership.changed().await {
        let now = leadership.stood_in();
        if now > last {
            observer.candidate();
            last = now;
        }
    }
}
