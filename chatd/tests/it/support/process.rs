//! Single `chatd` process.

use super::certificates::Files;
use super::eventually;
use super::ports::free_address;
use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

pub const SERVER_NAME: &str = "chat.test";

/// Addresses and files of a node; outlives its process.
#[derive(Clone)]
pub struct Node {
    pub name: String,
    pub dir: PathBuf,
    pub http: SocketAddr,
    pub grpc: SocketAddr,
    pub peer: SocketAddr,
    pub metrics: SocketAddr,
    pub tls: Files,
}

impl Node {
    /// Creates a node with a directory and free ports; `settings` are further lines of its configuration.
    pub fn new(name: &str, dir: &Path, tls: Files, settings: &str) -> Self {
        fs::create_dir_all(dir).expect("a directory");
        let [http, grpc, peer, metrics] = [(); 4].map(|()| free_address());
        let node = Self { name: name.to_owned(), dir: dir.to_owned(), http, grpc, peer, metrics, tls };
        node.configure(settings);
        node
    }

    /// Writes the configuration file.
    pub fn configure(&self, settings: &str) {
        let Self { name, dir, http, grpc, peer, metrics, tls } = self;
        let (ca, cert, key) = (tls.ca.display(), tls.cert.display(), tls.key.display());
        let log = if settings.contains("log:") { "" } else { "log: {format: text, level: 'info'}" };
        let yaml = format!(
            "serverName: {SERVER_NAME}\nnodeName: {name}\ndataDir: {data}\n\
             listen: {{http: '{http}', grpc: '{grpc}', peer: '{peer}', metrics: '{metrics}'}}\n\
             advertise: {{peer: '{peer}', grpc: '{grpc}'}}\n\
             tls: {{caFile: {ca}, certFile: {cert}, keyFile: {key}}}\n\
             {log}\n{settings}\n",
            data = self.data().display(),
        );
        fs::write(dir.join("chatd.yaml"), yaml).expect("written");
    }

    pub fn data(&self) -> PathBuf {
        self.dir.join("data")
    }

    /// Starts a process of the node.
    pub fn start(&self) -> Process {
        let log = File::options().create(true).append(true).open(self.dir.join("log")).expect("a log");
        let child = Command::new(env!("CARGO_BIN_EXE_chatd"))
            .arg("--config")
            .arg(self.dir.join("chatd.yaml"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("chatd starts");
        Process { child, node: self.clone() }
    }

    /// Returns the log of the node so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.dir.join("log")).unwrap_or_default()
    }

    /// Returns status and body of a page on the metrics port; `None` if nobody answers.
    pub fn page(&self, path: &str) -> Option<(u16, String)> {
        call(self.metrics, "GET", path, "", "")
    }

    /// Makes a request to the Matrix API and returns status and body; token and body may be empty.
    pub fn matrix(&self, method: &str, path: &str, token: &str, body: &str) -> Option<(u16, String)> {
        call(self.http, method, path, &authorization(token), body)
    }

    /// Makes a request as [`Node::matrix`] does; `None` also for an answer that may miss acknowledged writes, as a pod
    /// without a quorum gives it.
    pub fn matrix_fresh(&self, method: &str, path: &str, token: &str, body: &str) -> Option<(u16, String)> {
        let (status, head, body) = exchange(self.http, method, path, &authorization(token), body)?;
        (!head.contains("\r\nquorate-freshness: stale")).then_some((status, body))
    }
}

fn authorization(token: &str) -> String {
    if token.is_empty() { String::new() } else { format!("Authorization: Bearer {token}\r\n") }
}

fn call(address: SocketAddr, method: &str, path: &str, headers: &str, body: &str) -> Option<(u16, String)> {
    exchange(address, method, path, headers, body).map(|(status, _, body)| (status, body))
}

/// Makes a request and returns status, head in small letters and body of the answer.
fn exchange(address: SocketAddr, method: &str, path: &str, headers: &str, body: &str) -> Option<(u16, String, String)> {
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(1)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(30))).ok()?;
    let length = body.len();
    write!(stream, "{method} {path} HTTP/1.0\r\nHost: test\r\n{headers}Content-Length: {length}\r\n\r\n{body}").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.split_whitespace().nth(1)?.parse().ok()?;
    Some((status, head.to_lowercase(), body.to_owned()))
}

impl Node {
    /// Returns head and body of an answer of the Matrix API.
    pub fn head_and_body(&self, path: &str, token: &str) -> (String, String) {
        let mut stream = TcpStream::connect(self.http).expect("the Matrix API");
        stream.set_read_timeout(Some(super::PATIENCE)).expect("a time-out");
        write!(stream, "GET {path} HTTP/1.0\r\nHost: test\r\nAuthorization: Bearer {token}\r\n\r\n").expect("asked");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
        (head.to_lowercase(), body.to_owned())
    }

    /// Makes a request to the Matrix API and returns the JSON of the answer; `headers` are complete lines.
    pub fn ask(&self, method: &str, path: &str, token: &str, headers: &str, body: &str) -> serde_json::Value {
        let mut stream = TcpStream::connect(self.http).expect("the Matrix API");
        stream.set_read_timeout(Some(super::PATIENCE)).expect("a time-out");
        write!(
            stream,
            "{method} {path} HTTP/1.0\r\nHost: test\r\nAuthorization: Bearer {token}\r\n{headers}\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        )
        .expect("asked");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        let (_, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
        serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {answer}"))
    }
}

/// Running process, killed on drop.
pub struct Process {
    child: Child,
    pub node: Node,
}

impl Process {
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends SIGKILL, and waits until the process is gone.
    pub fn kill(mut self) {
        self.child.kill().expect("killed");
        self.child.wait().expect("gone");
    }

    /// Sends SIGTERM.
    pub fn terminate(&self) {
        self.signal("TERM");
    }

    pub fn signal(&self, name: &str) {
        let sent = Command::new("sh").arg("-c").arg(format!("kill -{name} {}", self.id())).status().expect("sh");
        assert!(sent.success(), "kill -{name} failed");
    }

    /// Waits for the end of the process and returns its exit code.
    pub async fn ended(mut self) -> Option<i32> {
        let child = &mut self.child;
        let status = eventually("the process ends", || {
            let status = child.try_wait().expect("a child");
            async move { status }
        });
        status.await.code()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both calls fail only if the process has already ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- log of {}:\n{}", self.node.name, self.node.log());
        }
    }
}
