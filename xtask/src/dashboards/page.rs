//! Where a panel leads: what to do, or how it works. A test holds that every page exists.

use serde_json::{Value, json};

/// A page of the book.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Page {
    Architecture,
    Dashboards,
    DiskFilling,
    ElectionsFlapping,
    MemberLagging,
    NoLeader,
    OperatorAway,
    Performance,
    QuorumAtRisk,
    SlowWrites,
}

impl Page {
    /// Every page, for the test that they exist.
    #[cfg(test)]
    pub(super) const ALL: [Self; 10] = [
        Self::Architecture,
        Self::Dashboards,
        Self::DiskFilling,
        Self::ElectionsFlapping,
        Self::MemberLagging,
        Self::NoLeader,
        Self::OperatorAway,
        Self::Performance,
        Self::QuorumAtRisk,
        Self::SlowWrites,
    ];

    /// Under the root of the workspace.
    pub(super) fn path(self) -> &'static str {
        match self {
            Self::Architecture => "docs/architecture.md",
            Self::Dashboards => "docs/dashboards.md",
            Self::DiskFilling => "docs/runbooks/disk-filling.md",
            Self::ElectionsFlapping => "docs/runbooks/elections-flapping.md",
            Self::MemberLagging => "docs/runbooks/member-lagging.md",
            Self::NoLeader => "docs/runbooks/no-leader.md",
            Self::OperatorAway => "docs/runbooks/operator-away.md",
            Self::Performance => "docs/performance.md",
            Self::QuorumAtRisk => "docs/runbooks/quorum-at-risk.md",
            Self::SlowWrites => "docs/runbooks/slow-writes.md",
        }
    }

    pub(super) fn link(self) -> Value {
        let path = self.path();
        let title = if path.contains("/runbooks/") { "What to do" } else { "How it works" };
        let url = format!("https://github.com/quorate/quorate/blob/main/{path}");
        json!({"title": title, "url": url, "targetBlank": true})
    }
}
