use std::fmt;

/// Request to the API server, as error messages name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum ApiRequest {
    Annotate,
    Apply,
    Create,
    Delete,
    Evict,
    Expand,
    Label,
    Read,
    Renew,
    SetOwner,
    Update,
}

impl ApiRequest {
    /// Returns the words that stand before the object in an error message.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Annotate => "annotate",
            Self::Apply => "apply",
            Self::Create => "create",
            Self::Delete => "delete",
            Self::Evict => "evict",
            Self::Expand => "expand",
            Self::Label => "label",
            Self::Read => "read",
            Self::Renew => "renew",
            Self::SetOwner => "set the owner of",
            Self::Update => "update",
        }
    }
}

impl fmt::Display for ApiRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Call of a pod's admin API, as error messages name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum AdminCall {
    Initialize,
    AddLearner,
    ChangeMembership,
    TransferLeader,
}

impl AdminCall {
    /// Returns the name of the call.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Initialize => "Initialize",
            Self::AddLearner => "AddLearner",
            Self::ChangeMembership => "ChangeMembership",
            Self::TransferLeader => "TransferLeader",
        }
    }
}

impl fmt::Display for AdminCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
