//! Reads: first as fresh as asked for, then a closure over one consistent view, on a thread that may block.

use super::turns::Urgency;
use super::{Code, Refusal, Service};
use crate::raft::read_index;
use crate::store::StateStore;
use quorate_core::id::Position;
use quorate_core::query::{QueryError, View};
use quorate_core::table::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::time::timeout;

/// How fresh a read must be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Consistency {
    /// Sees every write acknowledged before it began, on whatever pod (`ReadIndex`, Raft dissertation §6.4).
    #[default]
    Linearizable,
    /// What this pod has applied.
    Local,
}

/// How a read was served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Freshness {
    /// As promised.
    Linearizable,
    /// Local by request.
    Local,
    /// Local because no quorum answered in time.
    Stale,
}

/// A pod that is this far behind a token is cut off or overwhelmed: another one serves the caller better.
const CATCH_UP: Duration = Duration::from_secs(10);

/// A read that takes longer is given up, between two of its rooms or pages: those who wait behind it have asked for
/// less. A page of the largest size from a cold disk takes less than a second.
const LONGEST_READ: Duration = Duration::from_secs(20);

/// After this a busy pod has got on.
const RETRY: Duration = Duration::from_secs(1);

/// Where views come from: a [`StateStore`] of either kind.
pub trait Rows: Send + Sync + 'static {
    /// A consistent view of what is applied; never waits for a writer.
    fn rows(&self) -> Box<dyn Read + Send + Sync>;
    /// See [`StateStore::may_block`].
    fn may_block(&self) -> bool;
}

impl<S: StateStore> Rows for S {
    fn rows(&self) -> Box<dyn Read + Send + Sync> {
        Box::new(self.view())
    }

    fn may_block(&self) -> bool {
        StateStore::may_block(self)
    }
}

impl Service {
    /// Answers a question about the state as fresh as asked for.
    ///
    /// # Errors
    /// What the question refuses; [`super::Code::Unavailable`] before the pod has joined a cluster.
    pub async fn read<T, F>(&self, consistency: Consistency, question: F) -> Result<(T, Freshness), Refusal>
    where
        T: Send + 'static,
        F: FnOnce(&View<'_>) -> Result<T, QueryError> + Send + 'static,
    {
        let freshness = match consistency {
            Consistency::Local => Freshness::Local,
            Consistency::Linearizable => self.catch_up_with_leader().await?,
        };
        Ok((self.look(question).await?, freshness))
    }

    /// [`Service::read`] from a cursor, when there is one: this pod has then applied that far, however it is served.
    ///
    /// # Errors
    /// As [`Service::read_from`].
    pub async fn read_at_cursor<T, F>(
        &self,
        consistency: Consistency,
        cursor: Option<Position>,
        question: F,
    ) -> Result<(T, Freshness), Refusal>
    where
        T: Send + 'static,
        F: FnOnce(&View<'_>) -> Result<T, QueryError> + Send + 'static,
    {
        if let Some(at) = cursor {
            self.reach(at).await?;
        }
        self.read(consistency, question).await
    }

    /// Answers a question once this pod has applied `at`: for tokens and cursors, which never see an older state.
    ///
    /// # Errors
    /// As [`Service::read`]; [`super::Code::Unavailable`] when the pod does not get there in time.
    pub async fn read_from<T, F>(&self, at: Position, question: F) -> Result<T, Refusal>
    where
        T: Send + 'static,
        F: FnOnce(&View<'_>) -> Result<T, QueryError> + Send + 'static,
    {
        self.reach(at).await?;
        self.look(question).await
    }

    /// Waits until this pod has applied `at`. Whoever gave a cursor had applied it: one that lies beyond what a quorum
    /// has committed by now was given by nobody.
    async fn reach(&self, at: Position) -> Result<(), Refusal> {
        let applied = self.inner.parts.feed.applied();
        let reached = || *applied.borrow() >= at;
        if reached() {
            return Ok(());
        }
        if self.catch_up_with_leader().await? == Freshness::Linearizable && !reached() {
            return Err(Refusal::from(QueryError::Ahead));
        }
        Ok(self.inner.parts.reads.applied_at_least(at, CATCH_UP).await?)
    }

    pub(super) async fn catch_up_with_leader(&self) -> Result<Freshness, Refusal> {
        Ok(match self.inner.parts.reads.linearizable().await? {
            read_index::Freshness::Stale => Freshness::Stale,
            read_index::Freshness::Linearizable => Freshness::Linearizable,
        })
    }

    /// Answers a question of a reader that the feed woke, from what this pod has applied. It comes after people who ask.
    ///
    /// # Errors
    /// What the question refuses; [`Code::Overloaded`] when no turn came.
    pub async fn read_woken<T, F>(&self, question: F) -> Result<T, Refusal>
    where
        T: Send + 'static,
        F: FnOnce(&View<'_>) -> Result<T, QueryError> + Send + 'static,
    {
        self.look_at(Urgency::Woken, question).await
    }

    /// The closure over a view of what is applied now.
    async fn look<T, F>(&self, question: F) -> Result<T, Refusal>
    where
        T: Send + 'static,
        F: FnOnce(&View<'_>) -> Result<T, QueryError> + Send + 'static,
    {
        self.look_at(Urgency::Asked, question).await
    }

    async fn look_at<T, F>(&self, urgency: Urgency, question: F) -> Result<T, Refusal>
    where
        T: Send + 'static,
        F: FnOnce(&View<'_>) -> Result<T, QueryError> + Send + 'static,
    {
        let turn = self.inner.turns.turn(&self.reader, urgency).await?;
        if !self.inner.parts.rows.may_block() {
            return self.glance(question);
        }
        let rows = Arc::clone(&self.inner.parts.rows);
        let caller = StopsWhenDropped::default();
        let stop = caller.0.clone();
        let answer = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            let rows = rows.rows();
            let view = View::open(&*rows)?.stopping(&stop);
            Ok(question(&view)?)
        });
        let Ok(ended) = timeout(LONGEST_READ, answer).await else {
            let message = "the read took too long and was given up; ask for less at once, or try again later";
            return Err(Refusal::new(Code::Overloaded, message).after(RETRY));
        };
        ended.map_err(|error| {
            tracing::error!(%error, "a read did not finish");
            Refusal::internal()
        })?
    }

    /// The same on the caller's thread: only for a few rows by their keys, where a change of thread costs more.
    pub(super) fn glance<T>(&self, question: impl FnOnce(&View<'_>) -> Result<T, QueryError>) -> Result<T, Refusal> {
        ask(&*self.inner.parts.rows, question)
    }
}

/// A caller that waits for a read; when it goes, the read ends early.
#[derive(Default)]
struct StopsWhenDropped(Arc<AtomicBool>);

impl Drop for StopsWhenDropped {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn ask<T>(rows: &dyn Rows, question: impl FnOnce(&View<'_>) -> Result<T, QueryError>) -> Result<T, Refusal> {
    let rows = rows.rows();
    let view = View::open(&*rows)?;
    Ok(question(&view)?)
}
