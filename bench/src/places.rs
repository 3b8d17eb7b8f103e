//! Locations of the programs, and of the systems' data during a run.

use anyhow::{Context as _, ensure};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Programs and directories that a run uses.
#[derive(Clone, Debug)]
pub(crate) struct BenchPaths {
    pub(crate) chatd: PathBuf,
    pub(crate) chatctl: PathBuf,
    /// Directory that `deploy/deps/install bench` filled.
    pub(crate) peers: PathBuf,
    /// Directory of the benchmark's own scripts for peers.
    pub(crate) scripts: PathBuf,
    /// Directory for the systems' data, on a disk.
    pub(crate) work: PathBuf,
}

impl BenchPaths {
    /// Creates a fresh directory for a system's data.
    ///
    /// # Errors
    /// Fails if the directory cannot be created.
    pub(crate) fn fresh(&self, name: &str) -> anyhow::Result<tempfile::TempDir> {
        fs::create_dir_all(&self.work).with_context(|| format!("cannot create {}", self.work.display()))?;
        let dir = tempfile::Builder::new().prefix(name).tempdir_in(&self.work);
        dir.with_context(|| format!("cannot create a directory in {}", self.work.display()))
    }

    /// Refuses file systems on which a sync means nothing. Returns the type of the one in use.
    ///
    /// # Errors
    /// Fails if the data would be kept in memory.
    pub(crate) fn check_disk(&self) -> anyhow::Result<String> {
        fs::create_dir_all(&self.work).with_context(|| format!("cannot create {}", self.work.display()))?;
        let kind = file_system(&self.work)?;
        ensure!(
            !matches!(kind.as_str(), "tmpfs" | "ramfs"),
            "{} is on {kind}, which keeps data in memory and is not durable: choose another directory with --work",
            self.work.display()
        );
        Ok(kind)
    }
}

fn file_system(dir: &Path) -> anyhow::Result<String> {
    let output = Command::new("stat").args(["-f", "-c", "%T"]).arg(dir).output().context("cannot run stat")?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
