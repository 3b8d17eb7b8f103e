//! Panels: a title that says what is seen, a sentence that says how to read it, queries, limits, a page to go on with.

use super::look::{Colour, DisplayUnit, PanelThresholds, StateMapping, value_mappings};
use super::page::DocsPage;
use super::query::{DashboardScope, PanelQuery, data_source};
use super::table::TableColumn;
use serde_json::{Map, Value, json};

/// Way in which a panel shows its queries.
#[derive(Clone, Debug)]
enum PanelKind {
    /// One figure, with the line behind it when it is read over time.
    Figure,
    /// A name: the legend of the only series.
    Name,
    Lines,
    /// Lines that add up.
    Stack,
    /// Events: a bar for each interval.
    Bars,
    /// A band for each series, coloured by its state.
    Bands(&'static [StateMapping]),
    Table(Vec<TableColumn>),
}

/// Definition of one panel.
#[derive(Clone, Debug)]
pub(super) struct Panel {
    pub(super) title: &'static str,
    pub(super) description: &'static str,
    pub(super) width: u8,
    pub(super) height: u8,
    kind: PanelKind,
    unit: DisplayUnit,
    page: DocsPage,
    queries: Vec<PanelQuery>,
    limits: PanelThresholds,
    highest: Option<f64>,
    empty: Option<&'static str>,
}

impl Panel {
    fn new(kind: PanelKind, title: &'static str, unit: DisplayUnit, page: DocsPage) -> Self {
        let (width, height) = match kind {
            PanelKind::Figure | PanelKind::Name => (4, 4),
            PanelKind::Lines | PanelKind::Stack | PanelKind::Bars => (8, 8),
            PanelKind::Bands(_) | PanelKind::Table(_) => (24, 7),
        };
        let limits = PanelThresholds::none(Colour::Plain);
        Self {
            title,
            description: "",
            width,
            height,
            kind,
            unit,
            page,
            queries: Vec::new(),
            limits,
            highest: None,
            empty: None,
        }
    }

    pub(super) fn figure(title: &'static str, unit: DisplayUnit, page: DocsPage) -> Self {
        Self::new(PanelKind::Figure, title, unit, page)
    }

    pub(super) fn name(title: &'static str, page: DocsPage) -> Self {
        Self::new(PanelKind::Name, title, DisplayUnit::State, page)
    }

    pub(super) fn lines(title: &'static str, unit: DisplayUnit, page: DocsPage) -> Self {
        Self::new(PanelKind::Lines, title, unit, page)
    }

    pub(super) fn stack(title: &'static str, unit: DisplayUnit, page: DocsPage) -> Self {
        Self::new(PanelKind::Stack, title, unit, page)
    }

    pub(super) fn bars(title: &'static str, unit: DisplayUnit, page: DocsPage) -> Self {
        Self::new(PanelKind::Bars, title, unit, page)
    }

    pub(super) fn bands(title: &'static str, states: &'static [StateMapping], page: DocsPage) -> Self {
        Self::new(PanelKind::Bands(states), title, DisplayUnit::State, page)
    }

    pub(super) fn table(title: &'static str, page: DocsPage, columns: Vec<TableColumn>) -> Self {
        let queries = columns.iter().filter_map(TableColumn::query).collect();
        Self { queries, ..Self::new(PanelKind::Table(columns), title, DisplayUnit::State, page) }
    }

    /// Sets the description, which says how to read the panel.
    pub(super) fn says(self, description: &'static str) -> Self {
        Self { description, ..self }
    }

    pub(super) fn query(mut self, query: PanelQuery) -> Self {
        self.queries.push(query);
        self
    }

    pub(super) fn limits(self, limits: PanelThresholds) -> Self {
        Self { limits, ..self }
    }

    /// Sets the end of the axis, for values that have one.
    pub(super) fn up_to(self, highest: f64) -> Self {
        Self { highest: Some(highest), ..self }
    }

    /// Sets the width, in columns of the grid of 24.
    pub(super) fn wide(self, width: u8) -> Self {
        Self { width, ..self }
    }

    pub(super) fn high(self, height: u8) -> Self {
        Self { height, ..self }
    }

    /// Sets the text to show if the answer is empty, for panels where it may be.
    pub(super) fn when_empty(self, empty: &'static str) -> Self {
        Self { empty: Some(empty), ..self }
    }

    /// Returns the panel at a place of the grid, as JSON.
    pub(super) fn json(&self, scope: DashboardScope, id: u32, (x, y): (u8, u32)) -> Value {
        let targets: Vec<Value> =
            self.queries.iter().zip('A'..='Z').map(|(query, reference)| query.json(scope, reference)).collect();
        let mut panel = json!({
            "id": id,
            "type": self.plugin(),
            "title": self.title,
            "description": self.description,
            "datasource": data_source(),
            "gridPos": {"x": x, "y": y, "w": self.width, "h": self.height},
            "fieldConfig": {"defaults": self.defaults(), "overrides": self.overrides()},
            "options": self.options(),
            "targets": targets,
            "links": [self.page.link()],
        });
        let extra = match &self.kind {
            PanelKind::Table(columns) => Some(("transformations", super::table::table_transformations(columns))),
            // With this interval, the windows of neighbouring bars overlap by no more than a scrape interval.
            PanelKind::Bars => Some(("interval", json!("1m"))),
            _ => None,
        };
        if let (Some((key, value)), Some(panel)) = (extra, panel.as_object_mut()) {
            panel.insert(key.to_owned(), value);
        }
        panel
    }

    fn plugin(&self) -> &'static str {
        match self.kind {
            PanelKind::Figure | PanelKind::Name => "stat",
            PanelKind::Lines | PanelKind::Stack | PanelKind::Bars => "timeseries",
            PanelKind::Bands(_) => "state-timeline",
            PanelKind::Table(_) => "table",
        }
    }

    fn defaults(&self) -> Value {
        let mut defaults = Map::new();
        defaults.insert("unit".to_owned(), json!(self.unit.name()));
        defaults.insert("thresholds".to_owned(), self.limits.json());
        defaults.insert("color".to_owned(), self.colour_mode());
        defaults.insert("custom".to_owned(), self.custom());
        if let Some(empty) = self.empty {
            defaults.insert("noValue".to_owned(), json!(empty));
        }
        if let Some(highest) = self.highest {
            defaults.insert("max".to_owned(), json!(highest));
        }
        if matches!(self.kind, PanelKind::Lines | PanelKind::Stack | PanelKind::Bars) {
            defaults.insert("min".to_owned(), json!(0));
        }
        if let PanelKind::Bands(states) = self.kind {
            defaults.insert("mappings".to_owned(), value_mappings(states));
        }
        Value::Object(defaults)
    }

    /// Returns the colour mode. A series has the colour of its name, so that a pod has the same one in every panel.
    fn colour_mode(&self) -> Value {
        match self.kind {
            PanelKind::Lines | PanelKind::Stack | PanelKind::Bars => json!({"mode": "palette-classic-by-name"}),
            PanelKind::Figure | PanelKind::Name | PanelKind::Bands(_) | PanelKind::Table(_) => {
                json!({"mode": "thresholds"})
            }
        }
    }

    fn custom(&self) -> Value {
        let limit = if self.limits.are_set() { "dashed" } else { "off" };
        let (style, width, fill, stacking) = match self.kind {
            PanelKind::Lines => ("line", 2, 8, "none"),
            PanelKind::Stack => ("line", 1, 45, "normal"),
            PanelKind::Bars => ("bars", 1, 70, "normal"),
            PanelKind::Bands(_) => return json!({"fillOpacity": 80, "lineWidth": 0}),
            PanelKind::Table(_) => {
                return json!({"align": "auto", "filterable": false, "cellOptions": {"type": "auto"}});
            }
            PanelKind::Figure | PanelKind::Name => return json!({}),
        };
        json!({
            "drawStyle": style,
            "lineWidth": width,
            "fillOpacity": fill,
            "gradientMode": "none",
            "lineInterpolation": "linear",
            "showPoints": "never",
            // A gap is a pod that was not scraped, and must be seen.
            "spanNulls": false,
            "stacking": {"mode": stacking, "group": "A"},
            "thresholdsStyle": {"mode": limit},
            "axisBorderShow": false,
            "axisSoftMin": 0,
        })
    }

    fn overrides(&self) -> Value {
        if let PanelKind::Table(columns) = &self.kind {
            return Value::Array(columns.iter().filter_map(TableColumn::overrides).collect());
        }
        let coloured = self.queries.iter().zip('A'..='Z').filter_map(|(query, reference)| {
            let colour = query.colour?;
            Some(json!({
                "matcher": {"id": "byFrameRefID", "options": reference.to_string()},
                "properties": [{"id": "color", "value": colour.fixed()}],
            }))
        });
        Value::Array(coloured.collect())
    }

    fn options(&self) -> Value {
        match &self.kind {
            PanelKind::Figure => {
                let colours = if self.limits.are_set() { "background" } else { "value" };
                stat_options("value", colours, "area")
            }
            PanelKind::Name => stat_options("name", "background", "none"),
            PanelKind::Lines | PanelKind::Stack | PanelKind::Bars => json!({
                "legend": legend_options(&self.queries),
                // All series at one moment, the highest first, show which is the odd one out.
                "tooltip": {"mode": "multi", "sort": "desc"},
            }),
            PanelKind::Bands(_) => json!({
                "alignValue": "left",
                "mergeValues": true,
                "rowHeight": 0.85,
                "showValue": "auto",
                "legend": {"showLegend": true, "displayMode": "list", "placement": "bottom"},
                "tooltip": {"mode": "single", "sort": "none"},
            }),
            PanelKind::Table(_) => json!({"cellHeight": "sm", "showHeader": true, "footer": {"show": false}}),
        }
    }
}

fn stat_options(text: &str, colours: &str, graph: &str) -> Value {
    json!({
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": false},
        "colorMode": colours,
        "graphMode": graph,
        "justifyMode": "center",
        "orientation": "auto",
        "textMode": text,
        "wideLayout": true,
    })
}

/// Returns the legend, which stands below the lines. With a single line there is nothing to tell apart.
fn legend_options(queries: &[PanelQuery]) -> Value {
    let several = queries.len() > 1 || queries.iter().any(PanelQuery::names_labels);
    json!({"showLegend": several, "displayMode": "list", "placement": "bottom", "calcs": []})
}
