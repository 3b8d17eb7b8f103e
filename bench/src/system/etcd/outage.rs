//! Outage of etcd: the leader is killed under writers.

use super::{EtcdCluster, EtcdNode, PutCaller, leader_of, message_key};
use crate::load::failover::{self, FailoverWriter, LeaderOutage, WRITERS};
use crate::load::post::PostCaller as _;
use crate::process;
use crate::wire::etcd::{RangeRequest, StatusRequest, maintenance_client::MaintenanceClient};
use anyhow::{Context as _, ensure};
use std::collections::BTreeSet;
use std::time::Duration;

/// Number of keys per page.
const PAGE: i64 = 10_000;
/// First key after all keys of the benchmark.
const END: &str = "m0";

impl EtcdCluster {
    pub(crate) async fn outage(&mut self) -> anyhow::Result<LeaderOutage> {
        let mut writers = Vec::new();
        for _ in 0..WRITERS {
            let mut servers = Vec::new();
            for node in &self.nodes {
                servers.push(PutCaller(node.keys().await?));
            }
            writers.push(EtcdWriter { servers });
        }
        let leader = leader_of(&self.nodes).await?;
        let server = self.servers.get_mut(leader).context("no such node")?;
        let (gap, acknowledged) = failover::run_failover(writers, || server.kill()).await?;
        self.servers.get_mut(leader).context("no such node")?.restart()?;
        let nodes = self.nodes.clone();
        process::poll_until("all members have rejoined", &mut self.servers, || async {
            for node in &nodes {
                check_leader_known(node).await?;
            }
            anyhow::Ok(())
        })
        .await?;
        let stored = self.stored(acknowledged.first().copied().unwrap_or_default()).await?;
        Ok(LeaderOutage::judge(gap, &acknowledged, &stored))
    }

    async fn stored(&self, first: u64) -> anyhow::Result<BTreeSet<u64>> {
        let mut client = self.nodes.first().context("no node")?.keys().await?;
        let mut from = message_key(first);
        let mut found = BTreeSet::new();
        loop {
            let request =
                RangeRequest { key: from.into_bytes().into(), range_end: END.into(), limit: PAGE, keys_only: true };
            let page = client.range(request).await?.into_inner();
            let keys = page.kvs.iter().filter_map(|pair| std::str::from_utf8(&pair.key).ok());
            found.extend(keys.filter_map(|key| key.strip_prefix("m/")?.parse::<u64>().ok()));
            match found.last() {
                Some(last) if page.more => from = message_key(last + 1),
                _ => return Ok(found),
            }
        }
    }
}

async fn check_leader_known(node: &EtcdNode) -> anyhow::Result<()> {
    let mut client = MaintenanceClient::new(node.connect().await?);
    let status = tokio::time::timeout(Duration::from_secs(1), client.status(StatusRequest {})).await??;
    ensure!(status.into_inner().leader != 0, "{} has no known leader", node.name);
    Ok(())
}

struct EtcdWriter {
    servers: Vec<PutCaller>,
}

impl FailoverWriter for EtcdWriter {
    async fn write(&mut self, server: usize, number: u64) -> anyhow::Result<()> {
        self.servers.get_mut(server).context("no such node")?.post(number).await
    }
}
