//! Golden tests: the stories of `tests/stories` come out as they are written. `QUORATE_WRITE=1` writes down how they
//! come out; a story in which something is broken is never written.
#![allow(clippy::panic, clippy::unwrap_used, reason = "a failed check of a test is a panic")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Names of all stories: a folder that lacks one would pass otherwise.
const STORIES: [&str; 7] = [
    "acknowledgement-lost",
    "concurrent-senders",
    "late-member",
    "leader-loss",
    "node-replaced",
    "normal-operation",
    "partition",
];

/// Returns the folder of the stories; tests run in the folder of their package.
fn folder() -> PathBuf {
    PathBuf::from("../../tests/stories")
}

fn path(name: &str) -> PathBuf {
    folder().join(format!("{name}.txt"))
}

/// Plays a story, and returns its new text or what was broken.
fn play(path: &Path, mutation: Option<&str>) -> Result<String, String> {
    // Runs in a process of its own, because libraries count things for the life of a process.
    let mut command = Command::new(env!("CARGO_BIN_EXE_quorate-sim"));
    command.arg("story").arg(path).args(mutation).stdin(Stdio::null());
    let ended = command.output().unwrap();
    let text = String::from_utf8(ended.stdout).unwrap();
    if ended.status.success() {
        return Ok(text);
    }
    Err(format!("{}\n{text}", String::from_utf8_lossy(&ended.stderr)))
}

/// Returns the first line in which two texts differ.
fn difference(kept: &str, played: &str) -> Option<String> {
    if kept == played {
        return None;
    }
    let (mut kept, mut played) = (kept.lines(), played.lines());
    let mut number = 0;
    loop {
        number += 1;
        let (was, is) = (kept.next(), played.next());
        if was != is || was.is_none() {
            return Some(format!("line {number}\n   was: {}\n    is: {}", was.unwrap_or("-"), is.unwrap_or("-")));
        }
    }
}

fn check(name: &str) {
    let path = path(name);
    let kept = fs::read_to_string(&path).unwrap();
    let played = match play(&path, None) {
        Ok(played) => played,
        Err(broken) => panic!("{name}: {broken}"),
    };
    if std::env::var_os("QUORATE_WRITE").is_some() {
        return fs::write(&path, played).unwrap();
    }
    let difference = difference(&kept, &played);
    assert!(difference.is_none(), "{name} comes out differently: {}", difference.unwrap_or_default());
}

#[test]
fn every_story_is_played_here() {
    let mut found: Vec<_> = fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().path().file_stem().unwrap().to_string_lossy().into_owned())
        .collect();
    found.sort();
    assert_eq!(found, STORIES);
}

#[test]
fn in_normal_operation_everybody_gets_everything_in_one_order() {
    check("normal-operation");
}

#[test]
fn when_the_leader_is_lost_another_one_serves_and_it_follows_when_it_returns() {
    check("leader-loss");
}

#[test]
fn in_a_partition_the_majority_goes_on_and_the_minority_promises_nothing() {
    check("partition");
}

#[test]
fn senders_in_one_moment_share_entries_and_one_order() {
    check("concurrent-senders");
}

#[test]
fn a_message_whose_acknowledgement_was_lost_is_there_once() {
    check("acknowledgement-lost");
}

#[test]
fn a_late_member_sees_what_the_rooms_history_allows() {
    check("late-member");
}

#[test]
fn a_node_that_is_replaced_hands_its_place_to_a_snapshot() {
    check("node-replaced");
}

#[test]
fn a_story_is_the_same_each_time() {
    let path = path("leader-loss");
    assert_eq!(play(&path, None), play(&path, None));
}

#[test]
fn a_story_in_which_something_is_broken_fails_though_it_may_read_well() {
    let broken = play(&path("acknowledgement-lost"), Some("drop-dedup-row"));
    let Err(broken) = broken else { panic!("a message that is there twice was not noticed") };
    assert!(broken.contains("broke=exactly_once") || broken.contains("broke=applied_agreement"), "{broken}");
}

#[test]
fn a_story_without_an_end_is_refused() {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(&file, "> start pod-0\n").unwrap();
    let refused = play(file.path(), None);
    assert!(refused.is_err_and(|error| error.contains("broke=stories_are_understood")));
}
