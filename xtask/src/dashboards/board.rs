//! Boards: rows of panels on a grid of 24 columns, variables, annotations, links between boards.

use super::annotation::Annotation;
use super::panel::Panel;
use super::query::{DashboardScope, data_source};
use serde_json::{Value, json};

const COLUMNS: u8 = 24;

/// Row of panels under a heading.
pub(super) struct PanelRow {
    pub(super) title: &'static str,
    pub(super) panels: Vec<Panel>,
    folded: bool,
}

impl PanelRow {
    pub(super) fn new(title: &'static str, panels: Vec<Panel>) -> Self {
        Self { title, panels, folded: false }
    }

    /// Creates a row that is collapsed until clicked, for a closer look.
    pub(super) fn folded(title: &'static str, panels: Vec<Panel>) -> Self {
        Self { title, panels, folded: true }
    }
}

/// Definition of one dashboard.
pub(super) struct Dashboard {
    /// Path of the generated file under the root of the workspace.
    pub(super) path: &'static str,
    pub(super) uid: &'static str,
    pub(super) title: &'static str,
    pub(super) description: &'static str,
    pub(super) scope: DashboardScope,
    pub(super) annotations: Vec<Annotation>,
    pub(super) rows: Vec<PanelRow>,
}

impl Dashboard {
    pub(super) fn json(&self) -> Value {
        let annotations: Vec<Value> = self.annotations.iter().map(|annotation| annotation.json(self.scope)).collect();
        json!({
            "uid": self.uid,
            "title": self.title,
            "description": self.description,
            "tags": ["quorate"],
            "schemaVersion": 39,
            "version": 1,
            "editable": false,
            // All panels share one crosshair.
            "graphTooltip": 1,
            "refresh": "30s",
            "timezone": "browser",
            "time": {"from": "now-1h", "to": "now"},
            "templating": {"list": self.variables()},
            "annotations": {"list": annotations},
            "links": [{
                "title": "Quorate",
                "type": "dashboards",
                "tags": ["quorate"],
                "asDropdown": true,
                "includeVars": true,
                "keepTime": true,
                "targetBlank": false,
                "icon": "external link",
                "tooltip": "",
                "url": "",
            }],
            "panels": self.panels(),
        })
    }

    fn panels(&self) -> Vec<Value> {
        let mut grid = GridCursor { scope: self.scope, id: 0, top: 0 };
        self.rows.iter().flat_map(|row| grid.row(row)).collect()
    }

    fn variables(&self) -> Vec<Value> {
        let source = json!({"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus"});
        let namespaces = "label_values(quorate_ready, namespace)";
        match self.scope {
            DashboardScope::Everything => vec![source],
            DashboardScope::Namespaces => {
                let mut namespace = query_variable("namespace", "Namespace", namespaces);
                if let Some(namespace) = namespace.as_object_mut() {
                    namespace.insert("multi".to_owned(), json!(true));
                    namespace.insert("includeAll".to_owned(), json!(true));
                    namespace.insert("allValue".to_owned(), json!(".+"));
                    namespace.insert("current".to_owned(), json!({"text": "All", "value": "$__all"}));
                }
                vec![source, namespace]
            }
            DashboardScope::Cluster => {
                let clusters = r#"label_values(quorate_ready{namespace="$namespace"}, cluster)"#;
                vec![
                    source,
                    query_variable("namespace", "Namespace", namespaces),
                    query_variable("cluster", "Cluster", clusters),
                ]
            }
        }
    }
}

fn query_variable(name: &str, label: &str, query: &str) -> Value {
    json!({
        "name": name,
        "label": label,
        "type": "query",
        "datasource": data_source(),
        "definition": query,
        "query": {"query": query, "refId": "V"},
        // 2 refreshes the variable with the time range, so that a cluster created in the meantime is found.
        "refresh": 2,
        "sort": 1,
    })
}

/// Place of the next panel on the grid.
struct GridCursor {
    scope: DashboardScope,
    id: u32,
    top: u32,
}

impl GridCursor {
    fn next_id(&mut self) -> u32 {
        self.id += 1;
        self.id
    }

    /// Returns the heading and its panels, which follow it or, in a folded row, are inside it.
    fn row(&mut self, row: &PanelRow) -> Vec<Value> {
        let mut heading = json!({
            "id": self.next_id(),
            "type": "row",
            "title": row.title,
            "collapsed": row.folded,
            "gridPos": {"x": 0, "y": self.top, "w": COLUMNS, "h": 1},
            "panels": [],
        });
        self.top += 1;
        let begin = self.top;
        let panels = self.place(&row.panels);
        if !row.folded {
            return std::iter::once(heading).chain(panels).collect();
        }
        self.top = begin;
        if let Some(heading) = heading.as_object_mut() {
            heading.insert("panels".to_owned(), Value::Array(panels));
        }
        vec![heading]
    }

    /// Places panels from left to right, and on the next line when there is no more room.
    fn place(&mut self, panels: &[Panel]) -> Vec<Value> {
        let mut x = 0;
        let mut height = 0;
        let mut placed = Vec::new();
        for panel in panels {
            if x + panel.width > COLUMNS {
                self.top += height;
                (x, height) = (0, 0);
            }
            let id = self.next_id();
            placed.push(panel.json(self.scope, id, (x, self.top)));
            x += panel.width;
            height = height.max(u32::from(panel.height));
        }
        self.top += height;
        placed
    }
}
