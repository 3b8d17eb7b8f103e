//! Wrapper between a replica's peer listener and its Raft, which does to single requests what TCP cannot do.
//!
//! A request is remembered and delivered again up to 1.5 seconds later, out of order with everything since: from a
//! leader that was long voted out, for a term that has passed. Raft must not mind (dissertation §3.3: RPCs are
//! idempotent).

use crate::history::SharedHistory;
use crate::mutation::Mutation;
use crate::rng::Rng;
use futures::future::BoxFuture;
use futures::stream::{self, BoxStream};
use futures::{FutureExt as _, StreamExt as _};
use openraft::EntryPayload;
use openraft::errors::{InitializeError, LinearizableReadError, RaftError};
use openraft::raft::{
    AppendEntriesRequest, StreamAppendResult, TransferLeaderRequest, TransferLeaderResponse, VoteRequest, VoteResponse,
};
use prost::Message as _;
use quorate_chatd::raft::consensus::{
    Consensus, ConsensusRef, LeadershipWatch, MembershipChange, MembershipChangeResult, MetricsWatch, RaftStopped,
    SnapshotSummary, WriteReceiver,
};
use quorate_chatd::raft::types::{EncodedBatch, LogId, NodeAddresses, TypeConfig};
use quorate_core::proto::log::Batch;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// Longest delay of a request that is delivered again, in milliseconds.
const LATE_MS: usize = 1500;
/// Time since the start of the simulation before which no mutation of consensus takes effect: by then the cluster has
/// been formed.
const SOUND_AT_FIRST: Duration = Duration::from_secs(3);

/// A [`Consensus`] that delivers requests again and applies mutations to them. See the [module](self).
#[derive(Clone)]
pub(crate) struct FaultyConsensus {
    inner: ConsensusRef,
    rng: Arc<Mutex<Rng>>,
    hinge: ConsensusFaults,
    since: Instant,
}

/// Settings of a [`FaultyConsensus`]: what happens to the requests that come through it.
#[derive(Clone)]
pub(crate) struct ConsensusFaults {
    pub(crate) seed: u64,
    /// Requests per thousand that are delivered again.
    pub(crate) again: usize,
    pub(crate) mutation: Option<Mutation>,
    /// `true` if a mutation of only one replica applies to this one.
    pub(crate) odd: bool,
    /// History in which every entry that arrives is recorded.
    pub(crate) history: SharedHistory,
}

/// Share of the entries that a mutation strikes: one in this many.
const ONE_IN: u64 = 10;

type AppendRequest = AppendEntriesRequest<TypeConfig>;

impl FaultyConsensus {
    pub(crate) fn new(inner: ConsensusRef, hinge: ConsensusFaults, running_for: Duration) -> Self {
        let since = Instant::now().checked_sub(running_for).unwrap();
        Self { inner, rng: Arc::new(Mutex::new(Rng::new(hinge.seed))), hinge, since }
    }

    fn mutates(&self, mutation: Mutation) -> bool {
        self.hinge.mutation == Some(mutation) && self.since.elapsed() > SOUND_AT_FIRST
    }

    /// Draws the delay after which a request is delivered again, or `None` if it is not.
    fn again(&self) -> Option<Duration> {
        let mut rng = self.rng.lock().unwrap();
        let late = Duration::from_millis(rng.below(LATE_MS) as u64);
        (rng.below(1000) < self.hinge.again).then_some(late)
    }

    fn append_again(&self, request: &AppendRequest) {
        let Some(late) = self.again() else { return };
        let inner = self.inner.clone();
        let request = request.clone();
        tokio::spawn(async move {
            sleep(late).await;
            inner.append(stream::iter([request]).boxed()).for_each(|_| async {}).await;
        });
    }
}

/// Changes the time in some of the entries, which keep their ids.
fn stamp_otherwise(request: &mut AppendRequest) {
    for entry in &mut request.entries {
        let EntryPayload::Normal(encoded) = &mut entry.payload else { continue };
        if entry.log_id.index.is_multiple_of(ONE_IN) {
            let mut batch = Batch::decode(encoded.bytes.clone()).unwrap();
            batch.time_ms += 1;
            *encoded = EncodedBatch::from(bytes::Bytes::from(batch.encode_to_vec()));
        }
    }
}

/// Answers as if the entries had been appended. Raft gets the request without them, so that the leader is heard all the
/// same.
async fn pretend_append(
    inner: ConsensusRef,
    mut request: AppendRequest,
) -> Result<StreamAppendResult<TypeConfig>, RaftStopped> {
    let last = request.entries.last().map(|entry| entry.log_id).or(request.prev_log_id);
    request.entries.clear();
    (request.prev_log_id, request.leader_commit) = (None, None);
    match inner.append(stream::iter([request]).boxed()).next().await {
        Some(Ok(Ok(_))) | None => Ok(Ok(last)),
        Some(refused) => refused,
    }
}

impl Consensus for FaultyConsensus {
    fn append(
        &self,
        requests: BoxStream<'static, AppendRequest>,
    ) -> BoxStream<'static, Result<StreamAppendResult<TypeConfig>, RaftStopped>> {
        let history = self.hinge.history.clone();
        let requests = requests.inspect(move |request| history.appended(request)).boxed();
        if self.mutates(Mutation::CommitWithoutQuorum) {
            let inner = self.inner.clone();
            return requests.then(move |request| pretend_append(inner.clone(), request)).boxed();
        }
        if self.hinge.odd && self.mutates(Mutation::EntryDiffers) {
            let changed = requests.map(|mut request| {
                stamp_otherwise(&mut request);
                request
            });
            return self.inner.append(changed.boxed());
        }
        let faulty = self.clone();
        self.inner.append(requests.inspect(move |request| faulty.append_again(request)).boxed())
    }

    fn vote(
        &self,
        request: VoteRequest<TypeConfig>,
    ) -> BoxFuture<'_, Result<VoteResponse<TypeConfig>, RaftError<TypeConfig>>> {
        if self.mutates(Mutation::GrantEveryVote) {
            return futures::future::ready(Ok(VoteResponse::new(request.vote, None, true))).boxed();
        }
        if let Some(late) = self.again() {
            let inner = self.inner.clone();
            let request = request.clone();
            tokio::spawn(async move {
                sleep(late).await;
                drop(inner.vote(request).await);
            });
        }
        self.inner.vote(request)
    }

    fn pre_vote(
        &self,
        request: VoteRequest<TypeConfig>,
    ) -> BoxFuture<'_, Result<VoteResponse<TypeConfig>, RaftError<TypeConfig>>> {
        if self.mutates(Mutation::GrantEveryVote) {
            return futures::future::ready(Ok(VoteResponse::new(request.vote, None, true))).boxed();
        }
        self.inner.pre_vote(request)
    }

    fn take_over(
        &self,
        request: TransferLeaderRequest<TypeConfig>,
    ) -> BoxFuture<'_, Result<TransferLeaderResponse<TypeConfig>, RaftStopped>> {
        self.inner.take_over(request)
    }

    fn write(&self, batch: EncodedBatch) -> BoxFuture<'_, Result<WriteReceiver, RaftStopped>> {
        self.inner.write(batch)
    }

    fn read_index(&self) -> BoxFuture<'_, Result<LogId, RaftError<TypeConfig, LinearizableReadError<TypeConfig>>>> {
        self.inner.read_index()
    }

    fn initialize(
        &self,
        voters: BTreeMap<u64, NodeAddresses>,
    ) -> BoxFuture<'_, Result<(), RaftError<TypeConfig, InitializeError<TypeConfig>>>> {
        self.inner.initialize(voters)
    }

    fn change_membership(
        &self,
        change: MembershipChange,
        retain: bool,
        still: Option<LogId>,
    ) -> BoxFuture<'_, MembershipChangeResult> {
        self.inner.change_membership(change, retain, still)
    }

    fn transfer_to(&self, node_id: u64) -> BoxFuture<'_, Result<(), RaftStopped>> {
        self.inner.transfer_to(node_id)
    }

    fn build_snapshot(&self) -> BoxFuture<'_, Result<(), RaftStopped>> {
        self.inner.build_snapshot()
    }

    fn snapshot(&self) -> BoxFuture<'_, Result<Option<SnapshotSummary>, RaftError<TypeConfig>>> {
        self.inner.snapshot()
    }

    fn purge(&self, up_to: u64) -> BoxFuture<'_, Result<(), RaftStopped>> {
        self.inner.purge(up_to)
    }

    fn metrics(&self) -> MetricsWatch {
        self.inner.metrics()
    }

    fn leadership(&self) -> LeadershipWatch {
        self.inner.leadership()
    }

    fn shutdown(&self) -> BoxFuture<'_, ()> {
        self.inner.shutdown()
    }
}
