//! Server of `quorate.admin.v1` (port 7401), which the operator and `chatctl cluster` call.

mod convert;
mod overview;
pub mod page;
mod watch;

use crate::raft::{
    cluster::ClusterMember,
    membership::{AdminError, ClusterAdmin, DEFAULT_TRANSFER_LIMIT, VoterChange},
    network::PeerSet,
    node::NodeHandle,
    volume::{VolumeGauge, VolumeLevel, WriteClass},
};
use convert::{admin_error_to_status, identity_to_pb, member_from_pb, membership_to_pb, status_to_pb};
use futures::stream::BoxStream;
use quorate_core::proto::log::TimeRepaired;
use quorate_wire::admin::v1::{
    self as pb,
    admin_server::{Admin, AdminServer},
};
use std::{sync::Arc, time::Duration};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

/// Maximum time for a leader transfer: a caller may ask for more than the default, but not for ever.
const LONGEST_TRANSFER: Duration = Duration::from_secs(60);

/// Facts that only the process knows.
pub trait ProcessFacts: Send + Sync + 'static {
    /// Returns the number of clients connected to this pod's listeners.
    fn client_connections(&self) -> u32;
    /// Returns the bytes used by the data directory, and the bytes free on its file system.
    fn storage(&self) -> (u64, u64);
    /// Returns the load of clients on this pod.
    fn load(&self) -> WriteLoad;
    /// Returns the resident memory in bytes.
    fn memory_bytes(&self) -> u64;
}

/// Load of clients on a pod within the last seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct WriteLoad {
    /// Number of writes per second that came to an outcome in the log.
    pub writes_per_second: f64,
    /// Mean time of all writes, refused ones included, to their outcome; `None` if there were none.
    pub write_time: Option<Duration>,
}

/// Implementation of the admin API.
#[derive(Clone)]
pub struct AdminApi {
    inner: Arc<AdminContext>,
}

struct AdminContext {
    administration: ClusterAdmin,
    peers: PeerSet,
    own: ClusterMember,
    version: String,
    process: Arc<dyn ProcessFacts>,
    volume: VolumeGauge,
    stop: CancellationToken,
}

impl AdminApi {
    /// Creates the admin API of a node. `version` is as in `chatd --version`; `stop` ends the watches.
    #[must_use]
    pub fn new(node: &NodeHandle, version: &str, process: Arc<dyn ProcessFacts>, stop: CancellationToken) -> Self {
        let administration = node.administration.clone();
        let peers = node.peer_listener.peers.clone();
        let own = node.own().clone();
        let version = version.to_owned();
        let volume = node.peer_listener.volume.clone();
        Self { inner: Arc::new(AdminContext { administration, peers, own, version, process, volume, stop }) }
    }

    /// Returns the gRPC service to serve.
    #[must_use]
    pub fn into_service(self) -> AdminServer<Self> {
        AdminServer::new(self)
    }

    fn administration(&self) -> &ClusterAdmin {
        &self.inner.administration
    }

    fn identity_now(&self) -> pb::IdentityResponse {
        let AdminContext { administration, own, version, .. } = &*self.inner;
        identity_to_pb(administration, own, version)
    }

    fn status_now(&self) -> pb::StatusResponse {
        let status = self.administration().cluster().status();
        let AdminContext { process, volume, .. } = &*self.inner;
        let (storage_used_bytes, storage_free_bytes) = process.storage();
        let WriteLoad { writes_per_second, write_time } = process.load();
        pb::StatusResponse {
            identity: Some(self.identity_now()),
            client_connections: process.client_connections(),
            storage_used_bytes,
            storage_free_bytes,
            writes_per_second,
            write_ms: write_time.map(|time| time.as_secs_f64() * 1000.0),
            memory_bytes: process.memory_bytes(),
            storage_total_bytes: volume.space().total,
            storage_reserve_bytes: volume.reserve(),
            storage_short: volume.own().level != VolumeLevel::Enough,
            writes_refused: status.leads() && !volume.admits(WriteClass::Growing),
            ..status_to_pb(&status)
        }
    }
}

#[tonic::async_trait]
impl Admin for AdminApi {
    type WatchStream = BoxStream<'static, Result<pb::StatusResponse, Status>>;

    async fn identity(&self, _: Request<pb::IdentityRequest>) -> Result<Response<pb::IdentityResponse>, Status> {
        Ok(Response::new(self.identity_now()))
    }

    async fn initialize(
        &self,
        request: Request<pb::InitializeRequest>,
    ) -> Result<Response<pb::InitializeResponse>, Status> {
        let pb::InitializeRequest { cluster_id, server_name, voters } = request.into_inner();
        if cluster_id.is_empty() || voters.is_empty() {
            let reason = "Initialize needs a cluster id and at least one voter".to_owned();
            return Err(admin_error_to_status(AdminError::Invalid(reason)));
        }
        let voters = voters.into_iter().map(member_from_pb).collect();
        self.administration().initialize(&cluster_id, &server_name, voters).await.map_err(admin_error_to_status)?;
        Ok(Response::new(pb::InitializeResponse {}))
    }

    async fn add_learner(
        &self,
        request: Request<pb::AddLearnerRequest>,
    ) -> Result<Response<pb::AddLearnerResponse>, Status> {
        let pb::AddLearnerRequest { node, cluster_id } = request.into_inner();
        let node = node.ok_or_else(|| Status::invalid_argument("AddLearner needs a node"))?;
        self.administration().add_learner(&cluster_id, member_from_pb(node)).await.map_err(admin_error_to_status)?;
        Ok(Response::new(pb::AddLearnerResponse {}))
    }

    async fn change_membership(
        &self,
        request: Request<pb::ChangeMembershipRequest>,
    ) -> Result<Response<pb::ChangeMembershipResponse>, Status> {
        let request = request.into_inner();
        let wish = VoterChange {
            voters: request.voters.into_iter().collect(),
            expected: request.expected_voters.into_iter().collect(),
            retain_removed: request.retain_removed,
            max_lag: request.max_lag,
            remove_learners: request.remove_learners.into_iter().collect(),
        };
        let membership = self.administration().change_voters(&wish).await.map_err(admin_error_to_status)?;
        Ok(Response::new(pb::ChangeMembershipResponse { membership: Some(membership_to_pb(&membership)) }))
    }

    async fn transfer_leader(
        &self,
        request: Request<pb::TransferLeaderRequest>,
    ) -> Result<Response<pb::TransferLeaderResponse>, Status> {
        let pb::TransferLeaderRequest { to_node_id, timeout_ms } = request.into_inner();
        let limit = match timeout_ms {
            0 => DEFAULT_TRANSFER_LIMIT,
            millis => Duration::from_millis(millis.into()).min(LONGEST_TRANSFER),
        };
        let to = (to_node_id != 0).then_some(to_node_id);
        let (leader_node_id, term) =
            self.administration().transfer_leader(to, limit).await.map_err(admin_error_to_status)?;
        Ok(Response::new(pb::TransferLeaderResponse { leader_node_id, term }))
    }

    async fn take_snapshot(
        &self,
        request: Request<pb::TakeSnapshotRequest>,
    ) -> Result<Response<pb::TakeSnapshotResponse>, Status> {
        let purge = request.into_inner().purge_log;
        let summary = self.administration().take_snapshot(purge).await.map_err(admin_error_to_status)?;
        Ok(Response::new(pb::TakeSnapshotResponse {
            snapshot_id: summary.id,
            applied_index: summary.last_applied.map_or(0, |id| id.index),
            size_bytes: summary.size_bytes,
        }))
    }

    async fn purge_history(
        &self,
        request: Request<pb::PurgeHistoryRequest>,
    ) -> Result<Response<pb::PurgeHistoryResponse>, Status> {
        let pb::PurgeHistoryRequest { room_id, before_ms } = request.into_inner();
        let purged = self.administration().purge_history(&room_id, before_ms).await.map_err(admin_error_to_status)?;
        Ok(Response::new(pb::PurgeHistoryResponse { events: purged.events, more: purged.more }))
    }

    async fn repair_time(&self, _: Request<pb::RepairTimeRequest>) -> Result<Response<pb::RepairTimeResponse>, Status> {
        let TimeRepaired { before_ms, after_ms } =
            self.administration().repair_time().await.map_err(admin_error_to_status)?;
        Ok(Response::new(pb::RepairTimeResponse { before_ms, after_ms }))
    }

    async fn status(&self, _: Request<pb::StatusRequest>) -> Result<Response<pb::StatusResponse>, Status> {
        Ok(Response::new(self.status_now()))
    }

    async fn watch(&self, request: Request<pb::WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let interval = watch::watch_interval(request.into_inner().interval_ms);
        Ok(Response::new(watch::status_stream(self.clone(), interval, self.inner.stop.clone())))
    }

    async fn overview(&self, request: Request<pb::OverviewRequest>) -> Result<Response<pb::OverviewResponse>, Status> {
        let limit = overview::member_timeout(request.into_inner().timeout_ms);
        Ok(Response::new(overview::gather_overview(self, limit).await))
    }
}

/// Facts of a process without listeners or a disk of its own: all are zero. For tests.
pub struct NoProcess;

impl ProcessFacts for NoProcess {
    fn client_connections(&self) -> u32 {
        0
    }

    fn storage(&self) -> (u64, u64) {
        (0, 0)
    }

    fn load(&self) -> WriteLoad {
        WriteLoad::default()
    }

    fn memory_bytes(&self) -> u64 {
        0
    }
}
