use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Traces of sampled calls.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TracesSpec {
    /// Where an OpenTelemetry receiver of the cluster takes them (OTLP over gRPC), such as `http://collector.observability:4317`.
    #[schemars(regex(pattern = "^http://[A-Za-z0-9.:\\[\\]-]+$"), length(max = 253))]
    pub endpoint: String,
    /// Which part of the calls is traced, from 0 to 1; those whose callers say so are, besides.
    #[serde(default = "sample_ratio")]
    #[schemars(regex(pattern = "^(0(\\.[0-9]{1,6})?|1(\\.0{1,6})?)$"))]
    pub sample_ratio: String,
}

fn sample_ratio() -> String {
    "0.01".into()
}
