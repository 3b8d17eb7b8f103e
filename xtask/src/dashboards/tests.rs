//! Rules that hold for every board, whoever adds a panel.

use super::page::DocsPage;
use super::query::DashboardScope;
use super::*;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::Path;

/// Returns the panels of a board, including those in folded rows.
fn panels(board: &Value) -> Vec<Value> {
    let mut all = Vec::new();
    for panel in board["panels"].as_array().unwrap() {
        if panel["type"] == "row" {
            all.extend(panel["panels"].as_array().unwrap().iter().cloned());
        } else {
            all.push(panel.clone());
        }
    }
    all
}

#[test]
fn every_page_that_a_panel_leads_to_exists() {
    // Tests run in the folder of their package.
    let root = Path::new("..");
    for page in DocsPage::ALL {
        assert!(root.join(page.path()).exists(), "{} does not exist", page.path());
    }
}

#[test]
fn every_panel_says_how_to_read_it() {
    for board in all_dashboards() {
        for panel in board.rows.iter().flat_map(|row| &row.panels) {
            assert!(panel.description.ends_with('.'), "{}: {} has no sentence", board.title, panel.title);
        }
    }
}

/// Returns the panels that are seen at once: those of the board itself, and those of each folded row when it is opened.
fn sheets(board: &Value) -> Vec<Vec<Value>> {
    let all = board["panels"].as_array().unwrap();
    let folded = all.iter().filter(|panel| panel["collapsed"] == true);
    std::iter::once(all.clone()).chain(folded.map(|row| row["panels"].as_array().unwrap().clone())).collect()
}

#[test]
fn panels_fill_the_grid_without_holes_and_none_lies_on_another() {
    for board in all_dashboards() {
        for sheet in sheets(&board.json()) {
            let mut lines: BTreeMap<u64, BTreeSet<u64>> = BTreeMap::new();
            for panel in &sheet {
                let at = |key: &str| panel["gridPos"][key].as_u64().unwrap();
                for (y, x) in
                    (at("y")..at("y") + at("h")).flat_map(|y| (at("x")..at("x") + at("w")).map(move |x| (y, x)))
                {
                    let free = x < 24 && lines.entry(y).or_default().insert(x);
                    assert!(free, "{}: {} is too wide or lies on another", board.title, panel["title"]);
                }
            }
            for (y, columns) in lines {
                assert_eq!(columns.len(), 24, "{}: a hole at line {y}", board.title);
            }
        }
    }
}

#[test]
fn ids_and_titles_are_unique_in_a_board() {
    for board in all_dashboards() {
        let (mut ids, mut titles) = (HashSet::new(), HashSet::new());
        for panel in panels(&board.json()) {
            assert!(ids.insert(panel["id"].as_u64().unwrap()), "{}: {} has another's id", board.title, panel["title"]);
            let titled = titles.insert(panel["title"].to_string() + &panel["type"].to_string());
            assert!(titled, "{}: two panels are called {}", board.title, panel["title"]);
        }
    }
    let uids: HashSet<_> = all_dashboards().iter().map(|board| board.uid).collect();
    assert_eq!(uids.len(), all_dashboards().len());
}

#[test]
fn every_series_is_within_the_scope_of_its_board() {
    for board in all_dashboards().into_iter().filter(|board| board.scope != DashboardScope::Everything) {
        let text = board.json();
        let queries = panels(&text).into_iter().flat_map(|panel| panel["targets"].as_array().unwrap().clone());
        let marks = text["annotations"]["list"].as_array().unwrap().clone();
        for expression in queries.chain(marks).map(|query| query["expr"].as_str().unwrap().to_owned()) {
            assert!(!expression.contains("{*") && !expression.contains("{exported *"), "{}: {expression}", board.title);
            for (at, _) in expression.match_indices("quorate_") {
                let rest = &expression[at..];
                let name = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
                let scoped = rest[name..].starts_with("{namespace") || rest[name..].starts_with("{exported_namespace");
                // The lease of the operator belongs to no cluster.
                assert!(scoped || rest.starts_with("quorate_operator_leading"), "{}: {expression}", board.title);
            }
        }
    }
}

#[test]
fn a_table_has_a_column_for_each_answer() {
    for board in all_dashboards() {
        for panel in panels(&board.json()).iter().filter(|panel| panel["type"] == "table") {
            let organize = &panel["transformations"][1]["options"];
            let (names, hidden) = (&organize["renameByName"], &organize["excludeByName"]);
            for target in panel["targets"].as_array().unwrap() {
                let field = format!("Value #{}", target["refId"].as_str().unwrap());
                let shown = names[&field].is_string();
                assert!(shown != (hidden[&field] == true), "{}: {field} of {}", board.title, panel["title"]);
            }
        }
    }
}
