//! Entries with effects, and a network without peers.

use super::super::StateMachine;
use crate::feed::ChangeFeed;
use crate::raft::observe::MachineObserver;
use crate::raft::snapshot::{RaftSnapshot, SnapshotData, SnapshotShelf};
use crate::raft::types::{EncodedBatch, LeaderId, LogEntry, LogId, NodeAddresses, TypeConfig};
use crate::store::{FatalSignal, StateStore};
use futures::stream;
use openraft::EntryPayload;
use openraft::errors::{RPCError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::{RPCOption, RaftNetworkFactory, RaftNetworkV2};
use openraft::raft::{AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, VoteRequest, VoteResponse};
use openraft::storage::RaftStateMachine as _;
use prost::Message as _;
use quorate_core::proto::log::{self, command::Kind};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub(in crate::raft) fn machine_over<S: StateStore>(store: S, dir: &Path) -> StateMachine<S> {
    let observer: Arc<dyn MachineObserver> = Arc::new(());
    StateMachine::start(store, SnapshotShelf::open(dir).unwrap(), ChangeFeed::new(), FatalSignal::default(), observer)
        .unwrap()
}

pub(in crate::raft) fn log_id(index: u64) -> LogId {
    LogId::new(LeaderId { term: 1, node_id: 1 }, index)
}

fn envelope(user: &str, device: &str, transaction: String, kind: Kind) -> log::Envelope {
    log::Envelope {
        user: user.into(),
        device_id: device.into(),
        transaction_id: transaction,
        command: Some(log::Command { kind: Some(kind) }),
        sequence: None,
        quotas: None,
        guess_count: None,
    }
}

/// Returns the commands of an entry: first the cluster and its first user, then account data of that user, and a new
/// user now and then.
pub(in crate::raft) fn commands(number: u64) -> Vec<log::Envelope> {
    let register = |number: u64| {
        let session = log::NewSession {
            device_id: "D".into(),
            token_hash: vec![u8::try_from(number % 251).unwrap(); 32].into(),
            ..log::NewSession::default()
        };
        let register = log::Register {
            localpart: format!("user{}", number + 1),
            password_hash: format!("$argon2id${number}"),
            session: Some(session),
            ..log::Register::default()
        };
        envelope("", "", String::new(), Kind::Register(register))
    };
    if number == 0 {
        let bootstrap = log::Bootstrap { cluster_id: "c1".into(), server_name: "a.org".into() };
        return vec![envelope("", "", String::new(), Kind::Bootstrap(bootstrap)), register(0)];
    }
    let data = (0..=number % 3).map(|part| {
        let content = format!("{{\"entry\":{number},\"part\":{part}}}").into_bytes().into();
        let r#type = format!("org.example.{}", (number * 7 + part) % 400);
        let put = log::PutAccountData { r#type, content, ..log::PutAccountData::default() };
        envelope("user1", "D", format!("t{number}.{part}"), Kind::PutAccountData(put))
    });
    let newcomer = number.is_multiple_of(10).then(|| register(number));
    data.chain(newcomer).collect()
}

pub(in crate::raft) fn batch(envelopes: &[log::Envelope]) -> EncodedBatch {
    let batch = log::Batch { time_ms: 1_700_000_000_000, envelopes: envelopes.to_vec(), ..Default::default() };
    bytes::Bytes::from(batch.encode_to_vec()).into()
}

pub(in crate::raft) fn blank(index: u64) -> LogEntry {
    LogEntry { log_id: log_id(index), payload: EntryPayload::Blank }
}

/// Returns the entry with this index, from 1 on; always the same.
pub(in crate::raft) fn entry(index: u64) -> LogEntry {
    let payload = EntryPayload::Normal(batch(&commands(index - 1)));
    LogEntry { log_id: log_id(index), payload }
}

pub(in crate::raft) async fn feed<S: StateStore>(machine: &mut StateMachine<S>, entries: Range<u64>) {
    machine.apply(stream::iter(entries.map(|index| Ok((entry(index), None))))).await.unwrap();
}

/// Waits for something that another thread is about to do.
pub(in crate::raft) fn until(what: &str, holds: impl Fn() -> bool) {
    let started = Instant::now();
    while !holds() {
        assert!(started.elapsed() < Duration::from_secs(10), "in vain: {what}");
        std::thread::yield_now();
    }
}

/// The network of a single-node cluster.
pub(in crate::raft) struct Nowhere;

fn nowhere() -> Unreachable<TypeConfig> {
    Unreachable::new(&std::io::Error::from(std::io::ErrorKind::HostUnreachable))
}

impl RaftNetworkFactory<TypeConfig> for Nowhere {
    type Network = Self;

    async fn new_client(&mut self, _: u64, _: &NodeAddresses) -> Self {
        Self
    }
}

impl RaftNetworkV2<TypeConfig> for Nowhere {
    type SnapshotData = SnapshotData;

    async fn append_entries(
        &mut self,
        _: AppendEntriesRequest<TypeConfig>,
        _: RPCOption,
    ) -> Result<AppendEntriesResponse<TypeConfig>, RPCError<TypeConfig>> {
        Err(nowhere().into())
    }

    async fn vote(
        &mut self,
        _: VoteRequest<TypeConfig>,
        _: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RPCError<TypeConfig>> {
        Err(nowhere().into())
    }

    async fn full_snapshot(
        &mut self,
        _: crate::raft::types::Vote,
        _: RaftSnapshot,
        _: impl Future<Output = ReplicationClosed> + Send + 'static,
        _: RPCOption,
    ) -> Result<SnapshotResponse<TypeConfig>, StreamingError<TypeConfig>> {
        Err(nowhere().into())
    }
}
