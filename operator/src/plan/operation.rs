//! Operations and problems as the status reports them: closed sets, whose names are part of the Kubernetes API.

/// Defines an enum whose variants are reported by their own names.
macro_rules! named_enum {
    ($(#[$meta:meta])* $name:ident { $($(#[$about:meta])* $variant:ident,)* }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name {
            $($(#[$about])* $variant,)*
        }

        impl $name {
            /// Returns the name as it stands in the status.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => stringify!($variant),)*
                }
            }
        }
    };
}

named_enum! {
    /// Type of an operation.
    OperationKind {
        /// The cluster is being made, or the one that exists is recorded.
        Initialize,
        /// Pods that do not answer are waited for or given the new revision.
        Recover,
        /// A fresh node replaces a voter whose volume is gone.
        ReplaceMember,
        /// A voter without a slot loses its vote.
        RemoveMember,
        /// A pod whose claim is being deleted is replaced.
        ReplaceVolume,
        /// Pods are restarted with a new revision.
        Rollout,
        /// Volumes are expanded.
        GrowVolumes,
    }
}

impl OperationKind {
    /// Returns `true` if the operation goes from pod to pod; the others concern a single pod.
    pub(crate) fn is_about_all(self) -> bool {
        matches!(self, Self::Rollout | Self::Recover | Self::Initialize | Self::GrowVolumes)
    }
}

named_enum! {
    /// Step of an operation that is being taken or waited for.
    OperationStep {
        AddLearner,
        ApplyTemplate,
        CatchUp,
        Complete,
        DeletePod,
        EndRestarts,
        FinishChange,
        Initialize,
        PrepareRestart,
        RecordCluster,
        RemoveLearner,
        RemoveVoter,
        RestartPod,
        SwapVoter,
        TransferLeader,
        WaitForLeader,
        WaitForOthers,
        WaitForPod,
        WaitForPods,
        WaitForQuorum,
        WaitForStatefulSet,
        WaitForVolume,
        WriteMarker,
    }
}

named_enum! {
    /// Machine-readable reason of a problem that only an administrator can resolve.
    BlockedReason {
        /// All volumes are empty although a cluster was made.
        DataLost,
        /// A volume holds data of another cluster.
        ForeignVolume,
        /// The volumes hold data of several clusters.
        MixedClusters,
        /// An object that belongs to somebody else has a name that the operator needs.
        NameConflict,
        /// A majority of the voters has no volume any more.
        QuorumLost,
        /// A Secret that the spec refers to is missing, or its value cannot be used.
        SecretUnusable,
        /// The volumes hold the chat of another server name.
        ServerNameDiffers,
    }
}

/// Operation in progress, described in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    /// Type of the operation.
    pub kind: OperationKind,
    /// Step that is being taken or waited for.
    pub step: OperationStep,
    /// Name of the pod that the operation concerns, if any.
    pub member: Option<String>,
    /// Description of what the operation does or waits for.
    pub message: String,
}

/// Problem that only an administrator can resolve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blocked {
    /// Machine-readable reason for the problem.
    pub reason: BlockedReason,
    /// Description of the problem, and what to do about it.
    pub message: String,
}
