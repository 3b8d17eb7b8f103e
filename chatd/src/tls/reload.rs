//! Certificates whose files are read again when they change.

use super::TlsError;
use std::{
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};
use tokio_util::sync::CancellationToken;

/// What is made of one state of some PEM files.
pub(super) trait FromFiles: Send + Sync + Sized + 'static {
    /// Where the files are.
    type Files: Send + Sync + 'static;
    /// Whose certificate it is, for the log.
    const WHOSE: &'static str;

    /// Reads the files.
    fn read(files: &Self::Files) -> Result<Self, TlsError>;

    /// Whether both were made of the same bytes.
    fn same_files(&self, other: &Self) -> bool;
}

/// The present state of the files.
pub(super) struct Reloading<T: FromFiles> {
    files: T::Files,
    current: RwLock<Arc<T>>,
}

impl<T: FromFiles> Reloading<T> {
    pub(super) fn load(files: T::Files) -> Result<Self, TlsError> {
        let loaded = T::read(&files)?;
        Ok(Self { files, current: RwLock::new(Arc::new(loaded)) })
    }

    pub(super) fn current(&self) -> Arc<T> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Reads the files again; `true` when they had changed and are in use now. After an error the former ones stay.
    pub(super) fn reload(&self) -> Result<bool, TlsError> {
        let loaded = T::read(&self.files)?;
        let changed = !loaded.same_files(&self.current());
        if changed {
            *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(loaded);
        }
        Ok(changed)
    }

    /// Reloads whenever the files change, until stopped. A state that cannot be used (several files cannot be replaced at
    /// one instant) is reported once and tried again.
    pub(super) async fn keep_fresh(self: Arc<Self>, every: Duration, stop: CancellationToken) {
        let mut reported = false;
        while stop.run_until_cancelled(tokio::time::sleep(every)).await.is_some() {
            let files = Arc::clone(&self);
            let Ok(outcome) = tokio::task::spawn_blocking(move || files.reload()).await else { continue };
            match outcome {
                Ok(true) => tracing::info!("the certificate of {} was renewed; new connections use it", T::WHOSE),
                Ok(false) => reported = false,
                Err(error) if !reported => {
                    reported = true;
                    tracing::warn!(%error, "the changed certificate of {} cannot be used, the former one stays", T::WHOSE);
                }
                Err(_) => {}
            }
        }
    }
}
