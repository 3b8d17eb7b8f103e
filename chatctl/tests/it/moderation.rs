//! `chatctl admin` against a stand-in for the administrative API, with real mutual TLS.

use crate::admin::start;
use quorate_chatctl::admin::certificates;
use quorate_wire::admin::v1::{moderation_server::Moderation, *};
use serde_json::Value;
use std::{
    io::Write as _,
    process::{Command, Output, Stdio},
    sync::Mutex,
};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tonic::{Request, Response, Status};

/// Server that knows one account, and remembers what becomes of it.
#[derive(Default)]
pub(crate) struct FakeModeration {
    state: Mutex<FakeState>,
}

#[derive(Default)]
struct FakeState {
    locked: bool,
    suspended: bool,
    deactivations: u32,
    tokens: Vec<RegistrationToken>,
    blocked: bool,
    deletions: u32,
    /// Recipient and id of each notice.
    notices: Vec<(String, String)>,
}

type Answer<T> = Result<Response<T>, Status>;

impl FakeModeration {
    fn alice(&self) -> UserAccount {
        let state = self.state.lock().unwrap();
        UserAccount {
            user_id: "@alice:test".into(),
            display_name: "Alice\u{1b}[2J".into(),
            created_ms: 1_767_225_600_000,
            locked: state.locked,
            suspended: state.suspended,
            deactivated: state.deactivations > 0,
            ..UserAccount::default()
        }
    }
}

impl FakeModeration {
    fn den(&self) -> RoomListing {
        let state = self.state.lock().unwrap();
        RoomListing {
            room_id: "!den:test".into(),
            creator: "@alice:test".into(),
            blocked: state.blocked,
            deleted: state.deletions > 0,
            clearing: state.deletions == 1,
            ..RoomListing::default()
        }
    }
}

#[tonic::async_trait]
impl Moderation for FakeModeration {
    /// Returns two pages of one account each.
    async fn list_users(&self, request: Request<ListUsersRequest>) -> Answer<ListUsersResponse> {
        let request = request.into_inner();
        let answer = match request.from.as_str() {
            "" => ListUsersResponse { users: vec![self.alice()], next: "alice".into() },
            from => {
                let user_id = format!("@after-{from}:{}", request.search);
                ListUsersResponse {
                    users: vec![UserAccount { user_id, ..UserAccount::default() }],
                    ..Default::default()
                }
            }
        };
        Ok(Response::new(answer))
    }

    async fn get_user(&self, request: Request<GetUserRequest>) -> Answer<GetUserResponse> {
        if request.into_inner().user != "alice" {
            return Err(Status::not_found("there is no such user"));
        }
        let device = UserDevice { device_id: "D".into(), seen_address: "192.0.2.1".into(), ..UserDevice::default() };
        Ok(Response::new(GetUserResponse { user: Some(self.alice()), devices: vec![device], joined_rooms: 7 }))
    }

    async fn set_user_standing(&self, request: Request<SetUserStandingRequest>) -> Answer<SetUserStandingResponse> {
        let SetUserStandingRequest { user: _, locked, suspended } = request.into_inner();
        {
            let mut state = self.state.lock().unwrap();
            state.locked = locked.unwrap_or(state.locked);
            state.suspended = suspended.unwrap_or(state.suspended);
        }
        Ok(Response::new(SetUserStandingResponse { user: Some(self.alice()) }))
    }

    async fn reset_password(&self, request: Request<ResetPasswordRequest>) -> Answer<ResetPasswordResponse> {
        let request = request.into_inner();
        if request.new_password != "a new one" {
            return Err(Status::invalid_argument(format!("{:?} is not the password", request.new_password)));
        }
        Ok(Response::new(ResetPasswordResponse {}))
    }

    /// Has more to do at the first call, and nothing at the second.
    async fn deactivate_user(&self, _: Request<DeactivateUserRequest>) -> Answer<DeactivateUserResponse> {
        let mut state = self.state.lock().unwrap();
        state.deactivations += 1;
        Ok(Response::new(DeactivateUserResponse { more: state.deactivations < 2 }))
    }

    async fn list_registration_tokens(
        &self,
        _: Request<ListRegistrationTokensRequest>,
    ) -> Answer<ListRegistrationTokensResponse> {
        let tokens = self.state.lock().unwrap().tokens.clone();
        Ok(Response::new(ListRegistrationTokensResponse { tokens, next: String::new() }))
    }

    async fn put_registration_token(
        &self,
        request: Request<PutRegistrationTokenRequest>,
    ) -> Answer<PutRegistrationTokenResponse> {
        let PutRegistrationTokenRequest { token, uses_allowed, expires_ms } = request.into_inner();
        let token = if token.is_empty() { "chosen".into() } else { token };
        let made = RegistrationToken { token, uses_allowed, expires_ms, ..RegistrationToken::default() };
        self.state.lock().unwrap().tokens.push(made.clone());
        Ok(Response::new(PutRegistrationTokenResponse { token: Some(made) }))
    }

    async fn delete_registration_token(
        &self,
        request: Request<DeleteRegistrationTokenRequest>,
    ) -> Answer<DeleteRegistrationTokenResponse> {
        let token = request.into_inner().token;
        self.state.lock().unwrap().tokens.retain(|kept| kept.token != token);
        Ok(Response::new(DeleteRegistrationTokenResponse {}))
    }

    /// Returns a page with one report, and then an empty one.
    async fn list_reports(&self, request: Request<ListReportsRequest>) -> Answer<ListReportsResponse> {
        let report = Report {
            id: "alice/q1".into(),
            reporter: "@alice:test".into(),
            user_id: "@bob:test".into(),
            reason: "spam".into(),
            ..Report::default()
        };
        let answer = if request.into_inner().from.is_empty() {
            ListReportsResponse { reports: vec![report], next: "alice/q1".into() }
        } else {
            ListReportsResponse::default()
        };
        Ok(Response::new(answer))
    }

    async fn dismiss_report(&self, request: Request<DismissReportRequest>) -> Answer<DismissReportResponse> {
        assert_eq!(request.into_inner().id, "alice/q1");
        Ok(Response::new(DismissReportResponse {}))
    }

    async fn list_rooms(&self, request: Request<ListRoomsRequest>) -> Answer<ListRoomsResponse> {
        let room = RoomListing { name: request.into_inner().search, ..self.den() };
        Ok(Response::new(ListRoomsResponse { rooms: vec![room], next: String::new() }))
    }

    async fn block_room(&self, request: Request<BlockRoomRequest>) -> Answer<BlockRoomResponse> {
        self.state.lock().unwrap().blocked = request.into_inner().blocked;
        Ok(Response::new(BlockRoomResponse { room: Some(self.den()) }))
    }

    /// Has more to do at the first call, and nothing at the second.
    async fn delete_room(&self, request: Request<DeleteRoomRequest>) -> Answer<DeleteRoomResponse> {
        assert_eq!(request.into_inner().reason, "spam");
        self.state.lock().unwrap().deletions += 1;
        let room = self.den();
        let more = room.clearing;
        Ok(Response::new(DeleteRoomResponse { room: Some(room), members: 1, events: 0, more }))
    }

    async fn send_notice(&self, request: Request<SendNoticeRequest>) -> Answer<SendNoticeResponse> {
        let SendNoticeRequest { user, body, notice_id } = request.into_inner();
        assert!(body == "hello" && !notice_id.is_empty());
        self.state.lock().unwrap().notices.push((user, notice_id));
        Ok(Response::new(SendNoticeResponse { room_id: "!n:test".into(), event_id: "$n".into() }))
    }
}

/// One server that runs, with the certificates for it.
struct FakeServer {
    directory: TempDir,
    address: String,
    _runtime: Runtime,
}

impl FakeServer {
    fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        certificates::make_missing(directory.path(), "c", &["a".into(), "b".into()], false).unwrap();
        let (runtime, nodes, _) = start(directory.path());
        let address = nodes.split_once(',').unwrap().0.replace("a=", "");
        Self { directory, address, _runtime: runtime }
    }

    /// Runs `chatctl admin` with this standard input.
    fn admin(&self, format: &str, arguments: &[&str], input: &str) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_chatctl"));
        command.env("QUORATE_PROFILE_FILE", self.directory.path().join("p"));
        command.env("QUORATE_ADMIN", &self.address).env("QUORATE_TLS_DIR", self.directory.path());
        command.args(["--output", format, "admin"]).args(arguments);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        child.wait_with_output().unwrap()
    }
}

fn succeeded(output: &Output) -> Value {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn accounts_are_listed_shown_locked_and_closed() {
    let server = FakeServer::start();
    let json = |arguments: &[&str], input: &str| server.admin("json", arguments, input);

    let listed = succeeded(&json(&["users", "list", "--search", "x"], ""));
    assert_eq!(listed["users"][0]["user_id"], "@alice:test");
    assert_eq!(listed["users"][1]["user_id"], "@after-alice:x", "the second page");
    let first = succeeded(&json(&["users", "list", "--limit", "1"], ""));
    assert_eq!(first["users"].as_array().unwrap().len(), 1);

    let locked = succeeded(&json(&["users", "lock", "alice"], ""));
    assert_eq!((&locked["locked"], &locked["suspended"]), (&true.into(), &false.into()));
    let suspended = succeeded(&json(&["users", "suspend", "alice"], ""));
    assert_eq!((&suspended["locked"], &suspended["suspended"]), (&true.into(), &true.into()));
    succeeded(&json(&["users", "unlock", "alice"], ""));
    let text = server.admin("text", &["users", "show", "alice"], "");
    let text = String::from_utf8(text.stdout).unwrap();
    assert!(text.contains("suspended") && !text.contains("locked") && text.contains("192.0.2.1"), "{text}");
    assert!(!text.contains('\u{1b}'), "a name steers no terminal");
    succeeded(&json(&["users", "unsuspend", "alice"], ""));

    let reset = succeeded(&json(&["users", "reset-password", "alice", "--password-stdin"], "a new one\n"));
    assert_eq!(reset["sessions_kept"], false);
    let wrong = json(&["users", "reset-password", "alice", "--password-stdin"], "another\n");
    assert_eq!(wrong.status.code(), Some(3));
    let closed = succeeded(&json(&["users", "deactivate", "alice", "--erase"], ""));
    assert_eq!((&closed["deactivated"], &closed["erased"]), (&true.into(), &true.into()));
    let missing = json(&["users", "show", "nobody"], "");
    assert_eq!(missing.status.code(), Some(3));
}

#[test]
fn registration_tokens_are_created_listed_and_deleted() {
    let server = FakeServer::start();
    let json = |arguments: &[&str]| succeeded(&server.admin("json", arguments, ""));
    let made = json(&["tokens", "create", "--uses", "3", "--expires-in", "1h"]);
    assert_eq!((&made["token"], &made["uses_allowed"]), (&"chosen".into(), &3.into()));
    assert!(made["expires_ms"].as_u64().is_some_and(|ms| ms > 1_700_000_000_000));
    let named = server.admin("text", &["tokens", "create", "spring"], "");
    assert_eq!(String::from_utf8(named.stdout).unwrap(), "spring\n");
    let listed = json(&["tokens", "list"]);
    assert_eq!((&listed["tokens"][1]["token"], &listed["tokens"][1]["uses_allowed"]), (&"spring".into(), &Value::Null));
    json(&["tokens", "delete", "chosen"]);
    assert_eq!(json(&["tokens", "list"])["tokens"].as_array().unwrap().len(), 1);
}

#[test]
fn reports_are_listed_and_dismissed() {
    let server = FakeServer::start();
    let listed = succeeded(&server.admin("json", &["reports", "list"], ""));
    assert_eq!((&listed["reports"][0]["reason"], &listed["reports"][1]), (&"spam".into(), &Value::Null));
    let text = String::from_utf8(server.admin("text", &["reports", "list"], "").stdout).unwrap();
    assert!(text.contains("@bob:test") && text.contains("alice/q1"), "{text}");
    let dismissed = succeeded(&server.admin("json", &["reports", "dismiss", "alice/q1"], ""));
    assert_eq!(dismissed["dismissed"], true);
}

#[test]
fn rooms_are_listed_blocked_and_deleted() {
    let server = FakeServer::start();
    let json = |arguments: &[&str]| succeeded(&server.admin("json", arguments, ""));
    assert_eq!(json(&["rooms", "list", "--search", "den"])["rooms"][0]["name"], "den");
    assert_eq!(json(&["rooms", "block", "!den:test"])["blocked"], true);
    assert_eq!(json(&["rooms", "unblock", "!den:test"])["blocked"], false);
    let deleted = server.admin("text", &["rooms", "delete", "!den:test", "--reason", "spam"], "");
    assert_eq!(String::from_utf8(deleted.stdout).unwrap(), "!den:test: deleted\n");
    assert!(String::from_utf8_lossy(&deleted.stderr).contains("are to be removed"), "progress is shown");
    let text = server.admin("text", &["rooms", "list"], "");
    assert!(String::from_utf8(text.stdout).unwrap().contains("deleted"));
}

#[test]
fn notices_go_to_those_named_or_to_all() {
    let server = FakeServer::start();
    let json = |arguments: &[&str]| succeeded(&server.admin("json", arguments, ""));
    let named = json(&["notices", "send", "hello", "--to", "alice", "--to", "bob", "--id", "sunday"]);
    assert_eq!((&named["sent"], &named["notice_id"]), (&2.into(), &"sunday".into()));
    assert_eq!(json(&["notices", "send", "hello", "--to-all"])["sent"], 2, "one on each page");
    let nobody = server.admin("json", &["notices", "send", "hello"], "");
    assert_eq!(nobody.status.code(), Some(2));
}
