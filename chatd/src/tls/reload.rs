//! Certificates that are loaded again when their files change.

use super::TlsError;
use std::{
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};
use tokio_util::sync::CancellationToken;

/// Configuration that is made from a set of PEM files.
pub(super) trait FromFiles: Send + Sync + Sized + 'static {
    /// Paths of the files.
    type Files: Send + Sync + 'static;
    /// Owner of the certificate, for log lines.
    const WHOSE: &'static str;

    /// Reads all files and makes the configuration from them.
    fn read(files: &Self::Files) -> Result<Self, TlsError>;

    /// Returns `true` if both were made from the same bytes.
    fn same_files(&self, other: &Self) -> bool;
}

/// Current configuration, with the paths that it is loaded from.
pub(super) struct ReloadableConfig<T: FromFiles> {
    files: T::Files,
    current: RwLock<Arc<T>>,
}

impl<T: FromFiles> ReloadableConfig<T> {
    pub(super) fn load(files: T::Files) -> Result<Self, TlsError> {
        let loaded = T::read(&files)?;
        Ok(Self { files, current: RwLock::new(Arc::new(loaded)) })
    }

    pub(super) fn current(&self) -> Arc<T> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Reads the files again. Returns `true` if they have changed and are in use. After an error the previous
    /// configuration stays in use.
    pub(super) fn reload(&self) -> Result<bool, TlsError> {
        let loaded = T::read(&self.files)?;
        let changed = !loaded.same_files(&self.current());
        if changed {
            *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(loaded);
        }
        Ok(changed)
    }

    /// Reloads the files whenever they change, until stopped. Files that cannot be used (several files cannot be
    /// replaced atomically) are reported once and tried again.
    pub(super) async fn keep_fresh(self: Arc<Self>, every: Duration, stop: CancellationToken) {
        let mut reported = false;
        while stop.run_until_cancelled(tokio::time::sleep(every)).await.is_some() {
            let files = Arc::clone(&self);
            // On another thread, as reading a mounted Secret may block; even a panic there leaves the loop running.
            let Ok(outcome) = tokio::task::spawn_blocking(move || files.reload()).await else { continue };
            match outcome {
                Ok(true) => tracing::info!("the certificate of {} was renewed; new connections use it", T::WHOSE),
                // Back to the files that are in use: whatever fails next is news.
                Ok(false) => reported = false,
                Err(error) if !reported => {
                    reported = true;
                    tracing::warn!(%error, "cannot use the changed certificate of {}; keeping the previous one", T::WHOSE);
                }
                Err(_) => {}
            }
        }
    }
}
