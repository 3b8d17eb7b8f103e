//! `chatctl verify` as a program, against a cluster that keeps its promises and against ones that do not.

use crate::fake::{Fake, StreamFault, World, WriteFault, eventually};
use serde_json::Value;
use std::{
    process::{Command, Stdio},
    sync::Arc,
};

fn verify(addresses: &[String], more: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_chatctl"));
    command.args(["--output", "json", "verify", "--servers", &addresses.join(",")]);
    command.args(["--writers", "2", "--readers", "2", "--attempt-timeout", "500ms", "--settle", "4s"]);
    if !more.contains(&"--rate") {
        command.args(["--rate", "50"]);
    }
    command.args(more).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.env("QUORATE_PROFILE_FILE", "/nonexistent/profiles.json");
    command
}

async fn report(mut command: Command) -> (Option<i32>, Value) {
    let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
    let problem = String::from_utf8_lossy(&output.stderr).into_owned();
    let report = serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {problem}"));
    (output.status.code(), report)
}

async fn under_load(world: &Arc<World>, count: usize) {
    eventually("the load runs", || world.state.lock().unwrap().events.len() > count).await;
}

#[tokio::test]
async fn a_good_cluster_passes_although_servers_die_and_outcomes_are_unknown() {
    survives(&["--duration", "2s", "--rooms", "2", "--reads", "50"]).await;
}

#[tokio::test]
async fn a_good_cluster_passes_over_streams_too() {
    survives(&["--duration", "2s", "--post"]).await;
}

async fn survives(options: &'static [&'static str]) {
    let world = World::new();
    let (mut fakes, addresses) = Fake::cluster(&world, 3);
    fakes[2].on_writes([WriteFault::Limit { retry_after_ms: 50 }]);
    let running = tokio::spawn(report(verify(&addresses, options)));
    under_load(&world, 40).await;
    for applied in [true, false] {
        fakes[1].on_writes(std::iter::repeat_n(WriteFault::Unknown { applied }, 3));
    }
    fakes[1].on_writes([WriteFault::Hang]);
    fakes[0].kill();
    let address = addresses[0].parse().unwrap();
    under_load(&world, 100).await;
    let again = Arc::clone(&world);
    let _back = tokio::task::spawn_blocking(move || Fake::start_at(&again, address)).await.unwrap();
    let (code, report) = running.await.unwrap();
    assert_eq!(code, Some(0), "{report:#}");
    let kinds = ["lost", "duplicated", "reordered", "mismatched", "phantom", "unlinearizable"];
    for name in kinds.iter().chain(&["unknown", "unscanned"]) {
        assert_eq!(report[name], 0, "{name} in {report:#}");
    }
    assert!(report["acknowledged"].as_u64().unwrap() >= 150, "{report:#}");
    let asked = options.contains(&"--reads");
    assert_eq!(report["reads"]["linearizable"].as_u64().unwrap() > 50, asked, "{report:#}");
    assert!(report["longest_gap_ms"].is_u64() && report["gaps"].is_array() && report["ok"] == true);
}

#[tokio::test]
async fn an_event_that_a_stream_swallows_is_found() {
    let world = World::new();
    let (fakes, addresses) = Fake::cluster(&world, 2);
    fakes[1].on_streams([StreamFault { swallow: Some(30), ..StreamFault::default() }]);
    let (code, report) = report(verify(&addresses, &["--duration", "1s"])).await;
    assert_eq!((code, &report["lost"]), (Some(10), &Value::from(1)), "{report:#}");
}

#[tokio::test]
async fn an_event_that_a_history_lacks_is_found() {
    let world = World::new();
    world.state.lock().unwrap().hidden.push(40);
    let (_fakes, addresses) = Fake::cluster(&world, 2);
    let (code, report) = report(verify(&addresses, &["--duration", "1s"])).await;
    assert_eq!((code, &report["lost"]), (Some(10), &Value::from(1)), "{report:#}");
}

#[tokio::test]
async fn reads_that_lag_although_they_say_otherwise_are_found_and_the_smallest_proof_is_shown() {
    let world = World::new();
    let (_fakes, addresses) = Fake::cluster(&world, 2);
    let running = tokio::spawn(report(verify(&addresses, &["--duration", "2s", "--reads", "50"])));
    under_load(&world, 60).await;
    world.state.lock().unwrap().stale = 20;
    let (code, report) = running.await.unwrap();
    assert_eq!((code, &report["lost"]), (Some(10), &Value::from(0)), "{report:#}");
    assert!(report["unlinearizable"].as_u64().unwrap() > 10, "{report:#}");
    let smallest = report["smallest"].as_array().unwrap();
    assert!((2..=4).contains(&smallest.len()), "one or two reads, and their messages: {report:#}");
}

#[tokio::test]
async fn events_that_a_resumed_stream_repeats_are_found() {
    let world = World::new();
    let (fakes, addresses) = Fake::cluster(&world, 1);
    fakes[0].on_streams([StreamFault { end_after: Some(30), ..StreamFault::default() }; 2]);
    fakes[0].on_streams([StreamFault { repeat: 2, ..StreamFault::default() }]);
    let (code, report) = report(verify(&addresses, &["--duration", "1s"])).await;
    assert_eq!((code, &report["duplicated"]), (Some(10), &Value::from(2)), "{report:#}");
}

#[tokio::test]
async fn events_in_another_order_than_all_others_see_are_found() {
    let world = World::new();
    let (fakes, addresses) = Fake::cluster(&world, 1);
    // Both of the swapped events must be there when the stream comes to them, so it resumes late.
    fakes[0].on_streams([StreamFault { end_after: Some(5), ..StreamFault::default() }]);
    let swaps = (20..60).step_by(2).map(|number| StreamFault {
        swap: Some(number),
        end_after: Some(8),
        ..StreamFault::default()
    });
    fakes[0].on_streams(swaps);
    let (code, report) = report(verify(&addresses, &["--duration", "1s", "--rate", "200"])).await;
    assert_eq!(code, Some(10), "{report:#}");
    assert!(report["reordered"].as_u64().unwrap() > 0, "{report:#}");
}

#[tokio::test]
async fn a_signal_ends_the_load_early_and_the_check_still_happens() {
    let world = World::new();
    let (_fakes, addresses) = Fake::cluster(&world, 2);
    let child = verify(&addresses, &["--duration", "60s"]).spawn().unwrap();
    let id = child.id().to_string();
    under_load(&world, 30).await;
    assert!(std::process::Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
    let output = tokio::task::spawn_blocking(|| child.wait_with_output()).await.unwrap().unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((output.status.code(), &report["interrupted"], &report["lost"]), (Some(0), &true.into(), &0.into()));
}

#[tokio::test]
async fn a_cluster_that_refuses_the_load_proves_nothing() {
    let world = World::new();
    world.state.lock().unwrap().only = Some("-ready-".into());
    let (_fakes, addresses) = Fake::cluster(&world, 1);
    let (code, report) = report(verify(&addresses, &["--duration", "1s"])).await;
    assert_eq!((code, &report["acknowledged"], &report["ok"]), (Some(11), &0.into(), &false.into()), "{report:#}");
    assert!(report["refused"].as_u64().unwrap() > 50 && report["first_refusal"].is_string(), "{report:#}");
}
