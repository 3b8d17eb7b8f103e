//! All metrics of a pod: names, labels and meanings are declared here and nowhere else. Base units, prefix `quorate_`;
//! labels take values from the code and the names of members only, never from users. `docs/metrics.md` is generated
//! from this file.

use quorate_meter::{Error, Registry, Section, declare};

declare! {
    /// RED metrics (rate, errors, duration) of what clients ask for through both APIs.
    pub(crate) struct Doors, "Doors" {
        requests: IntCounterVec = "quorate_door_requests_total" ["door", "endpoint", "code"]
            "Requests answered; code is `ok` or why they were refused. Streams count once, when they are opened.";
        seconds: HistogramVec = "quorate_door_request_seconds" ["door", "endpoint"]
            "Time from a decoded request to its answer.";
        streams: IntGaugeVec = "quorate_door_streams" ["door", "endpoint"] "Streams and long polls that are open.";
        events: IntCounterVec = "quorate_door_events_total" ["door", "endpoint"]
            "Events that came in or went out over streams.";
        connections: IntGaugeVec = "quorate_door_connections" ["door"] "Client connections that are open.";
        strangers: IntGaugeVec = "quorate_door_strangers" ["door"]
            "Those of them that have shown no session; they give way when places run out.";
        closed: IntCounterVec = "quorate_door_connections_closed_total" ["door", "reason"]
            "Client connections that the door ended: `evicted` for a newcomer, `idle`, or `stalled` because the client \
             did not take its answer.";
        refused: IntCounterVec = "quorate_door_refused_total" ["door", "reason"]
            "What was turned away for its size or number: connections by `connections` and `address_connections`, \
             requests by `request_bytes`, `answer_bytes`, `stranger_requests`, `large_body` and `slow_body`. See \
             [Security](security.md).";
        request_bytes: IntGauge = "quorate_door_request_bytes" []
            "Bytes of request bodies that have arrived, of requests that have not ended.";
        answer_bytes: IntGauge = "quorate_door_answer_bytes" []
            "Bytes of answers that clients have not taken yet.";
        handshakes_ended: IntCounterVec = "quorate_peer_handshakes_ended_total" ["reason"]
            "Connections to the peers' door that ended before they were let in: `silent`, `slow`, `failed`, or `evicted` \
             for a newcomer.";
    }
}

declare! {
    /// Metrics of callers who have no session.
    pub(crate) struct Logins, "Logins" {
        waiting: IntGauge = "quorate_logins_waiting" [] "Logins and registrations that wait for their password's hash.";
        refused: IntCounterVec = "quorate_login_refusals_total" ["reason"]
            "Callers without a session who were sent away for a while: `queue` when too many passwords wait to be \
             hashed; `pair`, `address`, `account` after too many wrong passwords, by which count was full; \
             `registration` and `read` when their address has made too many accounts or read too much.";
    }
}

declare! {
    /// Metrics of what clients are told of, and how late.
    pub(crate) struct Delivery, "Delivery and sync" {
        seconds: HistogramVec = "quorate_delivery_seconds" ["door"]
            "Time from an entry's application on this pod until its events are handed to a subscriber's stream or a \
             `/sync` answer: the oldest of each hand-over, counted from the reader's coming where that was later.";
        subscribers: IntGauge = "quorate_feed_subscribers" [] "Readers that wait to be woken, or read.";
        wakeups: IntCounter = "quorate_feed_wakeups_total" [] "Readers woken, because something of theirs had changed.";
        lagged: IntCounter = "quorate_feed_lagged_total" []
            "Reads that had fallen behind the newest events kept in memory, and went to the rows: of slow readers, \
             and of all once when history was changed or a snapshot came. Nobody is cut off.";
        sync_parked: IntGauge = "quorate_sync_parked" [] "`/sync` calls that wait for something to tell.";
        sync_answers: IntCounterVec = "quorate_sync_answers_total" ["reason"]
            "`/sync` calls answered: `initial` without a token or with the full state, `event` with something new, \
             `timeout` with nothing, `stopping` because the pod ends.";
        sync_looks: IntCounterVec = "quorate_sync_looks_total" ["source"]
            "Times that a `/sync` looked for news: in `memory`, in what was read once for all members of a room \
             (`shared`), or in `rows` of its own.";
        sync_bytes: Histogram = "quorate_sync_response_bytes" [] "Bodies of `/sync` answers.";
    }
}

declare! {
    /// Metrics of commands on their way to an outcome, and of reads.
    pub(crate) struct Proposals, "Proposals and reads" {
        ended: IntCounterVec = "quorate_proposals_total" ["outcome"]
            "Commands proposed on this pod, by how they ended; `applied` holds those that the log rejected, too.";
        seconds: Histogram = "quorate_proposal_seconds" []
            "Time from a command's proposal on this pod to its outcome, replication and fsync on a majority included.";
        in_flight: IntGauge = "quorate_proposals_in_flight" [] "Commands proposed on this pod without an outcome yet.";
        queue: IntGauge = "quorate_proposal_queue" [] "Leader: commands that wait to be packed into an entry.";
        entries: IntCounter = "quorate_proposal_entries_total" [] "Leader: log entries proposed.";
        commands: Histogram = "quorate_proposal_commands_per_entry" [] "Leader: commands packed into one entry.";
        forwarded: IntCounter = "quorate_proposals_forwarded_total" [] "Commands sent on to the leader.";
        reads_waiting: IntGauge = "quorate_reads_waiting" [] "Reads that waited for their turn at the store just now.";
        read_wait: Histogram = "quorate_read_wait_seconds" []
            "Time that a read waited for its turn, of those that did not get one at once.";
        reads_refused: IntCounterVec = "quorate_reads_refused_total" ["reason"]
            "Reads refused because too many waited: `limit_exceeded` of the same reader, `overloaded` of all, or for \
             too long.";
        index_reads: Histogram = "quorate_read_index_reads" [] "Linearizable reads that shared one read index.";
        index_seconds: Histogram = "quorate_read_index_seconds" [] "Time to fetch a read index from the leader.";
    }
}

declare! {
    /// Metrics of the log on disk.
    pub(crate) struct Log, "Log" {
        sync_seconds: Histogram = "quorate_log_fsync_seconds" [] "One fdatasync of the log.";
        write_seconds: Histogram = "quorate_log_write_seconds" [] "One write to the log, before its fsync.";
        batch_records: Histogram = "quorate_log_batch_records" [] "Records that share one fsync.";
        batch_bytes: Histogram = "quorate_log_batch_bytes" [] "Bytes that share one fsync.";
        queue: IntGauge = "quorate_log_queue" [] "Operations that waited for the log's writer at its last batch.";
        segments: IntGauge = "quorate_log_segments" [] "Files of the log.";
    }
}

declare! {
    /// Metrics of the state machine.
    pub(crate) struct Apply, "Apply and snapshots" {
        seconds: Histogram = "quorate_apply_seconds" [] "One batch of entries applied and committed to the store.";
        entries: IntCounter = "quorate_apply_entries_total" [] "Log entries applied.";
        commands: IntCounter = "quorate_apply_commands_total" [] "Commands applied.";
        bytes: IntCounter = "quorate_apply_bytes_total" [] "Bytes of entries applied.";
        snapshots: IntCounterVec = "quorate_snapshots_total" ["action"]
            "Snapshots that were built, failed to be built, or were installed.";
        snapshot_seconds: HistogramVec = "quorate_snapshot_seconds" ["action"] "Time to build a snapshot.";
    }
}

declare! {
    /// Metrics of Raft: who leads, who votes, who follows how far behind.
    pub(crate) struct Raft, "Raft" {
        term: IntGauge = "quorate_raft_term" [] "Term that this pod is in.";
        is_leader: IntGauge = "quorate_raft_is_leader" [] "1 on a leader that a quorum acknowledged lately.";
        has_leader: IntGauge = "quorate_raft_has_leader" [] "1 while this pod knows a leader.";
        is_voter: IntGauge = "quorate_raft_is_voter" [] "1 on a member that votes.";
        voters: IntGauge = "quorate_raft_voters" [] "Members that vote.";
        learners: IntGauge = "quorate_raft_learners" [] "Members without a vote.";
        last_log: IntGauge = "quorate_raft_last_log_index" [] "Index of the last entry in the log.";
        committed: IntGauge = "quorate_raft_committed_index" []
            "Index up to which entries are committed, as this pod knows.";
        applied: IntGauge = "quorate_raft_applied_index" [] "Index up to which entries are applied on this pod.";
        snapshot: IntGauge = "quorate_raft_snapshot_index" [] "Index up to which the newest snapshot reaches.";
        purged: IntGauge = "quorate_raft_purged_index" [] "Index up to which the log was purged.";
        leader_changes: IntCounter = "quorate_raft_leader_changes_total" [] "New leaders that this pod has seen.";
        candidacies: IntCounter = "quorate_raft_elections_started_total" []
            "Elections in which this pod was a candidate; a pre-vote without a majority starts none.";
        votes: IntCounterVec = "quorate_raft_votes_total" ["kind", "answer"]
            "Requests for this pod's vote that it answered; kind `pre_vote` asks first and changes nothing, answer \
             is `granted` or `refused`.";
        quorum_age: Gauge = "quorate_raft_quorum_ack_age_seconds" []
            "Leader: time since a quorum acknowledged; -1 on other members.";
        contact_age: Gauge = "quorate_raft_leader_contact_age_seconds" []
            "Other members: time since the leader was heard; -1 on the leader.";
        peer_lag: IntGaugeVec = "quorate_raft_peer_lag_entries" ["peer"] "Leader: entries that a member is behind.";
        peer_age: GaugeVec = "quorate_raft_peer_contact_age_seconds" ["peer"] "Leader: time since a member answered.";
        append_seconds: HistogramVec = "quorate_raft_append_seconds" ["peer"]
            "Leader: time from sending entries to a member to its answer, its fsync included; heartbeats do not count.";
        clock_offset: Gauge = "quorate_clock_offset_seconds" []
            "This pod's clock minus the time that the cluster goes by; 0 while it knows none. Beyond 30 s it is wrong: the pod \
             does not lead and is not ready.";
        time_confirmed: IntGauge = "quorate_time_confirmed" []
            "1 while the clocks of a majority agree, as this pod knows: the log's time follows them.";
        log_time_ahead: Gauge = "quorate_log_time_ahead_seconds" []
            "By how much the log's time is ahead of these clocks; 0 unless a wrong clock has stamped it.";
        snapshot_sent: IntCounter = "quorate_raft_snapshot_sent_bytes_total" [] "Bytes of snapshots sent to members.";
        snapshot_received: IntCounter = "quorate_raft_snapshot_received_bytes_total" []
            "Bytes of snapshots received from a leader.";
        snapshot_sending: GaugeVec = "quorate_raft_snapshot_sending" ["peer"]
            "How much of a snapshot has been sent, from 0 to 1; there only while a transfer runs.";
    }
}

declare! {
    /// Metrics of the volume.
    pub(crate) struct Storage, "Storage" {
        used: IntGauge = "quorate_storage_used_bytes" [] "Bytes under the data directory.";
        free: IntGauge = "quorate_storage_free_bytes" [] "Bytes free on its file system.";
        total: IntGauge = "quorate_storage_total_bytes" [] "Size of its file system.";
        reserve: IntGauge = "quorate_storage_reserve_bytes" [] "What people's writes leave free on it.";
        short: IntGauge = "quorate_storage_short" [] "1 while less than the reserve is free.";
        refused: IntGauge = "quorate_storage_writes_refused" []
            "Leader: 1 while it refuses people's writes, because a voter's volume is short.";
    }
}

declare! {
    /// USE metrics (utilization, saturation, errors) of the database that holds the state.
    pub(crate) struct Rocks, "RocksDB" {
        disk: IntGauge = "quorate_rocksdb_disk_bytes" [] "Bytes in table files.";
        memtables: IntGauge = "quorate_rocksdb_memtable_bytes" [] "Bytes in memtables.";
        immutable: IntGauge = "quorate_rocksdb_immutable_memtables" [] "Full memtables that wait to be flushed.";
        cache: IntGauge = "quorate_rocksdb_block_cache_bytes" []
            "Bytes in the block cache: blocks, filters and indexes, and what memtables are charged.";
        cache_capacity: IntGauge = "quorate_rocksdb_block_cache_capacity_bytes" [] "What the block cache may hold.";
        pending_compaction: IntGauge = "quorate_rocksdb_pending_compaction_bytes" []
            "Bytes that compaction is behind.";
        compactions: IntGauge = "quorate_rocksdb_running_compactions" [] "Compactions that run.";
        flushes: IntGauge = "quorate_rocksdb_running_flushes" [] "Flushes that run.";
        level0: IntGauge = "quorate_rocksdb_level0_files" []
            "Files of level 0 in the column family that has most: writes are slowed down from 20 on and stopped at 36.";
        stall_seconds: Counter = "quorate_rocksdb_stall_seconds_total" []
            "Time that writes were held up until flushes and compaction caught up.";
        write_stopped: IntGauge = "quorate_rocksdb_write_stopped" [] "1 while no write is taken.";
        background_errors: IntGauge = "quorate_rocksdb_background_errors" []
            "Flushes and compactions that failed since the database was opened; the first ends the process.";
        compaction_read: IntCounter = "quorate_rocksdb_compaction_read_bytes_total" []
            "Bytes that compaction read, in steps of some 10 MiB.";
        compaction_written: IntCounter = "quorate_rocksdb_compaction_written_bytes_total" []
            "Bytes that compaction wrote, those of flushes included, in steps of some 10 MiB.";
        flush_written: IntCounter = "quorate_rocksdb_flush_written_bytes_total" []
            "Bytes that flushes wrote, in steps of some MiB.";
        table_readers: IntGauge = "quorate_rocksdb_table_readers_bytes" []
            "Memory of open table files outside of the block cache.";
    }
}

declare! {
    /// Metrics of the async runtime.
    pub(crate) struct Runtime, "Runtime" {
        workers: IntGauge = "quorate_runtime_workers" [] "Worker threads of the async runtime.";
        tasks: IntGauge = "quorate_runtime_tasks" [] "Tasks that are alive.";
        queue: IntGauge = "quorate_runtime_queue_tasks" [] "Tasks that wait in the queue that all workers share.";
        busy_seconds: Counter = "quorate_runtime_busy_seconds_total" []
            "Time that workers were busy, all of them together.";
    }
}

declare! {
    /// Metrics of the process.
    pub(crate) struct Process, "Process" {
        build_info: IntGaugeVec = "quorate_build_info" ["version"] "Always 1; the version is in the label.";
        ready: IntGauge = "quorate_ready" [] "1 while this pod may get clients: joined, caught up, with the right time, and not cut off from who can serve.";
        cpu_seconds: Counter = "quorate_process_cpu_seconds_total" [] "CPU time of the process, user and system.";
        resident: IntGauge = "quorate_process_resident_memory_bytes" [] "Memory of the process that is resident.";
        memory_limit: IntGauge = "quorate_process_memory_limit_bytes" []
            "What its control groups let it have (cgroup v2); 0 when there is no limit.";
        open_fds: IntGauge = "quorate_process_open_fds" [] "File descriptors that are open.";
        max_fds: IntGauge = "quorate_process_max_fds" [] "File descriptors that may be open; 0 when there is no limit.";
        threads: IntGauge = "quorate_process_threads" [] "Threads of the process.";
        start_time: Gauge = "quorate_process_start_time_seconds" [] "When the process began, seconds since the epoch.";
    }
}

macro_rules! instruments {
    ($($field:ident: $section:ident;)*) => {
        /// All instruments, by subject.
        pub(crate) struct Instruments {
            $(pub(crate) $field: $section,)*
        }

        /// All declarations, in the order of the reference page.
        pub const SECTIONS: &[Section] = &[$($section::SECTION),*];

        impl Instruments {
            pub(super) fn register(registry: &Registry) -> Result<Self, Error> {
                Ok(Self { $($field: $section::register(registry)?,)* })
            }
        }
    };
}

instruments! {
    doors: Doors;
    logins: Logins;
    delivery: Delivery;
    proposals: Proposals;
    log: Log;
    apply: Apply;
    raft: Raft;
    storage: Storage;
    rocks: Rocks;
    runtime: Runtime;
    process: Process;
}
