//! List of the specification's endpoints in `docs/matrix.md`, each with whether it is served: from ruma's source, which
//! has all of them, and the router.

use quorate_chatd::api::matrix::{MatrixEndpoint, matrix_endpoints};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Page with the list. Tests run in the directory of their package.
const PAGE: &str = "../docs/matrix.md";
const BEGIN: &str = "<!-- endpoints: chatd/tests/it/endpoints.rs writes this part -->\n";
const END: &str = "<!-- end of endpoints -->\n";
/// Crate whose files each define an endpoint, in folders by subject.
const CRATE: &str = "ruma-client-api";
const METADATA: &str = "metadata! {";

/// Method and path of an endpoint, in its newest spelling.
type EndpointKey = (String, String);

/// Subject of an endpoint, and whether the specification advises against it.
struct EndpointEntry {
    subject: String,
    deprecated: bool,
}

/// Compares the list with that in the page. With `QUORATE_WRITE=1`, writes it there first.
#[test]
fn the_page_lists_every_endpoint_of_the_specification_and_whether_it_is_served() {
    let list = list_of(&specified_endpoints(&source_of_ruma()), &matrix_endpoints());
    let page = std::fs::read_to_string(PAGE).unwrap();
    let (head, rest) = page.split_once(BEGIN).expect("the page has a place for the list");
    let (kept, tail) = rest.split_once(END).expect("the list has an end");
    if std::env::var_os("QUORATE_WRITE").is_some() {
        std::fs::write(PAGE, format!("{head}{BEGIN}{list}{END}{tail}")).unwrap();
    } else {
        assert_eq!(kept, list, "QUORATE_WRITE=1 writes it anew");
    }
}

#[test]
fn an_endpoint_is_read_from_ruma_with_its_newest_path() {
    let source = r#"
        metadata! {
            method: GET,
            history: {
                unstable("a.msc1") => "/_matrix/client/unstable/a.msc1/x/{id}",
                1.0 => "/_matrix/client/r0/x/{id}",
                1.11 | stable("a.stable") => "/_matrix/client/v1/x/{id}",
                1.12 => deprecated,
            }
        }
        metadata! { method: PUT, history: { unstable => "/_matrix/client/unstable/y" } }
        metadata! { method: POST, path: "/_matrix/client/z" }
    "#;
    let read: Vec<_> = endpoints_in(source).collect();
    let x = ("GET".to_owned(), "/_matrix/client/v1/x/{id}".to_owned());
    let z = ("POST".to_owned(), "/_matrix/client/z".to_owned());
    assert_eq!(read, [(x, true), (z, false)], "an endpoint without a version is not of the specification");
}

/// Returns the folder of the source that this build uses: cargo keeps it, and knows where.
fn source_of_ruma() -> PathBuf {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let versions = String::from_utf8(output_of(Command::new("rustc").arg("-vV"))).unwrap();
    let host = versions.lines().find_map(|line| line.strip_prefix("host: ")).expect("rustc names its platform");
    // A build downloads only what its platform needs; without the filter, cargo wants the crates of all of them.
    let options = ["metadata", "--format-version", "1", "--offline", "--locked", "--filter-platform", host];
    let metadata: serde_json::Value = serde_json::from_slice(&output_of(Command::new(cargo).args(options))).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    let found = packages.iter().find(|package| package["name"] == CRATE).expect("it is a dependency");
    Path::new(found["manifest_path"].as_str().unwrap()).with_file_name("src")
}

fn output_of(command: &mut Command) -> Vec<u8> {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

fn specified_endpoints(source: &Path) -> BTreeMap<EndpointKey, EndpointEntry> {
    let mut endpoints = BTreeMap::new();
    for file in rust_files(source) {
        let below = file.strip_prefix(source).unwrap();
        let subject = below.iter().next().unwrap().to_string_lossy().trim_end_matches(".rs").replace('_', " ");
        for (key, deprecated) in endpoints_in(&std::fs::read_to_string(&file).unwrap()) {
            endpoints.insert(key, EndpointEntry { subject: subject.clone(), deprecated });
        }
    }
    // Of other interfaces than that for clients: appservices call the one, the other is a page for browsers.
    endpoints.retain(|(_, path), _| !path.contains("/appservice/") && !path.starts_with("/_matrix/static/"));
    endpoints
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// Returns the endpoints that a file of ruma defines and a version of the specification has, and whether each is
/// deprecated.
fn endpoints_in(source: &str) -> impl Iterator<Item = (EndpointKey, bool)> {
    source.split(METADATA).skip(1).filter_map(|rest| {
        let block = up_to_closing_brace(rest);
        let method = block.split_once("method:")?.1.split([',', '\n']).next()?.trim();
        let history = block.split_once("history:").map_or("", |(_, history)| history);
        let entries = history.lines().filter_map(|line| line.split_once("=>"));
        let stable: Vec<_> = entries.filter(|(version, _)| version.trim().starts_with(char::is_numeric)).collect();
        let of_versions = stable.iter().rev().find_map(|(_, path)| quoted(path));
        let path = of_versions.or_else(|| quoted(block.split_once("path:")?.1))?;
        let deprecated =
            stable.iter().any(|(_, path)| matches!(path.trim().trim_end_matches(','), "deprecated" | "removed"));
        Some(((method.to_owned(), path.to_owned()), deprecated))
    })
}

fn up_to_closing_brace(text: &str) -> &str {
    let mut depth = 1;
    let closing = text.find(|character| {
        depth += match character {
            '{' => 1,
            '}' => -1,
            _ => 0,
        };
        depth == 0
    });
    &text[..closing.unwrap_or(text.len())]
}

fn quoted(text: &str) -> Option<&str> {
    text.split('"').nth(1)
}

/// Returns `true` if an endpoint is served, by itself or as one that takes any value for a part of its path: ruma has
/// endpoints for two fields of the profile beside that for all of them.
fn is_served(served: &[EndpointKey], (method, path): &EndpointKey) -> bool {
    let fits = |template: &str| {
        let mut segments = template.split('/').zip(path.split('/'));
        template.split('/').count() == path.split('/').count()
            && segments.all(|(template, segment)| template == segment || template.starts_with('{'))
    };
    served.iter().any(|(served_method, template)| served_method == method && fits(template))
}

fn list_of(specified: &BTreeMap<EndpointKey, EndpointEntry>, served: &[MatrixEndpoint]) -> String {
    let served: Vec<EndpointKey> =
        served.iter().map(|endpoint| (endpoint.method.to_string(), endpoint.path.to_owned())).collect();
    let of_the_specification = specified.keys().filter(|key| is_served(&served, key)).count();
    let mut list = format!(
        "Served: {of_the_specification} of {}.\n\n| subject | endpoint | state |\n|---|---|---|\n",
        specified.len()
    );
    let mut rows: Vec<_> = specified.iter().collect();
    rows.sort_by_key(|((method, path), entry)| (&entry.subject, path, method));
    for (key, entry) in rows {
        let state = if is_served(&served, key) { "served" } else { "–" };
        let deprecated = if entry.deprecated { ", deprecated" } else { "" };
        writeln!(list, "| {} | {} `{}` | {state}{deprecated} |", entry.subject, key.0, key.1).unwrap();
    }
    for (method, path) in served.iter().filter(|key| !specified.contains_key(key)) {
        writeln!(list, "| beyond the specification | {method} `{path}` | served |").unwrap();
    }
    list
}
