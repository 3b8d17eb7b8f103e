use super::ApplyError;
use crate::words;

/// Write that the API server refused. `status` and an event report it; the other writes are carried out all the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WriteRefusal {
    /// Object that was to be written, as `Kind/name`.
    pub object: String,
    /// Description of what failed and why, in the API server's own words.
    pub words: String,
    /// `true` if the write will be refused until somebody changes something; `false` if a retry as it is may succeed.
    pub lasts: bool,
    /// `true` if the write was attempted just now; `false` if the refusal is remembered from an earlier attempt.
    pub fresh: bool,
    /// Number of refusals in a row.
    pub times: u32,
}

/// Number of consecutive refusals at which a transient one is reported. A conflict with a controller that writes the
/// same object is over at the next reconcile, and nobody needs to hear of it.
const TOLD_FROM: u32 = 3;

impl WriteRefusal {
    pub(super) fn new(object: &str, error: &ApplyError) -> Self {
        Self {
            object: object.to_owned(),
            words: words::with_causes(error),
            lasts: is_lasting(error),
            fresh: true,
            times: 1,
        }
    }

    /// Returns `true` if the refusal is reported.
    #[must_use]
    pub fn is_told(&self) -> bool {
        self.lasts || self.times >= TOLD_FROM
    }

    /// Returns `true` if the refusal is reported for the first time.
    #[must_use]
    pub fn is_news(&self) -> bool {
        self.fresh && self.is_told() && self.times == if self.lasts { 1 } else { TOLD_FROM }
    }
}

/// Returns `true` if the request itself is at fault or the operator lacks a permission. A conflict, a full queue, a
/// server error or a missing answer is transient.
fn is_lasting(error: &ApplyError) -> bool {
    match error {
        ApplyError::Api { source: kube::Error::Api(status), .. } => {
            // 403 is also the answer to an exceeded ResourceQuota, which lasts until somebody raises it.
            matches!(status.code, 400 | 403 | 405 | 413 | 415 | 422)
        }
        ApplyError::Certificates(_) => true,
        _ => false,
    }
}
