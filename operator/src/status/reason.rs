use crate::plan::{BlockedReason, OperationKind};

/// Machine-readable reason of a condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConditionReason {
    /// All members vote and are ready.
    AllMembersReady,
    /// Not every object matches the spec yet.
    Applying,
    /// A problem that only an administrator can resolve, by its own reason.
    Blocked(BlockedReason),
    /// A claim is being deleted while its pod runs.
    ClaimBeingDeleted,
    /// Everything matches the spec.
    Done,
    /// The cluster tolerates fewer failures than it should.
    FaultToleranceLow,
    /// A file system grows only when a pod mounts its volume.
    FileSystemResizePending,
    /// The spec cannot be carried out.
    InvalidSpec,
    /// Some members are not ready.
    MembersNotReady,
    /// There is no leader with a quorum.
    NoLeader,
    /// The cluster has not been initialized yet.
    NotInitialized,
    /// The operator cannot observe the cluster.
    NotObserved,
    /// The API server refuses an object.
    ObjectRefused,
    /// An operation in progress, by its own type.
    Operation(OperationKind),
    /// The spec tells the operator to change nothing.
    Paused,
    /// There has been no progress for too long.
    ProgressDeadlineExceeded,
    /// A leader serves writes with a quorum.
    QuorumServes,
    /// An administrator is waited for.
    Stalled,
    /// The object cannot be read.
    Unreadable,
    /// A slot has no volume yet.
    VolumeMissing,
    /// Every volume is bound.
    VolumesBound,
    /// Volumes are so full that user writes are refused.
    VolumesNearlyFull,
    /// A membership change is in progress.
    VotersChanging,
    /// The number of voters is not the one in the spec.
    VotersDiffer,
    /// Nothing needs an administrator.
    Working,
}

impl ConditionReason {
    /// Returns the reason as it stands in the status.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AllMembersReady => "AllMembersReady",
            Self::Applying => "Applying",
            Self::Blocked(reason) => reason.as_str(),
            Self::ClaimBeingDeleted => "ClaimBeingDeleted",
            Self::Done => "Done",
            Self::FaultToleranceLow => "FaultToleranceLow",
            Self::FileSystemResizePending => "FileSystemResizePending",
            Self::InvalidSpec => "InvalidSpec",
            Self::MembersNotReady => "MembersNotReady",
            Self::NoLeader => "NoLeader",
            Self::NotInitialized => "NotInitialized",
            Self::NotObserved => "NotObserved",
            Self::ObjectRefused => "ObjectRefused",
            Self::Operation(kind) => kind.as_str(),
            Self::Paused => "Paused",
            Self::ProgressDeadlineExceeded => "ProgressDeadlineExceeded",
            Self::QuorumServes => "QuorumServes",
            Self::Stalled => "Stalled",
            Self::Unreadable => "Unreadable",
            Self::VolumeMissing => "VolumeMissing",
            Self::VolumesBound => "VolumesBound",
            Self::VolumesNearlyFull => "VolumesNearlyFull",
            Self::VotersChanging => "VotersChanging",
            Self::VotersDiffer => "VotersDiffer",
            Self::Working => "Working",
        }
    }
}
