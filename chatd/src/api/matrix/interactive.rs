//! User-interactive authentication: the stages that an operation asks for, and what clients answer (specification,
//! "User-Interactive Authentication API").

use super::context::MatrixContext;
use super::error::MatrixError;
use crate::service::{
    AuthStage, CallerSession, CompletedStages, GivenToken, InteractiveSession, OwnerProof, VerifiedPassword,
    token_in_session,
};
use ruma::api::client::uiaa::{AuthData, Password, UserIdentifier};
use serde_json::{Value, json};

/// Stages that an operation asks for.
pub(super) struct InteractiveFlow<'f> {
    /// Name of the operation, with everything that must stay the same from one request to the next.
    pub(super) operation: &'f str,
    /// Stages in the order in which clients should take them.
    pub(super) stages: &'f [AuthStage],
    /// Parameters of the stages.
    pub(super) params: Value,
}

/// Stage that was not completed, and why.
struct StageFailure {
    errcode: &'static str,
    message: &'static str,
}

/// Asks for the same as [`authenticate_afresh`], but for nothing if the account has no password and its login is recent.
/// Only for what Synapse lets pass after a recent login as well (`ui_auth.session_timeout`): the removal of devices, of
/// which people clean up several in a row. A stolen token must neither close the account nor replace its keys.
pub(super) async fn authenticate_unless_recent(
    context: &MatrixContext,
    session: &CallerSession,
    operation: &str,
    auth: Option<AuthData>,
) -> Result<VerifiedPassword, MatrixError> {
    match context.service.owner_proof(session).await? {
        OwnerProof::RecentLogin(verified) => Ok(verified),
        OwnerProof::Password => authenticate_by(context, session, operation, auth, AuthStage::Password).await,
        OwnerProof::ProviderToken => authenticate_by(context, session, operation, auth, AuthStage::ProviderToken).await,
    }
}

/// Asks the caller for the account's password before an operation, or for a token of the identity provider if the account
/// has no password. `operation` names what the caller confirms, such as `DELETE devices/ABC`: a session that was begun for
/// something else is refused.
///
/// Returns an error that asks for the proof, until a request brings the right one.
pub(super) async fn authenticate_afresh(
    context: &MatrixContext,
    session: &CallerSession,
    operation: &str,
    auth: Option<AuthData>,
) -> Result<VerifiedPassword, MatrixError> {
    let stage = match context.service.owner_proof(session).await? {
        OwnerProof::Password => AuthStage::Password,
        OwnerProof::ProviderToken | OwnerProof::RecentLogin(_) => AuthStage::ProviderToken,
    };
    authenticate_by(context, session, operation, auth, stage).await
}

async fn authenticate_by(
    context: &MatrixContext,
    session: &CallerSession,
    operation: &str,
    auth: Option<AuthData>,
    stage: AuthStage,
) -> Result<VerifiedPassword, MatrixError> {
    // Bound to the account, too: what one user began is of no use to another.
    let operation = format!("{} {operation}", session.user_id);
    let stages = [stage];
    let flow = InteractiveFlow { operation: &operation, stages: &stages, params: json!({}) };
    let progress = completed_before(context, &flow, auth.as_ref()).await?;
    let failure = match auth {
        None | Some(AuthData::FallbackAcknowledgement(_)) => None,
        Some(AuthData::Password(password)) if stage == AuthStage::Password => {
            match verify_password(context, session, password).await? {
                Some(verified) => return Ok(verified),
                None => Some(StageFailure { errcode: "M_FORBIDDEN", message: "The password is wrong." }),
            }
        }
        Some(auth) if stage == AuthStage::ProviderToken && is_of_stage(&auth, stage) => {
            let data = auth.data();
            let token = data.get("token").and_then(Value::as_str).unwrap_or_default();
            match context.service.verify_provider_token(session, token, context.caller).await? {
                Some(verified) => return Ok(verified),
                None => Some(WRONG_PROVIDER_TOKEN),
            }
        }
        Some(_) => Some(NOT_IN_FLOW),
    };
    Err(ask_for_more(context, &flow, &progress, failure).await?)
}

/// Progress of a dialogue: the stages that are completed, and the registration token by which one of them was, if using
/// it is counted; empty if there is none.
#[derive(Default)]
struct FlowProgress {
    completed: CompletedStages,
    token: String,
}

/// Completes stages that need no account, as they come before there is one. Returns the registration token that the
/// account is to use up, empty if there is none; or an error that asks for more until all stages are completed.
pub(super) async fn complete_stages(
    context: &MatrixContext,
    flow: &InteractiveFlow<'_>,
    auth: Option<AuthData>,
) -> Result<String, MatrixError> {
    let mut progress = completed_before(context, flow, auth.as_ref()).await?;
    let failure = match auth {
        None | Some(AuthData::FallbackAcknowledgement(_)) => None,
        Some(AuthData::RegistrationToken(given)) if flow.stages.contains(&AuthStage::RegistrationToken) => {
            match context.service.given_token(&given.token).await? {
                GivenToken::Unknown => Some(WRONG_TOKEN),
                kind => {
                    progress.completed = progress.completed.with(AuthStage::RegistrationToken);
                    progress.token = if kind == GivenToken::Counted { given.token } else { String::new() };
                    None
                }
            }
        }
        Some(auth) => match completed_stage(flow, &auth) {
            Some(stage) => {
                progress.completed = progress.completed.with(stage);
                None
            }
            None => Some(NOT_IN_FLOW),
        },
    };
    if failure.is_none() && flow.stages.iter().all(|stage| progress.completed.contains(*stage)) {
        return Ok(progress.token);
    }
    Err(ask_for_more(context, flow, &progress, failure).await?)
}

const NOT_IN_FLOW: StageFailure =
    StageFailure { errcode: "M_UNRECOGNIZED", message: "This operation does not ask for this stage." };

const WRONG_PROVIDER_TOKEN: StageFailure =
    StageFailure { errcode: "M_FORBIDDEN", message: "The token is not a valid one of this user." };

const WRONG_TOKEN: StageFailure =
    StageFailure { errcode: "M_UNAUTHORIZED", message: "The registration token is not valid." };

/// Returns what the client's session has completed.
async fn completed_before(
    context: &MatrixContext,
    flow: &InteractiveFlow<'_>,
    auth: Option<&AuthData>,
) -> Result<FlowProgress, MatrixError> {
    let Some(session) = auth.and_then(AuthData::session) else { return Ok(FlowProgress::default()) };
    match context.service.resume_interactive(session, flow.operation).await? {
        InteractiveSession::Valid(completed) => {
            Ok(FlowProgress { completed, token: token_in_session(session).to_owned() })
        }
        // Begun anew: nothing is taken from it, and what the request itself proves still counts.
        InteractiveSession::Unknown => Ok(FlowProgress::default()),
        InteractiveSession::OtherOperation => {
            let message = "The session was begun for another operation: begin without a session.";
            Err(MatrixError::forbidden(message))
        }
    }
}

/// Returns `true` if the client names this stage.
fn is_of_stage(auth: &AuthData, stage: AuthStage) -> bool {
    auth.auth_type().is_some_and(|named| named.as_str() == stage.name())
}

/// Returns the stage of the flow that the client completes by merely sending it.
fn completed_stage(flow: &InteractiveFlow<'_>, auth: &AuthData) -> Option<AuthStage> {
    let stage = match auth {
        AuthData::Dummy(_) => AuthStage::Dummy,
        AuthData::Terms(_) => AuthStage::Terms,
        _ => return None,
    };
    flow.stages.contains(&stage).then_some(stage)
}

async fn verify_password(
    context: &MatrixContext,
    session: &CallerSession,
    given: Password,
) -> Result<Option<VerifiedPassword>, MatrixError> {
    let UserIdentifier::Matrix(named) = given.identifier else {
        return Err(MatrixError::invalid_param("Identify the account with an identifier of type m.id.user."));
    };
    if context.service.parse_typed_user(&named.user).ok().as_deref() != Some(session.localpart.as_str()) {
        // Whoever knows another account's password may not act for this one.
        return Err(MatrixError::forbidden("Authenticate as the user whose account this is."));
    }
    Ok(context.service.verify_own_password(session, given.password, context.caller).await?)
}

/// Creates the answer that asks for the stages, with a session to continue with.
async fn ask_for_more(
    context: &MatrixContext,
    flow: &InteractiveFlow<'_>,
    progress: &FlowProgress,
    failure: Option<StageFailure>,
) -> Result<MatrixError, MatrixError> {
    let FlowProgress { completed, token } = progress;
    let session = context.service.begin_interactive(flow.operation, *completed, token).await?;
    Ok(MatrixError::authentication_needed(render_flow(flow, *completed, session, failure)))
}

fn render_flow(
    flow: &InteractiveFlow<'_>,
    completed: CompletedStages,
    session: String,
    failure: Option<StageFailure>,
) -> Value {
    let names = |wanted: &dyn Fn(AuthStage) -> bool| -> Vec<&'static str> {
        flow.stages.iter().filter(|stage| wanted(**stage)).map(|stage| stage.name()).collect()
    };
    let mut body = json!({"flows": [{"stages": names(&|_| true)}], "params": flow.params, "session": session});
    let completed = names(&|stage| completed.contains(stage));
    if let Some(body) = body.as_object_mut() {
        // After a stage that failed, an empty list says that the session has none yet.
        if !completed.is_empty() || failure.is_some() {
            body.insert("completed".into(), completed.into());
        }
        if let Some(StageFailure { errcode, message }) = failure {
            body.insert("errcode".into(), errcode.into());
            body.insert("error".into(), message.into());
        }
    }
    body
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_names_stages_what_is_completed_and_what_went_wrong() {
        let stages = [AuthStage::RegistrationToken, AuthStage::Terms];
        let flow = InteractiveFlow { operation: "x", stages: &stages, params: json!({}) };
        let completed = CompletedStages::default().with(AuthStage::Terms);
        let body = render_flow(&flow, completed, "s".into(), Some(NOT_IN_FLOW));
        assert_eq!(
            body,
            json!({
                "flows": [{"stages": ["m.login.registration_token", "m.login.terms"]}],
                "params": {},
                "session": "s",
                "completed": ["m.login.terms"],
                "errcode": "M_UNRECOGNIZED",
                "error": "This operation does not ask for this stage.",
            })
        );
        let first = render_flow(&flow, CompletedStages::default(), "s".into(), None);
        assert!(first.get("completed").is_none() && first.get("errcode").is_none());
        let failed = render_flow(&flow, CompletedStages::default(), "s".into(), Some(NOT_IN_FLOW));
        assert_eq!(failed["completed"], json!([]));
    }
}
