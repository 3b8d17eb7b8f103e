//! The signal that this process can no longer be trusted with its state and must stop.

use std::fmt;
use std::sync::Arc;
use tokio::sync::watch;

/// Raised once, by whoever finds the disk or the engine failing; `main` waits for it and exits non-zero, so that
/// Kubernetes starts the pod again and the log re-applies what was lost. Nothing tries to go on: after a failed write
/// or sync, what is on the disk is unknown.
#[derive(Clone)]
pub struct Fatal {
    cause: watch::Sender<Option<Arc<str>>>,
}

impl Default for Fatal {
    fn default() -> Self {
        Self { cause: watch::Sender::new(None) }
    }
}

impl fmt::Debug for Fatal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Fatal").field(&*self.cause.borrow()).finish()
    }
}

impl Fatal {
    /// Raises it. The first cause is kept: later ones are usually its consequences.
    pub fn raise(&self, cause: impl fmt::Display) {
        let cause: Arc<str> = cause.to_string().into();
        tracing::error!(%cause, "this process must stop");
        self.cause.send_if_modified(|kept| {
            let first = kept.is_none();
            kept.get_or_insert(cause);
            first
        });
    }

    /// The cause, when it has been raised.
    #[must_use]
    pub fn cause(&self) -> Option<Arc<str>> {
        self.cause.borrow().clone()
    }

    /// Waits until it is raised.
    pub async fn raised(&self) -> Arc<str> {
        let mut receiver = self.cause.subscribe();
        loop {
            if let Some(cause) = receiver.borrow_and_update().clone() {
                return cause;
            }
            // The sender lives as long as `self`, so an error cannot happen; waiting for ever is then right.
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
        let fatal = Fatal::default();
        let waiting = tokio::spawn({
            let fatal = fatal.clone();
            async move { fatal.raised().await }
        });
        fatal.raise("disk full");
        fatal.raise("database closed");
        assert_eq!(&*waiting.await.expect("it ends"), "disk full");
        assert_eq!(fatal.cause().as_deref(), Some("disk full"));
    }
}
