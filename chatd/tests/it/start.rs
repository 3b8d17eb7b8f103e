//! Startup errors: each is reported in one sentence, with an exit code of its own.

use crate::support::certificates;
use crate::support::cluster::Cluster;
use crate::support::eventually;
use crate::support::process::Node;
use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;

fn node(dir: &Path, settings: &str) -> Node {
    let tls = certificates::issue(&certificates::authority(), &dir.join("tls"));
    Node::new("node", dir, tls, settings)
}

/// Starts the node, waits for its end, and checks the exit code and that the last line of the log contains all `parts`.
async fn refuses(node: &Node, code: i32, parts: &[&str]) {
    assert_eq!(node.start().ended().await, Some(code), "{}", node.log());
    let log = node.log();
    let last = log.lines().last().unwrap_or_default();
    assert!(last.starts_with("chatd: "), "{log}");
    for part in parts {
        assert!(last.contains(part), "{part:?} is not in: {last}");
    }
}

#[test]
fn a_reference_that_cannot_be_written_is_an_error() {
    for arguments in [&["--help"][..], &["--version"], &["metrics-reference"], &["config", "--reference"]] {
        let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let output = Command::new(env!("CARGO_BIN_EXE_chatd")).args(arguments).stdout(full).output().unwrap();
        assert_eq!(output.status.code(), Some(73), "{arguments:?}");
        assert!(String::from_utf8_lossy(&output.stderr).contains("cannot write to standard output"), "{arguments:?}");
    }
}

#[tokio::test]
async fn a_certificate_that_does_not_say_whose_it_is_is_refused_with_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let mut node = node(dir.path(), "");
    let authority = certificates::authority();
    node.tls = certificates::issue_for(&authority, &dir.path().join("old"), None);
    node.configure("");
    refuses(&node, 78, &["tls.crt", "chatctl cluster init --certificates-only --renew"]).await;
    node.tls = certificates::issue_administrator(&authority, &dir.path().join("admin"));
    node.configure("");
    refuses(&node, 78, &["tls.crt", "administrator's certificate"]).await;
}

#[tokio::test]
async fn an_unknown_key_is_named_with_its_path() {
    let dir = tempfile::tempdir().unwrap();
    refuses(&node(dir.path(), "raft: {heartbeat: 50ms}"), 78, &["`raft.heartbeat`", "chatd.yaml"]).await;
}

#[tokio::test]
async fn a_wrong_value_is_named_with_its_key() {
    let dir = tempfile::tempdir().unwrap();
    refuses(&node(dir.path(), "shutdownGrace: soon"), 78, &["`shutdownGrace`", "soon", "10s"]).await;
}

#[tokio::test]
async fn a_file_that_is_not_there_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let node = node(dir.path(), "");
    fs::remove_file(dir.path().join("chatd.yaml")).unwrap();
    refuses(&node, 78, &["chatd.yaml"]).await;
}

#[tokio::test]
async fn a_missing_certificate_is_named_with_its_keys() {
    let dir = tempfile::tempdir().unwrap();
    let node = node(dir.path(), "");
    fs::remove_file(&node.tls.cert).unwrap();
    refuses(&node, 78, &["tls.certFile", "tls.crt"]).await;
}

#[tokio::test]
async fn a_port_in_use_is_named_with_its_key() {
    let dir = tempfile::tempdir().unwrap();
    for (key, address) in [
        ("listen.metrics", |node: &Node| node.metrics),
        ("listen.grpc", |node: &Node| node.grpc),
        ("listen.http", |node: &Node| node.http),
        ("listen.peer", |node: &Node| node.peer),
    ] as [(&str, fn(&Node) -> std::net::SocketAddr); 4]
    {
        let node = node(&dir.path().join(key), "");
        let _taken = TcpListener::bind(address(&node)).expect("free until now");
        refuses(&node, 69, &[key, &address(&node).to_string()]).await;
    }
}

#[tokio::test]
async fn a_data_directory_that_is_none_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let node = node(dir.path(), "");
    fs::write(node.data(), "a file").unwrap();
    refuses(&node, 74, &["dataDir", &node.data().display().to_string()]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_of_another_server_is_refused() {
    let mut cluster = Cluster::start("").await;
    let alice = cluster.user(0, "alice").await;
    alice.create_room(0, quorate_wire::chat::v1::create_room_request::Preset::Private, "").await;
    let process = cluster.processes[0].take().expect("it runs");
    process.terminate();
    assert_eq!(process.ended().await, Some(0));
    let node = &cluster.nodes[0];
    let yaml = fs::read_to_string(node.dir.join("chatd.yaml")).unwrap();
    fs::write(node.dir.join("chatd.yaml"), yaml.replace("chat.test", "other.test")).unwrap();
    refuses(node, 76, &["chat.test", "other.test", "serverName"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_log_is_refused_with_file_and_offset() {
    let mut cluster = Cluster::start("rateLimit: {enabled: false}").await;
    let alice = cluster.user(0, "alice").await;
    let room = alice.create_room(0, quorate_wire::chat::v1::create_room_request::Preset::Private, "").await;
    for n in 0..20 {
        alice.say(0, &room, "something", &n.to_string()).await.expect("sent");
    }
    let process = cluster.processes[0].take().expect("it runs");
    process.terminate();
    assert_eq!(process.ended().await, Some(0));
    let node = &cluster.nodes[0];
    let log = node.data().join("log");
    let mut files: Vec<_> = fs::read_dir(&log).unwrap().flatten().map(|entry| entry.path()).collect();
    files.sort_by_key(|path| std::cmp::Reverse(fs::metadata(path).map(|data| data.len()).unwrap_or_default()));
    let mut bytes = fs::read(&files[0]).unwrap();
    let something = bytes.windows(9).position(|window| window == b"something").expect("the message is in the log");
    bytes[something] ^= 0xff;
    fs::write(&files[0], bytes).unwrap();
    let name = files[0].file_name().unwrap().to_string_lossy().into_owned();
    refuses(node, 65, &[name.as_str(), "damaged", "offset"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fresh_pod_waits_to_be_asked_and_says_so() {
    let cluster = Cluster::uninitialised(1, "");
    let identity = cluster.identity(0).await;
    assert!(identity.empty && identity.node.is_some_and(|node| node.node_id != 0));
    // Its first reason is that it still starts.
    let waits = || async { cluster.nodes[0].page("/readyz").filter(|(_, reason)| reason.contains("not a member")) };
    let (status, _) = eventually("the pod says that it waits", waits).await;
    assert_eq!(status, 503);
    assert_eq!(cluster.nodes[0].page("/healthz").map(|(status, _)| status), Some(200));
}

#[test]
fn the_configuration_that_holds_is_printed() {
    let chatd = |args: &[&str]| {
        let output =
            Command::new(env!("CARGO_BIN_EXE_chatd")).args(args).env("QUORATE_NODE_NAME", "from-env").output().unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    let (code, yaml) = chatd(&["config", "--server-name", "a.org"]);
    assert_eq!(code, Some(0));
    assert!(yaml.contains("nodeName: from-env") && yaml.contains("serverName: a.org"), "{yaml}");
    let (code, reference) = chatd(&["config", "--reference"]);
    assert!(code == Some(0) && reference.contains("QUORATE_RAFT_HEARTBEAT_INTERVAL"));
    assert_eq!(chatd(&["version"]).1, format!("chatd {}\n", env!("CARGO_PKG_VERSION")));
    assert_eq!(chatd(&["--no-such-flag"]).0, Some(64));
}
