//! Panels: a title that says what is seen, a sentence that says how to read it, queries, limits, a page to go on with.

use super::look::{Colour, Limits, State, Unit, mappings};
use super::page::Page;
use super::query::{Query, Scope, datasource};
use super::table::Column;
use serde_json::{Map, Value, json};

/// Way in which a panel shows its queries.
#[derive(Clone, Debug)]
enum Kind {
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
    Bands(&'static [State]),
    Table(Vec<Column>),
}

/// Definition of one panel.
#[derive(Clone, Debug)]
pub(super) struct Panel {
    pub(super) title: &'static str,
    pub(super) description: &'static str,
    pub(super) width: u8,
    pub(super) height: u8,
    kind: Kind,
    unit: Unit,
    page: Page,
    queries: Vec<Query>,
    limits: Limits,
    highest: Option<f64>,
    empty: Option<&'static str>,
}

impl Panel {
    fn new(kind: Kind, title: &'static str, unit: Unit, page: Page) -> Self {
        let (width, height) = match kind {
            Kind::Figure | Kind::Name => (4, 4),
            Kind::Lines | Kind::Stack | Kind::Bars => (8, 8),
            Kind::Bands(_) | Kind::Table(_) => (24, 7),
        };
        let limits = Limits::none(Colour::Plain);
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

    pub(super) fn figure(title: &'static str, unit: Unit, page: Page) -> Self {
        Self::new(Kind::Figure, title, unit, page)
    }

    pub(super) fn name(title: &'static str, page: Page) -> Self {
        Self::new(Kind::Name, title, Unit::State, page)
    }

    pub(super) fn lines(title: &'static str, unit: Unit, page: Page) -> Self {
        Self::new(Kind::Lines, title, unit, page)
    }

    pub(super) fn stack(title: &'static str, unit: Unit, page: Page) -> Self {
        Self::new(Kind::Stack, title, unit, page)
    }

    pub(super) fn bars(title: &'static str, unit: Unit, page: Page) -> Self {
        Self::new(Kind::Bars, title, unit, page)
    }

    pub(super) fn bands(title: &'static str, states: &'static [State], page: Page) -> Self {
        Self::new(Kind::Bands(states), title, Unit::State, page)
    }

    pub(super) fn table(title: &'static str, page: Page, columns: Vec<Column>) -> Self {
        let queries = columns.iter().filter_map(Column::query).collect();
        Self { queries, ..Self::new(Kind::Table(columns), title, Unit::State, page) }
    }

    /// Sets the description, which says how to read the panel.
    pub(super) fn says(self, description: &'static str) -> Self {
        Self { description, ..self }
    }

    pub(super) fn query(mut self, query: Query) -> Self {
        self.queries.push(query);
        self
    }

    pub(super) fn limits(self, limits: Limits) -> Self {
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
    pub(super) fn json(&self, scope: Scope, id: u32, (x, y): (u8, u32)) -> Value {
        let targets: Vec<Value> =
            self.queries.iter().zip('A'..='Z').map(|(query, reference)| query.json(scope, reference)).collect();
        let mut panel = json!({
            "id": id,
            "type": self.plugin(),
            "title": self.title,
            "description": self.description,
            "datasource": datasource(),
            "gridPos": {"x": x, "y": y, "w": self.width, "h": self.height},
            "fieldConfig": {"defaults": self.defaults(), "overrides": self.overrides()},
            "options": self.options(),
            "targets": targets,
            "links": [self.page.link()],
        });
        let extra = match &self.kind {
            Kind::Table(columns) => Some(("transformations", super::table::transformations(columns))),
            // With this interval, the windows of neighbouring bars overlap by no more than a scrape interval.
            Kind::Bars => Some(("interval", json!("1m"))),
            _ => None,
        };
        if let (Some((key, value)), Some(panel)) = (extra, panel.as_object_mut()) {
            panel.insert(key.to_owned(), value);
        }
        panel
    }

    fn plugin(&self) -> &'static str {
        match self.kind {
            Kind::Figure | Kind::Name => "stat",
            Kind::Lines | Kind::Stack | Kind::Bars => "timeseries",
            Kind::Bands(_) => "state-timeline",
            Kind::Table(_) => "table",
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
        if matches!(self.kind, Kind::Lines | Kind::Stack | Kind::Bars) {
            defaults.insert("min".to_owned(), json!(0));
        }
        if let Kind::Bands(states) = self.kind {
            defaults.insert("mappings".to_owned(), mappings(states));
        }
        Value::Object(defaults)
    }

    /// Returns the colour mode. A series has the colour of its name, so that a pod has the same one in every panel.
    fn colour_mode(&self) -> Value {
        match self.kind {
            Kind::Lines | Kind::Stack | Kind::Bars => json!({"mode": "palette-classic-by-name"}),
            Kind::Figure | Kind::Name | Kind::Bands(_) | Kind::Table(_) => json!({"mode": "thresholds"}),
        }
    }

    fn custom(&self) -> Value {
        let limit = if self.limits.are_set() { "dashed" } else { "off" };
        let (style, width, fill, stacking) = match self.kind {
            Kind::Lines => ("line", 2, 8, "none"),
            Kind::Stack => ("line", 1, 45, "normal"),
            Kind::Bars => ("bars", 1, 70, "normal"),
            Kind::Bands(_) => return json!({"fillOpacity": 80, "lineWidth": 0}),
            Kind::Table(_) => return json!({"align": "auto", "filterable": false, "cellOptions": {"type": "auto"}}),
            Kind::Figure | Kind::Name => return json!({}),
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
        if let Kind::Table(columns) = &self.kind {
            return Value::Array(columns.iter().filter_map(Column::overrides).collect());
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
            Kind::Figure => {
                let colours = if self.limits.are_set() { "background" } else { "value" };
                figure("value", colours, "area")
            }
            Kind::Name => figure("name", "background", "none"),
            Kind::Lines | Kind::Stack | Kind::Bars => json!({
                "legend": legend(&self.queries),
                // All series at one moment, the highest first, show which is the odd one out.
                "tooltip": {"mode": "multi", "sort": "desc"},
            }),
            Kind::Bands(_) => json!({
                "alignValue": "left",
                "mergeValues": true,
                "rowHeight": 0.85,
                "showValue": "auto",
                "legend": {"showLegend": true, "displayMode": "list", "placement": "bottom"},
                "tooltip": {"mode": "single", "sort": "none"},
            }),
            Kind::Table(_) => json!({"cellHeight": "sm", "showHeader": true, "footer": {"show": false}}),
        }
    }
}

fn figure(text: &str, colours: &str, graph: &str) -> Value {
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
fn legend(queries: &[Query]) -> Value {
    let several = queries.len() > 1 || queries.iter().any(Query::names_labels);
    json!({"showLegend": several, "displayMode": "list", "placement": "bottom", "calcs": []})
}
