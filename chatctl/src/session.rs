//! Who is calling: a client with an access token.

use crate::client::{Chat, Client, Failure, Kind};
use quorate_wire::chat::v1::{
    ErrorCode, ListServersRequest, ListServersResponse, LoginRequest, RegisterRequest, SessionResponse,
};
use tonic::{Request, Response, Status, metadata::AsciiMetadataValue};
use uuid::Uuid;

/// What an account proves itself with.
#[derive(Clone)]
pub struct Credentials {
    /// Localpart or full user id.
    pub username: String,
    /// In clear; never printed.
    pub password: String,
    /// Shown to the user beside the device.
    pub device_name: String,
    /// A device to return to; a new one when absent.
    pub device_id: Option<String>,
}

/// A signed-in client; clones share connections.
#[derive(Debug, Clone)]
pub struct Session {
    client: Client,
    authorization: AsciiMetadataValue,
}

impl Session {
    /// A session with this access token.
    ///
    /// `None` when the token has characters that no token has.
    #[must_use]
    pub fn new(client: Client, access_token: &str) -> Option<Self> {
        let mut authorization: AsciiMetadataValue = format!("Bearer {access_token}").parse().ok()?;
        // Keeps it out of debug output and out of the header compression table.
        authorization.set_sensitive(true);
        Some(Self { client, authorization })
    }

    /// The client beneath.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// The same session over a client of its own (own servers, own connections).
    #[must_use]
    pub fn over(&self, client: Client) -> Self {
        Self { client, authorization: self.authorization.clone() }
    }

    /// A request of this session.
    pub fn request<Q>(&self, message: Q) -> Request<Q> {
        let mut request = Request::new(message);
        request.metadata_mut().insert("authorization", self.authorization.clone());
        request
    }

    /// Calls `method` until it is settled; see [`Client::call`].
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn call<Q, R, F, Fut>(&self, message: Q, method: F) -> Result<R, Failure>
    where
        Q: Clone,
        F: Fn(Chat, Request<Q>) -> Fut,
        Fut: Future<Output = Result<Response<R>, Status>>,
    {
        self.client.call(|chat| method(chat, self.request(message.clone()))).await
    }

    /// Asks the cluster for its servers.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn list_servers(&self) -> Result<ListServersResponse, Failure> {
        self.call(ListServersRequest {}, |mut chat, request| async move { chat.list_servers(request).await }).await
    }

    /// Adds the servers that the cluster knows to those of this client. Returns how many were new.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn learn_servers(&self) -> Result<usize, Failure> {
        let answer = self.list_servers().await?;
        Ok(answer.servers.iter().filter(|server| self.client.servers().learn(&server.address)).count())
    }
}

/// Opens a session for an account that exists.
///
/// # Errors
/// As [`Client::call`].
pub async fn login(client: &Client, credentials: &Credentials) -> Result<SessionResponse, Failure> {
    let request = LoginRequest {
        username: credentials.username.clone(),
        password: credentials.password.clone(),
        // Chosen here, so that a repeated attempt opens the same device again and not a second one.
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

/// Makes an account and opens its first session.
///
/// Registration carries no transaction id. When an attempt may have gone through and the next one finds the name
/// taken, it was probably this very account: signing in with the same password tells.
///
/// # Errors
/// As [`Client::call`].
pub async fn register(client: &Client, credentials: &Credentials) -> Result<SessionResponse, Failure> {
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
            let ours = login(client, credentials).await;
            // A wrong password means that the name belongs to somebody else: then the first answer was the true one.
            ours.map_err(|login| if login.kind == Kind::Unauthenticated { failure } else { login })
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
