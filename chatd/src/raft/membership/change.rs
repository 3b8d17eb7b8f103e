//! Changes of learners and voters.

use super::{AdminError, ClusterAdmin, initialize::checked_node};
use crate::raft::{
    cluster::{ClusterMember, MembershipView, NodeStatus},
    consensus::MembershipChange,
    types::LogId,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};
use tokio::time::timeout;

/// Default limit on the entries by which a new voter may lag: a few hundred milliseconds of a busy cluster.
pub const DEFAULT_MAX_LAG: u64 = 1000;
/// Time within which a member must have answered to count as reachable: many heartbeats.
const REACHABLE: Duration = Duration::from_secs(2);
/// Time limit of a change, which takes two entries, each flushed by a majority.
const LIMIT: Duration = Duration::from_secs(10);

/// Request for a change of voters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VoterChange {
    /// Complete set of voters after the change.
    pub voters: BTreeSet<u64>,
    /// Set of voters that the caller expects before the change (compare and swap).
    pub expected: BTreeSet<u64>,
    /// `true` if removed voters stay as learners.
    pub retain_removed: bool,
    /// Number of entries by which a new voter may lag; 0 means [`DEFAULT_MAX_LAG`].
    pub max_lag: u64,
    /// Learners that are removed as well; ids in this set that are not learners are ignored.
    pub remove_learners: BTreeSet<u64>,
}

impl ClusterAdmin {
    /// Adds a node that receives the log without a vote. Returns once the change is committed, not once the node has
    /// caught up. Adding the same node again succeeds, and updates its address.
    ///
    /// # Errors
    /// [`AdminError`]; only the leader accepts the call.
    pub async fn add_learner(&self, cluster_id: &str, member: ClusterMember) -> Result<(), AdminError> {
        self.check_cluster(cluster_id)?;
        self.leading()?;
        let (view, guard, _) = self.membership();
        let present = view.member(member.node_id).cloned();
        if present.as_ref() == Some(&member) {
            return Ok(());
        }
        let known = present.is_some();
        let nodes = BTreeMap::from([checked_node(member)?]);
        // An address can be replaced safely, because every request names its target node: if another node answers at
        // that address, it refuses.
        let change = if known { MembershipChange::SetNodes(nodes) } else { MembershipChange::AddNodes(nodes) };
        self.apply(change, true, guard).await
    }

    /// Changes the voters to exactly this set, in one joint change (Raft dissertation §4.3).
    ///
    /// # Errors
    /// [`AdminError::Conflict`] if the voters are not the expected ones, [`AdminError::Refused`] if a new voter is not
    /// a learner yet or lags, or if no majority of the new voters can be reached.
    pub async fn change_voters(&self, wish: &VoterChange) -> Result<MembershipView, AdminError> {
        let status = self.leading()?;
        let (view, guard, committed) = self.membership();
        if !committed {
            return Err(AdminError::Conflict("another change of the membership is under way; try again".into()));
        }
        wish.check(&view, &status)?;
        let leaving: BTreeSet<u64> = wish.remove_learners.intersection(&view.learners).copied().collect();
        let leaving: BTreeSet<u64> = leaving.difference(&wish.voters).copied().collect();
        let settled = view.voter_sets.len() == 1 && view.voters() == wish.voters;
        if !(settled && leaving.is_empty()) {
            let mut changes = vec![MembershipChange::ReplaceAllVoters(wish.voters.clone())];
            if !leaving.is_empty() {
                changes.push(MembershipChange::RemoveNodes(leaving));
            }
            self.apply(MembershipChange::Batch(changes), wish.retain_removed, guard).await?;
        }
        Ok(self.membership().0)
    }

    async fn apply(&self, change: MembershipChange, retain: bool, guard: Option<LogId>) -> Result<(), AdminError> {
        let changed = self.inner.consensus.change_membership(change, retain, guard);
        match timeout(LIMIT, changed).await {
            Ok(result) => Ok(result.map(drop)?),
            Err(_) => Err(AdminError::TimedOut { after: LIMIT }),
        }
    }

    fn check_cluster(&self, cluster_id: &str) -> Result<(), AdminError> {
        match self.identity().cluster_id() {
            Some(own) if *own == *cluster_id => Ok(()),
            own => {
                let own = own.unwrap_or_default();
                Err(AdminError::Refused(format!("this node belongs to cluster {own:?}, not to {cluster_id:?}")))
            }
        }
    }
}

impl VoterChange {
    fn check(&self, view: &MembershipView, status: &NodeStatus) -> Result<(), AdminError> {
        if self.voters.is_empty() {
            return Err(AdminError::Invalid("a cluster needs at least one voter".into()));
        }
        let present = view.voters();
        if self.expected != present {
            return Err(AdminError::Conflict(format!(
                "the voters are {present:?}, not {:?} as expected; check the status and try again",
                self.expected
            )));
        }
        for new in self.voters.difference(&present) {
            self.check_new(*new, view, status)?;
        }
        self.check_majority(status)
    }

    fn check_new(&self, id: u64, view: &MembershipView, status: &NodeStatus) -> Result<(), AdminError> {
        if !view.contains(id) {
            return Err(AdminError::Refused(format!("node {id} is not a learner yet; add it as a learner first")));
        }
        if id == status.node_id {
            return Ok(());
        }
        let max_lag = if self.max_lag == 0 { DEFAULT_MAX_LAG } else { self.max_lag };
        match status.progress_of(id) {
            Some(progress) if progress.matched_index.is_some() && progress.lag <= max_lag => Ok(()),
            Some(progress) => Err(AdminError::Refused(format!(
                "node {id} is {} entries behind, and at most {max_lag} are allowed; wait until it has caught up",
                progress.lag
            ))),
            None => Err(AdminError::Refused(format!("node {id} has not responded yet; wait until it has caught up"))),
        }
    }

    /// Checks that a majority of the new voters can be reached: otherwise the change could commit, and no later one
    /// could.
    fn check_majority(&self, status: &NodeStatus) -> Result<(), AdminError> {
        let reachable = self.voters.iter().filter(|id| is_reachable(**id, status)).count();
        let majority = self.voters.len() / 2 + 1;
        if reachable >= majority {
            return Ok(());
        }
        Err(AdminError::Refused(format!(
            "only {reachable} of the {} requested voters can be reached, and a majority is {majority}; repair the others first",
            self.voters.len()
        )))
    }
}

fn is_reachable(id: u64, status: &NodeStatus) -> bool {
    let heard = status.progress_of(id).and_then(|progress| progress.contact_age);
    id == status.node_id || heard.is_some_and(|age| age <= REACHABLE)
}
