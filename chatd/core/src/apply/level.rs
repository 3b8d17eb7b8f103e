//! Format levels: which commands a version knows, and which of them a cluster may use (docs/adr/0015).
//!
//! While a cluster is upgraded, its pods run two versions. A command that only one of them knows would be applied by
//! some pods and refused by the others, whose rows then differ for ever. Such a command therefore has a level of its
//! own, and is proposed only once the cluster has agreed, in the log, that every pod knows that level.

use super::context::{ApplyContext, ApplyResult, CommandAnswer, refuse};
use crate::proto::log::command::Kind;
use crate::proto::log::{self, Envelope, Reason};
use crate::proto::store;

/// Knowledge of one version: its highest level, and the level that each command needs.
///
/// [`KnownFormat::CURRENT`] is that of this build. Others exist in tests and in the simulation, which run pods of two
/// versions.
#[derive(Clone, Copy, Debug)]
pub struct KnownFormat {
    /// Highest level that the version applies.
    pub level: u32,
    /// Function that returns the level of a command: at least 1, and the same in every version that knows the command.
    pub level_of: fn(&Envelope) -> u32,
}

impl KnownFormat {
    /// Knowledge of this build.
    pub const CURRENT: Self = Self { level: 1, level_of: current_level_of };

    /// Returns `true` if the version knows what the command means.
    #[must_use]
    pub fn knows(&self, envelope: &Envelope) -> bool {
        (self.level_of)(envelope) <= self.level
    }

    /// Returns the level to write into a batch whose commands need at most `level`. Level 1 is written as 0, so that
    /// batches look as they did before there were levels.
    #[must_use]
    pub fn encode_level(level: u32) -> u32 {
        if level <= 1 { 0 } else { level }
    }
}

/// Returns the level of a command of this build. A command, or a field of one that changes what apply does, has the
/// level of the version that introduced it.
fn current_level_of(envelope: &Envelope) -> u32 {
    let Some(kind) = envelope.command.as_ref().and_then(|command| command.kind.as_ref()) else { return 1 };
    match kind {
        Kind::Bootstrap(_)
        | Kind::Register(_)
        | Kind::OpenSession(_)
        | Kind::CloseSession(_)
        | Kind::ExtendSession(_)
        | Kind::CreateRoom(_)
        | Kind::SetMembership(_)
        | Kind::SendEvent(_)
        | Kind::SetProfile(_)
        | Kind::PutFilter(_)
        | Kind::PutAccountData(_)
        | Kind::Redact(_)
        | Kind::PurgeHistory(_)
        | Kind::RepairTime(_)
        | Kind::SweepDevice(_)
        | Kind::RenewMembers(_)
        | Kind::RaiseLevel(_)
        | Kind::ChangePassword(_)
        | Kind::RemoveDevices(_)
        | Kind::NameDevice(_)
        | Kind::Deactivate(_)
        | Kind::ContinueDeactivation(_)
        | Kind::KeepSigningKey(_)
        | Kind::RefreshSession(_)
        | Kind::ConfirmRefresh(_)
        | Kind::IssueLoginToken(_)
        | Kind::SendToDevice(_)
        | Kind::DeleteToDevice(_)
        | Kind::CreateBackup(_)
        | Kind::UpdateBackup(_)
        | Kind::DeleteBackup(_)
        | Kind::PutBackupKeys(_)
        | Kind::DeleteBackupKeys(_)
        | Kind::SetReceipts(_)
        | Kind::ChangeTag(_)
        | Kind::SetProfileField(_)
        | Kind::PutDeviceKeys(_)
        | Kind::ClaimKeys(_)
        | Kind::PutSigningKeys(_)
        | Kind::PutSignatures(_)
        | Kind::SetAlias(_)
        | Kind::SetListed(_)
        | Kind::UpgradeRoom(_)
        | Kind::FileReport(_)
        | Kind::Administer(_)
        | Kind::SetPusher(_)
        | Kind::AdvancePush(_)
        | Kind::PutDehydratedDevice(_)
        | Kind::DeleteDehydratedDevice(_) => 1,
    }
}

/// Returns the level in force in a cluster.
#[must_use]
pub fn level_in_force(cluster: &store::Cluster) -> u32 {
    // Rows from before there were levels have none.
    cluster.format_level.max(1)
}

/// Returns the level that a batch needs.
pub(super) fn level_of_batch(batch: &log::Batch) -> u32 {
    batch.level.max(1)
}

pub(super) fn apply_raise_level(
    context: &mut ApplyContext<'_>,
    command: &log::RaiseLevel,
) -> ApplyResult<CommandAnswer> {
    if !context.user.is_empty() {
        return refuse(Reason::Invalid, "this command has no caller");
    }
    if command.to > level_in_force(context.cluster()) {
        context.cluster_mut().format_level = command.to;
    }
    Ok(CommandAnswer::done())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::apply::{ApplyError, batch_in_place_as};
    use crate::proto::log::outcome;
    use crate::rows;
    use crate::testing::{World, command, world};

    /// A version for which filters came with level 2.
    fn with_filters_at_2(level: u32) -> KnownFormat {
        KnownFormat {
            level,
            level_of: |envelope| match envelope.command.as_ref().and_then(|command| command.kind.as_ref()) {
                Some(Kind::PutFilter(_)) => 2,
                _ => 1,
            },
        }
    }

    fn raise(to: u32) -> Envelope {
        Envelope { command: command(Kind::RaiseLevel(log::RaiseLevel { to })), ..Envelope::default() }
    }

    fn in_force(world: &World) -> u32 {
        level_in_force(&rows::cluster_row(&world.rows).unwrap().unwrap())
    }

    #[test]
    fn a_level_is_raised_by_the_cluster_alone_and_never_falls() {
        let mut world = world(&["alice"]);
        assert_eq!(in_force(&world), 1);
        let asked = world.by("alice", Kind::RaiseLevel(log::RaiseLevel { to: 2 }));
        assert_eq!(world.rejected(asked), Reason::Invalid);
        for (to, then) in [(3, 3), (2, 3), (3, 3), (0, 3), (4, 4)] {
            world.accepted(raise(to));
            assert_eq!(in_force(&world), then);
        }
    }

    #[test]
    fn a_batch_of_a_level_that_is_not_known_is_not_applied_at_all() {
        let mut world = world(&["alice"]);
        let put = world.by("alice", Kind::PutFilter(log::PutFilter { filter: "{}".into(), max_filters: 0 }));
        let batch = log::Batch { time_ms: 2_000, envelopes: vec![put], level: 2, ..log::Batch::default() };
        let before = world.rows.clone();
        let index = world.index + 1;
        let refused = batch_in_place_as(&with_filters_at_2(1), &mut world.rows, index, &batch).unwrap_err();
        assert!(matches!(refused, ApplyError::TooNew { needed: 2, known: 1 }), "{refused}");
        assert!(world.rows == before, "nothing was written");

        let applied = batch_in_place_as(&with_filters_at_2(2), &mut world.rows, index, &batch).unwrap();
        assert!(matches!(applied[0].outcome.kind, Some(outcome::Kind::FilterPut(_))));
    }

    #[test]
    fn a_command_that_is_not_known_is_refused() {
        let mut world = world(&["alice"]);
        let put = world.by("alice", Kind::PutFilter(log::PutFilter { filter: "{}".into(), max_filters: 0 }));
        let batch = log::Batch { time_ms: 2_000, envelopes: vec![put], ..log::Batch::default() };
        let index = world.index + 1;
        let applied = batch_in_place_as(&with_filters_at_2(1), &mut world.rows, index, &batch).unwrap();
        let refused =
            matches!(&applied[0].outcome.kind, Some(outcome::Kind::Rejected(why)) if why.reason() == Reason::Invalid);
        assert!(refused, "{applied:?}");
    }
}
