//! Signal that this process can no longer trust its state and must stop.

use crate::exit::ExitReason;
use std::fmt;
use std::sync::Arc;
use tokio::sync::watch;

/// Handle to the signal; clones share it. Whoever finds the disk or the engine failing raises it, once; `main` waits
/// for it and exits non-zero, so that Kubernetes restarts the pod and the log re-applies what was lost. Nothing tries
/// to continue: after a failed write or sync, the content of the disk is unknown.
#[derive(Clone)]
pub struct FatalSignal {
    cause: watch::Sender<Option<FatalCause>>,
}

/// Reason for which a process must stop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FatalCause {
    /// Exit code of the process.
    pub exit: ExitReason,
    /// Description for people.
    pub text: Arc<str>,
}

impl Default for FatalSignal {
    fn default() -> Self {
        Self { cause: watch::Sender::new(None) }
    }
}

impl fmt::Debug for FatalSignal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Fatal").field(&*self.cause.borrow()).finish()
    }
}

impl FatalSignal {
    /// Raises the signal. The first cause is kept, because later ones are usually its consequences.
    pub fn raise(&self, cause: impl fmt::Display) {
        self.raise_as(ExitReason::Fatal, cause);
    }

    /// Raises the signal like [`FatalSignal::raise`], for an end with another exit code.
    pub fn raise_as(&self, exit: ExitReason, cause: impl fmt::Display) {
        let text: Arc<str> = cause.to_string().into();
        tracing::error!(cause = %text, "this process must stop");
        self.cause.send_if_modified(|kept| {
            let first = kept.is_none();
            kept.get_or_insert(FatalCause { exit, text });
            first
        });
    }

    /// Returns the cause, or `None` if the signal has not been raised.
    #[must_use]
    pub fn cause(&self) -> Option<Arc<str>> {
        self.cause.borrow().as_ref().map(|cause| cause.text.clone())
    }

    /// Waits until the signal is raised, and returns the cause.
    pub async fn raised(&self) -> FatalCause {
        let mut receiver = self.cause.subscribe();
        loop {
            if let Some(cause) = receiver.borrow_and_update().clone() {
                return cause;
            }
            // `self` holds a sender, so an error cannot happen; if it did, waiting for ever would be right.
            if receiver.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_first_cause_is_kept_and_seen_by_all() {
        let fatal = FatalSignal::default();
        let waiting = tokio::spawn({
            let fatal = fatal.clone();
            async move { fatal.raised().await }
        });
        fatal.raise("disk full");
        fatal.raise("database closed");
        let first = FatalCause { exit: ExitReason::Fatal, text: "disk full".into() };
        assert_eq!(waiting.await.expect("it ends"), first);
        assert_eq!(fatal.cause().as_deref(), Some("disk full"));
    }
}
