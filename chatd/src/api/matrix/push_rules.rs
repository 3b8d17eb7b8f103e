//! Endpoints for push rules: the rules by which a user is notified of events. They are kept as the account data
//! `m.push_rules`; a user who never changed one has the defaults of the specification.

use super::context::MatrixContext;
use super::endpoint::EndpointRoutes;
use super::error::MatrixError;
use crate::push::{PUSH_RULES, default_rules, encode_rules, stored_rules};
use crate::service::{CallerSession, RefusalCode, RequestRefusal};
use bytes::Bytes;
use ruma::UserId;
use ruma::api::client::push::{
    PushRule, RuleKind, delete_pushrule, get_pushrule, get_pushrule_actions, get_pushrule_enabled, get_pushrules_all,
    get_pushrules_global_scope, set_pushrule, set_pushrule_actions, set_pushrule_enabled,
};
use ruma::push::{InsertPushRuleError, RemovePushRuleError, Ruleset};

pub(super) fn push_rule_routes(routes: EndpointRoutes) -> EndpointRoutes {
    routes
        .with_session("pushrules", get_all)
        .with_session("pushrules_global", get_global)
        .with_session("pushrule_get", get_rule)
        .with_session("pushrule_set", set_rule)
        .with_session("pushrule_delete", delete_rule)
        .with_session("pushrule_enabled_get", get_enabled)
        .with_session("pushrule_enabled_set", set_enabled)
        .with_session("pushrule_actions_get", get_actions)
        .with_session("pushrule_actions_set", set_actions)
}

/// Returns the content of `m.push_rules` for a user who never changed a rule.
pub(super) fn default_content(session: &CallerSession) -> Result<Bytes, MatrixError> {
    Ok(encode(default_rules(user_of(&session.user_id)?))?)
}

fn user_of(user_id: &str) -> Result<&UserId, RequestRefusal> {
    <&UserId>::try_from(user_id).map_err(|error| {
        tracing::error!(error = &error as &dyn std::error::Error, "the user id of a session is not valid");
        RequestRefusal::internal()
    })
}

/// Returns the rules in the content of `m.push_rules`, with all defaults of this version.
fn decode(user_id: &str, content: Option<&Bytes>) -> Result<Ruleset, RequestRefusal> {
    stored_rules(user_of(user_id)?, content.map(|content| &**content)).map_err(|error| {
        tracing::error!(error = &error as &dyn std::error::Error, "stored push rules cannot be read");
        RequestRefusal::internal()
    })
}

fn encode(rules: Ruleset) -> Result<Bytes, RequestRefusal> {
    let content = encode_rules(rules).map_err(|error| {
        tracing::error!(error = &error as &dyn std::error::Error, "push rules cannot be encoded");
        RequestRefusal::internal()
    })?;
    Ok(content.into())
}

async fn rules_of(context: &MatrixContext, session: &CallerSession) -> Result<Ruleset, MatrixError> {
    let localpart = session.localpart.clone();
    let content = context.read(move |view| view.account_data(&localpart, None, PUSH_RULES)).await?;
    Ok(decode(&session.user_id, content.as_ref())?)
}

/// Changes the caller's rules; `change` may run several times.
async fn change_rules<F>(context: &MatrixContext, session: &CallerSession, change: F) -> Result<(), MatrixError>
where
    F: Fn(&mut Ruleset) -> Result<(), RequestRefusal>,
{
    let update = |content: Option<&Bytes>| {
        let mut rules = decode(&session.user_id, content)?;
        change(&mut rules)?;
        encode(rules)
    };
    Ok(context.service.update_account_data(session, PUSH_RULES, update).await?)
}

fn unknown_rule(rule_id: &str) -> RequestRefusal {
    RequestRefusal::new(RefusalCode::NotFound, format!("there is no push rule {rule_id} of this kind"))
}

async fn get_all(
    context: MatrixContext,
    session: CallerSession,
    _request: get_pushrules_all::v3::Request,
) -> Result<get_pushrules_all::v3::Response, MatrixError> {
    Ok(get_pushrules_all::v3::Response::new(rules_of(&context, &session).await?))
}

async fn get_global(
    context: MatrixContext,
    session: CallerSession,
    _request: get_pushrules_global_scope::v3::Request,
) -> Result<get_pushrules_global_scope::v3::Response, MatrixError> {
    Ok(get_pushrules_global_scope::v3::Response::new(rules_of(&context, &session).await?))
}

/// Returns one of the caller's rules.
async fn rule_of(
    context: &MatrixContext,
    session: &CallerSession,
    kind: RuleKind,
    rule_id: &str,
) -> Result<PushRule, MatrixError> {
    let rules = rules_of(context, session).await?;
    let rule = rules.get(kind, rule_id).ok_or_else(|| unknown_rule(rule_id))?;
    Ok(rule.to_owned().into())
}

async fn get_rule(
    context: MatrixContext,
    session: CallerSession,
    request: get_pushrule::v3::Request,
) -> Result<get_pushrule::v3::Response, MatrixError> {
    let rule = rule_of(&context, &session, request.kind, &request.rule_id).await?;
    Ok(get_pushrule::v3::Response::new(rule))
}

async fn set_rule(
    context: MatrixContext,
    session: CallerSession,
    request: set_pushrule::v3::Request,
) -> Result<set_pushrule::v3::Response, MatrixError> {
    let set_pushrule::v3::Request { rule, before, after, .. } = request;
    let insert = |rules: &mut Ruleset| {
        rules.insert(rule.clone(), after.as_deref(), before.as_deref()).map_err(insertion_refusal)
    };
    change_rules(&context, &session, insert).await?;
    Ok(set_pushrule::v3::Response::new())
}

fn insertion_refusal(error: InsertPushRuleError) -> RequestRefusal {
    let code = match error {
        InsertPushRuleError::UnknownRuleId => RefusalCode::NotFound,
        _ => RefusalCode::Invalid,
    };
    RequestRefusal::new(code, error.to_string())
}

async fn delete_rule(
    context: MatrixContext,
    session: CallerSession,
    request: delete_pushrule::v3::Request,
) -> Result<delete_pushrule::v3::Response, MatrixError> {
    let delete_pushrule::v3::Request { kind, rule_id, .. } = request;
    let remove = |rules: &mut Ruleset| {
        rules.remove(kind.clone(), &rule_id).map_err(|error| match error {
            RemovePushRuleError::NotFound => unknown_rule(&rule_id),
            error => RequestRefusal::invalid(error.to_string()),
        })
    };
    change_rules(&context, &session, remove).await?;
    Ok(delete_pushrule::v3::Response::new())
}

async fn get_enabled(
    context: MatrixContext,
    session: CallerSession,
    request: get_pushrule_enabled::v3::Request,
) -> Result<get_pushrule_enabled::v3::Response, MatrixError> {
    let rule = rule_of(&context, &session, request.kind, &request.rule_id).await?;
    Ok(get_pushrule_enabled::v3::Response::new(rule.enabled))
}

async fn set_enabled(
    context: MatrixContext,
    session: CallerSession,
    request: set_pushrule_enabled::v3::Request,
) -> Result<set_pushrule_enabled::v3::Response, MatrixError> {
    let set_pushrule_enabled::v3::Request { kind, rule_id, enabled, .. } = request;
    let set = |rules: &mut Ruleset| {
        let set = rules.set_enabled(kind.clone(), &rule_id, enabled);
        set.map_err(|_| unknown_rule(&rule_id))
    };
    change_rules(&context, &session, set).await?;
    Ok(set_pushrule_enabled::v3::Response::new())
}

async fn get_actions(
    context: MatrixContext,
    session: CallerSession,
    request: get_pushrule_actions::v3::Request,
) -> Result<get_pushrule_actions::v3::Response, MatrixError> {
    let rule = rule_of(&context, &session, request.kind, &request.rule_id).await?;
    Ok(get_pushrule_actions::v3::Response::new(rule.actions))
}

async fn set_actions(
    context: MatrixContext,
    session: CallerSession,
    request: set_pushrule_actions::v3::Request,
) -> Result<set_pushrule_actions::v3::Response, MatrixError> {
    let set_pushrule_actions::v3::Request { kind, rule_id, actions, .. } = request;
    let set = |rules: &mut Ruleset| {
        let set = rules.set_actions(kind.clone(), &rule_id, actions.clone());
        set.map_err(|_| unknown_rule(&rule_id))
    };
    change_rules(&context, &session, set).await?;
    Ok(set_pushrule_actions::v3::Response::new())
}
