//! Machine on which the figures were measured.

use crate::places::BenchPaths;
use crate::system::BenchSystem;
use anyhow::Context as _;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

/// Properties of the machine that figures depend on.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct MachineProfile {
    pub(crate) cpu: String,
    pub(crate) cores: usize,
    pub(crate) memory_gib: f64,
    pub(crate) kernel: String,
    pub(crate) file_system: String,
    /// Appends of one message with `fdatasync` by one writer, per second.
    pub(crate) syncs_per_second: f64,
    /// Load average of one minute at the start, which shows the work of others.
    pub(crate) load_average: f64,
}

impl MachineProfile {
    /// Collects the properties of the machine, and tries how fast its disk syncs.
    ///
    /// # Errors
    /// Fails if the disk cannot be written to, or if the data would be kept in memory.
    pub(crate) fn look(places: &BenchPaths) -> anyhow::Result<Self> {
        let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let meminfo = fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let kib: f64 = number_after(&meminfo, "MemTotal:").unwrap_or_default();
        let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
        Ok(Self {
            cpu: text_after(&cpuinfo, "model name").unwrap_or("unknown").trim_start_matches([':', ' ']).to_owned(),
            cores: thread::available_parallelism().map_or(0, usize::from),
            memory_gib: kib / 1024.0 / 1024.0,
            kernel: fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned(),
            file_system: places.check_disk()?,
            syncs_per_second: measure_syncs(&places.work)?,
            load_average: load.split(' ').next().and_then(|text| text.parse().ok()).unwrap_or_default(),
        })
    }
}

fn text_after<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    text.lines().find_map(|line| line.strip_prefix(key)).map(str::trim)
}

fn number_after(text: &str, key: &str) -> Option<f64> {
    text_after(text, key)?.split_whitespace().next()?.parse().ok()
}

/// Returns the number of appends, each with a sync, that one writer makes per second.
fn measure_syncs(dir: &Path) -> anyhow::Result<f64> {
    const LONG: Duration = Duration::from_secs(1);
    let path = dir.join("syncs");
    let mut file = File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
    let message = crate::payload::message_text(0);
    let begun = Instant::now();
    let mut count = 0.0;
    while begun.elapsed() < LONG {
        file.write_all(message.as_bytes())?;
        file.sync_data()?;
        count += 1.0;
    }
    let rate = count / begun.elapsed().as_secs_f64();
    fs::remove_file(&path)?;
    Ok(rate)
}

/// Returns the commit that is checked out where this runs, with a mark if files differ from it.
pub(crate) fn current_commit() -> String {
    first_output_line("git", &["describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"])
        .unwrap_or_else(|| "unknown".to_owned())
}

/// Returns the versions of those systems that report one.
pub(crate) fn system_versions(
    places: &BenchPaths,
    systems: impl IntoIterator<Item = BenchSystem>,
) -> BTreeMap<BenchSystem, String> {
    systems.into_iter().filter_map(|system| Some((system, version_of(places, system)?))).collect()
}

fn version_of(places: &BenchPaths, system: BenchSystem) -> Option<String> {
    let package = |name: &str| first_output_line("dpkg-query", &["-W", "-f=${Version}", name]);
    match system {
        BenchSystem::Quorate => first_output_line(places.chatd.to_str()?, &["--version"]),
        BenchSystem::Nats => first_output_line(places.peers.join("nats/bin/nats-server").to_str()?, &["--version"]),
        BenchSystem::Etcd => package("etcd-server"),
        BenchSystem::Ejabberd => package("ejabberd"),
        BenchSystem::SocketIo => {
            let module = places.peers.join("socketio/node_modules/socket.io/package.json");
            let module: serde_json::Value = serde_json::from_str(&fs::read_to_string(module).ok()?).ok()?;
            let node = first_output_line("node", &["--version"])?;
            let redis = package("redis-server")?;
            Some(format!("{}, Node.js {node}, Redis {redis}", module.get("version")?.as_str()?))
        }
        BenchSystem::Synapse => {
            let version = first_output_line(places.scripts.join("synapse/serve").to_str()?, &["--version"])?;
            Some(format!("{version}, SQLite"))
        }
        BenchSystem::Bare => Some("tonic 0.14".to_owned()),
    }
}

fn first_output_line(program: &str, args: &[&str]) -> Option<String> {
    let output = Command::new(program).args(args).output().ok().filter(|output| output.status.success())?;
    let text = String::from_utf8(output.stdout).ok()?;
    Some(text.lines().next().unwrap_or_default().trim().to_owned())
}
