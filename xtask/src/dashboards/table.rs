//! Columns of a table. Each is a label of the rows, or the value of a query of its own; rows with the same labels join.

use super::look::{Limits, State, Unit, mappings};
use super::query::Query;
use serde_json::{Map, Value, json};

/// Column of a table.
#[derive(Clone, Debug)]
pub(super) struct Column {
    title: &'static str,
    content: Content,
    unit: Unit,
    limits: Option<Limits>,
    states: &'static [State],
    link: Option<&'static str>,
}

#[derive(Clone, Debug)]
enum Content {
    /// A label that the other queries have.
    Label(&'static str),
    /// A label that only this query has.
    LabelOf(&'static str, String),
    Value(String),
}

impl Column {
    /// Creates a column of a label that all queries of the table have.
    pub(super) fn label(title: &'static str, label: &'static str) -> Self {
        Self::new(title, Content::Label(label), Unit::State)
    }

    /// Creates a column of a label that this query adds to the row.
    pub(super) fn label_of(title: &'static str, label: &'static str, expression: impl Into<String>) -> Self {
        Self::new(title, Content::LabelOf(label, expression.into()), Unit::State)
    }

    pub(super) fn value(title: &'static str, unit: Unit, expression: impl Into<String>) -> Self {
        Self::new(title, Content::Value(expression.into()), unit)
    }

    fn new(title: &'static str, content: Content, unit: Unit) -> Self {
        Self { title, content, unit, limits: None, states: &[], link: None }
    }

    /// Sets the limits, which colour the cell.
    pub(super) fn limits(self, limits: Limits) -> Self {
        Self { limits: Some(limits), ..self }
    }

    /// Sets the states that the values stand for.
    pub(super) fn states(self, states: &'static [State]) -> Self {
        Self { states, ..self }
    }

    /// Sets the URL to which a click leads.
    pub(super) fn leads_to(self, url: &'static str) -> Self {
        Self { link: Some(url), ..self }
    }

    pub(super) fn query(&self) -> Option<Query> {
        match &self.content {
            Content::Label(_) => None,
            Content::LabelOf(_, expression) | Content::Value(expression) => Some(Query::rows(expression.clone())),
        }
    }

    pub(super) fn overrides(&self) -> Option<Value> {
        let mut properties = Vec::new();
        if matches!(self.content, Content::Value(_)) {
            properties.push(json!({"id": "unit", "value": self.unit.name()}));
        }
        if !self.states.is_empty() {
            properties.push(json!({"id": "mappings", "value": mappings(self.states)}));
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
pub(super) fn transformations(columns: &[Column]) -> Value {
    let (mut order, mut names, mut hidden) = (Map::new(), Map::new(), Map::new());
    hidden.insert("Time".to_owned(), json!(true));
    let mut references = 'A'..='Z';
    for (index, column) in columns.iter().enumerate() {
        let value = column.query().and_then(|_| references.next()).map(|reference| format!("Value #{reference}"));
        let field = match &column.content {
            Content::Label(label) => (*label).to_owned(),
            Content::LabelOf(label, _) => {
                hidden.extend(value.map(|value| (value, json!(true))));
                (*label).to_owned()
            }
            Content::Value(_) => value.unwrap_or_default(),
        };
        names.insert(field.clone(), json!(column.title));
        order.insert(field, json!(index));
    }
    let organize = json!({"indexByName": order, "renameByName": names, "excludeByName": hidden});
    json!([{"id": "merge", "options": {}}, {"id": "organize", "options": organize}])
}
