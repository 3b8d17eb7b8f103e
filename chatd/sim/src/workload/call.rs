//! Calls of a client to a pod: the request may be lost, the answer may be lost, and patience is limited.

use crate::act::SimAction;
use crate::history::SharedHistory;
use crate::layout::{CLIENTS, PODS};
use crate::mutation::Mutation;
use crate::replica::{PodHandle, SERVER};
use crate::rng::Rng;
use crate::world::SimTime;
use crate::world::net::{HostId, SimNet};
use futures::future::BoxFuture;
use quorate_chatd::service::CallerSession;
use quorate_core::id;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::timeout;

/// Everything that all clients share.
#[derive(Clone)]
pub(crate) struct ClientContext {
    pub(crate) net: SimNet<SimAction>,
    pub(crate) history: SharedHistory,
    pub(crate) mutation: Option<Mutation>,
    /// Time from which no new work is begun.
    pub(crate) until: SimTime,
    /// Hosts of pods that may be asked: a bit mask, because it changes with the membership.
    pub(crate) pods: Arc<AtomicU64>,
    /// Longest wait for an answer.
    pub(crate) patience: Duration,
}

/// Returns the session of a user, which `setup` has made and whose token is never shown.
pub(crate) fn session_of(user: &str) -> CallerSession {
    CallerSession {
        localpart: user.to_owned(),
        user_id: id::user_id(user, SERVER),
        device_id: "D".to_owned(),
        expires_ms: 0,
        token_hash: token_hash(user),
    }
}

pub(crate) fn token_hash(user: &str) -> [u8; 32] {
    let mut hash = [b'.'; 32];
    hash[..user.len()].copy_from_slice(user.as_bytes());
    hash
}

impl ClientContext {
    /// Asks a pod. Returns `None` if no answer came: the work may have been done or not.
    pub(crate) async fn call<T: Send + 'static>(
        &self,
        pod: HostId,
        work: impl FnOnce(PodHandle) -> BoxFuture<'static, T> + Send + 'static,
    ) -> Option<T> {
        let (answer, answered) = oneshot::channel();
        let net = self.net.clone();
        let request = SimAction::ToPod(
            pod,
            Box::new(move |running| {
                Box::pin(async move {
                    let told = work(running).await;
                    // A client that has lost patience no longer listens.
                    net.act_over(SimAction::ToClients(pod, Box::new(move || drop(answer.send(told)))));
                })
            }),
        );
        self.net.act_over(request);
        timeout(self.patience, answered).await.ok()?.ok()
    }

    /// Picks a pod to ask.
    pub(crate) fn any_pod(&self, rng: &mut Rng) -> HostId {
        let mask = self.pods.load(Ordering::Relaxed);
        let pods: Vec<_> = (0..CLIENTS).filter(|pod| mask & (1 << pod) != 0).collect();
        *rng.pick(&pods)
    }

    /// Returns the pods of a new cluster, as the mask of [`ClientContext::pods`].
    pub(crate) fn first_pods() -> Arc<AtomicU64> {
        Arc::new(AtomicU64::new((1 << PODS) - 1))
    }

    pub(crate) fn now(&self) -> SimTime {
        self.net.now()
    }

    pub(crate) fn is_over(&self) -> bool {
        self.now() >= self.until
    }
}
