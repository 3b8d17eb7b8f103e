//! Start check: log and state, as found on the volume, must belong together.

/// Facts found on the volume.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StartFacts<'a> {
    /// Cluster id kept by the log.
    pub log_cluster: Option<&'a str>,
    /// Cluster id in the state; absent until the bootstrap command is applied and on disk.
    pub state_cluster: Option<&'a str>,
    /// Last index purged from the log.
    pub purged: Option<u64>,
    /// Last index applied to the state.
    pub applied: Option<u64>,
    /// Format level in force in the state; 0 for no state.
    pub level: u32,
    /// Highest format level that this version knows.
    pub known_level: u32,
    /// Last index in the newest snapshot, which openraft installs at start if it is ahead of the state.
    pub snapshot: Option<u64>,
}

/// Reason why this pod does not start.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StartRefused {
    /// Log and state belong to two different clusters.
    #[error(
        "the log on this volume belongs to cluster {log}, but the state to cluster {state}: one of the two \
         directories was put there by mistake"
    )]
    Foreign {
        /// Cluster id of the log.
        log: String,
        /// Cluster id of the state.
        state: String,
    },
    /// The state was written by a version that knows more than this one.
    #[error(
        "the state on this volume uses format level {level}, and this version knows levels up to {known}: run a version \
         that knows it, such as that of the other pods"
    )]
    TooOld {
        /// Format level in force.
        level: u32,
        /// Highest level of this version.
        known: u32,
    },
    /// The log lacks entries that the state needs.
    #[error(
        "the log is purged up to entry {purged}, but the state is applied only up to {applied}: the entries between \
         are lost on this volume. Delete the volume, log and state together, so that the pod rejoins the cluster"
    )]
    Hole {
        /// Last index purged from the log.
        purged: u64,
        /// Last index that the state or the snapshot covers.
        applied: u64,
    },
}

/// Refuses what cannot be repaired. A log that ends before the state does is accepted: apply waits for the commit of
/// the cluster, not for the local disk, and openraft closes the gap.
///
/// # Errors
/// [`StartRefused`].
pub fn start_check(facts: &StartFacts<'_>) -> Result<(), StartRefused> {
    if let (Some(log), Some(state)) = (facts.log_cluster, facts.state_cluster)
        && log != state
    {
        return Err(StartRefused::Foreign { log: log.to_owned(), state: state.to_owned() });
    }
    if facts.level > facts.known_level {
        return Err(StartRefused::TooOld { level: facts.level, known: facts.known_level });
    }
    let covered = facts.applied.max(facts.snapshot);
    match facts.purged {
        Some(purged) if covered.is_none_or(|applied| applied < purged) => {
            Err(StartRefused::Hole { purged, applied: covered.unwrap_or(0) })
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_of_another_cluster_is_refused() {
        let facts = StartFacts { log_cluster: Some("a"), state_cluster: Some("b"), ..StartFacts::default() };
        assert!(matches!(start_check(&facts), Err(StartRefused::Foreign { .. })));
        assert_eq!(start_check(&StartFacts { state_cluster: None, ..facts }), Ok(()));
    }

    #[test]
    fn a_state_that_uses_more_than_this_version_knows_is_refused() {
        let facts = StartFacts { level: 2, known_level: 1, ..StartFacts::default() };
        assert_eq!(start_check(&facts), Err(StartRefused::TooOld { level: 2, known: 1 }));
        assert_eq!(start_check(&StartFacts { known_level: 2, ..facts }), Ok(()));
    }

    #[test]
    fn a_hole_between_state_and_log_is_refused_unless_a_snapshot_fills_it() {
        let facts = StartFacts { purged: Some(9), applied: Some(8), ..StartFacts::default() };
        assert_eq!(start_check(&facts), Err(StartRefused::Hole { purged: 9, applied: 8 }));
        assert!(start_check(&StartFacts { applied: None, ..facts }).is_err());
        assert_eq!(start_check(&StartFacts { applied: Some(9), ..facts }), Ok(()));
        assert_eq!(start_check(&StartFacts { snapshot: Some(20), ..facts }), Ok(()));
    }
}
