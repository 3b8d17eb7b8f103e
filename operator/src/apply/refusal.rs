use super::ApplyError;
use crate::words;

/// A write that the API server did not take. `status` and an event tell it; the others are done all the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// `Kind/name`
    pub object: String,
    /// What failed and why, in the API server's own words.
    pub words: String,
    /// It will be refused again until a person changes something; else it is worth another try as it is.
    pub lasts: bool,
    /// Tried just now; else remembered from a former try.
    pub fresh: bool,
    /// How often in a row.
    pub times: u32,
}

/// What passes by itself is told from this try on: a conflict with a controller that writes the same object is over at
/// the next look, and nobody needs to hear of it.
const TOLD_FROM: u32 = 3;

impl Refusal {
    pub(super) fn new(object: &str, error: &ApplyError) -> Self {
        Self { object: object.to_owned(), words: words::with_causes(error), lasts: lasts(error), fresh: true, times: 1 }
    }

    /// Whether people are told.
    #[must_use]
    pub fn is_told(&self) -> bool {
        self.lasts || self.times >= TOLD_FROM
    }

    /// Whether people are told for the first time.
    #[must_use]
    pub fn is_news(&self) -> bool {
        self.fresh && self.is_told() && self.times == if self.lasts { 1 } else { TOLD_FROM }
    }
}

/// What the request itself is at fault for, or what the operator may not do. A conflict, a full queue, a server in
/// trouble or no answer pass by themselves.
fn lasts(error: &ApplyError) -> bool {
    match error {
        ApplyError::Api { source: kube::Error::Api(status), .. } => {
            matches!(status.code, 400 | 403 | 405 | 413 | 415 | 422)
        }
        ApplyError::Certificates(_) => true,
        _ => false,
    }
}
