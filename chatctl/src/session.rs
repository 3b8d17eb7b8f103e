//! Sessions: a client with the access token of the account that calls.

use crate::client::{CallFailure, ChatStub, ClusterClient, FailureKind};
use quorate_wire::chat::v1::{
    ErrorCode, ListServersRequest, ListServersResponse, LoginRequest, RegisterRequest, SessionResponse,
};
use tonic::{Request, Response, Status, metadata::AsciiMetadataValue};
use uuid::Uuid;

/// Credentials with which an account registers or signs in.
#[derive(Clone)]
pub struct Credentials {
    /// Localpart or full user id of the account.
    pub username: String,
    /// Password in clear text; never printed.
    pub password: String,
    /// Display name of the device, shown to the user.
    pub device_name: String,
    /// Identifier of an existing device to return to; `None` for a new device.
    pub device_id: Option<String>,
}

/// Client that is signed in to an account; clones share connections.
#[derive(Debug, Clone)]
pub struct ClientSession {
    client: ClusterClient,
    authorization: AsciiMetadataValue,
}

impl ClientSession {
    /// Creates a session with this access token.
    ///
    /// Returns `None` if the token has characters that no token has and that a header cannot carry.
    #[must_use]
    pub fn new(client: ClusterClient, access_token: &str) -> Option<Self> {
        let mut authorization: AsciiMetadataValue = format!("Bearer {access_token}").parse().ok()?;
        // Keeps it out of debug output and out of the header compression table.
        authorization.set_sensitive(true);
        Some(Self { client, authorization })
    }

    /// Returns the client that the session uses.
    #[must_use]
    pub fn client(&self) -> &ClusterClient {
        &self.client
    }

    /// Returns the same session over another client, with servers and connections of its own.
    #[must_use]
    pub fn over(&self, client: ClusterClient) -> Self {
        Self { client, authorization: self.authorization.clone() }
    }

    /// Builds a request that carries the access token.
    pub fn request<Q>(&self, message: Q) -> Request<Q> {
        let mut request = Request::new(message);
        request.metadata_mut().insert("authorization", self.authorization.clone());
        request
    }

    /// Calls `method` with the access token until the call is settled; see [`ClusterClient::call`].
    pub async fn call<Q, R, F, Fut>(&self, message: Q, method: F) -> Result<R, CallFailure>
    where
        Q: Clone,
        F: Fn(ChatStub, Request<Q>) -> Fut,
        Fut: Future<Output = Result<Response<R>, Status>>,
    {
        self.client.call(|chat| method(chat, self.request(message.clone()))).await
    }

    /// Asks the cluster for its servers.
    pub async fn list_servers(&self) -> Result<ListServersResponse, CallFailure> {
        self.call(ListServersRequest {}, |mut chat, request| async move { chat.list_servers(request).await }).await
    }

    /// Adds the servers that the cluster lists to those of this client, and returns the number of new ones.
    pub async fn learn_servers(&self) -> Result<usize, CallFailure> {
        let answer = self.list_servers().await?;
        Ok(answer.servers.iter().filter(|server| self.client.servers().learn(&server.address)).count())
    }
}

/// Opens a session for an existing account.
pub async fn sign_in(client: &ClusterClient, credentials: &Credentials) -> Result<SessionResponse, CallFailure> {
    let request = LoginRequest {
        username: credentials.username.clone(),
        password: credentials.password.clone(),
        // Chosen by the client, so that a repeated attempt opens the same device again instead of a second one.
        device_id: device_id(credentials),
        device_display_name: credentials.device_name.clone(),
    };
    client
        .call(|mut chat| {
            let request = request.clone();
            async move { chat.login(request).await }
        })
        .await
}

/// Creates an account and opens its first session.
///
/// Registration carries no transaction id. If an attempt may have gone through and the next one finds the name taken,
/// the account is probably the one just created: a login with the same password tells.
pub async fn register_user(client: &ClusterClient, credentials: &Credentials) -> Result<SessionResponse, CallFailure> {
    let request = RegisterRequest {
        username: credentials.username.clone(),
        password: credentials.password.clone(),
        device_id: device_id(credentials),
        device_display_name: credentials.device_name.clone(),
    };
    let outcome = client
        .call(|mut chat| {
            let request = request.clone();
            async move { chat.register(request).await }
        })
        .await;
    match outcome {
        Err(failure) if failure.error_code == ErrorCode::AlreadyExists && failure.unknown => {
            let ours = sign_in(client, credentials).await;
            // A wrong password means that the name belongs to somebody else, so the first answer was the true one.
            ours.map_err(|login| if login.kind == FailureKind::Unauthenticated { failure } else { login })
        }
        outcome => outcome,
    }
}

fn device_id(credentials: &Credentials) -> String {
    credentials.device_id.clone().unwrap_or_else(|| {
        let id = Uuid::new_v4().simple().to_string().to_uppercase();
        id.chars().take(12).collect()
    })
}
