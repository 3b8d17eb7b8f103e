//! The gRPC API for programs: `quorate.chat.v1` on port 7400. Each call is decoded, authenticated, handed to
//! [`ChatService`] and answered; nothing is decided here.

mod accounts;
mod auth;
#[cfg(any(test, feature = "testing"))]
pub(crate) mod fuzzing;
mod gate;
mod reads;
mod rooms;
pub mod server;
mod servers;

use crate::api::{error, stream};
use crate::metrics::{self, ChatMetrics, ClientApi};
use crate::service::subscription::EventSubscription;
use crate::service::{ChatService, RequestRefusal, limits};
use crate::trace::{self, TraceRequest};
use futures::StreamExt as _;
use futures::stream::BoxStream;
use quorate_wire::chat::v1::{chat_server::Chat, *};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

pub use auth::bearer_token;

/// Implementation of the `Chat` service.
#[derive(Clone)]
pub struct ChatApi {
    service: ChatService,
    metrics: ChatMetrics,
}

impl ChatApi {
    /// Creates the gRPC API of a service.
    #[must_use]
    pub fn new(service: ChatService, metrics: ChatMetrics) -> Self {
        Self { service, metrics }
    }

    fn begin<T>(&self, endpoint: &'static str, request: &Request<T>) -> ObservedCall {
        let trace = trace::call::CallTrace::grpc(endpoint, request.metadata().as_ref());
        ObservedCall { count: self.metrics.call(ClientApi::Grpc, endpoint), trace }
    }
}

/// A call that is counted, timed and, if it is sampled, traced.
struct ObservedCall {
    count: metrics::CallMeter,
    trace: trace::call::CallTrace,
}

impl ObservedCall {
    /// Runs the call, and turns its refusal into a status.
    fn answer<T>(
        self,
        call: impl Future<Output = Result<T, RequestRefusal>> + Send,
    ) -> impl Future<Output = Result<Response<T>, Status>> + Send {
        // Boxed once, instead of kilobytes within each of the futures around it.
        let call = Box::pin(call);
        async move {
            let answer = self.count.run(self.trace.wrap(call)).await;
            self.trace.answered(&answer);
            answer.map(Response::new).map_err(error::refusal_to_status)
        }
    }
}

#[tonic::async_trait]
impl Chat for ChatApi {
    async fn register(&self, request: Request<RegisterRequest>) -> Result<Response<SessionResponse>, Status> {
        self.begin("Register", &request).answer(accounts::register_account(&self.service, request)).await
    }

    async fn login(&self, request: Request<LoginRequest>) -> Result<Response<SessionResponse>, Status> {
        self.begin("Login", &request).answer(accounts::log_in(&self.service, request)).await
    }

    async fn logout(&self, request: Request<LogoutRequest>) -> Result<Response<LogoutResponse>, Status> {
        self.begin("Logout", &request).answer(accounts::log_out(&self.service, request)).await
    }

    async fn who_am_i(&self, request: Request<WhoAmIRequest>) -> Result<Response<WhoAmIResponse>, Status> {
        self.begin("WhoAmI", &request).answer(accounts::who_am_i(&self.service, request)).await
    }

    async fn create_room(&self, request: Request<CreateRoomRequest>) -> Result<Response<CreateRoomResponse>, Status> {
        self.begin("CreateRoom", &request).answer(rooms::create_room(&self.service, request)).await
    }

    async fn join_room(&self, request: Request<JoinRoomRequest>) -> Result<Response<MembershipResponse>, Status> {
        self.begin("JoinRoom", &request).answer(rooms::join_room(&self.service, request)).await
    }

    async fn leave_room(&self, request: Request<LeaveRoomRequest>) -> Result<Response<MembershipResponse>, Status> {
        self.begin("LeaveRoom", &request).answer(rooms::leave_room(&self.service, request)).await
    }

    async fn invite(&self, request: Request<InviteRequest>) -> Result<Response<MembershipResponse>, Status> {
        self.begin("Invite", &request).answer(rooms::invite_user(&self.service, request)).await
    }

    async fn list_rooms(&self, request: Request<ListRoomsRequest>) -> Result<Response<ListRoomsResponse>, Status> {
        self.begin("ListRooms", &request).answer(reads::list_rooms(&self.service, request)).await
    }

    async fn list_members(
        &self,
        request: Request<ListMembersRequest>,
    ) -> Result<Response<ListMembersResponse>, Status> {
        self.begin("ListMembers", &request).answer(reads::list_members(&self.service, request)).await
    }

    async fn set_state(&self, request: Request<SetStateRequest>) -> Result<Response<SendResponse>, Status> {
        self.begin("SetState", &request).answer(rooms::set_state(&self.service, request)).await
    }

    async fn send(&self, request: Request<SendRequest>) -> Result<Response<SendResponse>, Status> {
        self.begin("Send", &request).answer(rooms::send_message(&self.service, request)).await
    }

    type PostStream = ReceiverStream<Result<PostResponse, Status>>;

    async fn post(&self, request: Request<Streaming<PostRequest>>) -> Result<Response<Self::PostStream>, Status> {
        let guard = self.metrics.stream(ClientApi::Grpc, "Post");
        let begun = self.begin("Post", &request);
        begun
            .answer(async {
                let session = auth::caller_session(&self.service, &request).await?;
                let asked = TraceRequest::of(request.metadata().as_ref());
                let answers =
                    stream::post::serve_posts(self.service.clone(), session, request.into_inner(), guard, asked);
                Ok(ReceiverStream::new(answers))
            })
            .await
    }

    async fn history(&self, request: Request<HistoryRequest>) -> Result<Response<HistoryResponse>, Status> {
        self.begin("History", &request).answer(reads::read_history(&self.service, request)).await
    }

    async fn mark_read(&self, request: Request<MarkReadRequest>) -> Result<Response<MarkReadResponse>, Status> {
        self.begin("MarkRead", &request).answer(rooms::mark_read(&self.service, request)).await
    }

    type SubscribeStream = BoxStream<'static, Result<SubscribeResponse, Status>>;

    async fn subscribe(&self, request: Request<SubscribeRequest>) -> Result<Response<Self::SubscribeStream>, Status> {
        let guard = self.metrics.stream(ClientApi::Grpc, "Subscribe");
        let delivery = self.metrics.delivery(ClientApi::Grpc);
        let begun = self.begin("Subscribe", &request);
        begun
            .answer(async {
                let session = auth::caller_session(&self.service, &request).await?;
                let SubscribeRequest { room_id, cursor } = request.into_inner();
                limits::optional_name("room_id", &room_id)?;
                let cursor = if cursor.is_empty() { None } else { Some(limits::cursor_position(&cursor)?) };
                let subscription = EventSubscription::open(&self.service, &session, &room_id, cursor).await?;
                Ok(stream::subscribe::subscription_frames(
                    subscription,
                    session,
                    self.service.stopping(),
                    guard,
                    delivery,
                )
                .boxed())
            })
            .await
    }

    async fn list_servers(
        &self,
        request: Request<ListServersRequest>,
    ) -> Result<Response<ListServersResponse>, Status> {
        self.begin("ListServers", &request).answer(servers::list_servers(&self.service, &self.metrics, request)).await
    }
}
