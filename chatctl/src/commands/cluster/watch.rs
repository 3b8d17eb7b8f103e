//! The `chatctl cluster status --watch` command, which keeps refreshing the overview, from whichever server answers.

use super::{AdminTarget, glance};
use crate::{
    admin::{AdminConnection, AdminTlsFiles},
    client::CallFailure,
    commands::time,
    context::CommandContext,
    error::Error,
    output::CommandOutput,
    screen::{LineTone, ScreenLine, TerminalScreen},
};
use quorate_wire::{
    admin::v1::{OverviewRequest, OverviewResponse},
    overview,
};
use serde_json::Value;
use std::{
    io::{self, IsTerminal as _},
    time::Duration,
};
use tokio::{
    signal::unix::{SignalKind, signal},
    time::{MissedTickBehavior, interval, timeout},
};

/// Shortest interval. Refreshing more often shows nothing more and costs every member a report about itself.
const SHORTEST: Duration = Duration::from_millis(200);
/// Longest wait for an answer. The server waits one second for a member that does not answer; beyond this limit the
/// server itself is unreachable.
const ANSWER: Duration = Duration::from_secs(3);

/// Shows the cluster until a signal comes. The loss of a server, or of all of them, does not end it.
///
/// # Errors
/// Returns an error if the certificates cannot be read or standard output is gone.
pub(super) async fn watch_cluster(
    target: &AdminTarget,
    every: Duration,
    context: &CommandContext,
) -> Result<(), Error> {
    let mut servers =
        AdminServers { files: target.files()?, named: target.admin.clone(), learned: Vec::new(), open: None };
    let mut show = OverviewSink::new(context.out)?;
    let mut ticks = interval(every.max(SHORTEST));
    // After a slow answer the next question comes an interval later, and not several at once.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let watching = async {
        loop {
            ticks.tick().await;
            let seen = servers.overview().await;
            show.look(seen.as_ref(), time::now_ms())?;
        }
    };
    tokio::select! {
        result = watching => result,
        result = wait_for_signal() => result,
    }
}

/// Waits for one of the signals with which people and service managers usually end a program.
async fn wait_for_signal() -> Result<(), Error> {
    let listen = |kind| signal(kind).map_err(Error::Output);
    let mut int = listen(SignalKind::interrupt())?;
    let mut term = listen(SignalKind::terminate())?;
    let mut hangup = listen(SignalKind::hangup())?;
    tokio::select! {
        _ = int.recv() => {}
        _ = term.recv() => {}
        _ = hangup.recv() => {}
    }
    Ok(())
}

/// Known addresses of the administrative API; one of them is asked until it fails.
struct AdminServers {
    files: AdminTlsFiles,
    named: Vec<String>,
    /// Addresses of the members, as the last answer listed them.
    learned: Vec<String>,
    open: Option<AdminConnection>,
}

impl AdminServers {
    /// Asks the current server for the overview or, if it fails, the others until one answers.
    async fn overview(&mut self) -> Result<OverviewResponse, Error> {
        let mut last = Error::NoServers;
        let mut failed = None;
        if let Some(connection) = self.open.take() {
            match fetch_overview(&connection).await {
                Ok(overview) => return Ok(self.keep(connection, overview)),
                Err(error) => (last, failed) = (error, Some(connection.address().to_owned())),
            }
        }
        let mut all: Vec<String> = self.named.iter().chain(&self.learned).cloned().collect();
        // The server that has just failed comes last.
        all.sort_by_key(|address| Some(address) == failed.as_ref());
        for address in all {
            let answer = async {
                let connection = AdminConnection::connect(&address, &self.files).await?;
                let overview = fetch_overview(&connection).await?;
                Ok((connection, overview))
            };
            match answer.await {
                Ok((connection, overview)) => return Ok(self.keep(connection, overview)),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    fn keep(&mut self, connection: AdminConnection, overview: OverviewResponse) -> OverviewResponse {
        self.open = Some(connection);
        let nodes = overview.members.iter().filter_map(|member| member.node.as_ref());
        let addresses = nodes.map(|node| node.peer_address.clone());
        self.learned = addresses.filter(|address| !address.is_empty() && !self.named.contains(address)).collect();
        overview
    }
}

async fn fetch_overview(connection: &AdminConnection) -> Result<OverviewResponse, Error> {
    let call = connection.call(|mut admin| async move { admin.overview(OverviewRequest::default()).await });
    let answer = timeout(ANSWER, call).await;
    Ok(answer.unwrap_or_else(|_| Err(CallFailure::timed_out(connection.address(), ANSWER)))?)
}

/// Destination of the overview.
enum OverviewSink {
    /// Terminal, refreshed in place.
    Terminal(TerminalScreen),
    /// Stream of text blocks, or of JSON documents, one per line.
    Stream(CommandOutput),
}

impl OverviewSink {
    fn new(out: CommandOutput) -> Result<Self, Error> {
        if out.is_json() || !io::stdout().is_terminal() {
            return Ok(Self::Stream(out));
        }
        TerminalScreen::open().map(Self::Terminal).map_err(Error::Output)
    }

    fn look(&mut self, seen: Result<&OverviewResponse, &Error>, now_ms: u64) -> Result<(), Error> {
        let lines = || match seen {
            Ok(overview) => glance::overview_lines(overview, &time::format_utc(now_ms)),
            Err(error) => {
                let text = format!("{} UTC: no server is reachable: {error}", time::format_utc(now_ms));
                vec![ScreenLine::new(LineTone::Bad, text)]
            }
        };
        match self {
            Self::Terminal(screen) => screen.show(&lines()).map_err(Error::Output),
            Self::Stream(out) => out.emit(&stamped_document(seen, now_ms), || {
                let text: String = lines().iter().map(|line| format!("{}\n", line.text)).collect();
                text + "\n"
            }),
        }
    }
}

fn stamped_document(seen: Result<&OverviewResponse, &Error>, now_ms: u64) -> Value {
    let mut document = seen.map_or_else(Error::to_json, overview::overview_json);
    if let Some(fields) = document.as_object_mut() {
        fields.insert("at_ms".into(), now_ms.into());
    }
    document
}
