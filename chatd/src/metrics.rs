//! All metrics of a pod: names, labels and meanings stand here and nowhere else. Base units, prefix `quorate_`.
//!
//! [`Metrics`] holds the instruments; the observers of log, apply and proposals are in [`observe`], what is read only
//! when somebody scrapes is in [`scrape`].

mod door;
pub mod observe;
mod process;
pub mod scrape;

pub use door::{Call, Coded, Counted, Door, StreamGuard};

use prometheus::core::Collector;
use prometheus::{
    Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry, TextEncoder,
};
use std::sync::Arc;

/// What a metric is called, parted by, and says.
pub struct Spec {
    /// With prefix and unit.
    pub name: &'static str,
    /// Names of its labels.
    pub labels: &'static [&'static str],
    /// One sentence.
    pub help: &'static str,
}

/// From a tenth of a millisecond (an fsync) to ten seconds (a wait for a leader).
const SECONDS: &[f64] =
    &[0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
/// Commands of an entry, records of a batch.
const COUNTS: &[f64] = &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0];
/// Bytes of a batch: 256 B to 4 MiB.
const BYTES: &[f64] = &[256.0, 1024.0, 4096.0, 16384.0, 65536.0, 262_144.0, 1_048_576.0, 4_194_304.0];

macro_rules! metrics {
    ($($(#[$section:meta])* $field:ident: $type:ident = $name:literal [$($label:literal),*] $help:literal;)*) => {
        /// The declarations, for checks of dashboards and documents.
        pub const SPECS: &[Spec] = &[$(Spec { name: $name, labels: &[$($label),*], help: $help }),*];

        /// The instruments, by the names of [`SPECS`].
        pub(crate) struct Instruments {
            $($(#[$section])* pub(crate) $field: $type,)*
        }

        impl Instruments {
            fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
                Ok(Self { $($field: register(registry, &Spec { name: $name, labels: &[$($label),*], help: $help })?,)* })
            }
        }
    };
}

metrics! {
    build_info: IntGaugeVec = "quorate_build_info" ["version"] "Always 1; the version is in the label.";

    door_requests: IntCounterVec = "quorate_door_requests_total" ["door", "endpoint", "code"]
        "Requests answered; code is `ok` or why they were refused. Streams count once, when they are opened.";
    door_seconds: HistogramVec = "quorate_door_request_seconds" ["door", "endpoint"]
        "Time from a decoded request to its answer.";
    door_streams: IntGaugeVec = "quorate_door_streams" ["door", "endpoint"] "Streams and long polls that are open.";
    door_events: IntCounterVec = "quorate_door_events_total" ["door", "endpoint"]
        "Events that came in or went out over streams.";
    door_connections: IntGaugeVec = "quorate_door_connections" ["door"] "Client connections that are open.";

    proposals: IntCounterVec = "quorate_proposals_total" ["outcome"]
        "Commands proposed on this pod, by how they ended; `applied` holds those that the log rejected, too.";
    proposal_seconds: Histogram = "quorate_proposal_seconds" []
        "Time from a command's proposal on this pod to its outcome, replication and fsync on a majority included.";
    proposals_in_flight: IntGauge = "quorate_proposals_in_flight" [] "Commands proposed on this pod without an outcome yet.";
    proposal_queue: IntGauge = "quorate_proposal_queue" [] "Leader: commands that wait to be packed into an entry.";
    proposal_entries: IntCounter = "quorate_proposal_entries_total" [] "Leader: log entries proposed.";
    proposal_commands: Histogram = "quorate_proposal_commands_per_entry" [] "Leader: commands packed into one entry.";
    proposal_forwarded: IntCounter = "quorate_proposals_forwarded_total" [] "Commands sent on to the leader.";
    read_index_reads: Histogram = "quorate_read_index_reads" [] "Linearizable reads that shared one read index.";
    read_index_seconds: Histogram = "quorate_read_index_seconds" [] "Time to fetch a read index from the leader.";

    log_sync_seconds: Histogram = "quorate_log_fsync_seconds" [] "One fdatasync of the log.";
    log_write_seconds: Histogram = "quorate_log_write_seconds" [] "One write to the log, before its fsync.";
    log_batch_records: Histogram = "quorate_log_batch_records" [] "Records that share one fsync.";
    log_batch_bytes: Histogram = "quorate_log_batch_bytes" [] "Bytes that share one fsync.";
    log_queue: IntGauge = "quorate_log_queue" [] "Operations that waited for the log's writer at its last batch.";
    log_segments: IntGauge = "quorate_log_segments" [] "Files of the log.";

    apply_seconds: Histogram = "quorate_apply_seconds" [] "One batch of entries applied and committed to the store.";
    apply_entries: IntCounter = "quorate_apply_entries_total" [] "Log entries applied.";
    apply_commands: IntCounter = "quorate_apply_commands_total" [] "Commands applied.";
    apply_bytes: IntCounter = "quorate_apply_bytes_total" [] "Bytes of entries applied.";

    snapshots: IntCounterVec = "quorate_snapshots_total" ["action"] "Snapshots that were built, failed to be built, or were installed.";
    snapshot_seconds: HistogramVec = "quorate_snapshot_seconds" ["action"] "Time to build a snapshot.";

    feed_subscribers: IntGauge = "quorate_feed_subscribers" [] "Readers that wait to be woken.";

    raft_term: IntGauge = "quorate_raft_term" [] "Term that this pod is in.";
    raft_is_leader: IntGauge = "quorate_raft_is_leader" [] "1 on a leader that a quorum acknowledged lately.";
    raft_has_leader: IntGauge = "quorate_raft_has_leader" [] "1 while this pod knows a leader.";
    raft_is_voter: IntGauge = "quorate_raft_is_voter" [] "1 on a member that votes.";
    raft_voters: IntGauge = "quorate_raft_voters" [] "Members that vote.";
    raft_learners: IntGauge = "quorate_raft_learners" [] "Members without a vote.";
    raft_last_log: IntGauge = "quorate_raft_last_log_index" [] "Index of the last entry in the log.";
    raft_committed: IntGauge = "quorate_raft_committed_index" [] "Index up to which entries are committed, as this pod knows.";
    raft_applied: IntGauge = "quorate_raft_applied_index" [] "Index up to which entries are applied on this pod.";
    raft_snapshot: IntGauge = "quorate_raft_snapshot_index" [] "Index up to which the newest snapshot reaches.";
    raft_purged: IntGauge = "quorate_raft_purged_index" [] "Index up to which the log was purged.";
    raft_elections: IntCounter = "quorate_raft_leader_changes_total" [] "New leaders that this pod has seen.";
    raft_quorum_age: Gauge = "quorate_raft_quorum_ack_age_seconds" []
        "Leader: time since a quorum acknowledged; -1 on other members.";
    raft_contact_age: Gauge = "quorate_raft_leader_contact_age_seconds" []
        "Other members: time since the leader was heard; -1 on the leader.";
    raft_peer_lag: IntGaugeVec = "quorate_raft_peer_lag_entries" ["peer"] "Leader: entries that a member is behind.";
    raft_peer_age: GaugeVec = "quorate_raft_peer_contact_age_seconds" ["peer"] "Leader: time since a member answered.";

    storage_used: IntGauge = "quorate_storage_used_bytes" [] "Bytes under the data directory.";
    storage_free: IntGauge = "quorate_storage_free_bytes" [] "Bytes free on its file system.";
    rocksdb: GaugeVec = "quorate_rocksdb" ["property"] "RocksDB's own figures of the state, by property.";

    ready: IntGauge = "quorate_ready" [] "1 once this pod is joined, open and caught up.";
    cpu_seconds: Gauge = "quorate_process_cpu_seconds_total" [] "CPU time of the process, user and system.";
    resident_bytes: IntGauge = "quorate_process_resident_memory_bytes" [] "Memory of the process that is resident.";
    open_fds: IntGauge = "quorate_process_open_fds" [] "File descriptors that are open.";
    threads: IntGauge = "quorate_process_threads" [] "Threads of the process.";
    start_time: Gauge = "quorate_process_start_time_seconds" [] "When the process began, seconds since the epoch.";
}

/// An instrument that is made from its declaration.
trait Instrument: Collector + Clone + Sized + 'static {
    fn make(spec: &Spec) -> Result<Self, prometheus::Error>;
}

fn register<I: Instrument>(registry: &Registry, spec: &Spec) -> Result<I, prometheus::Error> {
    let instrument = I::make(spec)?;
    registry.register(Box::new(instrument.clone()))?;
    Ok(instrument)
}

fn opts(spec: &Spec) -> Opts {
    Opts::new(spec.name, spec.help)
}

fn histogram(spec: &Spec) -> HistogramOpts {
    let buckets = match spec.name {
        name if name.ends_with("_bytes") => BYTES,
        name if name.ends_with("_seconds") => SECONDS,
        _ => COUNTS,
    };
    HistogramOpts::new(spec.name, spec.help).buckets(buckets.to_vec())
}

macro_rules! instruments {
    ($($type:ident: $spec:ident => $make:expr;)*) => {
        $(impl Instrument for $type {
            fn make($spec: &Spec) -> Result<Self, prometheus::Error> {
                $make
            }
        })*
    };
}

instruments! {
    IntCounter: s => Self::with_opts(opts(s));
    IntCounterVec: s => Self::new(opts(s), s.labels);
    IntGauge: s => Self::with_opts(opts(s));
    IntGaugeVec: s => Self::new(opts(s), s.labels);
    Gauge: s => Self::with_opts(opts(s));
    GaugeVec: s => Self::new(opts(s), s.labels);
    Histogram: s => Self::with_opts(histogram(s));
    HistogramVec: s => Self::new(histogram(s), s.labels);
}

/// The metrics of this process. Clones share them.
#[derive(Clone)]
pub struct Metrics {
    registry: Registry,
    pub(crate) all: Arc<Instruments>,
}

impl Metrics {
    /// Registers all of them.
    ///
    /// # Errors
    /// Only when two declarations clash, which the tests exclude.
    pub fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let all = Arc::new(Instruments::register(&registry)?);
        all.build_info.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        Ok(Self { registry, all })
    }

    /// Everything, in Prometheus' text format.
    ///
    /// # Errors
    /// When a metric cannot be written as text.
    pub fn render(&self) -> Result<String, prometheus::Error> {
        process::read(&self.all);
        TextEncoder::new().encode_to_string(&self.registry.gather())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_the_prefix_and_clash_with_none() {
        assert!(SPECS.iter().all(|spec| spec.name.starts_with("quorate_") && spec.help.ends_with('.')));
        Metrics::new().unwrap();
    }

    #[test]
    fn what_is_registered_is_rendered() {
        let text = Metrics::new().unwrap().render().unwrap();
        for name in ["quorate_build_info", "quorate_process_resident_memory_bytes", "quorate_log_fsync_seconds_bucket"]
        {
            assert!(text.contains(name), "{name} is not in\n{text}");
        }
    }
}
