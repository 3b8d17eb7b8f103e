//! Pages that panels link to: what to do, or how it works. A test checks that every page exists.

use serde_json::{Value, json};

/// Page of the documentation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DocsPage {
    Architecture,
    ClusterUnavailable,
    CompactionStalls,
    Dashboards,
    DiskFilling,
    ElectionsFlapping,
    ErrorBudgetBurn,
    MemberLagging,
    MemoryNearLimit,
    NoLeader,
    OperatorAway,
    OperatorFailing,
    OperatorStuck,
    Performance,
    PodRestarting,
    QuorumAtRisk,
    ReplacementStalled,
    Runbooks,
    Security,
    SlowWrites,
    VersionSkew,
}

impl DocsPage {
    /// Every page, for the test that they exist.
    #[cfg(test)]
    pub(super) const ALL: [Self; 21] = [
        Self::Architecture,
        Self::ClusterUnavailable,
        Self::CompactionStalls,
        Self::Dashboards,
        Self::DiskFilling,
        Self::ElectionsFlapping,
        Self::ErrorBudgetBurn,
        Self::MemberLagging,
        Self::MemoryNearLimit,
        Self::NoLeader,
        Self::OperatorAway,
        Self::OperatorFailing,
        Self::OperatorStuck,
        Self::Performance,
        Self::PodRestarting,
        Self::QuorumAtRisk,
        Self::ReplacementStalled,
        Self::Runbooks,
        Self::Security,
        Self::SlowWrites,
        Self::VersionSkew,
    ];

    /// Returns the path of the page under the root of the workspace.
    pub(super) fn path(self) -> &'static str {
        match self {
            Self::Architecture => "docs/architecture.md",
            Self::ClusterUnavailable => "docs/runbooks/cluster-unavailable.md",
            Self::CompactionStalls => "docs/runbooks/compaction-stalls.md",
            Self::Dashboards => "docs/dashboards.md",
            Self::DiskFilling => "docs/runbooks/disk-filling.md",
            Self::ElectionsFlapping => "docs/runbooks/elections-flapping.md",
            Self::ErrorBudgetBurn => "docs/runbooks/error-budget-burn.md",
            Self::MemberLagging => "docs/runbooks/member-lagging.md",
            Self::MemoryNearLimit => "docs/runbooks/memory-near-limit.md",
            Self::NoLeader => "docs/runbooks/no-leader.md",
            Self::OperatorAway => "docs/runbooks/operator-away.md",
            Self::OperatorFailing => "docs/runbooks/operator-failing.md",
            Self::OperatorStuck => "docs/runbooks/operator-stuck.md",
            Self::Performance => "docs/performance.md",
            Self::PodRestarting => "docs/runbooks/pod-restarting.md",
            Self::QuorumAtRisk => "docs/runbooks/quorum-at-risk.md",
            Self::ReplacementStalled => "docs/runbooks/replacement-stalled.md",
            Self::Runbooks => "docs/runbooks/README.md",
            Self::Security => "docs/security.md",
            Self::SlowWrites => "docs/runbooks/slow-writes.md",
            Self::VersionSkew => "docs/runbooks/version-skew.md",
        }
    }

    pub(super) fn link(self) -> Value {
        let path = self.path();
        let title = if path.contains("/runbooks/") { "What to do" } else { "How it works" };
        let url = format!("https://github.com/quorate/quorate/blob/main/{path}");
        json!({"title": title, "url": url, "targetBlank": true})
    }
}
