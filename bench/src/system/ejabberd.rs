//! Three clustered ejabberd nodes; rooms (XEP-0045) live in memory. Anonymous logins, no TLS: only the chat is
//! measured.

mod xmpp;

use crate::load::idle::IdleConnections;
use crate::load::members::DeliveryBoard;
use crate::load::room::{RoomUnderLoad, WAITING};
use crate::load::tasks::TaskGroup;
use crate::places::BenchPaths;
use crate::process::{self, ProcessSpec, ServerProcess};
use anyhow::{Context as _, ensure};
use futures::{StreamExt as _, TryStreamExt as _};
use std::any::Any;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use tempfile::TempDir;
use tokio::sync::mpsc;
use xmpp::XmppSession;

const NODES: usize = 3;
/// Number of connections that are opened at once.
const AT_ONCE: usize = 32;
/// Directory in which Debian keeps the libraries of each architecture.
const LIBRARIES: &str = "/usr/lib";
/// Number of the node that controls the others, which are `ejabberd@127.0.0.1` to `.3`.
const CONTROL: u8 = 9;

pub(crate) struct EjabberdCluster {
    pub(crate) servers: Vec<ServerProcess>,
    nodes: Vec<SocketAddr>,
    _dir: TempDir,
}

impl EjabberdCluster {
    /// Starts the nodes and joins them into one cluster.
    ///
    /// # Errors
    /// Fails if ejabberd is not installed, or if its nodes do not form one cluster.
    pub(crate) async fn start(places: &BenchPaths) -> anyhow::Result<Self> {
        let beams = beam_dir()?;
        let dir = places.fresh("ejabberd")?;
        // Each node has an address of its own, so that all can use one port for their cluster and need no epmd.
        let [cluster, a, b, c] = process::free_ports()?;
        let nodes = vec![a, b, c];
        let mut servers = Vec::new();
        for (n, node) in (1_u8..).zip(&nodes) {
            let home = dir.path().join(format!("ejabberd-{n}"));
            fs::create_dir_all(&home)?;
            let config = home.join("ejabberd.yml");
            fs::write(&config, node_config(*node))?;
            let spec = ProcessSpec::new(&format!("ejabberd-{n}"), "erl", dir.path())
                .args(erlang_args(&format!("ejabberd@127.0.0.{n}"), n, cluster.port()))
                .args(["-mnesia", "dir", &format!("\"{}\"", home.display()), "+K", "true", "+P", "250000", "-pa"])
                .arg(&beams)
                .args(["-s", "ejabberd"])
                .env("EJABBERD_CONFIG_PATH", &config)
                .env("EJABBERD_LOG_PATH", home.join("ejabberd.log"))
                .env("SPOOL_DIR", &home);
            servers.push(spec.start()?);
        }
        let found = nodes.clone();
        process::poll_until("ejabberd answers", &mut servers, || async {
            for node in &found {
                XmppSession::open(*node).await?;
            }
            anyhow::Ok(())
        })
        .await?;
        join_nodes(dir.path(), cluster.port()).await?;
        let found = nodes.clone();
        process::poll_until("ejabberd answers again", &mut servers, || async {
            for node in &found {
                XmppSession::open(*node).await?;
            }
            anyhow::Ok(())
        })
        .await?;
        Ok(Self { servers, nodes, _dir: dir })
    }

    async fn session(&self, n: usize) -> anyhow::Result<XmppSession> {
        XmppSession::open(*self.nodes.get(n % NODES).context("no such node")?).await
    }

    pub(crate) async fn room(&self, board: Arc<DeliveryBoard>) -> anyhow::Result<RoomUnderLoad> {
        let room = format!("room-{}", crate::payload::next_number());
        let mut tasks = TaskGroup::default();
        // The first to enter creates the room: it is the sender.
        let mut sender = self.session(0).await?;
        sender.enter(&room, "sender").await?;
        for n in 0..board.members() {
            let mut member = self.session(n).await?;
            member.enter(&room, &format!("member-{n}")).await?;
            tasks.spawn(record_deliveries(member, n, board.clone()));
        }
        let (say, said) = mpsc::channel(WAITING);
        tasks.spawn(send_messages(sender, room, said, board.clone()));
        Ok(RoomUnderLoad { board, say, _tasks: tasks })
    }

    pub(crate) async fn idle(&self, count: usize) -> anyhow::Result<IdleConnections> {
        let held = futures::stream::iter(0..count)
            .map(|n| async move { anyhow::Ok(Box::new(self.session(n).await?) as Box<dyn Any + Send>) })
            .buffer_unordered(AT_ONCE)
            .try_collect::<Vec<_>>()
            .await?;
        Ok(IdleConnections::new(held))
    }
}

async fn record_deliveries(mut member: XmppSession, n: usize, board: Arc<DeliveryBoard>) {
    if let Err(error) = member.read(|bytes| board.received(n, bytes)).await {
        board.fail("a member", &error);
    }
}

async fn send_messages(sender: XmppSession, room: String, mut said: mpsc::Receiver<u64>, board: Arc<DeliveryBoard>) {
    let (mut reading, mut writing) = sender.split();
    let drained = async { reading.read(|_| ()).await };
    let sent = async {
        while let Some(number) = said.recv().await {
            writing.say(&room, &crate::payload::message_text(number)).await?;
        }
        anyhow::Ok(())
    };
    // Everyone in a room receives its messages, the sender included; left unread they would stop the server.
    if let Err(error) = futures::future::try_join(drained, sent).await {
        board.fail("the sender", &error);
    }
}

/// Returns the arguments of every Erlang process of this cluster.
fn erlang_args(name: &str, host: u8, port: u16) -> Vec<String> {
    let interface = format!("{{127,0,0,{host}}}");
    let port = port.to_string();
    ["-noinput", "-name", name, "-setcookie", "bench", "-start_epmd", "false", "-erl_epmd_port", &port]
        .into_iter()
        .chain(["-kernel", "inet_dist_use_interface", &interface])
        .map(str::to_owned)
        .collect()
}

/// Makes the second and third node join the first.
async fn join_nodes(dir: &Path, port: u16) -> anyhow::Result<()> {
    // Each node joins only once: one that joins again forgets its tables first.
    let order = "Node = fun(N) -> list_to_atom(\"ejabberd@127.0.0.\" ++ integer_to_list(N)) end, \
                 Said = [rpc:call(Node(N), ejabberd_cluster, join, [Node(1)], 40000) || N <- [2, 3]], \
                 Nodes = fun() -> rpc:call(Node(1), ejabberd_cluster, get_nodes, [], 5000) end, \
                 Look = fun(_) -> timer:sleep(100), length(Nodes()) == 3 end, \
                 lists:any(Look, lists:seq(1, 100)), \
                 io:format(\"nodes ~p~n~p~n\", [length(Nodes()), Said]), halt().";
    let mut command = Command::new("erl");
    command
        .args(erlang_args(&format!("control@127.0.0.{CONTROL}"), CONTROL, port))
        .args(["-eval", order])
        .current_dir(dir);
    let output = process::capture_output("joining the ejabberd nodes", &mut command).await?;
    let said = String::from_utf8_lossy(&output.stdout);
    ensure!(said.contains(&format!("nodes {NODES}")), "the cluster has {}", said.trim());
    Ok(())
}

fn node_config(client: SocketAddr) -> String {
    format!(
        "hosts: [localhost]\nloglevel: error\nauth_method: [anonymous]\nanonymous_protocol: sasl_anon\n\
         allow_multiple_connections: true\nlisten:\n  - {{port: {port}, ip: \"{ip}\", module: ejabberd_c2s, \
         access: all, shaper: none, max_fsm_queue: 100000}}\nmodules:\n  mod_muc: {{access: all, access_create: all, \
         history_size: 0, max_users: 5000, min_message_interval: 0, min_presence_interval: 0}}\n",
        port = client.port(),
        ip = client.ip(),
    )
}

/// Returns the directory of ejabberd's compiled modules: `/usr/lib/ARCHITECTURE/ejabberd-VERSION/ebin`.
fn beam_dir() -> anyhow::Result<PathBuf> {
    let entries = |dir: &Path| fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path());
    let found = entries(Path::new(LIBRARIES))
        .filter(|dir| dir.is_dir())
        .flat_map(|dir| entries(&dir).collect::<Vec<_>>())
        .map(|dir| dir.join("ebin"))
        .find(|dir| dir.join("ejabberd.beam").exists());
    found.context("ejabberd is not installed: run deploy/deps/install bench")
}
