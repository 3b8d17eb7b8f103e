//! Spans of replication: a sampled entry from being sent by the leader until the follower has it on its disk.

use super::entry::EntryTrace;
use super::{LiveSpan, attribute, wire};
use quorate_wire::raft::v1 as pb;
use std::sync::Arc;

/// Span of one entry on its way to one follower.
pub(crate) struct ReplicationSpan {
    live: LiveSpan,
    answered: bool,
}

impl ReplicationSpan {
    /// Notes that the follower has answered.
    pub(crate) fn answered(mut self) {
        self.answered = true;
    }
}

impl Drop for ReplicationSpan {
    fn drop(&mut self) {
        if !self.answered {
            self.live.failed("the follower did not answer");
        }
    }
}

/// Begins the spans of a request's sampled entries, and names them to the follower, each with its place among the
/// entries.
pub(crate) fn begin_replication<'a>(
    entries: impl Iterator<Item = Option<&'a Arc<EntryTrace>>>,
    peer: u64,
) -> (Vec<ReplicationSpan>, Vec<pb::EntryTrace>) {
    let mut spans = Vec::new();
    let mut sent = Vec::new();
    for (place, trace) in (0_u32..).zip(entries) {
        let Some(mut live) = trace.and_then(|trace| trace.mark().call("replicate")) else { continue };
        live.count(attribute::PEER, peer);
        sent.push(pb::EntryTrace { entry: place, context: Some(wire::to_pb(live.mark())) });
        spans.push(ReplicationSpan { live, answered: false });
    }
    (spans, sent)
}
