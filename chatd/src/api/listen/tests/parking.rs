//! Requests that wait, and leave hyper for that time.

use super::super::connection::{run_connection, run_with_tls};
use super::super::http1::PEEK;
use super::super::places::{ConnectionSignal, ConnectionSlots, SlotGuard};
use super::super::service::{ConnectionService, ListenerBackend};
use super::*;
use http::{Request, Version};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::io::{self, IoSlice};
use std::net::IpAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{DuplexStream, ReadBuf, duplex};
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;

/// Bytes that are on their way at a time where a test is about something else.
const WIDE: usize = 64 << 10;

/// Socket that tells how much room its reader had the last time: a waiting request reads less at a time than hyper.
struct WatchedIo {
    io: DuplexStream,
    room: watch::Sender<usize>,
}

impl AsyncRead for WatchedIo {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, read: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.room.send_replace(read.remaining());
        Pin::new(&mut self.io).poll_read(cx, read)
    }
}

impl AsyncWrite for WatchedIo {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, pieces)
    }
}

/// News that requests wait for, and the number of those who wait.
#[derive(Default)]
struct News {
    come: Notify,
    waiting: watch::Sender<usize>,
}

/// Request that is being served, until its handler ends or is dropped.
struct Waiting(Arc<News>);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.waiting.send_modify(|waiting| *waiting -= 1);
    }
}

impl News {
    fn wait(self: Arc<Self>) -> Waiting {
        self.waiting.send_modify(|waiting| *waiting += 1);
        Waiting(self)
    }

    async fn has_waiting(&self, number: usize) {
        let mut waiting = self.waiting.subscribe();
        let reached = tokio::time::timeout(PATIENCE, waiting.wait_for(|waiting| *waiting == number)).await;
        reached.expect("in time").expect("the sender is here");
    }
}

/// Waits for news, apart from hyper.
async fn wait(Extension(connection): Extension<CallerConnection>, Extension(news): Extension<Arc<News>>) -> String {
    let waiting = Arc::clone(&news).wait();
    connection.park();
    news.come.notified().await;
    drop(waiting);
    "news".to_owned()
}

fn router(news: &Arc<News>) -> Router {
    Router::new()
        .route("/", get(|| async { "here" }))
        .route("/told", get(|| async { "news" }))
        .route("/long", get(|| async { vec![b'x'; ANSWER] }))
        .route("/wait", get(wait))
        .layer(Extension(Arc::clone(news)))
}

/// Returns the service of a new connection, and its place.
fn serve(places: &Arc<ConnectionSlots>, news: &Arc<News>) -> (ConnectionService<Plain>, SlotGuard) {
    let peer = IpAddr::from(Ipv4Addr::LOCALHOST);
    let place = places.admit(peer).unwrap();
    let backend = Arc::new(ListenerBackend { router: router(news), manner: Plain });
    (ConnectionService::new(backend, &place, peer), place)
}

/// A connection that is served, and its client.
struct Served {
    client: DuplexStream,
    news: Arc<News>,
    room: watch::Receiver<usize>,
    places: Arc<ConnectionSlots>,
    metrics: ChatMetrics,
    ended: JoinHandle<()>,
}

impl Served {
    /// Opens a connection on which so many bytes are on their way at a time.
    fn open(width: usize) -> Self {
        let metrics = ChatMetrics::new().unwrap();
        let bounds = ListenerBounds::new(limits(), patient(), metrics.clone());
        let places = ConnectionSlots::new(ClientApi::Matrix, bounds);
        let news = Arc::<News>::default();
        let (service, place) = serve(&places, &news);
        let (client, io) = duplex(width);
        let (told, room) = watch::channel(0);
        let io = WatchedIo { io, room: told };
        let ended = tokio::spawn(run_connection(io, Arc::new(both()), service, place));
        Self { client, news, room, places, metrics, ended }
    }

    /// Asks for news, and returns when the request has left hyper.
    async fn park(&mut self, head: &str) {
        say(&mut self.client, head).await;
        self.is_parked().await;
    }

    async fn is_parked(&mut self) {
        self.news.has_waiting(1).await;
        let left = tokio::time::timeout(PATIENCE, self.room.wait_for(|room| *room == PEEK)).await;
        left.expect("in time").expect("the socket is open");
    }

    /// Returns what the client hears until the connection ends.
    async fn hear_all(&mut self) -> String {
        let mut heard = String::new();
        let all = tokio::time::timeout(PATIENCE, self.client.read_to_string(&mut heard)).await;
        all.expect("in time").expect("text");
        heard
    }

    async fn ends(self) {
        tokio::time::timeout(PATIENCE, self.ended).await.expect("in time").expect("no panic");
        let page = self.metrics.render().unwrap();
        assert!(page.contains(r#"quorate_api_connections{api="matrix"} 0"#), "its place is free:\n{page}");
    }
}

const WAIT: &str = "GET /wait HTTP/1.1\r\nHost: t\r\n\r\n";

/// Returns an answer without the line that depends on the clock.
fn undated(answer: &str) -> Vec<&str> {
    answer.lines().filter(|line| !line.to_lowercase().starts_with("date:")).collect()
}

#[tokio::test]
async fn a_waiting_request_leaves_hyper_is_answered_and_its_connection_goes_on() {
    let mut served = Served::open(WIDE);
    for _ in 0..3 {
        served.park(WAIT).await;
        served.news.come.notify_one();
        assert!(hear(&mut served.client).await.ends_with("news"));
        assert!(ask(&mut served.client, "GET /").await.ends_with("here"));
    }
}

#[tokio::test]
async fn a_request_that_waited_is_answered_like_one_that_did_not() {
    let lasting = ["HTTP/1.1\r\nHost: t", "HTTP/1.1\r\nConnection: keep-alive", "HTTP/1.0\r\nConnection: keep-alive"];
    let closing = [
        "HTTP/1.1\r\nConnection: close",
        "HTTP/1.1\r\nConnection: te\r\nConnection: x, CLOSE",
        "HTTP/1.1\r\nConnection: close\r\nConnection: keep-alive",
        "HTTP/1.0",
        "HTTP/1.0\r\nConnection: close, keep-alive",
    ];
    for (rest, lasts) in lasting.map(|rest| (rest, true)).into_iter().chain(closing.map(|rest| (rest, false))) {
        let (mut at_once, mut served) = (Served::open(WIDE), Served::open(WIDE));
        say(&mut at_once.client, &format!("GET /told {rest}\r\n\r\n")).await;
        let expected = hear(&mut at_once.client).await;
        served.park(&format!("GET /wait {rest}\r\n\r\n")).await;
        served.news.come.notify_one();
        let answer = hear(&mut served.client).await;
        assert_eq!(undated(&answer), undated(&expected), "{rest}");
        if lasts {
            assert!(ask(&mut served.client, "GET /").await.ends_with("here"), "{rest}");
        } else {
            assert_eq!(served.hear_all().await, "", "{rest}");
            served.ends().await;
        }
    }
}

#[tokio::test]
async fn requests_that_come_before_the_answer_are_served_after_it() {
    // Longer than what is read of it while the first one waits.
    let next = format!("GET / HTTP/1.1\r\nHost: t\r\nX-Long: {}\r\nConnection: close\r\n\r\n", "x".repeat(3 * PEEK));
    for together in [true, false] {
        let mut served = Served::open(WIDE);
        if together {
            say(&mut served.client, &format!("{WAIT}{next}")).await;
            served.news.has_waiting(1).await;
        } else {
            served.park(WAIT).await;
            say(&mut served.client, &next).await;
        }
        served.news.come.notify_one();
        let heard = served.hear_all().await;
        let (first, second) = (heard.find("news"), heard.find("here"));
        assert!(first.is_some() && first < second, "{heard}");
        served.ends().await;
    }
}

#[tokio::test]
async fn what_was_read_ahead_stays_in_order_while_one_request_after_the_other_waits() {
    const MANY: usize = 1000;
    // More than hyper reads at a time: when the second request leaves it, it has not taken all that was read ahead.
    let next = "GET / HTTP/1.1\r\nHost: t\r\n\r\n".repeat(MANY);
    let mut served = Served::open(WIDE);
    say(&mut served.client, &format!("{WAIT}{WAIT}{next}GET / HTTP/1.1\r\nConnection: close\r\n\r\n")).await;
    served.news.has_waiting(1).await;
    served.news.come.notify_one();
    assert!(hear(&mut served.client).await.ends_with("news"));
    served.news.has_waiting(1).await;
    served.news.come.notify_one();
    let heard = served.hear_all().await;
    assert_eq!((heard.matches("news").count(), heard.matches("here").count()), (1, MANY + 1));
    assert_eq!(heard.matches("HTTP/1.1 200").count(), MANY + 2);
    served.ends().await;
}

#[tokio::test]
async fn answers_that_the_client_has_not_taken_are_not_lost_when_the_next_request_waits() {
    let mut served = Served::open(4096);
    say(&mut served.client, &format!("GET /long HTTP/1.1\r\nHost: t\r\n\r\n{WAIT}")).await;
    assert!(hear(&mut served.client).await.len() > ANSWER);
    served.is_parked().await;
    served.news.come.notify_one();
    assert!(hear(&mut served.client).await.ends_with("news"));
}

#[tokio::test]
async fn a_client_that_vanishes_while_its_request_waits_frees_its_place() {
    let mut served = Served::open(WIDE);
    served.park(WAIT).await;
    // In place of the former one, which is dropped.
    served.client = duplex(1).0;
    served.news.has_waiting(0).await;
    served.ends().await;
}

#[tokio::test]
async fn a_connection_that_is_told_to_finish_answers_the_waiting_request_and_closes() {
    for stopping in [true, false] {
        let mut served = Served::open(WIDE);
        served.park(WAIT).await;
        if stopping {
            served.places.bounds.stop();
        } else {
            served.places.finish_all();
        }
        served.news.come.notify_one();
        let heard = served.hear_all().await;
        assert!(heard.ends_with("news"), "{heard}");
        assert_eq!(heard.to_lowercase().matches("connection: close").count(), 1, "{heard}");
        served.ends().await;
    }
}

#[tokio::test]
async fn a_connection_that_is_told_to_end_gives_its_waiting_request_up() {
    let mut served = Served::open(WIDE);
    served.park(WAIT).await;
    served.places.all().iter().for_each(|held| held.tell(ConnectionSignal::End));
    assert_eq!(served.hear_all().await, "");
    served.news.has_waiting(0).await;
    served.ends().await;
}

#[tokio::test]
async fn requests_for_which_nothing_can_stand_wait_within_hyper() {
    let with_body = "GET /wait HTTP/1.1\r\nHost: t\r\nContent-Length: 2\r\n\r\n{}";
    for (head, end) in [("HEAD /wait HTTP/1.1\r\nHost: t\r\n\r\n", "\r\n\r\n"), (with_body, "news")] {
        let mut served = Served::open(WIDE);
        say(&mut served.client, head).await;
        served.news.has_waiting(1).await;
        assert_ne!(*served.room.borrow(), PEEK);
        served.news.come.notify_one();
        // To the end: the answer to HEAD has the length of a body that does not come.
        say(&mut served.client, "GET / HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n").await;
        let heard = served.hear_all().await;
        let (first, second) = heard.split_at(heard.rfind("HTTP/1.1 200").unwrap());
        assert!(first.starts_with("HTTP/1.1 200") && first.ends_with(end), "{heard}");
        assert!(second.ends_with("here"), "{heard}");
    }
}

#[tokio::test]
async fn a_request_over_tls_waits_and_ends_with_its_client() {
    let dir = tempfile::tempdir().unwrap();
    let files = ClientTlsFiles { cert: dir.path().join("tls.crt"), key: dir.path().join("tls.key") };
    let roots = certify(&files);
    let bounds = ListenerBounds::new(limits(), patient(), ChatMetrics::new().unwrap());
    let news = Arc::<News>::default();
    let (service, place) = serve(&ConnectionSlots::new(ClientApi::Matrix, bounds), &news);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (accepted, _) = listener.accept().await.unwrap();
    let tls = ClientTls::load(files).unwrap();
    let ended = tokio::spawn(run_with_tls(accepted, tls, Arc::new(both()), service, place));
    let mut client = shake(client, &roots, &TLS13).await.unwrap();
    for _ in 0..2 {
        say(&mut client, WAIT).await;
        news.has_waiting(1).await;
        news.come.notify_one();
        assert!(hear(&mut client).await.ends_with("news"));
        assert!(ask(&mut client, "GET /").await.ends_with("here"));
    }
    say(&mut client, WAIT).await;
    news.has_waiting(1).await;
    // Without a word: the socket closes, and TLS has not said that it would.
    drop(client);
    news.has_waiting(0).await;
    tokio::time::timeout(PATIENCE, ended).await.expect("in time").expect("no panic");
}

#[tokio::test]
async fn a_request_over_http_2_waits_beside_others() {
    let served = Served::open(WIDE);
    let (client, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(served.client)).await.unwrap();
    tokio::spawn(connection);
    let ask = |path: &str| {
        let request = Request::get(format!("http://chat.test{path}")).body(Body::empty()).unwrap();
        let mut client = client.clone();
        async move { client.send_request(request).await }
    };
    let waits = tokio::spawn(ask("/wait"));
    served.news.has_waiting(1).await;
    let response = ask("/").await.unwrap();
    assert_eq!((response.status(), response.version()), (StatusCode::OK, Version::HTTP_2));
    served.news.come.notify_one();
    assert_eq!(waits.await.unwrap().unwrap().status(), StatusCode::OK);
}
