//! Reports of certificates that are expired or not valid yet. Such certificates are the first symptom of a clock that
//! is years off: the pod reaches nobody, and without a report would not say why.

use std::{
    io,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};
use tokio_rustls::rustls::{CertificateError, Error};

/// Shortest time between two reports. Peers are dialled several times a second.
const TELL_EVERY: Duration = Duration::from_secs(60);

/// Time of the last report.
#[derive(Default)]
pub(super) struct ValidityReports(Mutex<Option<Instant>>);

impl ValidityReports {
    /// Reports a handshake that failed because a certificate is expired or not valid yet. Ignores all other errors.
    pub(super) fn note(&self, error: &io::Error) {
        let Some(complaint) = validity_problem(error) else { return };
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if last.is_some_and(|last| last.elapsed() < TELL_EVERY) {
            return;
        }
        *last = Some(Instant::now());
        let clock_s = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        tracing::error!(clock_s, %error, "{complaint}");
    }
}

fn validity_problem(error: &io::Error) -> Option<&'static str> {
    match error.get_ref()?.downcast_ref::<Error>()? {
        Error::InvalidCertificate(CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. }) => {
            Some("a peer's certificate is not valid yet by this pod's clock: is the clock behind? Correct it")
        }
        Error::InvalidCertificate(CertificateError::Expired | CertificateError::ExpiredContext { .. }) => Some(
            "a peer's certificate has expired by this pod's clock: is the clock ahead? Correct it, or renew the certificate",
        ),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_finds_no_certificate_valid_is_suspected() {
        let failed = |why| io::Error::new(io::ErrorKind::InvalidData, Error::InvalidCertificate(why));
        assert!(validity_problem(&failed(CertificateError::NotValidYet)).unwrap().contains("clock behind"));
        assert!(validity_problem(&failed(CertificateError::Expired)).unwrap().contains("clock ahead"));
        assert_eq!(validity_problem(&failed(CertificateError::UnknownIssuer)), None);
        assert_eq!(validity_problem(&io::Error::other("reset")), None);
    }
}
