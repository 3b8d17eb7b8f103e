//! Access control of the gRPC API.

use super::places::{Places, Room, user_id};
use super::{ABOUT_A_ROOM, ABOUT_NOTHING, Answers, Caller};
use crate::support::client::{detail, message, with_token};
use crate::support::cluster::Cluster;
use prost::Message as _;
use quorate_wire::chat::v1::chat_client::ChatClient;
use quorate_wire::chat::v1::*;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};

/// Package for client programs.
pub(super) const PACKAGE: &str = "quorate.chat.v1";

/// Subset of `google.protobuf.FileDescriptorSet` that names methods.
#[derive(Clone, PartialEq, prost::Message)]
struct Files {
    #[prost(message, repeated, tag = "1")]
    file: Vec<File>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct File {
    #[prost(string, tag = "2")]
    package: String,
    #[prost(message, repeated, tag = "6")]
    service: Vec<ServiceOf>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct ServiceOf {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(message, repeated, tag = "2")]
    method: Vec<Method>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Method {
    #[prost(string, tag = "1")]
    name: String,
}

/// Returns the methods of a package, each with its service.
pub(super) fn methods(package: &str) -> Vec<String> {
    let files = Files::decode(quorate_wire::DESCRIPTORS).expect("descriptors").file.into_iter();
    let services = files.filter(|file| file.package == package).flat_map(|file| file.service);
    let named = |service: ServiceOf| {
        let name = service.name;
        service.method.into_iter().map(move |method| format!("{name}/{}", method.name))
    };
    services.flat_map(named).collect()
}

pub(super) async fn answers(cluster: &Cluster, places: &Places, table: &mut String) {
    let client = cluster.chat(0).await;
    let methods = methods(PACKAGE);
    assert!(methods.len() > 10, "{methods:?}");
    for method in methods {
        let mut answers = Answers::default();
        for caller in callers(&method) {
            let call = Call { client: client.clone(), places, caller: *caller, room: room(places, &method, *caller) };
            let answer = match call.answer(&method).await {
                Ok(()) => "OK".to_owned(),
                Err(status) if status.code() == Code::Ok => {
                    format!("refused in the stream: {:?}", detail(&status).code())
                }
                Err(status) => format!("{:?} {:?}", status.code(), detail(&status).code()),
            };
            if changes(&method, *caller) && answer != "OK" {
                places.unchanged(call.room);
            }
            answers.add(caller.label(), answer);
        }
        answers.write(&format!("gRPC {method}"), table);
    }
}

fn callers(method: &str) -> &'static [Caller] {
    match method {
        "Chat/JoinRoom" | "Chat/LeaveRoom" | "Chat/Invite" | "Chat/ListMembers" | "Chat/SetState" | "Chat/Send"
        | "Chat/Post" | "Chat/History" | "Chat/Subscribe" | "Chat/MarkRead" => ABOUT_A_ROOM,
        _ => &ABOUT_NOTHING,
    }
}

fn changes(method: &str, caller: Caller) -> bool {
    let changes = matches!(method, "Chat/JoinRoom" | "Chat/LeaveRoom" | "Chat/Invite" | "Chat/SetState");
    changes && matches!(caller, Caller::User(_))
}

fn room(places: &Places, method: &str, caller: Caller) -> Room {
    match caller {
        Caller::RoomGone => places.nowhere(),
        Caller::User(_) if changes(method, caller) => places.fresh(),
        _ => places.shared.clone(),
    }
}

struct Call<'p> {
    client: ChatClient<Channel>,
    places: &'p Places,
    caller: Caller,
    room: Room,
}

impl Call<'_> {
    fn asks<T>(&self, message: T) -> Request<T> {
        match self.places.token(self.caller) {
            "" => Request::new(message),
            token => with_token(message, token),
        }
    }

    /// Creates a session for this call to end.
    async fn fresh_session(&self) -> String {
        let username = format!("grpc-leaver-{}", self.places.number());
        let request = RegisterRequest { username, password: "a password".into(), ..RegisterRequest::default() };
        self.client.clone().register(request).await.expect("registered").into_inner().access_token
    }

    async fn answer(&self, method: &str) -> Result<(), Status> {
        let mut client = self.client.clone();
        let (room_id, number) = (self.room.id.clone(), self.places.number().to_string());
        match method {
            "Chat/Register" => {
                let username = format!("grpc-{number}");
                let request = RegisterRequest { username, password: "a password".into(), ..Default::default() };
                client.register(self.asks(request)).await.map(drop)
            }
            "Chat/Login" => {
                let (username, password) = ("guest".into(), "a password".into());
                client.login(self.asks(LoginRequest { username, password, ..Default::default() })).await.map(drop)
            }
            "Chat/Logout" => {
                let request = match self.caller {
                    Caller::User(_) => with_token(LogoutRequest::default(), &self.fresh_session().await),
                    _ => self.asks(LogoutRequest::default()),
                };
                client.logout(request).await.map(drop)
            }
            "Chat/WhoAmI" => client.who_am_i(self.asks(WhoAmIRequest {})).await.map(drop),
            "Chat/CreateRoom" => client.create_room(self.asks(CreateRoomRequest::default())).await.map(drop),
            "Chat/ListRooms" => client.list_rooms(self.asks(ListRoomsRequest::default())).await.map(drop),
            "Chat/ListServers" => client.list_servers(self.asks(ListServersRequest {})).await.map(drop),
            "Chat/JoinRoom" => {
                client.join_room(self.asks(JoinRoomRequest { room: room_id, ..Default::default() })).await.map(drop)
            }
            "Chat/LeaveRoom" => {
                client.leave_room(self.asks(LeaveRoomRequest { room_id, ..Default::default() })).await.map(drop)
            }
            "Chat/Invite" => {
                let request = InviteRequest { room_id, user_id: user_id("guest"), ..Default::default() };
                client.invite(self.asks(request)).await.map(drop)
            }
            "Chat/ListMembers" => {
                client.list_members(self.asks(ListMembersRequest { room_id, ..Default::default() })).await.map(drop)
            }
            "Chat/SetState" => {
                let (r#type, content) = ("m.room.name".into(), r#"{"name":"x"}"#.into());
                let request = SetStateRequest { room_id, r#type, content, ..Default::default() };
                client.set_state(self.asks(request)).await.map(drop)
            }
            "Chat/MarkRead" => {
                let request = MarkReadRequest { room_id, event_id: self.room.event_id.clone(), ..Default::default() };
                client.mark_read(self.asks(request)).await.map(drop)
            }
            "Chat/Send" => client.send(self.asks(message(&room_id, "x", &number))).await.map(drop),
            "Chat/Post" => self.post(message(&room_id, "x", &number)).await,
            "Chat/History" => {
                client.history(self.asks(HistoryRequest { room_id, ..Default::default() })).await.map(drop)
            }
            "Chat/Subscribe" => {
                client.subscribe(self.asks(SubscribeRequest { room_id, ..Default::default() })).await.map(drop)
            }
            other => panic!("{other} is new: say here how it is called"),
        }
    }

    /// Posts one event over a stream and returns its result.
    async fn post(&self, event: SendRequest) -> Result<(), Status> {
        let frames = tokio_stream::iter([PostRequest { events: vec![event] }]);
        let mut answers = self.client.clone().post(self.asks(frames)).await?.into_inner();
        let frame = answers.message().await?.expect("an answer");
        match frame.results.into_iter().next().and_then(|result| result.result) {
            Some(post_result::Result::Accepted(_)) => Ok(()),
            Some(post_result::Result::Refused(refused)) => {
                let mut status = Status::ok("in the stream");
                let detail = tonic::metadata::MetadataValue::from_bytes(&refused.encode_to_vec());
                status.metadata_mut().insert_bin("quorate-error-bin", detail);
                Err(status)
            }
            None => panic!("no result"),
        }
    }
}
