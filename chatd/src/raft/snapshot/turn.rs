//! Turns of snapshot transfers to this pod: the latest one is received. A leader that froze during a transfer would
//! otherwise keep the turn until its connection ends, and block the pod, which the next leader needs for its quorum.

use crate::raft::types::Vote;
use std::sync::{Arc, Mutex as StdMutex, PoisonError};
use std::time::Duration;
use tokio::sync::{Mutex, OwnedMutexGuard};
use tokio::time::timeout;
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::Status;

/// Time for which a new transfer waits for the one before. A transfer that is given up ends with its current piece of
/// work on the disk; only an installation takes longer.
const LIMIT: Duration = Duration::from_secs(5);

/// The turn that all transfers to this pod share.
#[derive(Default)]
pub(super) struct TransferTurn {
    /// Lock that a transfer holds to its end.
    pub(super) files: Arc<Mutex<()>>,
    /// Transfer that has the turn or waits for it: the vote of its leader, and the token that ends it.
    present: StdMutex<Option<(Vote, CancellationToken)>>,
}

/// The turn, held until it is dropped.
pub(super) struct HeldTurn {
    /// Token that is cancelled when another transfer begins.
    superseded: CancellationToken,
    /// Guard that tells the next transfer that this one is over.
    _over: DropGuard,
    _files: OwnedMutexGuard<()>,
}

impl TransferTurn {
    /// Takes the turn for a transfer of this leader; the previous transfer is ended, and awaited.
    ///
    /// # Errors
    /// [`Status`] for the sender, if a transfer of a later leader or an installation is in progress.
    pub(super) async fn take(&self, leader: Vote) -> Result<HeldTurn, Status> {
        self.take_within(leader, LIMIT).await
    }

    async fn take_within(&self, leader: Vote, limit: Duration) -> Result<HeldTurn, Status> {
        let superseded = self.supersede(leader)?;
        let over = superseded.clone().drop_guard();
        let waiting = timeout(limit, self.files.clone().lock_owned());
        match superseded.run_until_cancelled(waiting).await {
            Some(Ok(files)) => Ok(HeldTurn { superseded, _over: over, _files: files }),
            Some(Err(_)) => Err(Status::unavailable("another snapshot is being installed; try again later")),
            None => Err(superseded_status()),
        }
    }

    /// Ends the previous transfer. A leader sends one snapshot at a time to a pod: if it starts a second transfer, it
    /// has given up the first.
    fn supersede(&self, leader: Vote) -> Result<CancellationToken, Status> {
        let mut present = self.present.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((of, ended)) = &*present {
            if *of > leader && !ended.is_cancelled() {
                return Err(Status::unavailable("a snapshot of a later leader is being received"));
            }
            ended.cancel();
        }
        let ended = CancellationToken::new();
        *present = Some((leader, ended.clone()));
        Ok(ended)
    }
}

impl HeldTurn {
    /// Waits for `work`, as long as no other transfer has begun.
    ///
    /// # Errors
    /// [`Status`] for the sender, if another transfer has begun.
    pub(super) async fn unless_superseded<T>(&self, work: impl Future<Output = T>) -> Result<T, Status> {
        self.superseded.run_until_cancelled(work).await.ok_or_else(superseded_status)
    }
}

fn superseded_status() -> Status {
    Status::aborted("another snapshot transfer replaced this one")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raft::types::LeaderId;
    use tonic::Code;

    fn vote(term: u64) -> Vote {
        Vote { leader_id: LeaderId { term, node_id: 1 }, committed: true }
    }

    /// Starts a transfer that ends when it is superseded.
    fn transfer(held: HeldTurn) -> tokio::task::JoinHandle<Code> {
        tokio::spawn(async move {
            let ended = held.unless_superseded(std::future::pending::<()>()).await;
            ended.expect_err("it never ends by itself").code()
        })
    }

    #[tokio::test]
    async fn a_transfer_of_a_later_leader_ends_the_one_before() {
        let turn = TransferTurn::default();
        let first = transfer(turn.take(vote(5)).await.expect("free"));
        let second = transfer(turn.take(vote(6)).await.expect("the later leader's"));
        assert_eq!(first.await.expect("no panic"), Code::Aborted);
        let refused = turn.take(vote(5)).await.err().expect("the frozen one woke up");
        assert_eq!(refused.code(), Code::Unavailable);
        assert!(!second.is_finished());
        // The same leader begins again, as its connection broke.
        let _third = turn.take(vote(6)).await.expect("the same leader's");
        assert_eq!(second.await.expect("no panic"), Code::Aborted);
    }

    #[tokio::test]
    async fn a_transfer_that_is_over_does_not_count() {
        let turn = TransferTurn::default();
        drop(turn.take(vote(6)).await.expect("free"));
        turn.take(vote(5)).await.expect("whether its vote is still good is checked elsewhere");
    }

    #[tokio::test]
    async fn an_installation_is_waited_for_within_bounds() {
        let turn = TransferTurn::default();
        let _installing = turn.take(vote(5)).await.expect("free");
        let refused = turn.take_within(vote(6), Duration::from_millis(10)).await.err().expect("it cannot be ended");
        assert_eq!(refused.code(), Code::Unavailable);
    }
}
