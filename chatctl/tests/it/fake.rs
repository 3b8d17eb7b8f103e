//! Stand-in for the chat service: several servers over one world, each with a script of faults.

use prost::Message as _;
use quorate_wire::chat::v1::{chat_server::Chat, chat_server::ChatServer, *};
use std::{
    collections::{HashMap, VecDeque},
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::{
    net::TcpListener,
    runtime::Runtime,
    sync::{mpsc, watch},
};
use tokio_stream::{Stream, wrappers::TcpListenerStream};
use tonic::{
    Code, Request, Response, Status,
    metadata::{MetadataMap, MetadataValue},
    transport::{Identity, Server as Tonic, ServerTlsConfig},
};

/// Fault that a server applies to one write.
#[derive(Debug, Clone)]
pub(crate) enum WriteFault {
    /// Answers that the outcome is unknown, having applied the write or not.
    Unknown { applied: bool },
    /// Refuses the write.
    Refuse(ErrorCode),
    /// Refuses the write because of a rate limit.
    Limit { retry_after_ms: u64 },
    /// Applies the write and never answers.
    Hang,
}

/// Faults that a server applies to one subscription.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct StreamFault {
    /// Ends the stream after this many events.
    pub(crate) end_after: Option<usize>,
    /// Sends a frame that asks to reconnect before the stream ends.
    pub(crate) ask_to_reconnect: bool,
    /// Begins this many events before the cursor.
    pub(crate) repeat: usize,
    /// Leaves out the event of this number.
    pub(crate) swallow: Option<usize>,
    /// Swaps this event with the one after.
    pub(crate) swap: Option<usize>,
    /// Refuses the subscription permanently.
    pub(crate) refuse: Option<ErrorCode>,
}

/// State that the servers share, in place of a replicated log.
pub(crate) struct World {
    pub(crate) state: Mutex<State>,
    changed: watch::Sender<usize>,
}

#[derive(Default)]
pub(crate) struct State {
    pub(crate) passwords: HashMap<String, String>,
    pub(crate) tokens: HashMap<String, String>,
    pub(crate) rooms: HashMap<String, Room>,
    pub(crate) events: Vec<Event>,
    /// Number of arrivals of each transaction id.
    pub(crate) attempts: HashMap<String, usize>,
    /// Events that are left out of every history.
    pub(crate) hidden: Vec<usize>,
    /// Number of newest events that are missing from reads.
    pub(crate) stale: usize,
    /// Text without which a transaction id is refused.
    pub(crate) only: Option<String>,
    dedup: HashMap<(String, String), SendResponse>,
}

impl World {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self { state: Mutex::default(), changed: watch::Sender::new(0) })
    }

    /// Creates an account with a session and a room, without any call; returns the token and the room id.
    pub(crate) fn furnished(&self) -> (String, String) {
        let mut state = self.state.lock().unwrap();
        state.tokens.insert("token".into(), "@alice:test".into());
        let room = Room { room_id: "!room:test".into(), name: "Room".into(), ..Room::default() };
        state.rooms.insert(room.room_id.clone(), room);
        ("token".into(), "!room:test".into())
    }

    pub(crate) fn say(&self, room: &str, body: &str) -> usize {
        let content = serde_json::json!({ "msgtype": "m.text", "body": body }).to_string();
        self.append(room, "@bob:test", content.into());
        self.state.lock().unwrap().events.len()
    }

    fn append(&self, room: &str, sender: &str, content: tonic::codegen::Bytes) -> SendResponse {
        let mut state = self.state.lock().unwrap();
        let index = state.events.len() as u64 + 1;
        let position = Some(Position { incarnation: 0, index, ordinal: 0 });
        let event = Event {
            event_id: format!("${index}"),
            room_id: room.into(),
            sender: sender.into(),
            r#type: "m.room.message".into(),
            content,
            position,
            ..Event::default()
        };
        state.events.push(event);
        self.changed.send_replace(state.events.len());
        SendResponse { event_id: format!("${index}"), position, origin_server_ts: 0 }
    }

    fn user(&self, metadata: &MetadataMap) -> Result<String, Status> {
        let token = metadata.get("authorization").and_then(|v| v.to_str().ok()).and_then(|v| v.strip_prefix("Bearer "));
        let state = self.state.lock().unwrap();
        token.and_then(|token| state.tokens.get(token).cloned()).ok_or_else(|| refused(ErrorCode::Unauthenticated))
    }

    fn session(&self, user: &str) -> Response<SessionResponse> {
        let mut state = self.state.lock().unwrap();
        let access_token = format!("token-{}", state.tokens.len());
        state.tokens.insert(access_token.clone(), user.into());
        let (user_id, device_id) = (format!("@{user}:test"), "DEVICE".into());
        Response::new(SessionResponse {
            user_id,
            device_id,
            access_token,
            expires_in_ms: 1,
            server_name: "test".into(),
        })
    }
}

pub(crate) fn refused(code: ErrorCode) -> Status {
    failed(&ErrorDetail { code: code.into(), message: "the script says no".into(), ..ErrorDetail::default() })
}

fn failed(detail: &ErrorDetail) -> Status {
    let mut metadata = MetadataMap::new();
    metadata.insert_bin("quorate-error-bin", MetadataValue::from_bytes(&detail.encode_to_vec()));
    Status::with_metadata(Code::FailedPrecondition, detail.message.clone(), metadata)
}

fn detail_of(status: &Status) -> ErrorDetail {
    let bytes = status.metadata().get_bin("quorate-error-bin").unwrap().to_bytes().unwrap();
    ErrorDetail::decode(bytes).unwrap()
}

/// Running server on a runtime of its own: dropping the runtime ends every connection at once, as SIGKILL does.
pub(crate) struct Fake {
    pub(crate) address: String,
    scripts: Arc<Scripts>,
    runtime: Option<Runtime>,
}

#[derive(Default)]
struct Scripts {
    writes: Mutex<VecDeque<WriteFault>>,
    streams: Mutex<VecDeque<StreamFault>>,
    known: Mutex<Vec<String>>,
}

impl Fake {
    pub(crate) fn start(world: &Arc<World>) -> Self {
        Self::start_at(world, "127.0.0.1:0".parse().unwrap())
    }

    pub(crate) fn start_at(world: &Arc<World>, address: SocketAddr) -> Self {
        Self::serve(world, address, Tonic::builder())
    }

    /// Starts a server with a certificate.
    pub(crate) fn start_with_tls(world: &Arc<World>, identity: Identity) -> Self {
        let server = Tonic::builder().tls_config(ServerTlsConfig::new().identity(identity)).unwrap();
        Self::serve(world, "127.0.0.1:0".parse().unwrap(), server)
    }

    fn serve(world: &Arc<World>, address: SocketAddr, mut server: Tonic) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = std::net::TcpListener::bind(address).unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let scripts = Arc::new(Scripts::default());
        let service = Service { world: Arc::clone(world), scripts: Arc::clone(&scripts) };
        runtime.spawn(async move {
            let incoming = TcpListenerStream::new(TcpListener::from_std(listener).unwrap());
            server.add_service(ChatServer::new(service)).serve_with_incoming(incoming).await
        });
        Self { address, scripts, runtime: Some(runtime) }
    }

    pub(crate) fn cluster(world: &Arc<World>, count: usize) -> (Vec<Self>, Vec<String>) {
        let fakes: Vec<Self> = (0..count).map(|_| Self::start(world)).collect();
        let addresses = fakes.iter().map(|fake| fake.address.clone()).collect();
        (fakes, addresses)
    }

    pub(crate) fn on_writes(&self, faults: impl IntoIterator<Item = WriteFault>) {
        self.scripts.writes.lock().unwrap().extend(faults);
    }

    pub(crate) fn on_streams(&self, faults: impl IntoIterator<Item = StreamFault>) {
        self.scripts.streams.lock().unwrap().extend(faults);
    }

    pub(crate) fn tells_of(&self, addresses: &[String]) {
        *self.scripts.known.lock().unwrap() = addresses.to_vec();
    }

    /// Kills the server, and returns once nothing listens any more: until then the kernel would still accept
    /// connections for it.
    pub(crate) fn kill(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
            while std::net::TcpStream::connect(&self.address).is_ok() {
                std::thread::yield_now();
            }
        }
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.kill();
    }
}

struct Service {
    world: Arc<World>,
    scripts: Arc<Scripts>,
}

impl Service {
    async fn write(&self, user: &str, message: SendRequest) -> Result<SendResponse, Status> {
        let only = self.world.state.lock().unwrap().only.clone();
        if only.is_some_and(|text| !message.transaction_id.contains(&text)) {
            return Err(refused(ErrorCode::Forbidden));
        }
        let key = (user.to_owned(), message.transaction_id.clone());
        *self.world.state.lock().unwrap().attempts.entry(message.transaction_id).or_default() += 1;
        let apply = || {
            if let Some(first) = self.world.state.lock().unwrap().dedup.get(&key) {
                return first.clone();
            }
            let answer = self.world.append(&message.room_id, user, message.content.clone());
            self.world.state.lock().unwrap().dedup.insert(key.clone(), answer.clone());
            answer
        };
        let fault = self.scripts.writes.lock().unwrap().pop_front();
        match fault {
            None => Ok(apply()),
            Some(WriteFault::Refuse(code)) => Err(refused(code)),
            Some(WriteFault::Limit { retry_after_ms }) => {
                let code = ErrorCode::LimitExceeded.into();
                Err(failed(&ErrorDetail { code, retry_after_ms, ..ErrorDetail::default() }))
            }
            Some(WriteFault::Unknown { applied }) => {
                if applied {
                    apply();
                }
                let code = ErrorCode::Unavailable.into();
                Err(failed(&ErrorDetail { code, unknown: true, ..ErrorDetail::default() }))
            }
            Some(WriteFault::Hang) => {
                apply();
                std::future::pending().await
            }
        }
    }
}

type Frames = Pin<Box<dyn Stream<Item = Result<SubscribeResponse, Status>> + Send>>;

async fn follow(
    world: Arc<World>,
    room: String,
    start: usize,
    fault: StreamFault,
    frames: mpsc::Sender<Result<SubscribeResponse, Status>>,
) {
    let mut changed = world.changed.subscribe();
    let mut next = start.saturating_sub(fault.repeat);
    let mut sent = 0;
    let cursor = |next: usize| format!("c{next}");
    let frame = |events, next, reconnect| Ok(SubscribeResponse { events, cursor: cursor(next), reconnect });
    if frames.send(frame(Vec::new(), next, false)).await.is_err() {
        return;
    }
    loop {
        let available = *changed.borrow_and_update();
        while next < available {
            if fault.end_after.is_some_and(|most| sent >= most) {
                if fault.ask_to_reconnect {
                    let _ = frames.send(frame(Vec::new(), next, true)).await;
                }
                return;
            }
            let shown = match fault.swap {
                Some(number) if number == next && next + 1 < available => next + 1,
                Some(number) if number + 1 == next => next - 1,
                _ => next,
            };
            let event = world.state.lock().unwrap().events[shown].clone();
            let wanted = (room.is_empty() || event.room_id == room) && fault.swallow != Some(next);
            next += 1;
            sent += 1;
            let events = if wanted { vec![event] } else { Vec::new() };
            if frames.send(frame(events, next, false)).await.is_err() {
                return;
            }
        }
        tokio::select! {
            _ = changed.changed() => {}
            () = frames.closed() => return,
        }
    }
}

#[tonic::async_trait]
impl Chat for Service {
    type PostStream = Pin<Box<dyn Stream<Item = Result<PostResponse, Status>> + Send>>;
    type SubscribeStream = Frames;

    async fn register(&self, request: Request<RegisterRequest>) -> Result<Response<SessionResponse>, Status> {
        let RegisterRequest { username, password, .. } = request.into_inner();
        let fault = self.scripts.writes.lock().unwrap().pop_front();
        if let Some(WriteFault::Limit { retry_after_ms }) = fault {
            let code = ErrorCode::LimitExceeded.into();
            return Err(failed(&ErrorDetail { code, retry_after_ms, ..ErrorDetail::default() }));
        }
        if self.world.state.lock().unwrap().passwords.insert(username.clone(), password).is_some() {
            return Err(refused(ErrorCode::AlreadyExists));
        }
        if let Some(WriteFault::Unknown { .. }) = fault {
            let code = ErrorCode::Unavailable.into();
            return Err(failed(&ErrorDetail { code, unknown: true, ..ErrorDetail::default() }));
        }
        Ok(self.world.session(&username))
    }

    async fn login(&self, request: Request<LoginRequest>) -> Result<Response<SessionResponse>, Status> {
        let LoginRequest { username, password, .. } = request.into_inner();
        if self.world.state.lock().unwrap().passwords.get(&username) != Some(&password) {
            return Err(refused(ErrorCode::WrongCredentials));
        }
        Ok(self.world.session(&username))
    }

    async fn logout(&self, request: Request<LogoutRequest>) -> Result<Response<LogoutResponse>, Status> {
        self.world.user(request.metadata())?;
        Ok(Response::new(LogoutResponse {}))
    }

    async fn who_am_i(&self, request: Request<WhoAmIRequest>) -> Result<Response<WhoAmIResponse>, Status> {
        let user_id = self.world.user(request.metadata())?;
        Ok(Response::new(WhoAmIResponse { user_id, device_id: "DEVICE".into(), server_name: "test".into() }))
    }

    async fn create_room(&self, request: Request<CreateRoomRequest>) -> Result<Response<CreateRoomResponse>, Status> {
        self.world.user(request.metadata())?;
        let CreateRoomRequest { transaction_id, name, .. } = request.into_inner();
        let room_id = format!("!{transaction_id}:test");
        let room = Room { room_id: room_id.clone(), name, membership: "join".into(), ..Room::default() };
        self.world.state.lock().unwrap().rooms.insert(room_id.clone(), room);
        Ok(Response::new(CreateRoomResponse { room_id, position: None }))
    }

    async fn join_room(&self, request: Request<JoinRoomRequest>) -> Result<Response<MembershipResponse>, Status> {
        self.world.user(request.metadata())?;
        let room_id = request.into_inner().room;
        if !self.world.state.lock().unwrap().rooms.contains_key(&room_id) {
            return Err(refused(ErrorCode::NotFound));
        }
        Ok(Response::new(MembershipResponse { room_id, ..Default::default() }))
    }

    async fn leave_room(&self, request: Request<LeaveRoomRequest>) -> Result<Response<MembershipResponse>, Status> {
        self.world.user(request.metadata())?;
        Ok(Response::new(MembershipResponse { room_id: request.into_inner().room_id, ..Default::default() }))
    }

    async fn mark_read(&self, request: Request<MarkReadRequest>) -> Result<Response<MarkReadResponse>, Status> {
        self.world.user(request.metadata())?;
        Ok(Response::new(MarkReadResponse {}))
    }

    async fn invite(&self, request: Request<InviteRequest>) -> Result<Response<MembershipResponse>, Status> {
        self.world.user(request.metadata())?;
        Ok(Response::new(MembershipResponse { room_id: request.into_inner().room_id, ..Default::default() }))
    }

    async fn list_rooms(&self, request: Request<ListRoomsRequest>) -> Result<Response<ListRoomsResponse>, Status> {
        self.world.user(request.metadata())?;
        let rooms = self.world.state.lock().unwrap().rooms.values().cloned().collect();
        Ok(Response::new(ListRoomsResponse { rooms, ..Default::default() }))
    }

    async fn list_members(
        &self,
        request: Request<ListMembersRequest>,
    ) -> Result<Response<ListMembersResponse>, Status> {
        self.world.user(request.metadata())?;
        Ok(Response::new(ListMembersResponse::default()))
    }

    async fn set_state(&self, _: Request<SetStateRequest>) -> Result<Response<SendResponse>, Status> {
        Err(Status::unimplemented("not part of the stand-in"))
    }

    async fn send(&self, request: Request<SendRequest>) -> Result<Response<SendResponse>, Status> {
        let user = self.world.user(request.metadata())?;
        self.write(&user, request.into_inner()).await.map(Response::new)
    }

    async fn post(
        &self,
        request: Request<tonic::Streaming<PostRequest>>,
    ) -> Result<Response<Self::PostStream>, Status> {
        let user = self.world.user(request.metadata())?;
        let mut frames = request.into_inner();
        let service = Self { world: Arc::clone(&self.world), scripts: Arc::clone(&self.scripts) };
        let (sender, receiver) = mpsc::channel(1);
        tokio::spawn(async move {
            while let Ok(Some(frame)) = frames.message().await {
                let mut results = Vec::new();
                for event in frame.events {
                    let transaction_id = event.transaction_id.clone();
                    let result = match service.write(&user, event).await {
                        Ok(accepted) => post_result::Result::Accepted(accepted),
                        Err(status) => post_result::Result::Refused(detail_of(&status)),
                    };
                    results.push(PostResult { transaction_id, result: Some(result) });
                }
                if sender.send(Ok(PostResponse { results })).await.is_err() {
                    return;
                }
            }
        });
        Ok(Response::new(Box::pin(tokio_stream::wrappers::ReceiverStream::new(receiver))))
    }

    async fn history(&self, request: Request<HistoryRequest>) -> Result<Response<HistoryResponse>, Status> {
        self.world.user(request.metadata())?;
        let HistoryRequest { room_id, from, direction, limit, .. } = request.into_inner();
        let state = self.world.state.lock().unwrap();
        let kept = state.events.iter().enumerate().filter(|(number, _)| !state.hidden.contains(number));
        let mut events: Vec<Event> = kept.map(|(_, event)| event).filter(|e| e.room_id == room_id).cloned().collect();
        if direction != history_request::Direction::Forward as i32 {
            events.reverse();
            events.drain(..state.stale.min(events.len()));
        }
        let start = from.parse::<usize>().unwrap_or(0);
        let end = events.len().min(start + limit as usize);
        let next = if end < events.len() { end.to_string() } else { String::new() };
        let page = events[start.min(end)..end].to_vec();
        let freshness = Freshness::Linearizable.into();
        Ok(Response::new(HistoryResponse { events: page, next, prev: from, freshness }))
    }

    async fn subscribe(&self, request: Request<SubscribeRequest>) -> Result<Response<Self::SubscribeStream>, Status> {
        self.world.user(request.metadata())?;
        let SubscribeRequest { room_id, cursor } = request.into_inner();
        let fault = self.scripts.streams.lock().unwrap().pop_front().unwrap_or_default();
        if let Some(code) = fault.refuse {
            return Err(refused(code));
        }
        let now = self.world.state.lock().unwrap().events.len();
        let start = cursor.strip_prefix('c').map_or(now, |number| number.parse().unwrap());
        let (sender, receiver) = mpsc::channel(1);
        tokio::spawn(follow(Arc::clone(&self.world), room_id, start, fault, sender));
        Ok(Response::new(Box::pin(tokio_stream::wrappers::ReceiverStream::new(receiver))))
    }

    async fn list_servers(
        &self,
        request: Request<ListServersRequest>,
    ) -> Result<Response<ListServersResponse>, Status> {
        self.world.user(request.metadata())?;
        let known = self.scripts.known.lock().unwrap().clone();
        let servers = known.into_iter().map(|address| Server { address, ..Default::default() }).collect();
        Ok(Response::new(ListServersResponse { servers, cluster_id: "c".into(), term: 1 }))
    }
}

/// Waits until `condition` holds; panics after 20 s, because nothing else would end a test that waits for ever.
pub(crate) async fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
    while !condition() {
        assert!(tokio::time::Instant::now() < deadline, "never happened: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
