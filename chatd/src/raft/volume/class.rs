//! Classes of commands by their effect on the volumes.

use super::VolumeLevel;
use prost::Message as _;
use quorate_core::proto::log::{
    Envelope, SendEvent, SetMembership, administer::Action, command::Kind, set_membership::Change,
};

/// Largest encoded size, in bytes, of a command that is accepted as [`WriteClass::Upkeep`] while space is short: such a
/// command needs an id and a short reason, and many of them must not use up the reserve.
const UPKEEP_BYTES: usize = 4 << 10;
/// Event type that shortens the history of a room (MSC1763).
const RETENTION: &str = "m.room.retention";

/// Class of a command, which decides whether it is accepted while space is short. The mapping is exhaustive: a new
/// command does not compile without its class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteClass {
    /// Writes of users that make the state larger, or are large themselves.
    Growing,
    /// Commands that remove, leave, moderate, and open or end sessions: small, and needed by users to make space.
    Upkeep,
    /// Commands of the cluster and its administrators: removal of history, the first command, the rest of a change that
    /// was admitted.
    System,
}

impl WriteClass {
    /// Returns the class of a command with its envelope.
    #[must_use]
    pub fn of(envelope: &Envelope) -> Self {
        let kind = envelope.command.as_ref().and_then(|command| command.kind.as_ref());
        let class = match kind {
            // A notice is a message like others, and the first one to a user makes a room.
            Some(Kind::Administer(act)) if matches!(act.action, Some(Action::SendNotice(_))) => Self::Growing,
            Some(
                Kind::Bootstrap(_)
                | Kind::PurgeHistory(_)
                | Kind::RepairTime(_)
                | Kind::SweepDevice(_)
                | Kind::RenewMembers(_)
                | Kind::RaiseLevel(_)
                | Kind::ContinueDeactivation(_)
                | Kind::KeepSigningKey(_)
                | Kind::Administer(_)
                | Kind::AdvancePush(_),
            ) => Self::System,
            Some(
                Kind::Redact(_)
                | Kind::OpenSession(_)
                | Kind::CloseSession(_)
                | Kind::ExtendSession(_)
                | Kind::ChangePassword(_)
                | Kind::RemoveDevices(_)
                | Kind::DeleteDehydratedDevice(_)
                | Kind::Deactivate(_)
                | Kind::RefreshSession(_)
                | Kind::ConfirmRefresh(_)
                | Kind::IssueLoginToken(_),
            ) => Self::Upkeep,
            Some(Kind::DeleteToDevice(_) | Kind::DeleteBackup(_) | Kind::DeleteBackupKeys(_)) => Self::Upkeep,
            Some(Kind::SetPusher(set)) if set.kind.is_empty() => Self::Upkeep,
            Some(Kind::SetMembership(change)) => of_membership(change),
            Some(Kind::SendEvent(event)) => of_event(event),
            Some(
                Kind::Register(_)
                | Kind::CreateRoom(_)
                | Kind::SetProfile(_)
                | Kind::PutFilter(_)
                | Kind::PutAccountData(_)
                | Kind::NameDevice(_)
                | Kind::SendToDevice(_)
                | Kind::CreateBackup(_)
                | Kind::UpdateBackup(_)
                | Kind::PutBackupKeys(_)
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
                | Kind::SetPusher(_)
                | Kind::PutDehydratedDevice(_),
            )
            | None => Self::Growing,
        };
        if class == Self::Upkeep && envelope.encoded_len() > UPKEEP_BYTES { Self::Growing } else { class }
    }

    /// Returns `true` if commands of this class are accepted at this level.
    #[must_use]
    pub fn is_admitted_at(self, level: VolumeLevel) -> bool {
        match (self, level) {
            (_, VolumeLevel::Enough) | (Self::System, _) | (Self::Upkeep, VolumeLevel::Short) => true,
            (Self::Growing, _) | (Self::Upkeep, VolumeLevel::Exhausted) => false,
        }
    }
}

fn of_membership(change: &SetMembership) -> WriteClass {
    match change.change() {
        Change::Leave | Change::Kick | Change::Ban | Change::Forget => WriteClass::Upkeep,
        Change::Join | Change::Invite | Change::Unban | Change::Knock | Change::Unspecified => WriteClass::Growing,
    }
}

fn of_event(event: &SendEvent) -> WriteClass {
    if event.state_key.is_some() && event.r#type == RETENTION { WriteClass::Upkeep } else { WriteClass::Growing }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate_core::proto::log::{
        Administer, Bootstrap, CloseSession, Command, CreateRoom, DeleteRoom, OpenSession, PurgeHistory,
        PutAccountData, Redact, Register, SendNotice,
    };

    fn class(kind: Kind) -> WriteClass {
        WriteClass::of(&Envelope { command: Some(Command { kind: Some(kind) }), ..Envelope::default() })
    }

    fn membership(change: Change) -> WriteClass {
        class(Kind::SetMembership(SetMembership { change: change.into(), ..SetMembership::default() }))
    }

    fn state_event(r#type: &str, bytes: usize) -> WriteClass {
        let content = vec![b' '; bytes].into();
        let event =
            SendEvent { r#type: r#type.into(), state_key: Some(String::new()), content, ..SendEvent::default() };
        class(Kind::SendEvent(event))
    }

    #[test]
    fn what_removes_leaves_or_ends_passes_and_what_adds_does_not() {
        for kind in [
            Kind::Redact(Redact::default()),
            Kind::CloseSession(CloseSession::default()),
            Kind::OpenSession(OpenSession::default()),
        ] {
            assert_eq!(class(kind.clone()), WriteClass::Upkeep, "{kind:?}");
        }
        for kind in [
            Kind::Register(Register::default()),
            Kind::CreateRoom(CreateRoom::default()),
            Kind::SendEvent(SendEvent::default()),
            Kind::PutAccountData(PutAccountData::default()),
        ] {
            assert_eq!(class(kind.clone()), WriteClass::Growing, "{kind:?}");
        }
        for kind in [Kind::PurgeHistory(PurgeHistory::default()), Kind::Bootstrap(Bootstrap::default())] {
            assert_eq!(class(kind.clone()), WriteClass::System, "{kind:?}");
        }
        assert_eq!(membership(Change::Leave), WriteClass::Upkeep);
        assert_eq!(membership(Change::Ban), WriteClass::Upkeep);
        assert_eq!(membership(Change::Join), WriteClass::Growing);
        assert_eq!(state_event(RETENTION, 100), WriteClass::Upkeep, "it is how a room lets go of its history");
        assert_eq!(state_event("m.room.topic", 100), WriteClass::Growing);
    }

    #[test]
    fn administrators_make_space_but_send_no_notices_while_there_is_none() {
        let act = |action| class(Kind::Administer(Administer { configured: false, action: Some(action) }));
        assert_eq!(act(Action::DeleteRoom(DeleteRoom::default())), WriteClass::System);
        assert_eq!(act(Action::SendNotice(SendNotice::default())), WriteClass::Growing);
    }

    #[test]
    fn nothing_large_passes_as_upkeep() {
        assert_eq!(state_event(RETENTION, UPKEEP_BYTES), WriteClass::Growing);
        let reason = "x".repeat(UPKEEP_BYTES);
        assert_eq!(class(Kind::Redact(Redact { reason, ..Redact::default() })), WriteClass::Growing);
    }

    #[test]
    fn an_exhausted_volume_takes_only_what_the_cluster_itself_does() {
        let admitted = |level| {
            [WriteClass::Growing, WriteClass::Upkeep, WriteClass::System].map(|class| class.is_admitted_at(level))
        };
        assert_eq!(admitted(VolumeLevel::Enough), [true, true, true]);
        assert_eq!(admitted(VolumeLevel::Short), [false, true, true]);
        assert_eq!(admitted(VolumeLevel::Exhausted), [false, false, true]);
    }
}
