//! Settings of devices that clients keep for each other as account data: they go with the device.

use crate::support::matrix::{MatrixUser, each, escape, next_batch, single_node};
use serde_json::{Value, json};

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_logs_out_loses_its_settings_and_the_others_are_told_once() {
    let cluster = single_node().await;
    let alice = MatrixUser::register(&cluster.nodes[0], "alice");
    let (second, device) = alice.log_in(None);
    let event_type = format!("org.matrix.msc3890.local_notification_settings.{device}");
    let path = format!("v3/user/{}/account_data/{event_type}", escape(&alice.id));
    alice.must("PUT", &path, &json!({"is_silenced": true}));
    assert_eq!(alice.get(&path), json!({"is_silenced": true}));
    let since = alice.token();
    second.must("POST", "v3/logout", &json!({}));
    assert_eq!(alice.refused("GET", &path, &Value::Null), (404, "M_NOT_FOUND".into()));
    let told = alice.sync(Some(&since), &Value::Null);
    assert_eq!(told["account_data"]["events"], json!([{"type": event_type, "content": {}}]));
    let next = alice.sync(Some(&next_batch(&told)), &Value::Null);
    assert_eq!(next.get("account_data"), None, "{next}");
    let first = alice.sync(None, &Value::Null);
    assert!(!each(&first["account_data"]["events"], "/type").contains(&json!(event_type)), "{first}");
}
