//! Outage of Quorate: the leader is killed under writers.

use super::client::{BenchUser, message_request};
use super::{NODES, QuorateCluster, all_answer};
use crate::load::failover::{self, FailoverWriter, LeaderOutage, WRITERS};
use crate::process;
use anyhow::Context as _;
use quorate_wire::chat::v1::{HistoryRequest, history_request::Direction};
use std::collections::BTreeSet;

/// Number of events in the largest page of the history.
const PAGE: u32 = 1000;

impl QuorateCluster {
    pub(crate) async fn outage(&mut self) -> anyhow::Result<LeaderOutage> {
        let writers =
            (0..WRITERS).map(|_| QuorateWriter { user: self.user.clone(), room: self.room.clone() }).collect();
        let leader = self.leader().await?;
        let server = self.servers.get_mut(leader).context("no such node")?;
        let (gap, acknowledged) = failover::run_failover(writers, || server.kill()).await?;
        self.servers.get_mut(leader).context("no such node")?.restart()?;
        let nodes = self.nodes.clone();
        process::poll_until("all nodes are ready again", &mut self.servers, || async { all_answer(&nodes, "/readyz") })
            .await?;
        let stored = self.stored((leader + 1) % NODES, &acknowledged).await?;
        Ok(LeaderOutage::judge(gap, &acknowledged, &stored))
    }

    /// Returns the numbers of the newest messages, back to before the oldest that is looked for.
    async fn stored(&self, node: usize, wanted: &BTreeSet<u64>) -> anyhow::Result<BTreeSet<u64>> {
        let mut from = String::new();
        let mut found = BTreeSet::new();
        let oldest = wanted.first().copied().unwrap_or_default();
        loop {
            let request = HistoryRequest {
                room_id: self.room.clone(),
                from,
                direction: Direction::Backward.into(),
                limit: PAGE,
                ..HistoryRequest::default()
            };
            let page = self.user.client(node)?.history(self.user.asks(request)).await?.into_inner();
            let numbers: Vec<u64> =
                page.events.iter().filter_map(|event| crate::payload::find_number(&event.content)).collect();
            // Writers' numbers rise, and each writer's posts stand in order: a page of only smaller ones is the end.
            let past = numbers.iter().all(|number| *number < oldest);
            found.extend(numbers);
            if page.next.is_empty() || past {
                return Ok(found);
            }
            from = page.next;
        }
    }
}

struct QuorateWriter {
    user: BenchUser,
    room: String,
}

impl FailoverWriter for QuorateWriter {
    async fn write(&mut self, server: usize, number: u64) -> anyhow::Result<()> {
        self.user.client(server)?.send(self.user.asks(message_request(&self.room, number))).await?;
        Ok(())
    }
}
