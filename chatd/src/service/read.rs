//! Reads: a read waits until the state is as fresh as requested, then runs a closure over one consistent view, on a
//! thread that may block.

use super::turns::ReadUrgency;
use super::{ChatService, RefusalCode, RequestRefusal};
use crate::raft::read_index;
use crate::store::StateStore;
use quorate_core::id::Position;
use quorate_core::query::{QueryError, StateView};
use quorate_core::table::TableRead;
use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::time::timeout;

/// Consistency that a caller asks of a read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReadConsistency {
    /// Sees every write acknowledged before the read began, on any pod (`ReadIndex`, Raft dissertation §6.4).
    #[default]
    Linearizable,
    /// Sees the state that this pod has applied.
    Local,
}

/// Consistency with which a read was served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServedFreshness {
    /// Linearizable, as the caller requested.
    Linearizable,
    /// Local, as the caller requested.
    Local,
    /// Local, because no quorum answered in time.
    Stale,
}

/// Maximum wait for this pod to apply a token's position. A pod that is further behind is cut off or overwhelmed, and
/// another one serves the caller better.
const CATCH_UP: Duration = Duration::from_secs(10);

/// Maximum duration of a read. A longer one is given up between two of its rooms or pages, as those who wait behind it
/// have asked for less. A page of the largest size from a cold disk takes less than a second.
const LONGEST_READ: Duration = Duration::from_secs(20);

/// Time after which a busy pod has made progress and is worth another try.
const RETRY: Duration = Duration::from_secs(1);

/// Source of views of the state: a [`StateStore`] of either kind.
pub trait RowSource: Send + Sync + 'static {
    /// Returns a consistent view of the applied state; never waits for a writer.
    fn rows(&self) -> Box<dyn TableRead + Send + Sync>;
    /// Returns `true` if reads may wait for the disk; see [`StateStore::may_block`].
    fn may_block(&self) -> bool;
}

/// Answer to a question without its type.
type ErasedAnswer = Box<dyn Any + Send>;

/// Question without the type of its answer, so that the way through threads is compiled once and not for each question.
type ErasedQuestion = Box<dyn FnOnce(&StateView<'_>) -> Result<ErasedAnswer, QueryError> + Send>;

impl<S: StateStore> RowSource for S {
    fn rows(&self) -> Box<dyn TableRead + Send + Sync> {
        Box::new(self.view())
    }

    fn may_block(&self) -> bool {
        StateStore::may_block(self)
    }
}

impl ChatService {
    /// Answers a question about the state with the requested consistency.
    ///
    /// # Errors
    /// The refusals of the question; [`super::RefusalCode::Unavailable`] before the pod has joined a cluster.
    pub async fn read<T, F>(
        &self,
        consistency: ReadConsistency,
        question: F,
    ) -> Result<(T, ServedFreshness), RequestRefusal>
    where
        T: Send + 'static,
        F: FnOnce(&StateView<'_>) -> Result<T, QueryError> + Send + 'static,
    {
        let freshness = match consistency {
            ReadConsistency::Local => ServedFreshness::Local,
            ReadConsistency::Linearizable => self.catch_up_with_leader().await?,
        };
        Ok((self.look(question).await?, freshness))
    }

    /// Answers a question once this pod has applied `cursor`, if there is one, with the requested consistency. The
    /// answer is never older than the cursor, whichever way it is served.
    pub async fn read_at_cursor<T, F>(
        &self,
        consistency: ReadConsistency,
        cursor: Option<Position>,
        question: F,
    ) -> Result<(T, ServedFreshness), RequestRefusal>
    where
        T: Send + 'static,
        F: FnOnce(&StateView<'_>) -> Result<T, QueryError> + Send + 'static,
    {
        if let Some(at) = cursor {
            self.reach(at).await?;
        }
        self.read(consistency, question).await
    }

    /// Answers a question once this pod has applied `at`: for tokens and cursors, whose holders must never see an older
    /// state.
    ///
    /// # Errors
    /// Those of [`ChatService::read`]; [`super::RefusalCode::Unavailable`] if the pod does not reach `at` in time,
    /// [`super::RefusalCode::BadCursor`] if `at` lies beyond what a quorum has committed.
    pub async fn read_from<T, F>(&self, at: Position, question: F) -> Result<T, RequestRefusal>
    where
        T: Send + 'static,
        F: FnOnce(&StateView<'_>) -> Result<T, QueryError> + Send + 'static,
    {
        self.reach(at).await?;
        self.look(question).await
    }

    /// Waits until this pod has applied `at`. The pod that gave out a cursor had applied it, so a cursor beyond what a
    /// quorum has committed was given out by nobody and is refused.
    async fn reach(&self, at: Position) -> Result<(), RequestRefusal> {
        let applied = self.inner.parts.feed.applied();
        let reached = || *applied.borrow() >= at;
        // The usual case, which costs no question to the leader.
        if reached() {
            return Ok(());
        }
        if self.catch_up_with_leader().await? == ServedFreshness::Linearizable && !reached() {
            return Err(RequestRefusal::from(QueryError::Ahead));
        }
        Ok(self.inner.parts.reads.applied_at_least(at, CATCH_UP).await?)
    }

    pub(super) async fn catch_up_with_leader(&self) -> Result<ServedFreshness, RequestRefusal> {
        Ok(match self.inner.parts.reads.linearizable().await? {
            read_index::ReadFreshness::Stale => ServedFreshness::Stale,
            read_index::ReadFreshness::Linearizable => ServedFreshness::Linearizable,
        })
    }

    /// Answers a question of a reader that the feed woke, from the state that this pod has applied. Such reads come
    /// after those of people who ask.
    ///
    /// # Errors
    /// The refusals of the question; [`RefusalCode::Overloaded`] if no turn came in time.
    pub async fn read_woken<T, F>(&self, question: F) -> Result<T, RequestRefusal>
    where
        T: Send + 'static,
        F: FnOnce(&StateView<'_>) -> Result<T, QueryError> + Send + 'static,
    {
        self.look_at(ReadUrgency::Woken, question).await
    }

    /// Runs the question over a view of the state that is applied at this moment.
    async fn look<T, F>(&self, question: F) -> Result<T, RequestRefusal>
    where
        T: Send + 'static,
        F: FnOnce(&StateView<'_>) -> Result<T, QueryError> + Send + 'static,
    {
        self.look_at(ReadUrgency::Asked, question).await
    }

    async fn look_at<T, F>(&self, urgency: ReadUrgency, question: F) -> Result<T, RequestRefusal>
    where
        T: Send + 'static,
        F: FnOnce(&StateView<'_>) -> Result<T, QueryError> + Send + 'static,
    {
        let erased: ErasedQuestion = Box::new(move |view| Ok(Box::new(question(view)?)));
        let answer = self.look_at_erased(urgency, erased).await?;
        // The type is the question's own.
        answer.downcast().map(|answer| *answer).map_err(|_| RequestRefusal::internal())
    }

    async fn look_at_erased(
        &self,
        urgency: ReadUrgency,
        question: ErasedQuestion,
    ) -> Result<ErasedAnswer, RequestRefusal> {
        // The view is opened only when the turn has come: an answer is not older for having waited.
        let turn = self.inner.turns.turn(&self.reader, urgency).await?;
        if !self.inner.parts.rows.may_block() {
            return self.glance(question);
        }
        let rows = Arc::clone(&self.inner.parts.rows);
        let caller = StopsWhenDropped::default();
        let stop = caller.0.clone();
        let answer = tokio::task::spawn_blocking(move || {
            // Held by the thread, not by the caller: a read occupies the store even if its caller has gone.
            let _turn = turn;
            let rows = rows.rows();
            let view = StateView::open(&*rows)?.stopping(&stop);
            Ok(question(&view)?)
        });
        // A timeout does not end the thread; `caller`, which is dropped with this function, does.
        let Ok(ended) = timeout(LONGEST_READ, answer).await else {
            let message = "the read took too long and was cancelled; request less at once, or try again later";
            return Err(RequestRefusal::new(RefusalCode::Overloaded, message).after(RETRY));
        };
        ended.map_err(|error| {
            tracing::error!(%error, "a read did not finish");
            RequestRefusal::internal()
        })?
    }

    /// Runs the question on the caller's thread: only for a few rows looked up by key, where a change of thread costs
    /// more.
    pub(super) fn glance<T>(
        &self,
        question: impl FnOnce(&StateView<'_>) -> Result<T, QueryError>,
    ) -> Result<T, RequestRefusal> {
        query_rows(&*self.inner.parts.rows, question)
    }
}

/// Handle of a caller that waits for a read; dropping it ends the read early.
#[derive(Default)]
struct StopsWhenDropped(Arc<AtomicBool>);

impl Drop for StopsWhenDropped {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn query_rows<T>(
    rows: &dyn RowSource,
    question: impl FnOnce(&StateView<'_>) -> Result<T, QueryError>,
) -> Result<T, RequestRefusal> {
    let rows = rows.rows();
    let view = StateView::open(&*rows)?;
    Ok(question(&view)?)
}
