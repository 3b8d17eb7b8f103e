//! The program as a shell sees it: output, exit codes, files.

use crate::fake::{Fake, World};
use serde_json::Value;
use std::{
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Command, Output},
};

fn chatctl(profile_file: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_chatctl"));
    command.env_clear().env("QUORATE_PROFILE_FILE", profile_file).env("QUORATE_PASSWORD", "pw");
    command.args(arguments).output().unwrap()
}

fn json(output: &[u8]) -> Value {
    serde_json::from_slice(output).unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(output)))
}

#[test]
fn help_names_every_command_and_the_exit_codes() {
    let directory = tempfile::tempdir().unwrap();
    let output = chatctl(&directory.path().join("p"), &["--help"]);
    let help = String::from_utf8(output.stdout).unwrap();
    let commands = [
        "register",
        "login",
        "logout",
        "whoami",
        "rooms",
        "create",
        "join",
        "invite",
        "leave",
        "send",
        "tail",
        "history",
        "members",
        "servers",
        "verify",
        "completions",
        "cluster",
        "Exit codes",
    ];
    for command in commands {
        assert!(help.contains(command), "{command} is missing in\n{help}");
    }
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn a_wrong_command_line_exits_with_2_in_both_forms() {
    let directory = tempfile::tempdir().unwrap();
    let profile = directory.path().join("p");
    assert_eq!(chatctl(&profile, &["frobnicate"]).status.code(), Some(2));
    let output = chatctl(&profile, &["--output", "json", "tail", "--nonsense"]);
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(json(&output.stderr)["error"]["code"], "USAGE");
    let output = chatctl(&profile, &["--output", "json", "--server", "no-port", "login", "alice"]);
    assert_eq!((output.status.code(), &json(&output.stderr)["error"]["exit_code"]), (Some(2), &Value::from(2)));
}

#[test]
fn errors_do_not_repeat_the_control_characters_of_their_arguments() {
    let directory = tempfile::tempdir().unwrap();
    let profile = directory.path().join("p");
    let hostile = "x\u{1b}[2J\u{9b}2J\u{7f}";
    for arguments in [
        &["frobnicate", hostile][..],
        &["--output", hostile],
        &["--output", "json", "tail", hostile, "--nonsense"],
        &["--profile", hostile, "--server", "127.0.0.1:1", "whoami"],
        &["--output", "json", "--profile", hostile, "--server", "127.0.0.1:1", "whoami"],
    ] {
        let output = chatctl(&profile, arguments);
        assert_ne!(output.status.code(), Some(0), "{arguments:?}");
        let told = String::from_utf8(output.stderr).unwrap();
        let raw = told.chars().find(|c| c.is_control() && *c != '\n' && *c != '\t');
        assert_eq!(raw, None, "{arguments:?}: {told:?}");
    }
}

#[test]
fn help_that_cannot_be_written_is_an_error() {
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    for argument in ["--help", "--version"] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_chatctl"));
        let output = command.arg(argument).stdout(full.try_clone().unwrap()).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{argument}");
        assert!(String::from_utf8_lossy(&output.stderr).contains("standard output"), "{argument}");
    }
}

#[test]
fn without_session_it_exits_with_4_and_without_server_with_5() {
    let directory = tempfile::tempdir().unwrap();
    let profile = directory.path().join("p");
    let output = chatctl(&profile, &["--output", "json", "--server", "127.0.0.1:1", "whoami"]);
    assert_eq!((output.status.code(), &json(&output.stderr)["error"]["code"]), (Some(4), &Value::from("NO_SESSION")));
    let output = chatctl(&profile, &["--server", "127.0.0.1:1", "--timeout", "300ms", "login", "alice"]);
    assert_eq!(output.status.code(), Some(5), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_conversation_from_registration_to_logout() {
    let world = World::new();
    let (_fakes, addresses) = Fake::cluster(&world, 2);
    let directory = tempfile::tempdir().unwrap();
    let profile = directory.path().join("profiles.json");
    let run = |arguments: &[&str]| {
        let output = chatctl(&profile, &[&["--output", "json"], arguments].concat());
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    };
    let registered = json(&run(&["--server", &addresses.join(","), "register", "alice"]));
    assert_eq!(registered["user_id"], "@alice:test");
    assert!(registered.get("access_token").is_none());
    assert_eq!(std::fs::metadata(&profile).unwrap().permissions().mode() & 0o777, 0o600);
    // From here on the profile knows servers and session.
    assert_eq!(json(&run(&["whoami"]))["user_id"], "alice");
    let room = json(&run(&["create", "Ops", "--public"]))["room_id"].as_str().unwrap().to_owned();
    run(&["join", &room]);
    let sent = json(&run(&["send", "Ops", "hello"]));
    assert!(sent["event_id"].as_str().unwrap().starts_with('$') && sent["position"]["index"].is_u64());
    let history = json(&run(&["history", &room]));
    assert_eq!(history["events"][0]["content"]["body"], "hello");
    assert_eq!(json(&run(&["rooms"]))["rooms"][0]["name"], "Ops");
    run(&["logout"]);
    assert_eq!(chatctl(&profile, &["whoami"]).status.code(), Some(4));
}

#[test]
fn lines_of_standard_input_are_sent_in_order() {
    use std::{io::Write as _, process::Stdio};
    let world = World::new();
    let (token, room) = world.furnished();
    let (_fakes, addresses) = Fake::cluster(&world, 1);
    let directory = tempfile::tempdir().unwrap();
    let profile = directory.path().join("p");
    let store = quorate_chatctl::profile::ProfileStore::new(profile.clone());
    store.update("default", |p| (p.servers, p.token) = (addresses, Some(token))).unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_chatctl"))
        .env("QUORATE_PROFILE_FILE", &profile)
        .args(["send", &room])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(b"one\n\ntwo\nthree").unwrap();
    assert!(child.wait().unwrap().success());
    let said: Vec<String> = world
        .state
        .lock()
        .unwrap()
        .events
        .iter()
        .map(|e| json(&e.content)["body"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(said, ["one", "two", "three"]);
}

#[test]
fn a_profile_that_others_can_read_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let profile = directory.path().join("p");
    std::fs::write(&profile, "{}").unwrap();
    std::fs::set_permissions(&profile, std::fs::Permissions::from_mode(0o644)).unwrap();
    let output = chatctl(&profile, &["whoami"]);
    assert_eq!(output.status.code(), Some(7));
    assert!(String::from_utf8_lossy(&output.stderr).contains("chmod 600"));
}

#[test]
fn completions_are_printed_for_each_shell() {
    let directory = tempfile::tempdir().unwrap();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let output = chatctl(&directory.path().join("p"), &["completions", shell]);
        assert!(output.status.success() && String::from_utf8_lossy(&output.stdout).contains("chatctl"), "{shell}");
    }
}
