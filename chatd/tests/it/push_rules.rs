//! Push rules: defaults, changes that any pod sees, and changes at the same time.

use crate::support::cluster::Cluster;
use crate::support::matrix::{MatrixUser, call_as, single_node};
use crate::support::process::Node;
use serde_json::{Value, json};

const RULES: &str = "/_matrix/client/v3/pushrules/";

fn call(node: &Node, token: &str, method: &str, path: &str, body: &str) -> (u16, Value) {
    call_as(node, token, method, path, &serde_json::from_str(body).unwrap_or_default())
}

fn rule_path(kind: &str, rule: &str, part: &str) -> String {
    format!("{RULES}global/{kind}/{rule}{part}")
}

fn push_rules_of(sync: &Value) -> Option<Value> {
    let events = sync["account_data"]["events"].as_array()?;
    events.iter().find(|event| event["type"] == "m.push_rules").map(|event| event["content"]["global"].clone())
}

#[tokio::test(flavor = "multi_thread")]
async fn push_rules_begin_with_the_defaults_and_every_pod_knows_their_changes() {
    let cluster = Cluster::start("rateLimit: {enabled: false}").await;
    let nodes = &cluster.nodes;
    let token = cluster.user(0, "alice").await.session.access_token;
    let (_, first) = call(&nodes[0], &token, "GET", "/_matrix/client/v3/sync", "");
    let defaults = push_rules_of(&first).expect("the first sync tells the rules");
    assert_eq!(call(&nodes[1], &token, "GET", RULES, "").1["global"], defaults);
    assert_eq!(defaults["override"][0]["rule_id"], ".m.rule.master");

    let body = r#"{"pattern":"quorum","actions":["notify"]}"#;
    assert_eq!(call(&nodes[1], &token, "PUT", &rule_path("content", "mine", ""), body).0, 200);
    assert_eq!(
        call(&nodes[2], &token, "PUT", &rule_path("content", "mine", "/enabled"), r#"{"enabled":false}"#).0,
        200
    );
    let (_, rule) = call(&nodes[0], &token, "GET", &rule_path("content", "mine", ""), "");
    assert_eq!((&rule["pattern"], &rule["enabled"]), (&json!("quorum"), &json!(false)));
    let since = first["next_batch"].as_str().expect("a token");
    let (_, next) = call(&nodes[2], &token, "GET", &format!("/_matrix/client/v3/sync?since={since}"), "");
    let told = push_rules_of(&next).expect("a change is told");
    assert_eq!(told["content"][0]["rule_id"], "mine");

    assert_eq!(call(&nodes[0], &token, "DELETE", &rule_path("override", ".m.rule.master", ""), "").0, 400);
    assert_eq!(call(&nodes[0], &token, "DELETE", &rule_path("content", "mine", ""), "").0, 200);
    for method in ["GET", "DELETE"] {
        let (status, refusal) = call(&nodes[1], &token, method, &rule_path("content", "mine", ""), "");
        assert_eq!((status, &refusal["errcode"]), (404, &json!("M_NOT_FOUND")), "{method}");
    }
    let other = cluster.user(2, "bob").await.session.access_token;
    let (_, others) = call(&nodes[1], &other, "GET", RULES, "");
    let others = others.to_string();
    assert!(others.contains("@bob:") && !others.contains("@alice:"), "each user has rules of their own: {others}");
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_added_at_the_same_time_through_different_pods_all_stay() {
    let cluster = Cluster::start("rateLimit: {enabled: false}").await;
    let token = cluster.user(0, "alice").await.session.access_token;
    // As many as each of them is tried for, so that the last one succeeds at the latest on its last attempt.
    std::thread::scope(|scope| {
        for (node, name) in cluster.nodes.iter().zip(["a", "b", "c"]) {
            let token = &token;
            scope.spawn(move || {
                let body = r#"{"conditions":[],"actions":[]}"#;
                let (status, body) = call(node, token, "PUT", &rule_path("override", name, ""), body);
                assert_eq!(status, 200, "{body}");
            });
        }
    });
    for node in &cluster.nodes {
        let (_, rules) = call(node, &token, "GET", RULES, "");
        let rules = rules["global"]["override"].as_array().expect("rules");
        for name in ["a", "b", "c"] {
            assert!(rules.iter().any(|rule| rule["rule_id"] == name), "{name}: {rules:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_scope_kind_rule_or_action_is_refused() {
    let cluster = single_node().await;
    let alice = MatrixUser::register(&cluster.nodes[0], "alice");
    let rule = |action: &str| json!({"pattern": "x", "actions": [action]});
    alice.must("PUT", "v3/pushrules/global/content/mine", &rule("dont_notify"));
    let of_kind = alice.get("v3/pushrules/global/content/");
    assert_eq!((&of_kind, &of_kind[0]["rule_id"]), (&alice.get("v3/pushrules/global/")["content"], &json!("mine")));
    assert_eq!(alice.get("v3/pushrules/global/room/"), json!([]));

    for path in ["global", "global/room", "other/", "global/other/", "global/override/.m.rule.master/other"] {
        assert_eq!(alice.refused("GET", &format!("v3/pushrules/{path}"), &Value::Null).0, 400, "{path}");
    }
    for path in [
        "other/content/mine",
        "global/content",
        "global/other/mine",
        "global/content/mine/other",
        "global/content/next?before=other",
        "global/content/.next",
        "global/room/%23room:chat.test",
    ] {
        assert_eq!(alice.refused("PUT", &format!("v3/pushrules/{path}"), &rule("notify")).0, 400, "{path}");
    }
    for path in ["global/content/next", "global/content/mine/actions"] {
        assert_eq!(alice.refused("PUT", &format!("v3/pushrules/{path}"), &rule("other")).0, 400, "{path}");
    }
    for (method, path, expected) in [
        ("GET", "v3/pushrules", (404, "M_UNRECOGNIZED")),
        ("GET", "v3/pushrules/global/override/other", (404, "M_NOT_FOUND")),
        ("GET", "v3/pushrules/global/other/x", (404, "M_NOT_FOUND")),
        ("PUT", "v3/pushrules/", (405, "M_UNRECOGNIZED")),
    ] {
        assert_eq!(alice.refused(method, path, &rule("notify")), (expected.0, expected.1.to_owned()), "{path}");
    }
    assert_eq!(alice.get("v3/pushrules/global/content/"), of_kind, "nothing was changed");
}
