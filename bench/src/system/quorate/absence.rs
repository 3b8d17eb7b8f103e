//! A follower is away for so long that the others have purged what it lacks.

use super::{NODES, Quorate, page, process};
use crate::places::Places;
use anyhow::{Context as _, ensure};
use std::fs;
use std::process::Command;

/// As much log as a purge leaves: any follower that was away lacks more.
const KEPT: u32 = 100;

impl Quorate {
    /// From their next start on all nodes purge nearly everything that a snapshot covers.
    ///
    /// # Errors
    /// A file cannot be written.
    pub(crate) fn keep_little_log(&self) -> anyhow::Result<()> {
        self.nodes.iter().try_for_each(|node| {
            let path = node.config_file(self.dir.path());
            let text = fs::read_to_string(&path)?;
            Ok(fs::write(path, format!("{text}raft: {{keepLogEntries: {KEPT}}}\n"))?)
        })
    }

    /// Kills a follower and gives its index. Not the node that is asked who leads, which is the first.
    ///
    /// # Errors
    /// Nobody leads, or it does not end.
    pub(crate) async fn lose_follower(&mut self) -> anyhow::Result<usize> {
        let leader = self.leader().await?;
        let follower = (1..NODES).find(|node| *node != leader).context("no follower")?;
        self.servers.get_mut(follower).context("no such node")?.kill()?;
        Ok(follower)
    }

    /// All but this node take a snapshot and drop the log that it covers.
    ///
    /// # Errors
    /// One of them cannot.
    pub(crate) async fn purge_without(&self, away: usize, places: &Places) -> anyhow::Result<()> {
        let there = self.nodes.iter().enumerate().filter(|(node, _)| *node != away);
        let doors: Vec<_> = there.map(|(_, node)| node.peer.to_string()).collect();
        let mut command = Command::new(&places.chatctl);
        command.args(["cluster", "snapshot", "--purge-log", "--admin", &doors.join(","), "--tls-dir"]);
        command.arg(self.dir.path().join("tls"));
        let output = process::output("chatctl takes snapshots", &mut command).await?;
        ensure!(
            output.status.success(),
            "chatctl cluster snapshot: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
        Ok(())
    }

    /// Starts a node that was killed; it is ready later.
    ///
    /// # Errors
    /// It does not start.
    pub(crate) fn bring_back(&mut self, node: usize) -> anyhow::Result<()> {
        self.servers.get_mut(node).context("no such node")?.restart()
    }

    /// Whether this node is caught up.
    pub(crate) fn is_ready(&self, node: usize) -> bool {
        let answer = self.nodes.get(node).and_then(|node| page(node.metrics, "/readyz").ok());
        answer.is_some_and(|answer| answer.lines().next().is_some_and(|line| line.contains(" 200 ")))
    }

    /// How many snapshots this node has taken over since it started.
    pub(crate) fn installed(&self, node: usize) -> u32 {
        let answer = self.nodes.get(node).and_then(|node| page(node.metrics, "/metrics").ok()).unwrap_or_default();
        let line = answer.lines().find_map(|line| line.strip_prefix("quorate_snapshots_total{action=\"installed\"} "));
        line.and_then(|count| count.trim().parse().ok()).unwrap_or_default()
    }
}
