//! Objects that the API server rejects, and the messages that it gives, tested against the schema as it is shipped.

// Tests fail by panicking.
#![allow(clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use kube::core::cel::Validator;
use serde_json::{Value, json};

fn schema() -> Value {
    let crd = serde_json::to_value(quorate_crd::chat_cluster_crd()).expect("JSON");
    crd.pointer("/spec/versions/0/schema/openAPIV3Schema").expect("schema").clone()
}

/// Returns a valid object as the API server stores it, with defaults filled in.
fn valid() -> Value {
    let object: quorate_crd::ChatCluster = serde_json::from_value(json!({
        "apiVersion": "chat.quorate.dev/v1alpha1",
        "kind": "ChatCluster",
        "metadata": {"name": "team"},
        "spec": {
            "serverName": "chat.example.org",
            "image": "localhost/quorate:dev",
            "storage": {"size": "10Gi"},
        },
    }))
    .expect("a minimal object is enough");
    serde_json::to_value(object).expect("JSON")
}

fn with(pointer: &str, value: Value) -> Value {
    let mut object = valid();
    let (parent, key) = pointer.rsplit_once('/').expect("a pointer");
    let parent = object.pointer_mut(parent).expect("the parent is there").as_object_mut().expect("an object");
    parent.insert(key.to_owned(), value);
    object
}

fn verdict(new: &Value, old: Option<&Value>) -> Result<(), String> {
    Validator::new().validate(&schema(), new, old).map_err(|errors| errors.to_string())
}

fn refused(new: &Value, old: Option<&Value>, words: &str) {
    let message = verdict(new, old).expect_err(&format!("should be refused: {new}"));
    assert!(message.contains(words), "the message should say {words:?}: {message}");
}

#[test]
fn a_minimal_object_is_accepted_and_complete_with_defaults() {
    assert_eq!(verdict(&valid(), None), Ok(()));
    let spec = &valid()["spec"];
    assert_eq!(spec["replicas"], 3);
    assert_eq!(spec["storage"]["accessMode"], "ReadWriteOncePod");
    assert_eq!(spec["raft"]["electionTimeout"], json!({"min": "150ms", "max": "300ms"}));
    assert_eq!(spec["chat"]["rateLimit"], json!({"enabled": true, "messages": 10, "per": "10s"}));
}

#[test]
fn an_unchanged_object_may_be_written_again() {
    assert_eq!(verdict(&valid(), Some(&valid())), Ok(()));
}

#[test]
fn even_replicas_are_refused() {
    for replicas in [2, 4, 6, 8] {
        refused(&with("/spec/replicas", json!(replicas)), None, "replicas must be odd");
    }
    for replicas in [1, 3, 5, 7, 9] {
        assert_eq!(verdict(&with("/spec/replicas", json!(replicas)), None), Ok(()));
    }
}

#[test]
fn changed_replicas_are_refused() {
    refused(&with("/spec/replicas", json!(5)), Some(&valid()), "replicas cannot be changed yet");
}

#[test]
fn a_changed_server_name_is_refused() {
    refused(&with("/spec/serverName", json!("other.example.org")), Some(&valid()), "serverName is immutable");
}

#[test]
fn server_names_have_a_form() {
    for name in ["Chat.example.org", "chat_1", "-chat", "chat.", "chat:", "a b", "https://chat"] {
        refused(&with("/spec/serverName", json!(name)), None, "must be a host name");
    }
    for name in ["a..b", "chat:99999", "chat:0", "chat.-a"] {
        refused(&with("/spec/serverName", json!(name)), None, "must be a host name");
    }
    for name in ["localhost", "chat.example.org:8448", "10.0.0.1", "x"] {
        assert_eq!(verdict(&with("/spec/serverName", json!(name)), None), Ok(()), "{name}");
    }
}

#[test]
fn storage_below_the_least_or_without_sense_is_refused() {
    for size in ["512Mi", "1M", "ten gigabytes", "-10Gi", ""] {
        refused(&with("/spec/storage/size", json!(size)), None, "at least 1Gi");
    }
}

#[test]
fn storage_cannot_shrink_below_what_was_reached() {
    let reached = |size: &str| {
        let mut object = with("/spec/storage/size", json!(size));
        object["status"] = json!({"observedGeneration": 1, "storage": {"size": "10Gi"}});
        object
    };
    refused(&reached("5Gi"), Some(&reached("10Gi")), "cannot go below");
    assert_eq!(verdict(&reached("20Gi"), Some(&reached("10Gi"))), Ok(()));
    // A mistyped size that no volume has reached can be reverted.
    assert_eq!(verdict(&reached("10Gi"), Some(&reached("10Ti"))), Ok(()));
}

#[test]
fn storage_class_and_access_mode_stay() {
    let classed = with("/spec/storage/storageClassName", json!("fast"));
    refused(&classed, Some(&valid()), "storageClassName cannot be changed");
    refused(&valid(), Some(&classed), "storageClassName cannot be changed");
    assert_eq!(verdict(&classed, Some(&classed)), Ok(()));
    refused(&with("/spec/storage/accessMode", json!("ReadWriteOnce")), Some(&valid()), "accessMode cannot be changed");
}

#[test]
fn wrong_durations_are_refused_wherever_they_stand() {
    let places = [
        "/spec/raft/heartbeatInterval",
        "/spec/raft/electionTimeout/min",
        "/spec/raft/electionTimeout/max",
        "/spec/chat/rateLimit/per",
        "/spec/chat/sessionLifetime",
    ];
    for place in places {
        for text in ["50", "soon", "1d", "-5s", "1.5s", "", "1ms", "0s"] {
            refused(&with(place, json!(text)), None, "must be a duration of at least 10ms");
        }
    }
}

#[test]
fn elections_leave_room_for_heartbeats_and_for_chance() {
    refused(&with("/spec/raft/heartbeatInterval", json!("60ms")), None, "at least three times heartbeatInterval");
    refused(&with("/spec/raft/electionTimeout/max", json!("150ms")), None, "longer than electionTimeout.min");
    let slow = json!({"heartbeatInterval": "1s", "electionTimeout": {"min": "3s", "max": "1m"}});
    assert_eq!(verdict(&with("/spec/raft", slow), None), Ok(()));
}

#[test]
fn minutes_in_place_of_milliseconds_are_refused() {
    let minutes = json!({"heartbeatInterval": "50m", "electionTimeout": {"min": "150m", "max": "300m"}});
    let message = verdict(&with("/spec/raft", minutes), None).expect_err("refused");
    for field in ["heartbeatInterval must be at most 10s", "electionTimeout.min must be at most 30s", "m is minutes"] {
        assert!(message.contains(field), "{message}");
    }
}

#[test]
fn lifetimes_and_periods_have_bounds() {
    refused(&with("/spec/chat/sessionLifetime", json!("10ms")), None, "sessionLifetime must be from 1s");
    refused(&with("/spec/chat/rateLimit/per", json!("25h")), None, "per must be at most 24h");
}

#[test]
fn administrators_are_names_of_users() {
    for name in ["=", "@alice:chat.example.org", "Alice", "-", ""] {
        refused(&with("/spec/chat/administrators", json!(["bob", name])), None, "administrators are names of users");
    }
    assert_eq!(verdict(&with("/spec/chat/administrators", json!(["alice", "b.c=d"])), None), Ok(()));
}

/// Returns a section with every field, as the API server stores it.
fn accounts() -> Value {
    json!({
        "registrationTokenSecretRef": {"name": "team-accounts", "key": "token"},
        "sharedSecretRef": {"name": "team-accounts", "key": "shared-secret"},
        "terms": {"url": "https://chat.example.org/terms", "version": "1.0"},
        "accessTokenLifetime": "5m",
        "jwt": {
            "algorithm": "RS256",
            "keySecretRef": {"name": "idp.example.org", "key": "public.pem"},
            "issuer": "https://id.example.org",
            "audiences": ["chat"],
            "leeway": "1m",
        },
    })
}

/// Returns a valid object with one value of its accounts replaced.
fn with_account(pointer: &str, value: Value) -> Value {
    let mut accounts = accounts();
    *accounts.pointer_mut(pointer).expect("the place is there") = value;
    with("/spec/chat/accounts", accounts)
}

#[test]
fn registration_by_token_needs_no_secret_as_administrators_create_tokens() {
    for registration in ["Open", "Token", "Closed"] {
        let mut object = with("/spec/chat/registration", json!(registration));
        assert_eq!(verdict(&object, None), Ok(()), "{registration}");
        object["spec"]["chat"]["accounts"] = accounts();
        assert_eq!(verdict(&object, None), Ok(()), "{registration}");
    }
}

#[test]
fn secrets_are_named_by_their_name_and_key() {
    for name in ["Team", "-team", "a b", "team/"] {
        let message = "name must be the name of a Secret";
        refused(&with_account("/sharedSecretRef/name", json!(name)), None, message);
        refused(&with_account("/jwt/keySecretRef/name", json!(name)), None, message);
    }
    for key in ["a b", "a/b", ""] {
        let message = "key must be a key of a Secret";
        refused(&with_account("/registrationTokenSecretRef/key", json!(key)), None, message);
    }
}

#[test]
fn tokens_of_an_identity_provider_need_an_algorithm_and_a_key() {
    let schema = schema();
    let accounts = &schema["properties"]["spec"]["properties"]["chat"]["properties"]["accounts"];
    let jwt = &accounts["properties"]["jwt"];
    let required = |section: &Value, field: &str| {
        let fields = section["required"].as_array().cloned().unwrap_or_default();
        assert!(fields.contains(&json!(field)), "{field} of {section}");
    };
    required(jwt, "algorithm");
    required(jwt, "keySecretRef");
    required(&jwt["properties"]["keySecretRef"], "name");
    required(&jwt["properties"]["keySecretRef"], "key");
    // A version without an address would be the version of nothing.
    required(&accounts["properties"]["terms"], "url");
    assert_eq!(jwt["properties"]["algorithm"]["enum"], json!(["HS256", "RS256", "ES256", "EdDSA"]));
}

#[test]
fn an_audience_is_one_word_of_a_list_that_chatd_separates_by_commas() {
    for audience in ["a,b", "a b", "", " "] {
        refused(&with_account("/jwt/audiences", json!(["chat", audience])), None, "audiences must not be blank");
    }
    assert_eq!(verdict(&with_account("/jwt/audiences", json!(["https://chat.example.org", "x"])), None), Ok(()));
}

#[test]
fn durations_of_accounts_and_presence_have_bounds() {
    let presence = |timeout: &str| with("/spec/chat/presence", json!({"enabled": true, "podTimeout": timeout}));
    for (object, words) in [
        (with_account("/accessTokenLifetime", json!("999ms")), "accessTokenLifetime must be from 1s"),
        (with_account("/jwt/leeway", json!("61m")), "leeway must be at most 1h"),
        (presence("599ms"), "podTimeout must be from 600ms"),
        (presence("11m"), "podTimeout must be from 600ms"),
    ] {
        refused(&object, None, words);
    }
    for object in
        [with_account("/accessTokenLifetime", json!("soon")), with_account("/jwt/leeway", json!("0s")), presence("1d")]
    {
        refused(&object, None, "must be a duration of at least 10ms");
    }
}

#[test]
fn addresses_for_people_are_urls() {
    for url in ["chat.example.org", "https://", "https://a..b", "https://user@a", "https://a:0", "https://a b"] {
        refused(&with("/spec/chat/publicBaseURL", json!(url)), None, "publicBaseURL must be a URL");
        refused(&with_account("/terms/url", json!(url)), None, "url must be a URL");
    }
    for url in ["https://chat.example.org", "http://10.0.0.1:8008/", "https://[::1]:8448/terms?v=1#top"] {
        assert_eq!(verdict(&with("/spec/chat/publicBaseURL", json!(url)), None), Ok(()), "{url}");
    }
}

#[test]
fn fields_with_defaults_that_came_later_are_not_written() {
    // An operator that knows them must not restart the pods of objects that were written before.
    let object = with("/spec/chat/presence", json!({"enabled": true, "podTimeout": "30s"}));
    let object: quorate_crd::ChatCluster = serde_json::from_value(object).expect("an object");
    let chat = serde_json::to_value(object.spec.chat).expect("JSON");
    for field in ["accounts", "presence", "publicBaseURL", "directoryWithoutToken"] {
        assert!(chat.get(field).is_none(), "{field}: {chat}");
    }
}

#[test]
fn traces_go_to_an_address_that_there_can_be() {
    for endpoint in ["http://[::", "http://", "https://collector:4317", "http://collector:99999", "collector"] {
        let traces = json!({"endpoint": endpoint, "sampleRatio": "0.01"});
        refused(&with("/spec/traces", traces), None, "endpoint must be http://");
    }
    for endpoint in ["http://collector:4317", "http://[::1]:4317", "http://a.b.c"] {
        assert_eq!(verdict(&with("/spec/traces", json!({"endpoint": endpoint, "sampleRatio": "0.01"})), None), Ok(()));
    }
}

#[test]
fn requests_above_limits_are_refused() {
    let resources = |request: &str| {
        let resources = json!({"requests": {"memory": request, "cpu": "1"}, "limits": {"memory": "1Gi"}});
        with("/spec/podTemplate/resources", resources)
    };
    refused(&resources("2Gi"), None, "at most limits.memory");
    refused(&resources("a lot"), None, "at most limits.memory");
    assert_eq!(verdict(&resources("1024Mi"), None), Ok(()));
    let processor = json!({"requests": {"cpu": "2"}, "limits": {"cpu": "500m"}});
    refused(&with("/spec/podTemplate/resources", processor), None, "at most limits.cpu");
}

#[test]
fn labels_of_the_operator_are_refused() {
    for key in ["app.kubernetes.io/instance", "chat.quorate.dev/pool", "controller-revision-hash"] {
        refused(&with("/spec/podTemplate/metadata", json!({"labels": {key: "x"}})), None, "belong to the operator");
    }
    let own = json!({"labels": {"app.kubernetes.io/part-of": "x", "team": "y"}, "annotations": {"a": "b"}});
    assert_eq!(verdict(&with("/spec/podTemplate/metadata", own), None), Ok(()));
    let annotations = json!({"annotations": {"chat.quorate.dev/cluster-id": "x"}});
    refused(&with("/spec/podTemplate/metadata", annotations), None, "belong to the operator");
}

#[test]
fn a_variable_stands_once() {
    let env = schema()["properties"]["spec"]["properties"]["podTemplate"]["properties"]["env"].clone();
    assert_eq!(env["x-kubernetes-list-type"], "map");
    assert_eq!(env["x-kubernetes-list-map-keys"], json!(["name"]));
}

#[test]
fn names_of_other_objects_have_a_form() {
    refused(&with("/spec/storage/storageClassName", json!("Fast!")), None, "name of a storage class");
    refused(&with("/spec/image", json!("quorate dev")), None, "image must be the name of an image");
    refused(&with("/metadata/name", json!("default")), None, "the name default is taken");
}

/// chatd accepts and rejects the same values: `chatd/src/config/resolve.rs` reads the same table.
#[test]
fn what_the_definition_takes_is_what_chatd_takes() {
    let table: Vec<Value> = serde_json::from_str(include_str!("settings.json")).expect("a table");
    for row in table {
        let place = row["crd"].as_str().expect("a place");
        let object = |value: &Value| {
            let mut object = valid();
            object["spec"]["traces"] = json!({"endpoint": "http://collector", "sampleRatio": "0.01"});
            object["spec"]["chat"]["administrators"] = json!(["alice"]);
            object["spec"]["chat"]["accounts"] = accounts();
            object["spec"]["chat"]["publicBaseURL"] = json!("https://chat.example.org");
            object["spec"]["chat"]["presence"] = json!({"enabled": true, "podTimeout": "30s"});
            *object.pointer_mut(place).expect("the place is there") = value.clone();
            object
        };
        for value in row["taken"].as_array().expect("values") {
            assert_eq!(verdict(&object(value), None), Ok(()), "{place} {value}");
        }
        for value in row["refused"].as_array().expect("values") {
            assert!(verdict(&object(value), None).is_err(), "{place} {value} must be refused");
        }
    }
}

#[test]
fn names_that_make_no_services_are_refused() {
    for name in ["1team", "team.one", "t-", &"t".repeat(41)] {
        refused(&with("/metadata/name", json!(name)), None, "at most 40 characters");
    }
    assert_eq!(verdict(&with("/metadata/name", json!("t".repeat(40))), None), Ok(()));
}

#[test]
fn the_operators_environment_is_not_overridden() {
    let env = json!([{"name": "QUORATE_NODE_NAME", "value": "x"}]);
    refused(&with("/spec/podTemplate/env", env), None, "belong to the operator");
}

#[test]
fn status_has_the_default_that_makes_tools_wait() {
    let status = schema()["properties"]["status"].clone();
    assert_eq!(status["default"], json!({"observedGeneration": -1}));
    assert_eq!(status["properties"]["conditions"]["x-kubernetes-list-map-keys"], json!(["type"]));
    assert_eq!(status["properties"]["members"]["x-kubernetes-list-map-keys"], json!(["nodeId"]));
}

#[test]
fn the_definition_stays_small() {
    let size = serde_json::to_vec(&quorate_crd::chat_cluster_crd()).expect("JSON").len();
    assert!(size < 60_000, "{size} bytes: strip the descriptions of embedded types");
}
