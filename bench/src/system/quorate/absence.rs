//! Absence of a follower for so long that the others have purged the entries that it lacks.

use super::{NODES, QuorateCluster, http_get, process};
use crate::places::BenchPaths;
use anyhow::{Context as _, ensure};
use std::fs;
use std::process::Command;

/// Number of entries that a purge leaves in the log: any follower that was away lacks more.
const KEPT: u32 = 100;

impl QuorateCluster {
    /// Makes all nodes purge nearly everything that a snapshot covers, from their next start on.
    ///
    /// # Errors
    /// Fails if a file cannot be written.
    pub(crate) fn keep_little_log(&self) -> anyhow::Result<()> {
        self.nodes.iter().try_for_each(|node| {
            let path = node.config_file(self.dir.path());
            let text = fs::read_to_string(&path)?;
            Ok(fs::write(path, format!("{text}raft: {{keepLogEntries: {KEPT}}}\n"))?)
        })
    }

    /// Kills a follower and returns its index. The first node is spared, because it is the one that is asked who leads.
    ///
    /// # Errors
    /// Fails if nobody leads, or if the process does not end.
    pub(crate) async fn lose_follower(&mut self) -> anyhow::Result<usize> {
        let leader = self.leader().await?;
        let follower = (1..NODES).find(|node| *node != leader).context("there is no follower")?;
        self.servers.get_mut(follower).context("no such node")?.kill()?;
        Ok(follower)
    }

    /// Makes all nodes but this one take a snapshot and purge the log that it covers.
    ///
    /// # Errors
    /// Fails if one of them cannot do so.
    pub(crate) async fn purge_without(&self, away: usize, places: &BenchPaths) -> anyhow::Result<()> {
        let there = self.nodes.iter().enumerate().filter(|(node, _)| *node != away);
        let addresses: Vec<_> = there.map(|(_, node)| node.peer.to_string()).collect();
        let mut command = Command::new(&places.chatctl);
        command.args(["cluster", "snapshot", "--purge-log", "--admin", &addresses.join(","), "--tls-dir"]);
        command.arg(self.dir.path().join("tls"));
        let output = process::capture_output("taking snapshots", &mut command).await?;
        ensure!(
            output.status.success(),
            "chatctl cluster snapshot: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
        Ok(())
    }

    /// Starts a node that was killed, without waiting until it is ready.
    ///
    /// # Errors
    /// Fails if the node does not start.
    pub(crate) fn bring_back(&mut self, node: usize) -> anyhow::Result<()> {
        self.servers.get_mut(node).context("no such node")?.restart()
    }

    /// Returns `true` if the node is caught up.
    pub(crate) fn is_ready(&self, node: usize) -> bool {
        let answer = self.nodes.get(node).and_then(|node| http_get(node.metrics, "/readyz").ok());
        answer.is_some_and(|answer| answer.lines().next().is_some_and(|line| line.contains(" 200 ")))
    }

    /// Returns the number of snapshots that the node has installed since it started.
    pub(crate) fn installed(&self, node: usize) -> u32 {
        let answer = self.nodes.get(node).and_then(|node| http_get(node.metrics, "/metrics").ok()).unwrap_or_default();
        let line = answer.lines().find_map(|line| line.strip_prefix("quorate_snapshots_total{action=\"installed\"} "));
        line.and_then(|count| count.trim().parse().ok()).unwrap_or_default()
    }
}
