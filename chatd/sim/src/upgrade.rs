//! Upgrade of a simulated cluster, pod by pod, to a version whose format has one command more (docs/adr/0015).
//!
//! Room names stand for that command: pods of the older version must never be given one, whatever goes wrong meanwhile.

use crate::faults::{BEGIN, HEAL, MS, PlannedFault};
use crate::layout::PODS;
use crate::mutation::Mutation;
use crate::rng::Rng;
use crate::world::SimTime;
use quorate_core::apply::KnownFormat;
use quorate_core::proto::log::{Envelope, command::Kind};

/// One in this many seeds upgrades its cluster.
const ONE_IN: u64 = 4;
/// Format level of room names: above everything that this build knows, so that only the newer version has it.
const LEVEL_OF_NAMES: u32 = KnownFormat::CURRENT.level + 1;

/// Version that a simulated pod runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PodVersion {
    /// Version of all pods of a cluster that is not upgraded.
    Only,
    /// Version before the upgrade.
    Older,
    /// Version after the upgrade.
    Newer,
}

impl PodVersion {
    /// Returns the format that the version knows.
    pub(crate) fn format(self) -> KnownFormat {
        match self {
            Self::Only => KnownFormat::CURRENT,
            Self::Older => KnownFormat { level_of: level_with_names, ..KnownFormat::CURRENT },
            Self::Newer => KnownFormat { level: LEVEL_OF_NAMES, level_of: level_with_names },
        }
    }

    /// Returns the format that the pod tells others it knows: with [`Mutation::AnnounceNewerLevel`], the first pod tells
    /// that of the newer version before it is upgraded.
    pub(crate) fn announced_format(self, mutation: Option<Mutation>, odd: bool) -> KnownFormat {
        match self {
            Self::Older if odd && mutation == Some(Mutation::AnnounceNewerLevel) => Self::Newer.format(),
            told => told.format(),
        }
    }
}

fn level_with_names(envelope: &Envelope) -> u32 {
    match envelope.command.as_ref().and_then(|command| command.kind.as_ref()) {
        Some(Kind::SendEvent(event)) if event.r#type == "m.room.name" => LEVEL_OF_NAMES,
        _ => (KnownFormat::CURRENT.level_of)(envelope),
    }
}

/// Plans the upgrade of a seed: each pod once, in any order, before everything heals. Returns `None` if the seed has none.
///
/// The plan has random numbers of its own, so that seeds without an upgrade are what they would be if there were none.
pub(crate) fn plan_upgrade(seed: u64) -> Option<Vec<(SimTime, PlannedFault)>> {
    if seed % ONE_IN != ONE_IN - 1 {
        return None;
    }
    let mut rng = Rng::new(!seed);
    let span = usize::try_from((HEAL - BEGIN) / MS).unwrap();
    let mut at = || BEGIN + rng.below(span) as u64 * MS;
    Some((0..PODS).map(|pod| (at(), PlannedFault::Upgrade(pod))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate_core::proto::log;

    #[test]
    fn the_newer_version_alone_knows_names_and_both_know_everything_of_this_build() {
        let [older, newer] = [PodVersion::Older, PodVersion::Newer].map(PodVersion::format);
        let send = |event_type: &str| {
            let send = log::SendEvent { r#type: event_type.into(), ..log::SendEvent::default() };
            Envelope { command: Some(log::Command { kind: Some(Kind::SendEvent(send)) }), ..Envelope::default() }
        };
        let [name, message] = ["m.room.name", "m.room.message"].map(send);
        assert!(newer.knows(&name) && !older.knows(&name));
        assert!(newer.knows(&message) && older.knows(&message));
        assert_eq!((older.level, newer.level), (KnownFormat::CURRENT.level, KnownFormat::CURRENT.level + 1));
    }

    #[test]
    fn every_pod_of_a_seed_with_an_upgrade_is_upgraded_before_everything_heals() {
        assert!(plan_upgrade(0).is_none());
        let plan = plan_upgrade(3).expect("an upgrade");
        assert_eq!(plan.len(), PODS);
        assert!(plan.iter().all(|(at, _)| (BEGIN..HEAL).contains(at)), "{plan:?}");
    }
}
