//! A listener with short patience and few places, and callers who misuse it.

mod parking;

use super::bounds::{ListenerBounds, ListenerTimeouts};
use super::{BodyFault, BodyMode, CallerConnection, ClientListener, ConnectionBuilder, RequestGate};
use crate::caller::{CallerAddress, TrustedProxies};
use crate::config::CallerLimits;
use crate::metrics::{ChatMetrics, ClientApi};
use crate::service::RequestRefusal;
use crate::tls::{ClientTls, ClientTlsFiles};
use axum::body::Body;
use axum::routing::{get, post};
use axum::{BoxError, Extension, Router};
use http::request::Parts;
use http::{Response, StatusCode};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use tokio_util::sync::{CancellationToken, DropGuard};

/// Far longer than anything here takes on a slow machine.
const PATIENCE: Duration = Duration::from_secs(60);
/// Time that nothing may run into where a test is about something else.
const NEVER: Duration = Duration::from_secs(3600);

/// Behaviour that accepts the header `x-session` as a session.
#[derive(Clone)]
struct Plain;

impl RequestGate for Plain {
    fn refuse(&self, refusal: RequestRefusal) -> Response<Body> {
        let mut response = Response::new(Body::from(refusal.message));
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
        response
    }

    fn fault(&self, fault: BodyFault) -> BoxError {
        fault.into()
    }

    async fn ask(&self, parts: &mut Parts, connection: &CallerConnection) -> BodyMode {
        if parts.headers.contains_key("x-session") {
            connection.show_session();
        }
        BodyMode::Plain
    }
}

fn patient() -> ListenerTimeouts {
    ListenerTimeouts {
        stranger_idle: NEVER,
        session_idle: NEVER,
        finish: Duration::from_millis(50),
        stalled: NEVER,
        stalled_when_full: NEVER,
        body: NEVER,
        body_rate: 1,
        patrol: Duration::from_millis(20),
    }
}

fn limits() -> CallerLimits {
    CallerLimits {
        connections: 64,
        connections_per_address: 64,
        strangers_per_address: 64,
        request_bytes: 16 << 20,
        answer_bytes: 1 << 20,
        trusted_proxies: TrustedProxies::default(),
    }
}

struct Opened {
    address: SocketAddr,
    bounds: Arc<ListenerBounds>,
    metrics: ChatMetrics,
    closed: CancellationToken,
    _closes: DropGuard,
}

const ANSWER: usize = 900 * 1024;

async fn open(limits: CallerLimits, patience: ListenerTimeouts, protocol: ConnectionBuilder) -> Opened {
    open_with(limits, patience, protocol, None).await
}

async fn open_with(
    limits: CallerLimits,
    patience: ListenerTimeouts,
    protocol: ConnectionBuilder,
    tls: Option<ClientTls>,
) -> Opened {
    let metrics = ChatMetrics::new().unwrap();
    let bounds = ListenerBounds::new(limits, patience, metrics.clone());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = Router::new()
        .route("/", get(|| async { "here" }))
        .route("/who", get(|Extension(CallerAddress(who)): Extension<CallerAddress>| async move { who.to_string() }))
        .route("/long", get(|| async { vec![b'x'; ANSWER] }))
        .route("/parked", get(park))
        .route("/read", post(read));
    let listener = ClientListener {
        listener,
        api: ClientApi::Matrix,
        bounds: Arc::clone(&bounds),
        protocol,
        router,
        tls,
        manner: Plain,
    };
    let closed = CancellationToken::new();
    tokio::spawn(listener.serve(closed.clone()));
    Opened { address, bounds, metrics, _closes: closed.clone().drop_guard(), closed }
}

async fn read(body: Body) -> Result<String, (StatusCode, String)> {
    match axum::body::to_bytes(body, 8 << 20).await {
        Ok(bytes) => Ok(bytes.len().to_string()),
        Err(error) => {
            let fault = BodyFault::behind(&error).map_or_else(|| "broken".to_owned(), |fault| format!("{fault:?}"));
            Err((StatusCode::BAD_REQUEST, fault))
        }
    }
}

/// Requests of `/parked` that are being served.
static PARKED: AtomicUsize = AtomicUsize::new(0);

async fn park() {
    PARKED.fetch_add(1, Ordering::SeqCst);
    std::future::pending().await
}

fn both() -> ConnectionBuilder {
    ConnectionBuilder::new()
}

impl Opened {
    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Connects from another address of the loopback network.
    async fn connect_from(&self, last: u8) -> TcpStream {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::from((Ipv4Addr::new(127, 0, 0, last), 0))).unwrap();
        socket.connect(self.address).await.unwrap()
    }

    async fn until(&self, what: &str, line: &str) {
        tokio::time::timeout(PATIENCE, async {
            while !self.metrics.render().unwrap().contains(line) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await
        .unwrap_or_else(|_| panic!("{what}: no line {line} in\n{}", self.metrics.render().unwrap()));
    }
}

async fn say(stream: &mut (impl AsyncWrite + Unpin), text: &str) {
    stream.write_all(text.as_bytes()).await.unwrap();
}

/// Returns the next answer's head and body, if the body has a length.
async fn hear(stream: &mut (impl AsyncRead + Unpin)) -> String {
    tokio::time::timeout(PATIENCE, async {
        let mut heard = Vec::new();
        loop {
            let text = String::from_utf8_lossy(&heard).into_owned();
            if let Some((head, body)) = text.split_once("\r\n\r\n") {
                let length =
                    head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
                if body.len() >= length.unwrap_or(0) {
                    return text;
                }
            }
            let mut piece = [0; 4096];
            match stream.read(&mut piece).await {
                Ok(0) | Err(_) => return text,
                Ok(bytes) => heard.extend_from_slice(&piece[..bytes]),
            }
        }
    })
    .await
    .expect("an answer")
}

async fn ask(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), head: &str) -> String {
    say(stream, &format!("{head} HTTP/1.1\r\nHost: t\r\n\r\n")).await;
    hear(stream).await
}

async fn ask_with_session(stream: &mut TcpStream, path: &str) -> String {
    say(stream, &format!("GET {path} HTTP/1.1\r\nHost: t\r\nX-Session: 1\r\n\r\n")).await;
    hear(stream).await
}

/// Waits until the server ends the connection; what it still had to say is dropped.
async fn ends(stream: &mut TcpStream) {
    tokio::time::timeout(PATIENCE, async {
        let mut piece = [0; 4096];
        while !matches!(stream.read(&mut piece).await, Ok(0) | Err(_)) {}
    })
    .await
    .expect("the server ends the connection");
}

#[tokio::test]
async fn a_stranger_who_says_nothing_or_half_a_head_is_closed_and_a_user_is_not() {
    let patience = ListenerTimeouts { stranger_idle: Duration::from_millis(200), ..patient() };
    let listener = open(limits(), patience, both()).await;
    let (mut silent, mut half, mut user) =
        (listener.connect().await, listener.connect().await, listener.connect().await);
    assert!(ask_with_session(&mut user, "/").await.ends_with("here"));
    say(&mut half, "GET / HTTP/1.1\r\nHost:").await;
    ends(&mut silent).await;
    ends(&mut half).await;
    listener.until("both are counted", r#"quorate_api_connections_closed_total{api="matrix",reason="idle"} 2"#).await;
    assert!(ask(&mut user, "GET /").await.ends_with("here"), "the user's connection stays");
}

#[tokio::test]
async fn a_user_who_says_nothing_for_long_is_closed_too() {
    let patience = ListenerTimeouts { session_idle: Duration::from_millis(100), ..patient() };
    let listener = open(limits(), patience, both()).await;
    let mut user = listener.connect().await;
    assert!(ask_with_session(&mut user, "/").await.ends_with("here"));
    ends(&mut user).await;
}

#[tokio::test]
async fn a_preface_that_never_comes_is_not_waited_for() {
    let patience = ListenerTimeouts { stranger_idle: Duration::from_millis(100), ..patient() };
    let listener = open(limits(), patience, both().http2_only()).await;
    let (mut silent, mut half) = (listener.connect().await, listener.connect().await);
    say(&mut half, "PRI * HTTP/2.0\r\n").await;
    ends(&mut silent).await;
    ends(&mut half).await;
}

#[tokio::test]
async fn silent_connections_push_each_other_out_and_never_a_user() {
    let listener = open(CallerLimits { connections: 16, ..limits() }, patient(), both()).await;
    let mut user = listener.connect().await;
    assert!(ask_with_session(&mut user, "/").await.ends_with("here"));
    let mut silent = Vec::new();
    for _ in 0..100 {
        silent.push(listener.connect().await);
    }
    // 12 of 16 places are for strangers; the user needs none of those.
    listener.until("the others are gone", r#"quorate_api_connections{api="matrix"} 13"#).await;
    assert!(ask(&mut user, "GET /").await.ends_with("here"));
    let mut newcomer = listener.connect().await;
    assert!(ask(&mut newcomer, "GET /").await.ends_with("here"), "a newcomer is served");
    ends(&mut silent[0]).await;
}

#[tokio::test]
async fn a_stranger_with_a_request_goes_after_those_without() {
    let listener = open(CallerLimits { connections: 16, ..limits() }, patient(), both()).await;
    let mut parked = listener.connect().await;
    say(&mut parked, "GET /parked HTTP/1.1\r\nHost: t\r\n\r\n").await;
    while PARKED.load(Ordering::SeqCst) == 0 {
        tokio::task::yield_now().await;
    }
    let mut silent = Vec::new();
    for _ in 0..40 {
        silent.push(listener.connect().await);
        let heard = silent.last_mut().unwrap();
        // Asked once, so that the connection is known to have been accepted.
        assert!(ask(heard, "GET /").await.ends_with("here"));
    }
    ends(&mut silent[0]).await;
    let still = tokio::time::timeout(Duration::from_millis(1), parked.read_u8()).await;
    assert!(still.is_err(), "the request is still served: {still:?}");
}

#[tokio::test]
async fn an_address_that_fills_its_share_pushes_out_only_its_own() {
    let listener = open(CallerLimits { strangers_per_address: 4, ..limits() }, patient(), both()).await;
    let mut other = listener.connect_from(9).await;
    assert!(ask(&mut other, "GET /who").await.ends_with("127.0.0.9"));
    let mut silent = Vec::new();
    for _ in 0..20 {
        silent.push(listener.connect().await);
    }
    ends(&mut silent[0]).await;
    listener.until("four and the other", r#"quorate_api_connections{api="matrix"} 5"#).await;
    assert!(ask(&mut other, "GET /who").await.ends_with("127.0.0.9"));
}

#[tokio::test]
async fn an_address_full_of_users_takes_no_more_and_others_are_served() {
    let listener = open(CallerLimits { connections_per_address: 3, ..limits() }, patient(), both()).await;
    let mut users = Vec::new();
    for _ in 0..3 {
        let mut user = listener.connect().await;
        assert!(ask_with_session(&mut user, "/").await.ends_with("here"));
        users.push(user);
    }
    ends(&mut listener.connect().await).await;
    listener.until("counted", r#"quorate_api_refused_total{api="matrix",reason="address_connections"} 1"#).await;
    assert!(ask(&mut listener.connect_from(9).await, "GET /").await.ends_with("here"));
}

#[tokio::test]
async fn a_proxys_callers_are_counted_each_for_itself() {
    let trusted_proxies = TrustedProxies::parse("127.0.0.9").unwrap();
    let limits = CallerLimits { connections_per_address: 1, trusted_proxies, ..limits() };
    let listener = open(limits, patient(), both()).await;
    let who = "GET /who HTTP/1.1\r\nHost: t\r\nX-Forwarded-For: 198.51.100.7, 203.0.113.5\r\n\r\n";
    let (mut proxy, mut second) = (listener.connect_from(9).await, listener.connect_from(9).await);
    for stream in [&mut proxy, &mut second] {
        say(stream, who).await;
        assert!(hear(stream).await.ends_with("203.0.113.5"), "no limit for the proxy itself");
    }
    let mut stranger = listener.connect().await;
    say(&mut stranger, who).await;
    assert!(hear(&mut stranger).await.ends_with("127.0.0.1"), "anybody can write that header");
}

#[tokio::test]
async fn a_body_that_does_not_come_is_not_waited_for() {
    let patience = ListenerTimeouts { body: Duration::from_millis(100), ..patient() };
    let listener = open(limits(), patience, both()).await;
    let mut slow = listener.connect().await;
    say(&mut slow, "POST /read HTTP/1.1\r\nHost: t\r\nContent-Length: 1000\r\n\r\n").await;
    let answer = hear(&mut slow).await;
    assert!(answer.contains("TooSlow"), "{answer}");
    ends(&mut slow).await;
    listener.until("counted", r#"quorate_api_refused_total{api="matrix",reason="slow_body"} 1"#).await;
}

#[tokio::test]
async fn half_sent_bodies_fill_their_senders_budget_and_give_it_back() {
    let listener = open(limits(), patient(), both()).await;
    // The address of a stranger may hold 16 MiB / 4 / 4.
    let (mut holding, half) = (Vec::new(), "x".repeat(400 << 10));
    for _ in 0..2 {
        let mut stream = listener.connect().await;
        say(&mut stream, &format!("POST /read HTTP/1.1\r\nHost: t\r\nContent-Length: 1000000\r\n\r\n{half}")).await;
        holding.push(stream);
    }
    listener.until("what came is counted", "quorate_api_request_bytes 819200").await;
    let mut refused = listener.connect().await;
    let more = format!("POST /read HTTP/1.1\r\nHost: t\r\nContent-Length: 1000000\r\n\r\n{half}");
    // The listener may have answered and closed before all of it was sent.
    let _ = refused.write_all(more.as_bytes()).await;
    let answer = hear(&mut refused).await;
    assert!(answer.contains("Crowded"), "{answer}");
    let mut user = listener.connect().await;
    let small = "POST /read HTTP/1.1\r\nHost: t\r\nX-Session: 1\r\nContent-Length: 5\r\n\r\nhello";
    say(&mut user, small).await;
    assert!(hear(&mut user).await.ends_with('5'), "who has a session is read");
    drop(holding);
    listener.until("all is given back", "quorate_api_request_bytes 0").await;
}

#[tokio::test]
async fn who_takes_no_answer_is_given_up_and_its_answers_are_forgotten() {
    let patience = ListenerTimeouts { stalled: Duration::from_millis(300), ..patient() };
    let listener = open(CallerLimits { answer_bytes: 64 << 20, ..limits() }, patience, both()).await;
    let mut slow = Vec::new();
    for _ in 0..8 {
        // So small that the kernel cannot take the whole answer.
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        let mut stream = socket.connect(listener.address).await.unwrap();
        for _ in 0..8 {
            say(&mut stream, "GET /long HTTP/1.1\r\nHost: t\r\nX-Session: 1\r\n\r\n").await;
        }
        slow.push(stream);
    }
    listener.until("given up", r#"closed_total{api="matrix",reason="stalled"}"#).await;
    listener.until("all are", r#"quorate_api_connections{api="matrix"} 0"#).await;
    listener.until("forgotten", "quorate_api_response_bytes 0").await;
    let mut quick = listener.connect().await;
    let answer = ask(&mut quick, "GET /long").await;
    assert!(answer.len() > ANSWER, "a caller who reads gets all of it");
}

#[tokio::test]
async fn while_answers_fill_their_budget_new_requests_are_told_to_come_again() {
    let listener = open(CallerLimits { answer_bytes: 256 << 10, ..limits() }, patient(), both()).await;
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut slow = socket.connect(listener.address).await.unwrap();
    let mut other = listener.connect_from(9).await;
    // The kernel takes some megabytes first.
    tokio::time::timeout(PATIENCE, async {
        loop {
            say(&mut slow, "GET /long HTTP/1.1\r\nHost: t\r\nX-Session: 1\r\n\r\n").await;
            if ask(&mut other, "GET /").await.starts_with("HTTP/1.1 503") {
                break;
            }
        }
    })
    .await
    .expect("the budget fills");
    assert!(
        listener.metrics.render().unwrap().contains(r#"quorate_api_refused_total{api="matrix",reason="answer_bytes"}"#)
    );
    drop(slow);
    listener.until("forgotten", "quorate_api_response_bytes 0").await;
    assert!(ask(&mut other, "GET /").await.ends_with("here"));
}

#[tokio::test]
async fn a_stopping_listener_asks_its_callers_to_connect_elsewhere() {
    let listener = open(limits(), patient(), both()).await;
    let (mut before, mut idle) = (listener.connect().await, listener.connect().await);
    assert!(!ask(&mut before, "GET /").await.to_lowercase().contains("connection: close"));
    assert!(ask(&mut idle, "GET /").await.ends_with("here"));
    listener.bounds.stop();
    assert!(ask(&mut before, "GET /").await.to_lowercase().contains("connection: close"));
    ends(&mut before).await;
    listener.closed.cancel();
    ends(&mut idle).await;
}

/// Writes a certificate of its own authority to files, and returns the roots that trust it.
fn certify(files: &ClientTlsFiles) -> RootCertStore {
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = rcgen::CertificateParams::new(["chat.test".to_owned()]).unwrap().self_signed(&key).unwrap();
    std::fs::write(&files.cert, certificate.pem()).unwrap();
    std::fs::write(&files.key, key.serialize_pem()).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(certificate.der().clone()).unwrap();
    roots
}

/// Performs the client's part of a TLS handshake.
async fn shake(
    stream: TcpStream,
    roots: &RootCertStore,
    version: &'static SupportedProtocolVersion,
) -> std::io::Result<TlsStream<TcpStream>> {
    let provider = Arc::new(ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(roots.clone())
        .with_no_client_auth();
    let name = ServerName::try_from("chat.test").unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, stream).await
}

async fn over_tls(
    listener: &Opened,
    roots: &RootCertStore,
    version: &'static SupportedProtocolVersion,
) -> std::io::Result<String> {
    let mut stream = shake(listener.connect().await, roots, version).await?;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n").await?;
    let mut heard = String::new();
    stream.read_to_string(&mut heard).await?;
    Ok(heard)
}

#[tokio::test]
async fn a_listener_with_a_certificate_speaks_tls_from_1_2_on_and_takes_a_renewed_one() {
    let dir = tempfile::tempdir().unwrap();
    let files = ClientTlsFiles { cert: dir.path().join("tls.crt"), key: dir.path().join("tls.key") };
    let first = certify(&files);
    let tls = ClientTls::load(files.clone()).unwrap();
    let patience = ListenerTimeouts { stranger_idle: Duration::from_secs(3), ..patient() };
    let listener = open_with(limits(), patience, both(), Some(tls.clone())).await;
    for version in [&TLS12, &TLS13] {
        assert!(over_tls(&listener, &first, version).await.unwrap().ends_with("here"));
    }
    let (mut silent, mut plain) = (listener.connect().await, listener.connect().await);
    say(&mut plain, "GET / HTTP/1.1\r\nHost: t\r\n\r\n").await;
    ends(&mut plain).await;
    ends(&mut silent).await;

    let second = certify(&files);
    assert!(tls.reload().unwrap() && !tls.reload().unwrap());
    assert!(over_tls(&listener, &second, &TLS13).await.unwrap().ends_with("here"));
    assert!(over_tls(&listener, &first, &TLS13).await.is_err());
    std::fs::write(&files.key, "no key").unwrap();
    assert!(tls.reload().unwrap_err().to_string().contains("tls.key"));
    assert!(over_tls(&listener, &second, &TLS13).await.is_ok(), "the former one stays");
}
