//! The gRPC API for programs: `quorate.chat.v1` on port 7400. Each call is decoded, authenticated, handed to
//! [`Service`] and answered; nothing is decided here.

mod accounts;
mod auth;
pub(crate) mod fuzzing;
mod gate;
mod reads;
mod rooms;
pub mod server;
mod servers;

use crate::api::{error, stream};
use crate::metrics::{self, Door, Metrics};
use crate::service::subscription::Subscription;
use crate::service::{Refusal, Service, limits};
use crate::trace::{self, Asked};
use futures::StreamExt as _;
use futures::stream::BoxStream;
use quorate_wire::chat::v1::{chat_server::Chat, *};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

pub use auth::bearer;

/// Implementation of the `Chat` service.
#[derive(Clone)]
pub struct ChatDoor {
    service: Service,
    metrics: Metrics,
}

impl ChatDoor {
    /// Creates the gRPC API of a service.
    #[must_use]
    pub fn new(service: Service, metrics: Metrics) -> Self {
        Self { service, metrics }
    }

    fn begin<T>(&self, endpoint: &'static str, request: &Request<T>) -> Begun {
        let trace = trace::door::Call::grpc(endpoint, request.metadata().as_ref());
        Begun { count: self.metrics.door(Door::Grpc, endpoint), trace }
    }
}

/// A call that is counted, timed and, if it is sampled, traced.
struct Begun {
    count: metrics::Call,
    trace: trace::door::Call,
}

impl Begun {
    /// Runs the call, and turns its refusal into a status.
    fn answer<T>(
        self,
        call: impl Future<Output = Result<T, Refusal>> + Send,
    ) -> impl Future<Output = Result<Response<T>, Status>> + Send {
        // Boxed once, instead of kilobytes within each of the futures around it.
        let call = Box::pin(call);
        async move {
            let answer = self.count.run(self.trace.wrap(call)).await;
            self.trace.answered(&answer);
            answer.map(Response::new).map_err(error::status)
        }
    }
}

#[tonic::async_trait]
impl Chat for ChatDoor {
    async fn register(&self, request: Request<RegisterRequest>) -> Result<Response<SessionResponse>, Status> {
        self.begin("Register", &request).answer(accounts::register(&self.service, request)).await
    }

    async fn login(&self, request: Request<LoginRequest>) -> Result<Response<SessionResponse>, Status> {
        self.begin("Login", &request).answer(accounts::login(&self.service, request)).await
    }

    async fn logout(&self, request: Request<LogoutRequest>) -> Result<Response<LogoutResponse>, Status> {
        self.begin("Logout", &request).answer(accounts::logout(&self.service, request)).await
    }

    async fn who_am_i(&self, request: Request<WhoAmIRequest>) -> Result<Response<WhoAmIResponse>, Status> {
        self.begin("WhoAmI", &request).answer(accounts::who_am_i(&self.service, request)).await
    }

    async fn create_room(&self, request: Request<CreateRoomRequest>) -> Result<Response<CreateRoomResponse>, Status> {
        self.begin("CreateRoom", &request).answer(rooms::create(&self.service, request)).await
    }

    async fn join_room(&self, request: Request<JoinRoomRequest>) -> Result<Response<MembershipResponse>, Status> {
        self.begin("JoinRoom", &request).answer(rooms::join(&self.service, request)).await
    }

    async fn leave_room(&self, request: Request<LeaveRoomRequest>) -> Result<Response<MembershipResponse>, Status> {
        self.begin("LeaveRoom", &request).answer(rooms::leave(&self.service, request)).await
    }

    async fn invite(&self, request: Request<InviteRequest>) -> Result<Response<MembershipResponse>, Status> {
        self.begin("Invite", &request).answer(rooms::invite(&self.service, request)).await
    }

    async fn list_rooms(&self, request: Request<ListRoomsRequest>) -> Result<Response<ListRoomsResponse>, Status> {
        self.begin("ListRooms", &request).answer(reads::rooms(&self.service, request)).await
    }

    async fn list_members(
        &self,
        request: Request<ListMembersRequest>,
    ) -> Result<Response<ListMembersResponse>, Status> {
        self.begin("ListMembers", &request).answer(reads::members(&self.service, request)).await
    }

    async fn set_state(&self, request: Request<SetStateRequest>) -> Result<Response<SendResponse>, Status> {
        self.begin("SetState", &request).answer(rooms::set_state(&self.service, request)).await
    }

    async fn send(&self, request: Request<SendRequest>) -> Result<Response<SendResponse>, Status> {
        self.begin("Send", &request).answer(rooms::send(&self.service, request)).await
    }

    type PostStream = ReceiverStream<Result<PostResponse, Status>>;

    async fn post(&self, request: Request<Streaming<PostRequest>>) -> Result<Response<Self::PostStream>, Status> {
        let guard = self.metrics.stream(Door::Grpc, "Post");
        let begun = self.begin("Post", &request);
        begun
            .answer(async {
                let session = auth::session(&self.service, &request).await?;
                let asked = Asked::of(request.metadata().as_ref());
                let answers = stream::post::serve(self.service.clone(), session, request.into_inner(), guard, asked);
                Ok(ReceiverStream::new(answers))
            })
            .await
    }

    async fn history(&self, request: Request<HistoryRequest>) -> Result<Response<HistoryResponse>, Status> {
        self.begin("History", &request).answer(reads::history(&self.service, request)).await
    }

    type SubscribeStream = BoxStream<'static, Result<SubscribeResponse, Status>>;

    async fn subscribe(&self, request: Request<SubscribeRequest>) -> Result<Response<Self::SubscribeStream>, Status> {
        let (guard, delivery) = (self.metrics.stream(Door::Grpc, "Subscribe"), self.metrics.delivery(Door::Grpc));
        let begun = self.begin("Subscribe", &request);
        begun
            .answer(async {
                let session = auth::session(&self.service, &request).await?;
                let SubscribeRequest { room_id, cursor } = request.into_inner();
                limits::optional_name("room_id", &room_id)?;
                let cursor = if cursor.is_empty() { None } else { Some(limits::cursor(&cursor)?) };
                let subscription = Subscription::open(&self.service, &session, &room_id, cursor).await?;
                Ok(stream::subscribe::frames(subscription, session, self.service.stopping(), guard, delivery).boxed())
            })
            .await
    }

    async fn list_servers(
        &self,
        request: Request<ListServersRequest>,
    ) -> Result<Response<ListServersResponse>, Status> {
        self.begin("ListServers", &request).answer(servers::list(&self.service, &self.metrics, request)).await
    }
}
