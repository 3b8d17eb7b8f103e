//! Calls that are retried until they are settled.

use super::{CallFailure, ChatStub, ClusterClient, PooledServer, RetryRule, pace::RetryPacer};
use std::time::Duration;
use tonic::{Response, Status};

impl ClusterClient {
    /// Makes a call that may be made more than once: a read, or a write that carries a transaction id.
    ///
    /// # Errors
    /// Returns the [`CallFailure`] of the last attempt once the call is permanently refused or the time is up. `unknown` is
    /// set if *any* attempt may have been carried out.
    pub async fn call<R, F, Fut>(&self, method: F) -> Result<R, CallFailure>
    where
        F: Fn(ChatStub) -> Fut,
        Fut: Future<Output = Result<Response<R>, Status>>,
    {
        let mut pace = RetryPacer::new(self);
        loop {
            let slot = pace.next_server(self)?;
            match self.attempt(&slot, pace.patience(), &method).await {
                Ok(answer) => return Ok(answer),
                Err(failure) => pace.after(self, &slot, failure).await?,
            }
        }
    }

    /// Makes one attempt on one server.
    ///
    /// # Errors
    /// Returns the failure, whose [`CallFailure::retry`] says whether another attempt makes sense.
    pub async fn attempt<R, F, Fut>(
        &self,
        slot: &PooledServer,
        patience: Duration,
        method: &F,
    ) -> Result<R, CallFailure>
    where
        F: Fn(ChatStub) -> Fut,
        Fut: Future<Output = Result<Response<R>, Status>>,
    {
        let (channel, generation) = slot.connect().await.inspect_err(|_| slot.hold_off())?;
        let outcome = match tokio::time::timeout(patience, method(ChatStub::new(channel))).await {
            Ok(Ok(response)) => Ok(response.into_inner()),
            Ok(Err(status)) => Err(CallFailure::from_status(slot.address(), &status)),
            Err(_) => Err(CallFailure::timed_out(slot.address(), patience)),
        };
        match &outcome {
            Ok(_) => self.servers.succeeded(slot),
            Err(failure) => self.blame(slot, generation, failure).await,
        }
        outcome
    }

    pub(crate) async fn blame(&self, slot: &PooledServer, generation: u64, failure: &CallFailure) {
        if failure.broken {
            slot.forget(generation).await;
        }
        // A refusal, or a limit of the whole cluster, says nothing against this server.
        if matches!(failure.retry, RetryRule::Elsewhere(_)) {
            slot.hold_off();
        }
    }
}
