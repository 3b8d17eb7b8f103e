//! Administrators with accounts, who use the Matrix API.

use super::matrix::{MatrixUser, call_as};
use super::process::{Node, SERVER_NAME};
use ring::hmac;
use serde_json::json;
use std::fmt::Write as _;
use tempfile::TempDir;

const SECRET: &str = "complement";
const PASSWORD: &str = "a password";

/// Returns settings with a secret for [`root`], and the directory that keeps its file.
pub fn shared_secret() -> (String, TempDir) {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("secret");
    std::fs::write(&file, SECRET).expect("written");
    (format!("accounts: {{sharedSecretFile: '{}'}}", file.display()), dir)
}

/// Registers an administrator with the shared secret.
pub fn root(node: &Node) -> MatrixUser {
    const PATH: &str = "/_synapse/admin/v1/register";
    let nonce = node.ask("GET", PATH, "", "", "")["nonce"].as_str().expect("a nonce").to_owned();
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, SECRET.as_bytes());
    let tag = hmac::sign(&key, format!("{nonce}\0root\0{PASSWORD}\0admin").as_bytes());
    let mac = tag.as_ref().iter().fold(String::new(), |mut mac, byte| {
        write!(mac, "{byte:02x}").expect("written");
        mac
    });
    let body = json!({"nonce": nonce, "username": "root", "password": PASSWORD, "admin": true, "mac": mac});
    let (status, made) = call_as(node, "", "POST", PATH, &body);
    assert_eq!(status, 200, "{made}");
    let token = made["access_token"].as_str().expect("a token").to_owned();
    MatrixUser { node: node.clone(), id: format!("@root:{SERVER_NAME}"), token }
}
