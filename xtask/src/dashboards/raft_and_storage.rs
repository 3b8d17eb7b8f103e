//! Board of one cluster's internals: elections, replication, the log, apply, RocksDB, the volume.

use super::annotation::Annotation;
use super::board::{Board, Row};
use super::look::{Colour, Limits, Unit};
use super::page::Page;
use super::panel::Panel;
use super::query::{Query, Scope, mean, or_none, quantile, rate, rate_by};

pub(super) fn board() -> Board {
    Board {
        path: "dashboards/raft-and-storage.json",
        uid: "quorate-raft-and-storage",
        title: "Quorate / Raft and storage",
        description: "Why writes are slow or stop: elections, replication, the log, apply, RocksDB, the volume.",
        scope: Scope::Cluster,
        annotations: Annotation::of_a_cluster(),
        rows: vec![
            Row::new("Where does a write wait?", waits()),
            Row::new("Replication", replication()),
            Row::new("Elections", elections()),
            Row::new("Log", log()),
            Row::new("Apply and snapshots", apply()),
            Row::folded("RocksDB", rocksdb()),
            Row::folded("Volume", volume()),
        ],
    }
}

/// Returns a panel for each stage of a write: the slow one is where to look further.
fn waits() -> Vec<Panel> {
    let station = |title, histogram: &str, says| {
        Panel::figure(title, Unit::Seconds, Page::SlowWrites)
            .says(says)
            .limits(Limits::at_most(0.1, 0.5))
            .when_empty("idle")
            // The comparison drops NaN: without observations there is no percentile.
            .query(Query::range("p99", format!("{} >= 0", quantile("0.99", "", histogram))))
    };
    vec![
        station("Whole write, p99", "quorate_proposal_seconds{*}", "From proposal to outcome: what a client waits for."),
        station("fsync, p99", "quorate_log_fsync_seconds{*}", "One fdatasync of the log, on any pod: the disk's part."),
        station(
            "Append to a peer, p99",
            "quorate_raft_append_seconds{*}",
            "From an append being sent to its answer: the network's part and the peer's fsync.",
        ),
        station("Apply, p99", "quorate_apply_seconds{*}", "One batch applied and committed to the store."),
        Panel::figure("Commands that wait", Unit::Many, Page::SlowWrites)
            .says("On the leader: commands not yet packed into an entry. More than a moment's worth: it proposes slower than clients write.")
            .limits(Limits::at_most(1000.0, 10_000.0))
            .query(Query::range("commands", "max(quorate_proposal_queue{*})")),
        Panel::figure("Slowest member", Unit::Many, Page::MemberLagging)
            .says("Entries that the slowest member is behind the leader.")
            .limits(Limits::at_most(1000.0, 10_000.0))
            .query(Query::range("entries", "max(quorate_raft_peer_lag_entries{*})")),
    ]
}

fn replication() -> Vec<Panel> {
    vec![
        Panel::lines("Entries that members are behind", Unit::Many, Page::MemberLagging)
            .says("As the leader sees it. A member that was away comes back down; one that rises on does not keep up.")
            .query(Query::range("{{peer}}", "max by (peer) (quorate_raft_peer_lag_entries{*})")),
        Panel::lines("Append to a peer, p99", Unit::Seconds, Page::SlowWrites)
            .says("From an append being sent to its answer, by peer: one slow peer is a slow disk or network, all of them are the leader's.")
            .query(Query::range("{{peer}}", quantile("0.99", "peer", "quorate_raft_append_seconds{*}"))),
        Panel::lines("Time since a peer answered", Unit::Seconds, Page::MemberLagging)
            .says("As the leader sees it. Rising: the peer is away or cut off.")
            .limits(Limits::at_most(0.5, 1.0))
            .query(Query::range("{{peer}}", "max by (peer) (quorate_raft_peer_contact_age_seconds{*} >= 0)")),
        Panel::lines("Proposals in flight", Unit::Count, Page::SlowWrites)
            .says("Commands without an outcome yet, by the pod that they came to.")
            .query(Query::range("{{pod}}", "sum by (pod) (quorate_proposals_in_flight{*})")),
        Panel::lines("Commands in an entry", Unit::Count, Page::Architecture)
            .says("On average. It grows with the load: that is what keeps writes fast when many write at once.")
            .query(Query::range("{{pod}}", mean("pod", "quorate_proposal_commands_per_entry{*}"))),
        Panel::stack("Proposals that were not applied", Unit::PerSecond, Page::NoLeader)
            .says("By what became of them. `unknown` may still happen: clients send it again with the same transaction id.")
            // No such proposal at all is the best answer there is.
            .query(Query::range("{{outcome}}", or_none("outcome", &rate_by("outcome", r#"quorate_proposals_total{*, outcome!="applied"}"#)))),
    ]
}

fn elections() -> Vec<Panel> {
    vec![
        Panel::lines("Term", Unit::Count, Page::ElectionsFlapping)
            .says("Each election raises it. A pod that stays below the others does not hear them.")
            .query(Query::range("{{pod}}", "max by (pod) (quorate_raft_term{*})")),
        Panel::bars("Elections started", Unit::Count, Page::ElectionsFlapping)
            .says("By the pod that wanted to lead. The same pod again and again cannot hear the leader.")
            .query(Query::range(
                "{{pod}}",
                "max by (pod) (increase(quorate_raft_elections_started_total{*}[$__rate_interval]))",
            )),
        Panel::bars("Votes", Unit::Count, Page::ElectionsFlapping)
            .says("Requests for a vote that pods answered. Refused: there is a leader, or the candidate lacks entries; a refused pre-vote is an election that did not have to be.")
            // A pod that started lately may not have been asked for a vote.
            .query(Query::range(
                "{{kind}} {{answer}}",
                or_none("answer", "sum by (kind, answer) (increase(quorate_raft_votes_total{*}[$__rate_interval]))"),
            )),
    ]
}

fn log() -> Vec<Panel> {
    vec![
        Panel::lines("fsync, p99", Unit::Seconds, Page::SlowWrites)
            .says("One fdatasync. Every acknowledged write waits for one on a majority.")
            .limits(Limits::at_most(0.1, 0.5))
            .query(Query::range("{{pod}}", quantile("0.99", "pod", "quorate_log_fsync_seconds{*}"))),
        Panel::lines("Write before the fsync, p99", Unit::Seconds, Page::SlowWrites)
            .says("Copying a batch into the file. Slow: memory pressure, or a disk whose queue is full.")
            .query(Query::range("{{pod}}", quantile("0.99", "pod", "quorate_log_write_seconds{*}"))),
        Panel::lines("Records in one fsync", Unit::Count, Page::Architecture)
            .says("On average. More under load is right: writers share the disk's wait.")
            .query(Query::range("{{pod}}", mean("pod", "quorate_log_batch_records{*}"))),
        Panel::lines("Bytes written", Unit::BytesPerSecond, Page::Performance)
            .says("To the log, each second.")
            .query(Query::range("{{pod}}", rate_by("pod", "quorate_log_batch_bytes_sum{*}"))),
        Panel::lines("Operations that wait", Unit::Count, Page::SlowWrites)
            .says("For the log's writer, at its last batch.")
            .query(Query::range("{{pod}}", "max by (pod) (quorate_log_queue{*})")),
        Panel::lines("Files", Unit::Count, Page::DiskFilling)
            .says("Segments of the log. Snapshots let old ones go; if it only rises, snapshots fail.")
            .query(Query::range("{{pod}}", "max by (pod) (quorate_log_segments{*})")),
    ]
}

fn apply() -> Vec<Panel> {
    vec![
        Panel::lines("Apply of a batch, p99", Unit::Seconds, Page::SlowWrites)
            .says("Entries applied and committed to the store.")
            .limits(Limits::at_most(0.1, 0.5))
            .query(Query::range("{{pod}}", quantile("0.99", "pod", "quorate_apply_seconds{*}"))),
        Panel::lines("Committed, not applied", Unit::Many, Page::SlowWrites)
            .says("Entries that this pod knows to be committed and has not applied: readers of this pod wait for them.")
            .query(Query::range(
                "{{pod}}",
                "clamp_min(max by (pod) (quorate_raft_committed_index{*}) - max by (pod) (quorate_raft_applied_index{*}), 0)",
            )),
        Panel::lines("Entries applied", Unit::PerSecond, Page::Performance)
            .says("By pod. All pods apply the same entries; one that lags applies in bursts.")
            .query(Query::range("{{pod}}", rate_by("pod", "quorate_apply_entries_total{*}"))),
        Panel::bars("Snapshots", Unit::Count, Page::DiskFilling)
            .says("Built, failed and installed. Without them the log grows.")
            // Snapshots are made only after many entries, so a young cluster has none.
            .query(Query::range(
                "{{action}}",
                or_none("action", "sum by (action) (increase(quorate_snapshots_total{*}[$__rate_interval]))"),
            )),
        Panel::lines("Snapshot on its way", Unit::Share, Page::MemberLagging)
            .says("How much of a snapshot a peer has received. It goes to a member that is new or was away for long.")
            .up_to(1.0)
            // On most days no snapshot is sent.
            .query(Query::range("{{peer}}", or_none("peer", "max by (peer) (quorate_raft_snapshot_sending{*})"))),
        Panel::lines("Snapshot transfer", Unit::BytesPerSecond, Page::MemberLagging)
            .says("Bytes of snapshots, by the pod that sends or receives.")
            .query(Query::range("{{pod}} sends", rate_by("pod", "quorate_raft_snapshot_sent_bytes_total{*}")))
            .query(Query::range("{{pod}} receives", rate_by("pod", "quorate_raft_snapshot_received_bytes_total{*}"))),
    ]
}

fn rocksdb() -> Vec<Panel> {
    rocksdb_writes().into_iter().chain(rocksdb_reads()).collect()
}

fn each_pod(metric: &str) -> Query {
    Query::range("{{pod}}", format!("max by (pod) ({metric}{{*}})"))
}

fn rocksdb_writes() -> Vec<Panel> {
    let bytes = |metric: &str| format!("sum({})", rate(&format!("quorate_rocksdb_{metric}_bytes_total{{*}}")));
    vec![
        Panel::lines("Writes held up", Unit::Share, Page::CompactionStalls)
            .says("Share of the time in which RocksDB slowed or stopped writes, because compaction is behind.")
            .limits(Limits::at_most(0.05, 0.5))
            .query(Query::range("{{pod}}", rate_by("pod", "quorate_rocksdb_stall_seconds_total{*}"))),
        Panel::lines("Writes stopped", Unit::Count, Page::CompactionStalls)
            .says("1 while RocksDB takes no writes at all: apply stands still.")
            .limits(Limits::below(1.0))
            .query(each_pod("quorate_rocksdb_write_stopped")),
        Panel::lines("Background errors", Unit::Count, Page::CompactionStalls)
            .says("Flushes and compactions that failed since the pod started: a full or broken disk.")
            .limits(Limits::below(1.0))
            .query(each_pod("quorate_rocksdb_background_errors")),
        Panel::lines("Compaction that waits", Unit::Bytes, Page::CompactionStalls)
            .says("Bytes that compaction has yet to rewrite. Rising for long: the disk is too slow for the load.")
            .query(each_pod("quorate_rocksdb_pending_compaction_bytes")),
        Panel::lines("Files of level 0", Unit::Count, Page::CompactionStalls)
            .says("The column family with the most. Writes are slowed from 20 on and stop at 36.")
            .limits(Limits::at_most(20.0, 36.0))
            .query(each_pod("quorate_rocksdb_level0_files")),
        Panel::lines("Memtables that wait for a flush", Unit::Count, Page::CompactionStalls)
            .says("More than one or two: the disk does not keep up.")
            .query(each_pod("quorate_rocksdb_immutable_memtables")),
        Panel::lines("Flushes and compactions that run", Unit::Count, Page::CompactionStalls)
            .says("In all pods, at the moment of the scrape.")
            .query(Query::range("compactions", "sum(quorate_rocksdb_running_compactions{*})"))
            .query(Query::range("flushes", "sum(quorate_rocksdb_running_flushes{*})")),
        Panel::lines("Bytes of flushes and compactions", Unit::BytesPerSecond, Page::Performance)
            .says("In all pods: what RocksDB itself asks of the disks. Compaction that writes many times what is flushed: write amplification.")
            .query(Query::range("flush writes", bytes("flush_written")))
            .query(Query::range("compaction writes", bytes("compaction_written")))
            .query(Query::range("compaction reads", bytes("compaction_read"))),
        Panel::lines("State on the disk", Unit::Bytes, Page::DiskFilling)
            .says("Table files of the state, by pod. All pods hold the same state; they differ by what is not compacted yet.")
            .query(each_pod("quorate_rocksdb_disk_bytes")),
    ]
}

fn rocksdb_reads() -> Vec<Panel> {
    vec![
        Panel::lines("Block cache, full", Unit::Share, Page::Performance)
            .says("Share of its capacity that is used.")
            .up_to(1.0)
            .query(Query::range(
                "{{pod}}",
                "max by (pod) (quorate_rocksdb_block_cache_bytes{*} / quorate_rocksdb_block_cache_capacity_bytes{*})",
            )),
        Panel::stack("Memory of RocksDB", Unit::Bytes, Page::MemoryNearLimit)
            .wide(16)
            .says("In the pod that uses most of each: the cache, what is written and not flushed, indexes and filters outside the cache.")
            .query(Query::range("block cache", "max(quorate_rocksdb_block_cache_bytes{*})"))
            .query(Query::range("memtables", "max(quorate_rocksdb_memtable_bytes{*})"))
            .query(Query::range("table readers", "max(quorate_rocksdb_table_readers_bytes{*})")),
    ]
}

fn volume() -> Vec<Panel> {
    vec![
        Panel::lines("Used", Unit::Bytes, Page::DiskFilling)
            .says("Bytes under the data directory: log, state, snapshots.")
            .query(Query::range("{{pod}}", "max by (pod) (quorate_storage_used_bytes{*})")),
        Panel::lines("Free", Unit::Bytes, Page::DiskFilling)
            .says("Bytes free on its file system.")
            .query(Query::range("{{pod}}", "max by (pod) (quorate_storage_free_bytes{*})")),
        Panel::lines("Free in a day, at this pace", Unit::Bytes, Page::DiskFilling)
            .says("The last hour's pace, drawn on for a day. 0: it is full by then.")
            .limits(Limits::at_least(1e6, 1e9))
            .query(
                Query::range("least", "clamp_min(min(predict_linear(quorate_storage_free_bytes{*}[1h], 86400)), 0)")
                    .colour(Colour::Plain),
            ),
    ]
}
