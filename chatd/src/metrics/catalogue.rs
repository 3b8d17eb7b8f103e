//! All metrics of a pod: names, labels and meanings are declared here and nowhere else. Base units, prefix `quorate_`;
//! labels take values from the code and the names of members only, never from users. `docs/metrics.md` is generated
//! from this file.

use quorate_meter::{Error, MetricSection, Registry, declare};

declare! {
    /// RED metrics (rate, errors, duration) of what clients ask for through both APIs.
    pub(crate) struct ListenerMetrics, "Listeners" {
        requests: IntCounterVec = "quorate_api_requests_total" ["api", "endpoint", "code"]
            "Requests answered; code is `ok` or the reason for the refusal. Streams count once, when they are opened.";
        seconds: HistogramVec = "quorate_api_request_seconds" ["api", "endpoint"]
            "Time from a decoded request to its response.";
        streams: IntGaugeVec = "quorate_api_streams" ["api", "endpoint"] "Open streams and long polls.";
        events: IntCounterVec = "quorate_api_events_total" ["api", "endpoint"]
            "Events received or sent over streams.";
        connections: IntGaugeVec = "quorate_api_connections" ["api"] "Open client connections.";
        without_session: IntGaugeVec = "quorate_api_connections_without_session" ["api"]
            "Open client connections without a session; they are closed first when the limit is reached.";
        closed: IntCounterVec = "quorate_api_connections_closed_total" ["api", "reason"]
            "Client connections closed by the pod: `evicted` in favour of a new one, `idle`, or `stalled` because the \
             client did not read its response.";
        refused: IntCounterVec = "quorate_api_refused_total" ["api", "reason"]
            "Connections and requests refused because of a limit: connections by `connections` and \
             `address_connections`, requests by `request_bytes`, `answer_bytes`, `stranger_requests`, `large_body` and \
             `slow_body`. See [Security](security.md).";
        request_bytes: IntGauge = "quorate_api_request_bytes" []
            "Bytes of request bodies received, of requests in progress.";
        response_bytes: IntGauge = "quorate_api_response_bytes" [] "Bytes of responses that clients have not read yet.";
        handshakes_ended: IntCounterVec = "quorate_peer_handshakes_ended_total" ["reason"]
            "Connections to the peer listener that ended before the end of the handshake: `silent`, `slow`, `failed`, \
             or `evicted` in favour of a new one.";
    }
}

declare! {
    /// Metrics of callers who have no session.
    pub(crate) struct LoginMetrics, "Logins" {
        waiting: IntGauge = "quorate_logins_waiting" []
            "Logins and registrations waiting for their password to be hashed.";
        refused: IntCounterVec = "quorate_login_refusals_total" ["reason"]
            "Callers without a session who were temporarily refused: `queue` when too many passwords wait to be \
             hashed; `pair`, `address`, `account` after too many wrong passwords, by the limit that was reached, \
             `cluster` if it is that of all pods together; \
             `registration` and `read` when their address has created too many accounts or read too much.";
    }
}

declare! {
    /// Metrics of what clients are told of, and how late.
    pub(crate) struct DeliveryMetrics, "Delivery and sync" {
        seconds: HistogramVec = "quorate_delivery_seconds" ["api"]
            "Time from applying an entry on this pod until its events are handed to a subscriber's stream or a `/sync` \
             response: the oldest event of each delivery, counted from the arrival of the reader where that was later.";
        subscribers: IntGauge = "quorate_feed_subscribers" [] "Readers that are waiting to be woken or are reading.";
        wakeups: IntCounter = "quorate_feed_wakeups_total" []
            "Readers woken because something that concerns them had changed.";
        lagged: IntCounter = "quorate_feed_lagged_total" []
            "Reads that had fallen behind the newest events kept in memory and read the store instead: those of slow \
             readers, and one of every reader when history was changed or a snapshot installed. No reader is \
             disconnected.";
        sync_parked: IntGauge = "quorate_sync_parked" [] "`/sync` calls waiting for something new.";
        sync_answers: IntCounterVec = "quorate_sync_answers_total" ["reason"]
            "`/sync` calls answered: `initial` without a token or with the full state, `event` with something new, \
             `timeout` with nothing, `stopping` because the pod stops.";
        sync_looks: IntCounterVec = "quorate_sync_looks_total" ["source"]
            "Lookups of `/sync` calls for something new: in `memory`, in a read shared by all members of a room \
             (`shared`), or in `rows` read for that call alone.";
        sync_bytes: Histogram = "quorate_sync_response_bytes" [] "Size of the bodies of `/sync` responses.";
    }
}

declare! {
    /// Metrics of typing and presence, which never enter the log.
    pub(crate) struct EphemeralMetrics, "Typing and presence" {
        kept: IntGaugeVec = "quorate_ephemeral_entries" ["kind"]
            "Entries kept of all pods: for `typing`, in one room each, and for `presence`, of one user each.";
        refused: IntCounterVec = "quorate_ephemeral_refused_total" ["kind"]
            "New entries refused because as many are kept as there may be.";
        received: IntCounter = "quorate_ephemeral_received_total" [] "Entries received from other pods.";
        pods: IntGauge = "quorate_ephemeral_pods" []
            "Other pods whose typing and presence is known: those that were heard of recently.";
    }
}

declare! {
    /// Metrics of what the leader sends to push gateways.
    pub(crate) struct PushMetrics, "Notifications" {
        ended: IntCounterVec = "quorate_push_notifications_total" ["outcome"]
            "Leader: notifications by what became of them: `sent`; `failed` for each attempt that will be repeated; \
             `moot` if the event was read or redacted, or the pusher removed, before it was sent; `rejected` together \
             with their pushers; `dropped` because too many were waiting or for too long.";
        seconds: Histogram = "quorate_push_seconds" [] "Leader: time of requests to push gateways.";
        waiting: IntGauge = "quorate_push_waiting" []
            "Leader: notifications recorded in the log because their gateways have not taken them yet.";
        gateways_failing: IntGauge = "quorate_push_gateways_failing" []
            "Leader: push gateways that did not take the last notification and are asked for one at a time, after pauses.";
    }
}

declare! {
    /// Metrics of commands on their way to an outcome, and of reads.
    pub(crate) struct ProposalMetrics, "Proposals and reads" {
        ended: IntCounterVec = "quorate_proposals_total" ["outcome"]
            "Commands proposed on this pod, by outcome; `applied` includes those rejected when they were applied.";
        seconds: Histogram = "quorate_proposal_seconds" []
            "Time from proposing a command on this pod to its outcome, including replication and fsync on a majority.";
        in_flight: IntGauge = "quorate_proposals_in_flight" []
            "Commands proposed on this pod that have no outcome yet.";
        queue: IntGauge = "quorate_proposal_queue" [] "Leader: commands waiting to be packed into an entry.";
        entries: IntCounter = "quorate_proposal_entries_total" [] "Leader: log entries proposed.";
        commands: Histogram = "quorate_proposal_commands_per_entry" [] "Leader: commands packed into one entry.";
        forwarded: IntCounter = "quorate_proposals_forwarded_total" [] "Commands forwarded to the leader.";
        limited: IntCounterVec = "quorate_rate_limited_total" ["class"]
            "Leader: commands refused because a user or address did too much of their class (`messages`, `state`, \
             `account`, `receipts`, `keys`, `logins`, `registrations`), and passwords that were not tried because too \
             many were wrong (`guesses`).";
        reads_waiting: IntGauge = "quorate_reads_waiting" [] "Reads waiting for their turn at the store.";
        read_wait: Histogram = "quorate_read_wait_seconds" []
            "Time that reads waited for their turn; reads that got one at once are not counted.";
        reads_refused: IntCounterVec = "quorate_reads_refused_total" ["reason"]
            "Reads refused because too many were waiting: `limit_exceeded` if they were of the same reader, \
             `overloaded` if they were of all readers or the wait was too long.";
        index_reads: Histogram = "quorate_read_index_reads" [] "Linearizable reads that shared one read index.";
        index_seconds: Histogram = "quorate_read_index_seconds" [] "Time to obtain a read index from the leader.";
    }
}

declare! {
    /// Metrics of the log on disk.
    pub(crate) struct LogMetrics, "Log" {
        sync_seconds: Histogram = "quorate_log_fsync_seconds" [] "Time of one fdatasync of the log.";
        write_seconds: Histogram = "quorate_log_write_seconds" [] "Time of one write to the log, before its fsync.";
        batch_records: Histogram = "quorate_log_batch_records" [] "Log records per fsync.";
        batch_bytes: Histogram = "quorate_log_batch_bytes" [] "Log bytes per fsync.";
        queue: IntGauge = "quorate_log_queue" [] "Operations that were waiting for the log writer at its last batch.";
        segments: IntGauge = "quorate_log_segments" [] "Segment files of the log.";
    }
}

declare! {
    /// Metrics of the state machine.
    pub(crate) struct ApplyMetrics, "Apply and snapshots" {
        seconds: Histogram = "quorate_apply_seconds" []
            "Time to apply one batch of entries and commit it to the store.";
        entries: IntCounter = "quorate_apply_entries_total" [] "Log entries applied.";
        commands: IntCounter = "quorate_apply_commands_total" [] "Commands applied.";
        bytes: IntCounter = "quorate_apply_bytes_total" [] "Bytes of log entries applied.";
        snapshots: IntCounterVec = "quorate_snapshots_total" ["action"]
            "Snapshots that were built, could not be built, or were installed.";
        snapshot_seconds: HistogramVec = "quorate_snapshot_seconds" ["action"] "Time to build a snapshot.";
    }
}

declare! {
    /// Metrics of Raft: who leads, who votes, who follows how far behind.
    pub(crate) struct ConsensusMetrics, "Raft" {
        term: IntGauge = "quorate_raft_term" [] "Current term of this pod.";
        is_leader: IntGauge = "quorate_raft_is_leader" [] "1 on a leader that a quorum acknowledged recently.";
        has_leader: IntGauge = "quorate_raft_has_leader" [] "1 while this pod knows a leader.";
        is_voter: IntGauge = "quorate_raft_is_voter" [] "1 on a voter.";
        voters: IntGauge = "quorate_raft_voters" [] "Number of voters.";
        learners: IntGauge = "quorate_raft_learners" [] "Number of learners (members without a vote).";
        last_log: IntGauge = "quorate_raft_last_log_index" [] "Index of the last entry in the log.";
        committed: IntGauge = "quorate_raft_committed_index" []
            "Index up to which entries are committed, as far as this pod knows.";
        applied: IntGauge = "quorate_raft_applied_index" [] "Index up to which entries are applied on this pod.";
        snapshot: IntGauge = "quorate_raft_snapshot_index" [] "Index of the last entry in the newest snapshot.";
        purged: IntGauge = "quorate_raft_purged_index" [] "Index up to which the log was purged.";
        leader_changes: IntCounter = "quorate_raft_leader_changes_total" []
            "Changes of the leader that this pod has seen.";
        candidacies: IntCounter = "quorate_raft_elections_started_total" []
            "Elections in which this pod was a candidate; a pre-vote without a majority starts none.";
        votes: IntCounterVec = "quorate_raft_votes_total" ["kind", "answer"]
            "Vote requests that this pod answered; kind `pre_vote` only asks beforehand and changes nothing, answer is \
             `granted` or `refused`.";
        quorum_age: Gauge = "quorate_raft_quorum_ack_age_seconds" []
            "Leader: time since the last acknowledgement by a quorum; -1 on other members.";
        contact_age: Gauge = "quorate_raft_leader_contact_age_seconds" []
            "Other members: time since the last contact with the leader; -1 on the leader.";
        peer_lag: IntGaugeVec = "quorate_raft_peer_lag_entries" ["peer"]
            "Leader: number of entries that a member is behind.";
        peer_age: GaugeVec = "quorate_raft_peer_contact_age_seconds" ["peer"]
            "Leader: time since the last response of a member.";
        append_seconds: HistogramVec = "quorate_raft_append_seconds" ["peer"]
            "Leader: time from sending entries to a member to its response, including its fsync; heartbeats do not \
             count.";
        clock_offset: Gauge = "quorate_clock_offset_seconds" []
            "This pod's clock minus the cluster's time; 0 while that is unknown. Beyond 30 s the clock is wrong: the \
             pod does not lead and is not ready.";
        time_confirmed: IntGauge = "quorate_time_confirmed" []
            "1 while, as far as this pod knows, the clocks of a majority agree; the log's time then follows them.";
        log_time_ahead: Gauge = "quorate_log_time_ahead_seconds" []
            "Time by which the log's time is ahead of the clocks of a majority; 0 unless a wrong clock has stamped it.";
        format_level: IntGauge = "quorate_format_level" []
            "Format level in force: commands of a higher level are refused until all members know it.";
        known_format_level: IntGauge = "quorate_format_level_known" [] "Highest format level that this pod knows.";
        snapshot_sent: IntCounter = "quorate_raft_snapshot_sent_bytes_total" [] "Bytes of snapshots sent to members.";
        snapshot_received: IntCounter = "quorate_raft_snapshot_received_bytes_total" []
            "Bytes of snapshots received from a leader.";
        snapshot_sending: GaugeVec = "quorate_raft_snapshot_sending" ["peer"]
            "Fraction of a snapshot that has been sent, from 0 to 1; present only while a transfer runs.";
    }
}

declare! {
    /// Metrics of the volume.
    pub(crate) struct StorageMetrics, "Storage" {
        used: IntGauge = "quorate_storage_used_bytes" [] "Bytes under the data directory.";
        free: IntGauge = "quorate_storage_free_bytes" [] "Bytes free on the file system of the data directory.";
        total: IntGauge = "quorate_storage_total_bytes" [] "Size of the file system of the data directory.";
        reserve: IntGauge = "quorate_storage_reserve_bytes" []
            "Bytes that user writes leave free on the file system of the data directory.";
        short: IntGauge = "quorate_storage_short" [] "1 while less than the reserve is free.";
        refused: IntGauge = "quorate_storage_writes_refused" []
            "Leader: 1 while it refuses user writes because a voter's volume is short of space.";
    }
}

declare! {
    /// USE metrics (utilization, saturation, errors) of the database that holds the state.
    pub(crate) struct RocksMetrics, "RocksDB" {
        disk: IntGauge = "quorate_rocksdb_disk_bytes" [] "Bytes in table files.";
        memtables: IntGauge = "quorate_rocksdb_memtable_bytes" [] "Bytes in memtables.";
        immutable: IntGauge = "quorate_rocksdb_immutable_memtables" [] "Full memtables waiting to be flushed.";
        cache: IntGauge = "quorate_rocksdb_block_cache_bytes" []
            "Bytes in the block cache: blocks, filters and indexes, and the memory of memtables that is charged to it.";
        cache_capacity: IntGauge = "quorate_rocksdb_block_cache_capacity_bytes" [] "Capacity of the block cache.";
        pending_compaction: IntGauge = "quorate_rocksdb_pending_compaction_bytes" []
            "Bytes that compaction still has to process.";
        compactions: IntGauge = "quorate_rocksdb_running_compactions" [] "Running compactions.";
        flushes: IntGauge = "quorate_rocksdb_running_flushes" [] "Running flushes.";
        level0: IntGauge = "quorate_rocksdb_level0_files" []
            "Level-0 files in the column family that has the most: writes are slowed down from 20 on and stopped at \
             36.";
        stall_seconds: Counter = "quorate_rocksdb_stall_seconds_total" []
            "Time that writes were stalled until flushes and compaction caught up.";
        write_stopped: IntGauge = "quorate_rocksdb_write_stopped" [] "1 while writes are stopped.";
        background_errors: IntGauge = "quorate_rocksdb_background_errors" []
            "Flushes and compactions that failed since the database was opened; the first one ends the process.";
        compaction_read: IntCounter = "quorate_rocksdb_compaction_read_bytes_total" []
            "Bytes read by compaction, in steps of about 10 MiB.";
        compaction_written: IntCounter = "quorate_rocksdb_compaction_written_bytes_total" []
            "Bytes written by compaction, including flushes, in steps of about 10 MiB.";
        flush_written: IntCounter = "quorate_rocksdb_flush_written_bytes_total" []
            "Bytes written by flushes, in steps of a few MiB.";
        table_readers: IntGauge = "quorate_rocksdb_table_readers_bytes" []
            "Memory of open table files outside the block cache.";
    }
}

declare! {
    /// Metrics of the async runtime.
    pub(crate) struct RuntimeMetrics, "Runtime" {
        workers: IntGauge = "quorate_runtime_workers" [] "Worker threads of the async runtime.";
        tasks: IntGauge = "quorate_runtime_tasks" [] "Live tasks.";
        queue: IntGauge = "quorate_runtime_queue_tasks" [] "Tasks waiting in the queue shared by all workers.";
        busy_seconds: Counter = "quorate_runtime_busy_seconds_total" [] "Busy time of all workers together.";
    }
}

declare! {
    /// Metrics of the process.
    pub(crate) struct ProcessMetrics, "Process" {
        build_info: IntGaugeVec = "quorate_build_info" ["version"] "Always 1; the label holds the version.";
        ready: IntGauge = "quorate_ready" []
            "1 while this pod is ready for clients: joined, caught up, with a correct clock, and not cut off from \
             nodes that can serve.";
        cpu_seconds: Counter = "quorate_process_cpu_seconds_total" [] "CPU time of the process, user and system.";
        resident: IntGauge = "quorate_process_resident_memory_bytes" [] "Resident memory of the process.";
        memory_limit: IntGauge = "quorate_process_memory_limit_bytes" []
            "Memory limit of the process from its control groups (cgroup v2); 0 when there is no limit.";
        open_fds: IntGauge = "quorate_process_open_fds" [] "Open file descriptors.";
        max_fds: IntGauge = "quorate_process_max_fds" []
            "Maximum number of open file descriptors; 0 when there is no limit.";
        threads: IntGauge = "quorate_process_threads" [] "Threads of the process.";
        start_time: Gauge = "quorate_process_start_time_seconds" []
            "Start time of the process, in seconds since the Unix epoch.";
    }
}

macro_rules! instruments {
    ($($field:ident: $section:ident;)*) => {
        /// All instruments, by subject.
        pub(crate) struct Instruments {
            $(pub(crate) $field: $section,)*
        }

        /// All declarations, in the order of the reference page.
        pub const SECTIONS: &[MetricSection] = &[$($section::SECTION),*];

        impl Instruments {
            pub(super) fn register(registry: &Registry) -> Result<Self, Error> {
                Ok(Self { $($field: $section::register(registry)?,)* })
            }
        }
    };
}

instruments! {
    listeners: ListenerMetrics;
    logins: LoginMetrics;
    delivery: DeliveryMetrics;
    ephemeral: EphemeralMetrics;
    push: PushMetrics;
    proposals: ProposalMetrics;
    log: LogMetrics;
    apply: ApplyMetrics;
    raft: ConsensusMetrics;
    storage: StorageMetrics;
    rocks: RocksMetrics;
    runtime: RuntimeMetrics;
    process: ProcessMetrics;
}
