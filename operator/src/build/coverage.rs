//! Test that every field of the spec has an effect: each field is set once, and its value must appear in an object that
//! is applied, even where a template was applied before. The fields are read from the schema, so a newly added one
//! fails here until it has an effect or is listed as one that the operator itself acts on.

use super::{CarriedState, DesiredResources, build_resources, choose_template};
use crate::{cluster::ValidCluster, fixture};
use quorate_crd::ChatCluster;
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// Fields with Kubernetes types or maps: one value stands for everything in them.
const WHOLE: [&str; 13] = [
    "imagePullSecrets",
    "podTemplate.affinity",
    "podTemplate.topologySpreadConstraints",
    "podTemplate.tolerations",
    "podTemplate.resources",
    "podTemplate.env",
    "podTemplate.nodeSelector",
    "chat.administrators",
    "chat.accounts.registrationTokenSecretRef",
    "chat.accounts.sharedSecretRef",
    "chat.accounts.jwt.keySecretRef",
    "chat.accounts.jwt.audiences",
    "service.annotations",
];

/// Fields that the operator itself acts on, each with the test that covers it.
const OPERATORS_OWN: [&str; 3] = [
    "storage.persistentVolumeClaimRetentionPolicy.whenDeleted", // plan::owners::data_that_goes_goes_with_the_marker
    "paused",                                                   // plan::model::a_paused_cluster_is_not_touched
    "progressDeadline", // status::tests::what_comes_no_nearer_to_its_end_is_stalled_with_the_reason
];

/// Returns, for each field, its path, a value that differs from the default, and the text that this value must produce.
fn values() -> Vec<(&'static str, Value, &'static str)> {
    vec![
        ("serverName", json!("other.example.org"), "serverName: other.example.org"),
        ("image", json!("registry.example.org/q:7"), "registry.example.org/q:7"),
        ("imagePullPolicy", json!("Always"), r#""imagePullPolicy":"Always""#),
        ("imagePullSecrets", json!([{"name": "registry-login"}]), "registry-login"),
        ("replicas", json!(5), r#""replicas":5"#),
        ("storage.size", json!("7Gi"), r#""storage":"7Gi""#),
        ("storage.storageClassName", json!("fast"), r#""storageClassName":"fast""#),
        ("storage.accessMode", json!("ReadWriteOnce"), r#"["ReadWriteOnce"]"#),
        ("raft.heartbeatInterval", json!("60ms"), "heartbeatInterval: 60ms"),
        ("raft.electionTimeout.min", json!("210ms"), "electionTimeoutMin: 210ms"),
        ("raft.electionTimeout.max", json!("440ms"), "electionTimeoutMax: 440ms"),
        ("service.type", json!("LoadBalancer"), r#""type":"LoadBalancer""#),
        ("service.annotations", json!({"example.org/lb": "inside"}), r#""example.org/lb":"inside""#),
        ("podDisruptionBudget.enabled", json!(false), r#""disruptionBudget":null"#),
        ("podTemplate.metadata.labels", json!({"example.org/team": "red"}), r#""example.org/team":"red""#),
        ("podTemplate.metadata.annotations", json!({"example.org/note": "n"}), r#""example.org/note":"n""#),
        ("podTemplate.affinity", json!({"nodeAffinity": {}}), r#""nodeAffinity":{}"#),
        (
            "podTemplate.topologySpreadConstraints",
            json!([{"maxSkew": 3, "topologyKey": "rack", "whenUnsatisfiable": "DoNotSchedule"}]),
            r#""topologyKey":"rack""#,
        ),
        ("podTemplate.nodeSelector", json!({"disk": "nvme"}), r#""disk":"nvme""#),
        ("podTemplate.tolerations", json!([{"key": "dedicated"}]), r#""key":"dedicated""#),
        ("podTemplate.priorityClassName", json!("high"), r#""priorityClassName":"high""#),
        ("podTemplate.resources", json!({"limits": {"memory": "3Gi"}}), r#""memory":"3Gi""#),
        ("podTemplate.user", json!("Assigned"), r#""securityContext":{"fsGroupChangePolicy""#),
        ("podTemplate.env", json!([{"name": "RUST_BACKTRACE", "value": "1"}]), "RUST_BACKTRACE"),
        ("chat.registration", json!("Closed"), "registration: closed"),
        (
            "chat.accounts.registrationTokenSecretRef",
            json!({"name": "doors", "key": "token"}),
            r#""path":"registration-token""#,
        ),
        ("chat.accounts.sharedSecretRef", json!({"name": "admins", "key": "secret"}), r#""name":"admins""#),
        ("chat.accounts.terms.url", json!("https://example.org/terms"), "termsUrl: https://example.org/terms"),
        ("chat.accounts.terms.version", json!("2.1"), "termsVersion: '2.1'"),
        ("chat.accounts.accessTokenLifetime", json!("7m"), "accessTokenLifetime: 420s"),
        ("chat.accounts.jwt.algorithm", json!("EdDSA"), "algorithm: EdDSA"),
        ("chat.accounts.jwt.keySecretRef", json!({"name": "idp", "key": "public.pem"}), r#""key":"public.pem""#),
        ("chat.accounts.jwt.issuer", json!("https://id.example.org"), "issuer: https://id.example.org"),
        ("chat.accounts.jwt.audiences", json!(["chat", "phone"]), "audiences: chat,phone"),
        ("chat.accounts.jwt.leeway", json!("9s"), "leeway: 9s"),
        ("chat.administrators", json!(["alice"]), "administrators: alice"),
        ("chat.rateLimit.enabled", json!(false), "enabled: false"),
        ("chat.rateLimit.messages", json!(77), "messages: 77"),
        ("chat.rateLimit.per", json!("33s"), "per: 33s"),
        ("chat.rateLimit.state", json!(71), "state: 71"),
        ("chat.rateLimit.account", json!(72), "account: 72"),
        ("chat.rateLimit.receipts", json!(73), "receipts: 73"),
        ("chat.rateLimit.keys", json!(74), "keys: 74"),
        ("chat.rateLimit.logins", json!(75), "logins: 75"),
        ("chat.rateLimit.registrations", json!(76), "registrations: 76"),
        ("chat.sessionLifetime", json!("50h"), "lifetime: 180000s"),
        ("chat.publicBaseURL", json!("https://chat.example.org"), "publicBaseUrl: https://chat.example.org"),
        ("chat.presence.enabled", json!(false), "presence:\n  enabled: false"),
        ("chat.presence.podTimeout", json!("44s"), "podTimeout: 44s"),
        ("chat.directoryWithoutToken", json!(true), "directory:\n  withoutToken: true"),
        ("log.format", json!("text"), "format: text"),
        ("log.level", json!("debug"), "level: debug"),
        ("traces.endpoint", json!("http://collector:4317"), "endpoint: http://collector:4317"),
        ("traces.sampleRatio", json!("0.25"), "sampleRatio: '0.25'"),
    ]
}

/// Returns the paths of all fields of the spec, from the schema as it is shipped.
fn fields() -> BTreeSet<String> {
    let crd = serde_json::to_value(quorate_crd::chat_cluster_crd()).expect("JSON");
    let spec = crd.pointer("/spec/versions/0/schema/openAPIV3Schema/properties/spec").expect("a schema");
    let mut found = BTreeSet::new();
    walk(spec, String::new(), &mut found);
    found
}

fn walk(schema: &Value, path: String, found: &mut BTreeSet<String>) {
    match schema.get("properties").and_then(Value::as_object) {
        Some(properties) if !WHOLE.contains(&path.as_str()) => {
            for (name, schema) in properties {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                walk(schema, path, found);
            }
        }
        _ => drop(found.insert(path)),
    }
}

/// Returns the optional sections that have required fields, each with a value to start from.
fn sections() -> [(&'static str, Value); 3] {
    [
        ("traces", json!({"endpoint": "http://elsewhere:4317"})),
        ("chat.accounts.terms", json!({"url": "https://elsewhere.example.org"})),
        ("chat.accounts.jwt", json!({"algorithm": "HS256", "keySecretRef": {"name": "other", "key": "other"}})),
    ]
}

fn set(spec: &mut Value, path: &str, value: Value) {
    let mut at = spec;
    for key in path.split('.') {
        at = &mut at[key];
    }
    *at = value;
}

fn with(path: &str, value: Value) -> ValidCluster {
    let mut object = serde_json::to_value(fixture::chat_cluster()).expect("JSON");
    for (section, start) in sections() {
        if path.starts_with(&format!("{section}.")) {
            set(&mut object["spec"], section, start);
        }
    }
    set(&mut object["spec"], path, value);
    let object: ChatCluster = serde_json::from_value(object).expect("an object");
    ValidCluster::validate(&object).expect("a valid object")
}

/// Renders everything that is applied, with the configuration as it appears in its file.
fn text(resources: DesiredResources) -> String {
    let configs = resources.configs.iter().filter_map(|map| map.data.as_ref()?.values().next().cloned());
    let configs: Vec<String> = configs.collect();
    let DesiredResources { service_account, configs: _, service, peers, leader, disruption_budget, stateful_set } =
        resources;
    let objects = json!({
        "account": service_account, "service": service, "peers": peers, "leader": leader,
        "disruptionBudget": disruption_budget, "stateful": stateful_set.spec,
    });
    format!("{objects}\n{}", configs.join("\n"))
}

#[test]
fn every_field_of_the_schema_is_tried_here() {
    let tried: BTreeSet<String> = values().into_iter().map(|(path, ..)| path.to_owned()).collect();
    let own: BTreeSet<String> = OPERATORS_OWN.map(str::to_owned).into();
    let all: BTreeSet<String> = tried.union(&own).cloned().collect();
    let fields = fields();
    let forgotten: Vec<_> = fields.difference(&all).collect();
    let gone: Vec<_> = all.difference(&fields).collect();
    assert!(forgotten.is_empty(), "fields that nothing tries: {forgotten:?}; act on them, then name them here");
    assert!(gone.is_empty(), "not fields of the schema: {gone:?}");
}

#[test]
fn every_value_reaches_an_object_also_when_a_template_was_applied_before() {
    let before = fixture::cluster();
    let first = build_resources(&before, &CarriedState::default());
    let recorded = choose_template(&before, None).record();
    for (path, value, words) in values() {
        assert!(!text(first.clone()).contains(words), "{path}: {words:?} is there without it");
        let after = with(path, value);
        // A new size reaches existing claims by patching them, and the claim template only when that is first created.
        let carried = CarriedState { recorded: Some(recorded.clone()), ..CarriedState::default() };
        let found = text(build_resources(&after, &carried));
        assert!(found.contains(words), "{path}: {words:?} is in no object:\n{found}");
    }
}
