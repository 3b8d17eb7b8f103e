use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// Export of traces of sampled requests.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct TracesSpec {
    /// Endpoint of an OpenTelemetry receiver in the cluster (OTLP over gRPC), such as
    /// `http://collector.observability:4317`.
    #[schemars(length(max = 253))]
    #[x_kube(validation = Rule::new(r"self.matches('^http://([A-Za-z0-9]([-A-Za-z0-9.]*[A-Za-z0-9])?|\\x5b[0-9a-fA-F]*:[0-9a-fA-F:]*:[0-9a-fA-F.]*\\x5d)(:([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5]))?$')")
        .message("endpoint must be http://, a host name or an address, and a port, such as http://collector.observability:4317 or http://[::1]:4317"))]
    pub endpoint: String,
    /// Fraction of requests that are traced, from 0 to 1. Requests that their callers mark as sampled are traced in
    /// addition.
    #[serde(default = "sample_ratio")]
    #[schemars(regex(pattern = "^(0(\\.[0-9]{1,6})?|1(\\.0{1,6})?)$"))]
    pub sample_ratio: String,
}

fn sample_ratio() -> String {
    "0.01".into()
}
