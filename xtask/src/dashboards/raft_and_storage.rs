//! Board of one cluster's internals: elections, replication, the log, apply, RocksDB, the volume.

use super::annotation::Annotation;
use super::board::{Dashboard, PanelRow};
use super::look::{Colour, DisplayUnit, PanelThresholds};
use super::page::DocsPage;
use super::panel::Panel;
use super::query::{DashboardScope, PanelQuery, mean_by, or_none, quantile_by, rate_by, rate_of};

pub(super) fn storage_dashboard() -> Dashboard {
    Dashboard {
        path: "dashboards/raft-and-storage.json",
        uid: "quorate-raft-and-storage",
        title: "Quorate / Raft and storage",
        description: "Why writes are slow or stop: elections, replication, the log, apply, RocksDB, the volume.",
        scope: DashboardScope::Cluster,
        annotations: Annotation::of_a_cluster(),
        rows: vec![
            PanelRow::new("Where does a write wait?", write_wait_panels()),
            PanelRow::new("Replication", replication_panels()),
            PanelRow::new("Elections", election_panels()),
            PanelRow::new("Log", log_panels()),
            PanelRow::new("Apply and snapshots", apply_panels()),
            PanelRow::folded("RocksDB", rocksdb_panels()),
            PanelRow::folded("Volume", volume_panels()),
        ],
    }
}

/// Returns a panel for each stage of a write: the slow one is where to look further.
fn write_wait_panels() -> Vec<Panel> {
    let station = |title, histogram: &str, says| {
        Panel::figure(title, DisplayUnit::Seconds, DocsPage::SlowWrites)
            .says(says)
            .limits(PanelThresholds::at_most(0.1, 0.5))
            .when_empty("idle")
            // The comparison drops NaN: without observations there is no percentile.
            .query(PanelQuery::range("p99", format!("{} >= 0", quantile_by("0.99", "", histogram))))
    };
    vec![
        station("Whole write, p99", "quorate_proposal_seconds{*}", "From proposal to outcome: what a client waits for."),
        station("fsync, p99", "quorate_log_fsync_seconds{*}", "One fdatasync of the log, on any pod: the disk's share."),
        station(
            "Append to a peer, p99",
            "quorate_raft_append_seconds{*}",
            "From sending an append to receiving its answer: the network's share and the peer's fsync.",
        ),
        station("Apply, p99", "quorate_apply_seconds{*}", "Time to apply one batch and commit it to the store."),
        Panel::figure("Queued commands", DisplayUnit::Many, DocsPage::SlowWrites)
            .says("Commands on the leader that are not packed into an entry yet. A growing queue means that the leader proposes more slowly than clients write.")
            .limits(PanelThresholds::at_most(1000.0, 10_000.0))
            .query(PanelQuery::range("commands", "max(quorate_proposal_queue{*})")),
        Panel::figure("Slowest member", DisplayUnit::Many, DocsPage::MemberLagging)
            .says("Number of entries that the slowest member is behind the leader.")
            .limits(PanelThresholds::at_most(1000.0, 10_000.0))
            .query(PanelQuery::range("entries", "max(quorate_raft_peer_lag_entries{*})")),
    ]
}

fn replication_panels() -> Vec<Panel> {
    vec![
        Panel::lines("Entries behind the leader", DisplayUnit::Many, DocsPage::MemberLagging)
            .says("Lag of each member, as the leader sees it. It falls when a member returns; a member whose lag keeps rising cannot keep up.")
            .query(PanelQuery::range("{{peer}}", "max by (peer) (quorate_raft_peer_lag_entries{*})")),
        Panel::lines("Append to a peer, p99", DisplayUnit::Seconds, DocsPage::SlowWrites)
            .says("From sending an append to receiving its answer, by peer. One slow peer has a slow disk or network; if all are slow, the leader does.")
            .query(PanelQuery::range("{{peer}}", quantile_by("0.99", "peer", "quorate_raft_append_seconds{*}"))),
        Panel::lines("Time since the last answer", DisplayUnit::Seconds, DocsPage::MemberLagging)
            .says("Time since each peer last answered the leader. If it rises, the peer is down or partitioned.")
            .limits(PanelThresholds::at_most(0.5, 1.0))
            .query(PanelQuery::range("{{peer}}", "max by (peer) (quorate_raft_peer_contact_age_seconds{*} >= 0)")),
        Panel::lines("Proposals in flight", DisplayUnit::Count, DocsPage::SlowWrites)
            .says("Commands without an outcome yet, by the pod that received them.")
            .query(PanelQuery::range("{{pod}}", "sum by (pod) (quorate_proposals_in_flight{*})")),
        Panel::lines("Commands per entry", DisplayUnit::Count, DocsPage::Architecture)
            .says("Mean number of commands in an entry. It grows with the load, which keeps writes fast when many users write at once.")
            .query(PanelQuery::range("{{pod}}", mean_by("pod", "quorate_proposal_commands_per_entry{*}"))),
        Panel::stack("Proposals not applied", DisplayUnit::PerSecond, DocsPage::NoLeader)
            .says("Proposals by outcome, except the applied ones. An `unknown` one may still be applied: clients retry it with the same transaction id.")
            // No such proposal at all is the best answer there is.
            .query(PanelQuery::range("{{outcome}}", or_none("outcome", &rate_by("outcome", r#"quorate_proposals_total{*, outcome!="applied"}"#)))),
    ]
}

fn election_panels() -> Vec<Panel> {
    vec![
        Panel::lines("Term", DisplayUnit::Count, DocsPage::ElectionsFlapping)
            .says("Raft term of each pod; every election raises it. A pod that stays below the others has no contact with them.")
            .query(PanelQuery::range("{{pod}}", "max by (pod) (quorate_raft_term{*})")),
        Panel::bars("Elections started", DisplayUnit::Count, DocsPage::ElectionsFlapping)
            .says("Elections, by the pod that started them. A pod that keeps starting elections has no contact with the leader.")
            .query(PanelQuery::range(
                "{{pod}}",
                "max by (pod) (increase(quorate_raft_elections_started_total{*}[$__rate_interval]))",
            )),
        Panel::bars("Votes", DisplayUnit::Count, DocsPage::ElectionsFlapping)
            .says("Vote requests that pods answered. A vote is refused if there is a leader or the candidate lacks entries; a refused pre-vote avoids a needless election.")
            // A pod that started lately may not have been asked for a vote.
            .query(PanelQuery::range(
                "{{kind}} {{answer}}",
                or_none("answer", "sum by (kind, answer) (increase(quorate_raft_votes_total{*}[$__rate_interval]))"),
            )),
    ]
}

fn log_panels() -> Vec<Panel> {
    vec![
        Panel::lines("fsync, p99", DisplayUnit::Seconds, DocsPage::SlowWrites)
            .says("Duration of one fdatasync. Every acknowledged write waits for one on a majority.")
            .limits(PanelThresholds::at_most(0.1, 0.5))
            .query(PanelQuery::range("{{pod}}", quantile_by("0.99", "pod", "quorate_log_fsync_seconds{*}"))),
        Panel::lines("Write before the fsync, p99", DisplayUnit::Seconds, DocsPage::SlowWrites)
            .says("Time to copy a batch into the file. If it is slow, memory is short or the disk queue is full.")
            .query(PanelQuery::range("{{pod}}", quantile_by("0.99", "pod", "quorate_log_write_seconds{*}"))),
        Panel::lines("Records per fsync", DisplayUnit::Count, DocsPage::Architecture)
            .says("Mean number of records in one fsync. More under load is normal: writers share the wait for the disk.")
            .query(PanelQuery::range("{{pod}}", mean_by("pod", "quorate_log_batch_records{*}"))),
        Panel::lines("Bytes written", DisplayUnit::BytesPerSecond, DocsPage::Performance)
            .says("Bytes written to the log per second.")
            .query(PanelQuery::range("{{pod}}", rate_by("pod", "quorate_log_batch_bytes_sum{*}"))),
        Panel::lines("Queued operations", DisplayUnit::Count, DocsPage::SlowWrites)
            .says("Operations that waited for the log writer at its last batch.")
            .query(PanelQuery::range("{{pod}}", "max by (pod) (quorate_log_queue{*})")),
        Panel::lines("Log segments", DisplayUnit::Count, DocsPage::DiskFilling)
            .says("Segment files of the log. Snapshots allow old ones to be purged; if the number only rises, snapshots fail.")
            .query(PanelQuery::range("{{pod}}", "max by (pod) (quorate_log_segments{*})")),
    ]
}

fn apply_panels() -> Vec<Panel> {
    vec![
        Panel::lines("Batch apply time, p99", DisplayUnit::Seconds, DocsPage::SlowWrites)
            .says("Time to apply one batch of entries and commit it to the store.")
            .limits(PanelThresholds::at_most(0.1, 0.5))
            .query(PanelQuery::range("{{pod}}", quantile_by("0.99", "pod", "quorate_apply_seconds{*}"))),
        Panel::lines("Committed but not applied", DisplayUnit::Many, DocsPage::SlowWrites)
            .says("Entries that a pod knows to be committed but has not applied yet: its readers wait for them.")
            .query(PanelQuery::range(
                "{{pod}}",
                "clamp_min(max by (pod) (quorate_raft_committed_index{*}) - max by (pod) (quorate_raft_applied_index{*}), 0)",
            )),
        Panel::lines("Entries applied", DisplayUnit::PerSecond, DocsPage::Performance)
            .says("Entries applied per second, by pod. All pods apply the same entries; one that lags applies them in bursts.")
            .query(PanelQuery::range("{{pod}}", rate_by("pod", "quorate_apply_entries_total{*}"))),
        Panel::bars("Snapshots", DisplayUnit::Count, DocsPage::DiskFilling)
            .says("Snapshots built, failed and installed. Without snapshots the log grows.")
            // Snapshots are made only after many entries, so a young cluster has none.
            .query(PanelQuery::range(
                "{{action}}",
                or_none("action", "sum by (action) (increase(quorate_snapshots_total{*}[$__rate_interval]))"),
            )),
        Panel::lines("Snapshot progress", DisplayUnit::Share, DocsPage::MemberLagging)
            .says("Share of a snapshot that a peer has received. Snapshots are sent to members that are new or were down for a long time.")
            .up_to(1.0)
            // On most days no snapshot is sent.
            .query(PanelQuery::range("{{peer}}", or_none("peer", "max by (peer) (quorate_raft_snapshot_sending{*})"))),
        Panel::lines("Snapshot transfer", DisplayUnit::BytesPerSecond, DocsPage::MemberLagging)
            .says("Snapshot bytes per second, by the pod that sends or receives them.")
            .query(PanelQuery::range("{{pod}} sends", rate_by("pod", "quorate_raft_snapshot_sent_bytes_total{*}")))
            .query(PanelQuery::range("{{pod}} receives", rate_by("pod", "quorate_raft_snapshot_received_bytes_total{*}"))),
    ]
}

fn rocksdb_panels() -> Vec<Panel> {
    rocksdb_writes().into_iter().chain(rocksdb_reads()).collect()
}

fn each_pod(metric: &str) -> PanelQuery {
    PanelQuery::range("{{pod}}", format!("max by (pod) ({metric}{{*}})"))
}

fn rocksdb_writes() -> Vec<Panel> {
    let bytes = |metric: &str| format!("sum({})", rate_of(&format!("quorate_rocksdb_{metric}_bytes_total{{*}}")));
    vec![
        Panel::lines("Write stalls", DisplayUnit::Share, DocsPage::CompactionStalls)
            .says("Share of time in which RocksDB throttled or stopped writes because compaction is behind.")
            .limits(PanelThresholds::at_most(0.05, 0.5))
            .query(PanelQuery::range("{{pod}}", rate_by("pod", "quorate_rocksdb_stall_seconds_total{*}"))),
        Panel::lines("Writes stopped", DisplayUnit::Count, DocsPage::CompactionStalls)
            .says("1 while RocksDB accepts no writes at all, so nothing is applied.")
            .limits(PanelThresholds::below(1.0))
            .query(each_pod("quorate_rocksdb_write_stopped")),
        Panel::lines("Background errors", DisplayUnit::Count, DocsPage::CompactionStalls)
            .says("Flushes and compactions that have failed since the pod started: the disk is full or broken.")
            .limits(PanelThresholds::below(1.0))
            .query(each_pod("quorate_rocksdb_background_errors")),
        Panel::lines("Pending compaction", DisplayUnit::Bytes, DocsPage::CompactionStalls)
            .says("Bytes that compaction has yet to rewrite. If they rise for long, the disk is too slow for the load.")
            .query(each_pod("quorate_rocksdb_pending_compaction_bytes")),
        Panel::lines("Level 0 files", DisplayUnit::Count, DocsPage::CompactionStalls)
            .says("Level 0 files of the column family that has the most. Writes are throttled from 20 files on and stop at 36.")
            .limits(PanelThresholds::at_most(20.0, 36.0))
            .query(each_pod("quorate_rocksdb_level0_files")),
        Panel::lines("Memtables waiting for a flush", DisplayUnit::Count, DocsPage::CompactionStalls)
            .says("Immutable memtables. More than one or two mean that the disk cannot keep up.")
            .query(each_pod("quorate_rocksdb_immutable_memtables")),
        Panel::lines("Running flushes and compactions", DisplayUnit::Count, DocsPage::CompactionStalls)
            .says("Total over all pods at the time of the scrape.")
            .query(PanelQuery::range("compactions", "sum(quorate_rocksdb_running_compactions{*})"))
            .query(PanelQuery::range("flushes", "sum(quorate_rocksdb_running_flushes{*})")),
        Panel::lines("Flush and compaction I/O", DisplayUnit::BytesPerSecond, DocsPage::Performance)
            .says("Total over all pods: RocksDB's own disk traffic. If compaction writes many times more than flushes do, that is write amplification.")
            .query(PanelQuery::range("flush writes", bytes("flush_written")))
            .query(PanelQuery::range("compaction writes", bytes("compaction_written")))
            .query(PanelQuery::range("compaction reads", bytes("compaction_read"))),
        Panel::lines("State on disk", DisplayUnit::Bytes, DocsPage::DiskFilling)
            .says("Size of the table files of the state, by pod. All pods hold the same state; they differ in what is not compacted yet.")
            .query(each_pod("quorate_rocksdb_disk_bytes")),
    ]
}

fn rocksdb_reads() -> Vec<Panel> {
    vec![
        Panel::lines("Block cache usage", DisplayUnit::Share, DocsPage::Performance)
            .says("Share of the block cache capacity that is in use.")
            .up_to(1.0)
            .query(PanelQuery::range(
                "{{pod}}",
                "max by (pod) (quorate_rocksdb_block_cache_bytes{*} / quorate_rocksdb_block_cache_capacity_bytes{*})",
            )),
        Panel::stack("RocksDB memory", DisplayUnit::Bytes, DocsPage::MemoryNearLimit)
            .wide(16)
            .says("Highest value of any pod: the block cache, memtables that are not flushed yet, and indexes and filters outside the cache.")
            .query(PanelQuery::range("block cache", "max(quorate_rocksdb_block_cache_bytes{*})"))
            .query(PanelQuery::range("memtables", "max(quorate_rocksdb_memtable_bytes{*})"))
            .query(PanelQuery::range("table readers", "max(quorate_rocksdb_table_readers_bytes{*})")),
    ]
}

fn volume_panels() -> Vec<Panel> {
    vec![
        Panel::lines("Used", DisplayUnit::Bytes, DocsPage::DiskFilling)
            .says("Bytes under the data directory: log, state, snapshots.")
            .query(PanelQuery::range("{{pod}}", "max by (pod) (quorate_storage_used_bytes{*})")),
        Panel::lines("Free", DisplayUnit::Bytes, DocsPage::DiskFilling)
            .says("Free bytes on the file system of the data directory.")
            .query(PanelQuery::range("{{pod}}", "max by (pod) (quorate_storage_free_bytes{*})")),
        Panel::lines("Free in a day at this rate", DisplayUnit::Bytes, DocsPage::DiskFilling)
            .says("Free space after a day at the rate of the last hour. 0 means that the volume will be full by then.")
            .limits(PanelThresholds::at_least(1e6, 1e9))
            .query(
                PanelQuery::range(
                    "least",
                    "clamp_min(min(predict_linear(quorate_storage_free_bytes{*}[1h], 86400)), 0)",
                )
                .colour(Colour::Plain),
            ),
    ]
}
