//! Columns of a table. Each is a label of the rows, or the value of a query of its own; rows with the same labels join.

use super::look::{DisplayUnit, PanelThresholds, StateMapping, value_mappings};
use super::query::PanelQuery;
use serde_json::{Map, Value, json};

/// Column of a table.
#[derive(Clone, Debug)]
pub(super) struct TableColumn {
    title: &'static str,
    content: ColumnContent,
    unit: DisplayUnit,
    limits: Option<PanelThresholds>,
    states: &'static [StateMapping],
    link: Option<&'static str>,
}

#[derive(Clone, Debug)]
enum ColumnContent {
    /// A label that the other queries have.
    Label(&'static str),
    /// A label that only this query has.
    LabelOf(&'static str, String),
    Value(String),
}

impl TableColumn {
    /// Creates a column of a label that all queries of the table have.
    pub(super) fn label(title: &'static str, label: &'static str) -> Self {
        Self::new(title, ColumnContent::Label(label), DisplayUnit::State)
    }

    /// Creates a column of a label that this query adds to the row.
    pub(super) fn label_of(title: &'static str, label: &'static str, expression: impl Into<String>) -> Self {
        Self::new(title, ColumnContent::LabelOf(label, expression.into()), DisplayUnit::State)
    }

    pub(super) fn value(title: &'static str, unit: DisplayUnit, expression: impl Into<String>) -> Self {
        Self::new(title, ColumnContent::Value(expression.into()), unit)
    }

    fn new(title: &'static str, content: ColumnContent, unit: DisplayUnit) -> Self {
        Self { title, content, unit, limits: None, states: &[], link: None }
    }

    /// Sets the limits, which colour the cell.
    pub(super) fn limits(self, limits: PanelThresholds) -> Self {
        Self { limits: Some(limits), ..self }
    }

    /// Sets the states that the values stand for.
    pub(super) fn states(self, states: &'static [StateMapping]) -> Self {
        Self { states, ..self }
    }

    /// Sets the URL to which a click leads.
    pub(super) fn leads_to(self, url: &'static str) -> Self {
        Self { link: Some(url), ..self }
    }

    pub(super) fn query(&self) -> Option<PanelQuery> {
        match &self.content {
            ColumnContent::Label(_) => None,
            ColumnContent::LabelOf(_, expression) | ColumnContent::Value(expression) => {
                Some(PanelQuery::rows(expression.clone()))
            }
        }
    }

    pub(super) fn overrides(&self) -> Option<Value> {
        let mut properties = Vec::new();
        if matches!(self.content, ColumnContent::Value(_)) {
            properties.push(json!({"id": "unit", "value": self.unit.name()}));
        }
        if !self.states.is_empty() {
            properties.push(json!({"id": "mappings", "value": value_mappings(self.states)}));
        }
        if let Some(limits) = &self.limits {
            properties.push(json!({"id": "thresholds", "value": limits.json()}));
        }
        if self.limits.is_some() || !self.states.is_empty() {
            properties.push(json!({"id": "custom.cellOptions", "value": {"type": "color-text"}}));
        }
        if let Some(url) = self.link {
            properties.push(json!({"id": "links", "value": [{"title": "Open the cluster", "url": url}]}));
        }
        let matcher = json!({"id": "byName", "options": self.title});
        (!properties.is_empty()).then(|| json!({"matcher": matcher, "properties": properties}))
    }
}

/// Returns transformations that join the answers by their common labels, drop what is no column, and order and name the
/// rest.
pub(super) fn table_transformations(columns: &[TableColumn]) -> Value {
    let mut order = Map::new();
    let mut names = Map::new();
    let mut hidden = Map::new();
    hidden.insert("Time".to_owned(), json!(true));
    let mut references = 'A'..='Z';
    for (index, column) in columns.iter().enumerate() {
        let value = column.query().and_then(|_| references.next()).map(|reference| format!("Value #{reference}"));
        let field = match &column.content {
            ColumnContent::Label(label) => (*label).to_owned(),
            ColumnContent::LabelOf(label, _) => {
                hidden.extend(value.map(|value| (value, json!(true))));
                (*label).to_owned()
            }
            ColumnContent::Value(_) => value.unwrap_or_default(),
        };
        names.insert(field.clone(), json!(column.title));
        order.insert(field, json!(index));
    }
    let organize = json!({"indexByName": order, "renameByName": names, "excludeByName": hidden});
    json!([{"id": "merge", "options": {}}, {"id": "organize", "options": organize}])
}
