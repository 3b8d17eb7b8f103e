//! The operator process: parses its arguments, holds the lease and runs one controller per namespace.
//!
//! The program calls [`run_operator`], which is not async: each crate that polls an async function compiles it, and all
//! that it calls, once more.

use crate::{
    apply::WriteLedger,
    backoff::ObjectBackoff,
    controller::{self, ReconcileContext},
    events::EventPublisher,
    lease::LeaseCandidate,
    metrics::{self, OperatorMetrics},
    observe::WarningCache,
    pod_watch::WatchHub,
    server,
};
use anyhow::Context as _;
use clap::Parser;
use futures::{StreamExt as _, future::join_all};
use kube::{Client, runtime::reflector::ObjectRef};
use quorate_crd::ChatCluster;
use std::{
    collections::BTreeSet,
    io::{self, Write as _},
    net::{Ipv6Addr, SocketAddr},
    sync::{Arc, Mutex},
};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::{broadcast, mpsc, watch},
};
use tokio_stream::wrappers::{BroadcastStream, ReceiverStream};

/// Kubernetes operator that runs ChatClusters.
#[derive(Parser, Debug)]
#[command(version, about)]
struct Arguments {
    /// Namespaces whose ChatClusters are reconciled; all namespaces if none is given.
    #[arg(long, env = "QUORATE_OPERATOR_WATCH_NAMESPACES", value_delimiter = ',')]
    watch_namespace: Vec<String>,
    /// Namespace of the lease; by default the pod's own, or the one of the kubeconfig.
    #[arg(long, env = "QUORATE_OPERATOR_NAMESPACE")]
    namespace: Option<String>,
    /// Name of the lease.
    #[arg(long, env = "QUORATE_OPERATOR_LEASE", default_value = "quorate-operator")]
    lease: String,
    /// Identity of this process; must differ between processes.
    #[arg(long, env = "QUORATE_OPERATOR_IDENTITY")]
    identity: Option<String>,
    /// Address that serves /metrics and /healthz; `[::]` covers both IP families, or IPv4 alone if there is no other.
    #[arg(long, env = "QUORATE_OPERATOR_LISTEN", default_value = "[::]:9400")]
    listen: SocketAddr,
    /// Addresses of this pod, from which the operator derives the IP families of the pods in its Kubernetes cluster.
    #[arg(long, env = "QUORATE_OPERATOR_POD_IPS", value_delimiter = ',')]
    pod_ip: Vec<String>,
    /// Filter for the log lines, such as `info,quorate_operator=debug`.
    #[arg(long, env = "QUORATE_OPERATOR_LOG", default_value = "info")]
    log: String,
    /// Format of the log lines.
    #[arg(long, env = "QUORATE_OPERATOR_LOG_FORMAT", value_enum, default_value_t = LogFormat::Json)]
    log_format: LogFormat,
    #[command(subcommand)]
    task: Option<OneOffTask>,
}

/// Task to perform instead of running the operator.
#[derive(clap::Subcommand, Clone, Copy, Debug)]
enum OneOffTask {
    /// Print the list of all metrics as Markdown.
    MetricsReference,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum LogFormat {
    Json,
    Text,
}

/// Capacity of the queue of changed clusters. Each entry is one short name, and the controller takes entries at once.
const CHANGES: usize = 256;

/// Runs the operator as the arguments of the process say, until a signal stops it.
///
/// # Errors
/// Returns what keeps it from starting, and the failure of the metrics server.
#[tokio::main]
pub async fn run_operator() -> anyhow::Result<()> {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        // clap's own exit would report success even if the help could not be written.
        Err(error) if !error.use_stderr() => return ignore_broken_pipe(error.print()),
        Err(error) => error.exit(),
    };
    if let Some(OneOffTask::MetricsReference) = arguments.task {
        return ignore_broken_pipe(
            io::stdout().write_all(quorate_meter::metrics_markdown(metrics::SECTIONS).as_bytes()),
        );
    }
    start_logging(&arguments)?;
    // One TLS provider for the API server and for the pods' admin APIs.
    rustls::crypto::ring::default_provider()
        .install_default()
        .map_err(|_| anyhow::anyhow!("a TLS provider is already installed"))?;
    let client = Client::try_default()
        .await
        .context("cannot configure a Kubernetes client: run inside a pod or set KUBECONFIG")?;
    let namespace = arguments.namespace.clone().unwrap_or_else(|| client.default_namespace().to_owned());
    let identity = arguments.identity.clone().unwrap_or_else(|| uuid::Uuid::new_v4().to_string());
    let metrics = OperatorMetrics::new().context("cannot register the metrics")?;

    let (stop, stopped) = watch::channel(false);
    tokio::spawn(wait_for_signal(stop));
    // Before the lease is held: replicas without it are probed and scraped, too.
    let server = tokio::spawn(server::serve_metrics(arguments.listen, metrics.clone(), until_stopped(stopped.clone())));
    let watched = watched_namespaces(&arguments);
    tracing::info!(version = env!("CARGO_PKG_VERSION"), identity, ?watched, "starting");

    let mut candidate =
        LeaseCandidate::new(client.clone(), &namespace, &arguments.lease, identity.clone(), metrics.clone());
    let ipv6 = arguments.pod_ip.iter().any(|address| address.trim().parse::<Ipv6Addr>().is_ok());
    let work = work_while_leading(&mut candidate, client, identity, metrics, watched, ipv6);
    tokio::select! {
        () = work => {}
        () = until_stopped(stopped) => tracing::info!("stopping"),
        outcome = server => return outcome.context("the metrics server panicked")?.context("the metrics server failed"),
    }
    // The controllers are dropped by now: whoever finds the lease free begins at once.
    candidate.release().await;
    Ok(())
}

/// Judges an attempt to write to standard output: a reader that closes the pipe has read enough, any other error is a
/// failure.
fn ignore_broken_pipe(attempt: io::Result<()>) -> anyhow::Result<()> {
    match attempt.and_then(|()| io::stdout().flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(error).context("cannot write to standard output")
        }
        _ => Ok(()),
    }
}

/// Acquires the lease, works until the lease is lost, and starts over, for ever.
async fn work_while_leading(
    candidate: &mut LeaseCandidate,
    client: Client,
    identity: String,
    metrics: OperatorMetrics,
    watched: WatchedNamespaces,
    ipv6: bool,
) {
    loop {
        candidate.acquire().await;
        metrics.lease.leading.set(1);
        let work = run_controllers(client.clone(), identity.clone(), metrics.clone(), &watched, ipv6);
        // Losing the lease drops the controllers, and with them whatever they were doing.
        let _ = candidate.hold(work).await;
        metrics.lease.leading.set(0);
    }
}

async fn run_controllers(
    client: Client,
    identity: String,
    metrics: OperatorMetrics,
    watched: &WatchedNamespaces,
    ipv6: bool,
) {
    let (changes, received) = mpsc::channel(CHANGES);
    let context = Arc::new(ReconcileContext {
        ipv6,
        hub: WatchHub::new(changes),
        ledger: WriteLedger::default(),
        notices: WarningCache::default(),
        unreadable: Mutex::default(),
        backoff: ObjectBackoff::default(),
        events: EventPublisher::new(client.clone(), identity),
        metrics,
        client,
    });
    // One hub serves all namespaces, but each controller takes changes from a stream of its own.
    let (spread, _) = broadcast::channel(CHANGES);
    let controllers = watched.iter().map(|namespace| {
        let own = namespace.clone();
        let stream = BroadcastStream::new(spread.subscribe()).filter_map(move |change| {
            // A controller that lags so far behind catches up at its next resync.
            let mine = change.ok().filter(|change: &ObjectRef<ChatCluster>| own.is_none() || change.namespace == own);
            futures::future::ready(mine)
        });
        controller::run_controller(Arc::clone(&context), namespace.as_deref(), stream)
    });
    let spreading = ReceiverStream::new(received).for_each(|change| {
        let _ = spread.send(change);
        futures::future::ready(())
    });
    tokio::join!(join_all(controllers), spreading);
}

/// Namespaces to watch; `None` stands for all namespaces.
type WatchedNamespaces = BTreeSet<Option<String>>;

fn watched_namespaces(arguments: &Arguments) -> WatchedNamespaces {
    let given = arguments.watch_namespace.iter().map(|name| name.trim().to_owned());
    let named: WatchedNamespaces = given.filter(|name| !name.is_empty()).map(Some).collect();
    if named.is_empty() { [None].into() } else { named }
}

fn start_logging(arguments: &Arguments) -> anyhow::Result<()> {
    let filter = tracing_subscriber::EnvFilter::try_new(&arguments.log).with_context(|| {
        format!("--log {:?} is not a valid filter: use, for example, info,quorate_operator=debug", arguments.log)
    })?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match arguments.log_format {
        LogFormat::Json => builder.json().init(),
        LogFormat::Text => builder.init(),
    }
    Ok(())
}

async fn wait_for_signal(stop: watch::Sender<bool>) {
    let (Ok(mut terminate), Ok(mut interrupt)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        tracing::error!("cannot install signal handlers: stop this process with SIGKILL");
        return futures::future::pending().await;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    let _ = stop.send(true);
}

async fn until_stopped(mut stopped: watch::Receiver<bool>) {
    // An error means that nobody can stop the process any more; then it runs until it is killed.
    if stopped.wait_for(|stopped| *stopped).await.is_err() {
        futures::future::pending().await
    }
}
