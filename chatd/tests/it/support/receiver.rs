//! OTLP receiver over gRPC, built on OpenTelemetry's own definitions, and the spans that it got.

use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{TraceService, TraceServiceServer};
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value::Value};
use opentelemetry_proto::tonic::trace::v1 as otlp;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::Server;
use tonic::{Request, Response, Status};

/// Receiver that serves until the test's runtime ends.
#[derive(Clone, Default)]
pub struct Receiver {
    address: Option<SocketAddr>,
    got: Arc<Mutex<Vec<Span>>>,
}

/// Span as it was received.
#[derive(Clone, Debug, PartialEq)]
pub struct Span {
    pub trace: String,
    pub id: String,
    pub parent: String,
    pub state: String,
    pub name: String,
    /// Name of the pod that recorded the span.
    pub node: String,
    pub begin: u64,
    pub end: u64,
    /// Identifiers of the spans that it links to.
    pub links: Vec<String>,
    pub attributes: BTreeMap<String, String>,
    pub failed: bool,
}

impl Receiver {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let receiver = Self { address: Some(listener.local_addr().expect("an address")), got: Arc::default() };
        let serving = Server::builder()
            .add_service(TraceServiceServer::new(receiver.clone()))
            .serve_with_incoming(TcpListenerStream::new(listener));
        tokio::spawn(serving);
        receiver
    }

    /// Returns configuration lines that make a node export its traces here.
    pub fn settings(&self, ratio: &str) -> String {
        let address = self.address.expect("it was started");
        // Long election timeouts, so that a busy machine does not change the leader in the middle of a trace.
        format!(
            "rateLimit: {{enabled: false}}\nraft: {{electionTimeoutMin: 5s, electionTimeoutMax: 10s}}\n\
             traces: {{endpoint: 'http://{address}', sampleRatio: {ratio}}}"
        )
    }

    /// Returns all spans received so far.
    pub fn spans(&self) -> Vec<Span> {
        self.got.lock().expect("whole").clone()
    }

    pub fn trace(&self, id: &str) -> Vec<Span> {
        self.spans().into_iter().filter(|span| span.trace == id).collect()
    }
}

#[tonic::async_trait]
impl TraceService for Receiver {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        for of_node in request.into_inner().resource_spans {
            let resource = attributes(&of_node.resource.unwrap_or_default().attributes);
            assert_eq!(resource["service.name"], "quorate-chatd");
            let node = &resource["service.instance.id"];
            let spans = of_node.scope_spans.into_iter().flat_map(|scope| scope.spans);
            self.got.lock().expect("whole").extend(spans.map(|span| of_otlp(span, node)));
        }
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn of_otlp(span: otlp::Span, node: &str) -> Span {
    Span {
        trace: hex(&span.trace_id),
        id: hex(&span.span_id),
        parent: hex(&span.parent_span_id),
        state: span.trace_state,
        name: span.name,
        node: node.to_owned(),
        begin: span.start_time_unix_nano,
        end: span.end_time_unix_nano,
        links: span.links.iter().map(|link| hex(&link.span_id)).collect(),
        attributes: attributes(&span.attributes),
        failed: span.status.is_some_and(|status| status.code() == otlp::status::StatusCode::Error),
    }
}

fn attributes(all: &[KeyValue]) -> BTreeMap<String, String> {
    let text = |one: &KeyValue| match one.value.as_ref().and_then(|value| value.value.as_ref()) {
        Some(Value::StringValue(text)) => text.clone(),
        Some(Value::IntValue(number)) => number.to_string(),
        other => format!("{other:?}"),
    };
    all.iter().map(|one| (one.key.clone(), text(one))).collect()
}
