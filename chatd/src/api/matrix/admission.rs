//! Admission of callers to the endpoints, before a byte of the body is read: who may call, and what the handler is told of
//! the caller.

pub(super) use SessionAdmission::{EvenLocked, WithSession};

use super::context::MatrixContext;
use super::error::MatrixError;
use crate::api::bearer;
use crate::api::listen::CallerConnection;
use crate::service::{Administrator, CallerSession, ReadConsistency};
use axum::extract::Request;
use axum::http::header;

/// Maximum size of a request body: a room with its initial state is the largest that is legal; each event in it has its
/// own limit, so this only bounds what one request may hold in memory.
const MAX_BODY: usize = 1 << 20;
/// Maximum size of a body where no session is asked for: a login or registration with the longest names and password is
/// 2 KiB, and whoever sends it is a stranger.
const MAX_OPEN_BODY: usize = 16 << 10;

/// Rule by which an endpoint admits its callers.
pub(super) trait CallerAdmission: Copy + Send + Sync + 'static {
    /// Knowledge of the caller that the handler gets.
    type Caller: Send;

    /// Maximum size of a body.
    const BODY_LIMIT: usize;

    /// Admits a caller, and returns the context in which the request is answered.
    fn admit(
        self,
        context: MatrixContext,
        credentials: RequestCredentials,
    ) -> impl Future<Output = Result<(MatrixContext, Self::Caller), MatrixError>> + Send;
}

/// Admission of callers with a session.
#[derive(Clone, Copy)]
pub(super) enum SessionAdmission {
    /// Admission unless their account is locked.
    WithSession,
    /// Admission even if their account is locked.
    EvenLocked,
}

impl CallerAdmission for SessionAdmission {
    type Caller = CallerSession;

    const BODY_LIMIT: usize = MAX_BODY;

    async fn admit(
        self,
        context: MatrixContext,
        credentials: RequestCredentials,
    ) -> Result<(MatrixContext, CallerSession), MatrixError> {
        let session = match self {
            Self::WithSession => credentials.session(&context).await?,
            Self::EvenLocked => credentials.session_even_locked(&context).await?,
        };
        Ok((context_of(&session, context), session))
    }
}

/// Admission of administrators with a session. Others are not even told what is wrong with their request.
#[derive(Clone, Copy)]
pub(super) struct AsAdministrator;

impl CallerAdmission for AsAdministrator {
    type Caller = Administrator;

    const BODY_LIMIT: usize = MAX_BODY;

    async fn admit(
        self,
        context: MatrixContext,
        credentials: RequestCredentials,
    ) -> Result<(MatrixContext, Administrator), MatrixError> {
        let (context, session) = WithSession.admit(context, credentials).await?;
        let administrator = context.service.require_administrator(&session).await?;
        Ok((context, administrator))
    }
}

/// Admission of anyone.
#[derive(Clone, Copy)]
pub(super) struct Anyone;

impl CallerAdmission for Anyone {
    type Caller = ();

    const BODY_LIMIT: usize = MAX_OPEN_BODY;

    async fn admit(
        self,
        context: MatrixContext,
        _credentials: RequestCredentials,
    ) -> Result<(MatrixContext, ()), MatrixError> {
        Ok((context, ()))
    }
}

/// Admission of anyone who reads: of callers with a session as fresh as any other; of others within their address's
/// share and from what this pod has applied, so that they cost no question to the leader.
#[derive(Clone, Copy)]
pub(super) struct AnyReader;

impl CallerAdmission for AnyReader {
    type Caller = ReadConsistency;

    const BODY_LIMIT: usize = MAX_OPEN_BODY;

    async fn admit(
        self,
        context: MatrixContext,
        credentials: RequestCredentials,
    ) -> Result<(MatrixContext, ReadConsistency), MatrixError> {
        if credentials.are_known(&context).await {
            return Ok((context, ReadConsistency::Linearizable));
        }
        context.service.admit_stranger(context.caller)?;
        Ok((context, ReadConsistency::Local))
    }
}

/// Admission of readers of whom the handler is told who they are: of anyone, like [`AnyReader`], while the function says
/// so, and otherwise of callers with a session.
#[derive(Clone, Copy)]
pub(super) struct NamedReader(pub(super) fn(&MatrixContext) -> bool);

impl CallerAdmission for NamedReader {
    type Caller = Option<CallerSession>;

    const BODY_LIMIT: usize = MAX_OPEN_BODY;

    async fn admit(
        self,
        context: MatrixContext,
        credentials: RequestCredentials,
    ) -> Result<(MatrixContext, Option<CallerSession>), MatrixError> {
        let Self(is_open) = self;
        if is_open(&context) && !credentials.are_known(&context).await {
            context.service.admit_stranger(context.caller)?;
            return Ok((context, None));
        }
        let session = credentials.session(&context).await?;
        Ok((context_of(&session, context), Some(session)))
    }
}

/// Returns the context of a caller, whose reads take turns with those of others.
fn context_of(session: &CallerSession, context: MatrixContext) -> MatrixContext {
    MatrixContext { service: context.service.for_reader(session), ..context }
}

/// Credentials of a request: the token, and the connection that it came over.
pub(super) struct RequestCredentials {
    token: Option<String>,
    connection: Option<CallerConnection>,
}

impl RequestCredentials {
    pub(super) fn of(request: &Request) -> Self {
        Self { token: token_of(request), connection: request.extensions().get().cloned() }
    }

    /// Returns the session of the token. The connection is not a stranger's from then on.
    pub(super) async fn session(self, context: &MatrixContext) -> Result<CallerSession, MatrixError> {
        let session = context.service.authenticate(self.token()?).await?;
        self.show_session();
        Ok(session)
    }

    /// Returns the session of the token, even if its account is locked.
    async fn session_even_locked(self, context: &MatrixContext) -> Result<CallerSession, MatrixError> {
        let session = context.service.authenticate_even_locked(self.token()?).await?;
        self.show_session();
        Ok(session)
    }

    /// Returns `true` if there is a token that this pod knows. Unlike [`session`](Self::session) it sends no question to
    /// the leader, which each made-up token would cost.
    async fn are_known(&self, context: &MatrixContext) -> bool {
        match &self.token {
            Some(token) => context.service.recognises(token).await,
            None => false,
        }
    }

    fn token(&self) -> Result<&str, MatrixError> {
        self.token.as_deref().ok_or_else(MatrixError::missing_token)
    }

    fn show_session(&self) {
        if let Some(connection) = &self.connection {
            connection.show_session();
        }
    }
}

fn token_of(request: &Request) -> Option<String> {
    let header = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    if let Some(token) = header.and_then(bearer::bearer_token) {
        return Some(token.to_owned());
    }
    // Deprecated by the spec, still sent by old bots. The token is not logged, because the URL is not.
    let query = request.uri().query()?;
    query.split('&').find_map(|pair| pair.strip_prefix("access_token=")).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Body;

    #[test]
    fn a_token_is_taken_from_the_header_before_the_query() {
        let request = |header: Option<&str>, uri: &str| {
            let mut builder = Request::builder().uri(uri);
            if let Some(value) = header {
                builder = builder.header(header::AUTHORIZATION, value);
            }
            builder.body(Body::empty()).expect("a request")
        };
        assert_eq!(token_of(&request(Some("Bearer a"), "/x?access_token=b")).as_deref(), Some("a"));
        assert_eq!(token_of(&request(Some("bearer a"), "/x?access_token=b")).as_deref(), Some("a"));
        assert_eq!(token_of(&request(None, "/x?y=1&access_token=b")).as_deref(), Some("b"));
        assert_eq!(token_of(&request(Some("Basic a"), "/x")), None);
    }
}
