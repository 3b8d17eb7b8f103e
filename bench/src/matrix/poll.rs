//! Long polls of `/sync`: each goes on where the answer before ended.

use super::API;
use super::http::HttpConnection;
use anyhow::Context as _;

/// A connection whose user syncs.
#[derive(Debug)]
pub(crate) struct LongPoll {
    connection: HttpConnection,
    /// Token at which the last answer ended; empty before a first sync.
    since: String,
}

impl LongPoll {
    /// Creates a poll that was told nothing so far.
    pub(crate) fn new(connection: HttpConnection) -> Self {
        Self { connection, since: String::new() }
    }

    /// Makes a first sync, so that the next one waits for news.
    ///
    /// # Errors
    /// Fails if it is refused.
    pub(crate) async fn begin(connection: HttpConnection) -> anyhow::Result<Self> {
        let mut poll = Self::new(connection);
        poll.ask(0).await?;
        poll.answer().await?;
        Ok(poll)
    }

    /// Forgets what was told, so that the next sync is a first one.
    pub(crate) fn forget(&mut self) {
        self.since.clear();
    }

    /// Sends a request that may wait `timeout` milliseconds for news.
    ///
    /// # Errors
    /// Fails if the connection was closed.
    pub(crate) async fn ask(&mut self, timeout: u32) -> anyhow::Result<()> {
        let since = if self.since.is_empty() { String::new() } else { format!("&since={}", self.since) };
        self.connection.ask("GET", &format!("{API}/sync?timeout={timeout}{since}"), b"").await
    }

    /// Reads an answer, and the token from which the next poll goes on.
    ///
    /// # Errors
    /// Fails if the request was refused.
    pub(crate) async fn answer(&mut self) -> anyhow::Result<&[u8]> {
        let body = self.connection.answer().await?;
        let text = String::from_utf8_lossy(body);
        let (_, behind) = text.split_once(r#""next_batch":""#).context("/sync response without next_batch")?;
        self.since = behind.split('"').next().unwrap_or_default().to_owned();
        Ok(body)
    }
}
