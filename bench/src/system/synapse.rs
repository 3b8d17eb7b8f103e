//! One Synapse process with SQLite and without rate limits, as `tests/processes/synapse_process.py` sets it up.

use crate::matrix::http::HttpConnection;
use crate::places::BenchPaths;
use crate::process::{self, ProcessSpec, ServerProcess};
use anyhow::ensure;
use std::net::SocketAddr;
use tempfile::TempDir;

pub(crate) struct SynapseServer {
    pub(crate) servers: Vec<ServerProcess>,
    pub(crate) address: SocketAddr,
    _dir: TempDir,
}

impl SynapseServer {
    /// Starts the process, and returns when it answers.
    ///
    /// # Errors
    /// Fails if Synapse is not installed or does not come up.
    pub(crate) async fn start(places: &BenchPaths) -> anyhow::Result<Self> {
        let script = places.scripts.join("synapse/serve");
        ensure!(script.exists(), "{} is missing: run this command from the repository root", script.display());
        let dir = places.fresh("synapse")?;
        let [address] = process::free_ports()?;
        let spec = ProcessSpec::new("synapse", script, dir.path())
            .args(["--server-name", "bench.localhost", "--port", &address.port().to_string(), "--home"])
            .arg(dir.path().join("home"));
        let mut servers = vec![spec.start()?];
        process::poll_until("Synapse answers", &mut servers, || async {
            HttpConnection::open(address, "").await?.call("GET", "/_matrix/client/versions", b"").await.map(|_| ())
        })
        .await?;
        Ok(Self { servers, address, _dir: dir })
    }
}
