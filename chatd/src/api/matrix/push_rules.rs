//! Endpoints for push rules: the rules by which a user is notified of events. They are kept as the account data
//! `m.push_rules`; a user who never changed one has the defaults of the specification.

use super::admission::WithSession;
use super::context::MatrixContext;
use super::endpoint::EndpointRoutes;
use super::error::MatrixError;
use super::own_request::{OwnEndpoint, OwnRequest};
use crate::push::{PUSH_RULES, default_rules, encode_rules, stored_rules};
use crate::service::{CallerSession, RefusalCode, RequestRefusal};
use axum::Json;
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use ruma::UserId;
use ruma::api::client::push::{
    PushRule, RuleKind, delete_pushrule, get_pushrule, get_pushrule_actions, get_pushrule_enabled, get_pushrules_all,
    get_pushrules_global_scope, set_pushrule, set_pushrule_actions, set_pushrule_enabled,
};
use ruma::api::error::DeserializationError;
use ruma::push::{Action, InsertPushRuleError, NewPushRule, RemovePushRuleError, Ruleset};
use serde_json::{Value, json};

/// Paths with a scope, a kind or a part of a rule that does not exist: those that fit to no endpoint.
pub(super) const UNKNOWN: [&str; 2] = ["/_matrix/client/v3/pushrules/{*rest}", "/_matrix/client/r0/pushrules/{*rest}"];

pub(super) fn push_rule_routes(routes: EndpointRoutes) -> EndpointRoutes {
    routes
        .with_session("pushrules", get_all)
        .with_session("pushrules_global", get_global)
        .answering("pushrules_kind", WithSession, get_kind)
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

/// Answers a request whose path names no push rules. 400 as in Synapse, and not the 404 of endpoints that are not
/// served, from which a client would conclude that the server has no push rules.
pub(super) async fn refuse_unknown() -> Response {
    MatrixError::invalid_param("The path names no push rules: GET /pushrules/ returns those that there are.")
        .into_response()
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

/// Request for the rules of a kind. The specification has no such endpoint, but Synapse does.
struct KindRequest {
    kind: RuleKind,
}

impl OwnEndpoint for KindRequest {
    const METHOD: http::Method = http::Method::GET;
    const PATH: &'static str = "/_matrix/client/v3/pushrules/global/{kind}/";

    fn read(_: &http::Request<&[u8]>, arguments: &[&str]) -> Result<Self, DeserializationError> {
        Ok(Self { kind: RuleKind::from(arguments.first().copied().unwrap_or_default()) })
    }
}

async fn get_kind(
    context: MatrixContext,
    session: CallerSession,
    OwnRequest(KindRequest { kind }): OwnRequest<KindRequest>,
) -> Result<Response, MatrixError> {
    let rules = rules_of(&context, &session).await?;
    let rules = rules_of_kind(&rules, &kind)?;
    Ok(Json(rules).into_response())
}

/// Refuses a kind of rules that does not exist.
fn check_kind(kind: &RuleKind) -> Result<(), MatrixError> {
    use RuleKind::{Content, Override, Room, Sender, Underride};
    if matches!(kind, Override | Content | Room | Sender | Underride) {
        return Ok(());
    }
    Err(MatrixError::invalid_param(format!("{kind} is not a kind of push rules.")))
}

/// Returns the rules of a kind as JSON.
fn rules_of_kind(rules: &Ruleset, kind: &RuleKind) -> Result<Value, MatrixError> {
    check_kind(kind)?;
    let mut all = serde_json::to_value(rules).map_err(|error| MatrixError::damaged("set of push rules", error))?;
    // A kind of which there are no rules is left out.
    Ok(all.get_mut(kind.as_str()).map_or_else(|| json!([]), Value::take))
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
    check_actions(actions_of(&rule))?;
    let insert = |rules: &mut Ruleset| {
        rules.insert(rule.clone(), after.as_deref(), before.as_deref()).map_err(insertion_refusal)
    };
    change_rules(&context, &session, insert).await?;
    Ok(set_pushrule::v3::Response::new())
}

fn insertion_refusal(error: InsertPushRuleError) -> RequestRefusal {
    // 400 also for a rule in `before` or `after` that there is not (specification, "PUT /pushrules"): 404 would be about
    // the rule in the path.
    RequestRefusal::invalid(error.to_string())
}

fn actions_of(rule: &NewPushRule) -> &[Action] {
    match rule {
        NewPushRule::Override(rule) | NewPushRule::Underride(rule) => &rule.actions,
        NewPushRule::Content(rule) => &rule.actions,
        NewPushRule::Room(rule) => &rule.actions,
        NewPushRule::Sender(rule) => &rule.actions,
        _ => &[],
    }
}

/// Refuses actions of which the server does not know what they do, before a user counts on them. `dont_notify` and
/// `coalesce` do nothing, and stand in rules of older clients.
fn check_actions(actions: &[Action]) -> Result<(), MatrixError> {
    for action in actions {
        if matches!(action, Action::Notify | Action::SetTweak(_)) {
            continue;
        }
        let shown = serde_json::to_value(action).unwrap_or_default();
        if !matches!(shown.as_str(), Some("dont_notify" | "coalesce")) {
            return Err(MatrixError::invalid_param("The actions of push rules are notify and set_tweak."));
        }
    }
    Ok(())
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
    check_actions(&actions)?;
    let set = |rules: &mut Ruleset| {
        let set = rules.set_actions(kind.clone(), &rule_id, actions.clone());
        set.map_err(|_| unknown_rule(&rule_id))
    };
    change_rules(&context, &session, set).await?;
    Ok(set_pushrule_actions::v3::Response::new())
}

#[cfg(test)]
mod tests {
    use super::*;
    use ruma::user_id;

    #[test]
    fn the_rules_of_a_kind_are_those_in_the_whole_set() {
        let rules = default_rules(user_id!("@alice:a.org"));
        let all = serde_json::to_value(&rules).unwrap();
        for kind in ["override", "content", "underride"] {
            let shown = rules_of_kind(&rules, &RuleKind::from(kind)).unwrap();
            assert!(shown.as_array().is_some_and(|shown| !shown.is_empty()), "{kind}");
            assert_eq!(shown, all[kind]);
        }
        for kind in ["room", "sender"] {
            assert_eq!(rules_of_kind(&rules, &RuleKind::from(kind)).unwrap(), json!([]));
        }
        assert_eq!(rules_of_kind(&rules, &RuleKind::from("x")).unwrap_err().errcode(), "M_INVALID_PARAM");
    }

    #[test]
    fn only_actions_that_the_server_knows_are_taken() {
        let check = |actions: Value| check_actions(&serde_json::from_value::<Vec<Action>>(actions).unwrap());
        for good in [json!([]), json!(["notify", {"set_tweak": "x"}]), json!(["dont_notify", "coalesce"])] {
            assert!(check(good.clone()).is_ok(), "{good}");
        }
        for bad in [json!(["not_an_action"]), json!(["notify", {"x": "notify"}])] {
            assert_eq!(check(bad).unwrap_err().errcode(), "M_INVALID_PARAM");
        }
    }
}
