//! Every kind of bytes that this build leaves on disk or hands out to be brought back, as listed in `docs/formats.md`.
//!
//! Formats on disk are a promise: a kind is never reused for something else, and every later version reads what an
//! earlier one wrote. Each list here is complete because it is a match that does not compile without a new kind; a test
//! compares the page with it. A data directory of each version is kept in `chatd/tests/golden` and must open for ever.

use crate::raft::log::format::{self as segment, RecordKind as Record};
use crate::raft::snapshot;
use crate::store::columns::{self, DbColumn};
use crate::store::row;
use quorate_core::proto::log::command::Kind as Command;
use quorate_core::table::{Table, VALUE_VERSION};
use std::fmt::Write as _;

/// Returns descriptions of the key and the value of a table's rows.
fn describe_rows(table: Table) -> (&'static str, &'static str) {
    match table {
        Table::Meta => (
            "`cluster`; `renew/`, `depart/`, `profile/`, `removed/`, `standing/` or `notice/`, then localpart; \
             `signing-key`; `registration/`, then a token; `registered/`, then the time at which a dialogue expires (8) \
             and its digest (16); `block/` or `clear/`, then room; `push`",
            "`Cluster`; `Renewal`, `Departure`, `ProfileFields`, `RemovedData`, `Standing` or `NoticeRoom`; \
             `SigningKey`; `RegistrationToken`; `RegisteredDialogue`; `RoomBlock` or `RoomClearing`; `PushState`",
        ),
        Table::Account => ("localpart", "`Account`"),
        Table::Device => ("localpart, 0, device id", "`Device`"),
        Table::Token => ("SHA-256 of the token", "`Token`"),
        Table::Room => ("room", "`Room`"),
        Table::RoomByPosition => ("position of the create event", "room, bare"),
        Table::Timeline => ("room, position", "`Event`"),
        Table::StateVersion => ("room, type, state key, position", "empty; for members `Membership.Kind`, one byte"),
        Table::StateChange => ("room, position", "empty"),
        Table::Membership => ("localpart, 0, room", "`Membership`"),
        Table::RoomMember => ("room, localpart", "`Membership`"),
        Table::Relation => ("room, target, relation type, position", "`Relation`"),
        Table::Dedup => (
            "localpart, 0, device id, 0, then 1 and a hash (16) of scope and transaction id, or, for ids that pods \
             make, 0, time (8) and such a hash; for messages to devices also 2, time (8) and the hash",
            "`Dedup`",
        ),
        Table::Alias => ("localpart of the alias", "`Alias`"),
        Table::Filter => ("localpart, 0, number", "JSON as received, bare"),
        Table::AccountData => ("localpart, 0, room or 0, type", "`AccountData`"),
        Table::EventRoom => ("entry: incarnation, index", "`EntryEvents`"),
        Table::PublicRoom => ("room", "number of joined members (8), bare"),
        Table::Sequence => ("localpart, 0, device id, 0, id (8)", "`Sequence`"),
        Table::Aggregate => (
            "room, then 1, newest event of a thread; 2, root of a thread, localpart; 3, target, type, localpart, 0, key",
            "`Aggregate`",
        ),
        Table::ToDevice => ("localpart, 0, device id, 0, position", "`ToDevice`"),
        Table::ToDeviceQueue => ("localpart, 0, device id", "`ToDeviceQueue`"),
        Table::KeyBackup => ("localpart, 0, version (8)", "`KeyBackup`"),
        Table::BackupKey => ("localpart, 0, version (8), room id, session id", "`BackupKey`"),
        Table::Receipt => ("room, localpart, 0, 1 if public or 2 if private, thread", "`Receipt`"),
        Table::ReceiptChange => ("room, position", "`ReceiptChange`"),
        Table::ReceiptPlace => ("position, 1 if public or 2 if private", "`ReceiptPlace`"),
        Table::DeviceKeys => ("localpart, 0, device id", "`DeviceKeys`"),
        Table::KeyStock => ("localpart, 0, device id", "`KeyStock`"),
        Table::OneTimeKey => {
            ("localpart, 0, device id, 0, algorithm, 0, position of the upload, place in it (4)", "`OneTimeKey`")
        }
        Table::CrossSigningKey => ("localpart, 0, usage", "`CrossSigningKey`"),
        Table::UserSignature => ("localpart of the signer, 0, localpart of the signed", "`UserSignature`"),
        Table::KeyChange => ("position, localpart", "`KeyChange`"),
        Table::LastKeyChange => ("localpart", "`LastKeyChange`"),
        Table::RoomAlias => ("room, localpart of the alias", "empty"),
        Table::PublicRoomBySize => ("2^64 - 1 less the number of joined members (8), room", "empty"),
        Table::Report => ("localpart, 0, position", "`Report`"),
        Table::Pusher => ("localpart, 0, app id, pushkey", "`Pusher`"),
        Table::PusherUser => ("app id, pushkey, localpart", "empty"),
        Table::WaitingPush => ("localpart, 0, app id, pushkey, position", "`WaitingPush`"),
        Table::DehydratedDevice => ("localpart", "`DehydratedDevice`"),
    }
}

/// Returns a description of a log record's payload.
fn describe_record(kind: Record) -> &'static str {
    match kind {
        Record::State => "node id, cluster id, vote, purge mark, commit mark",
        Record::Entry => "`quorate.log.v1.Entry`",
        Record::Truncate => "the last entry that is kept",
        Record::Committed => "the commit mark",
    }
}

/// Returns the field number of a command in `quorate.log.v1.Command`, and its name.
fn number_and_name(kind: &Command) -> (u32, &'static str) {
    match kind {
        Command::Bootstrap(_) => (1, "Bootstrap"),
        Command::Register(_) => (2, "Register"),
        Command::OpenSession(_) => (3, "OpenSession"),
        Command::CloseSession(_) => (4, "CloseSession"),
        Command::ExtendSession(_) => (5, "ExtendSession"),
        Command::CreateRoom(_) => (6, "CreateRoom"),
        Command::SetMembership(_) => (7, "SetMembership"),
        Command::SendEvent(_) => (8, "SendEvent"),
        Command::SetProfile(_) => (9, "SetProfile"),
        Command::PutFilter(_) => (10, "PutFilter"),
        Command::PutAccountData(_) => (11, "PutAccountData"),
        Command::Redact(_) => (12, "Redact"),
        Command::PurgeHistory(_) => (13, "PurgeHistory"),
        Command::SweepDevice(_) => (20, "SweepDevice"),
        Command::RenewMembers(_) => (30, "RenewMembers"),
        Command::RepairTime(_) => (40, "RepairTime"),
        Command::RaiseLevel(_) => (41, "RaiseLevel"),
        Command::ChangePassword(_) => (50, "ChangePassword"),
        Command::RemoveDevices(_) => (51, "RemoveDevices"),
        Command::NameDevice(_) => (52, "NameDevice"),
        Command::Deactivate(_) => (53, "Deactivate"),
        Command::ContinueDeactivation(_) => (54, "ContinueDeactivation"),
        Command::KeepSigningKey(_) => (55, "KeepSigningKey"),
        Command::RefreshSession(_) => (56, "RefreshSession"),
        Command::ConfirmRefresh(_) => (57, "ConfirmRefresh"),
        Command::IssueLoginToken(_) => (58, "IssueLoginToken"),
        Command::SendToDevice(_) => (75, "SendToDevice"),
        Command::DeleteToDevice(_) => (76, "DeleteToDevice"),
        Command::CreateBackup(_) => (77, "CreateBackup"),
        Command::UpdateBackup(_) => (78, "UpdateBackup"),
        Command::DeleteBackup(_) => (79, "DeleteBackup"),
        Command::PutBackupKeys(_) => (80, "PutBackupKeys"),
        Command::DeleteBackupKeys(_) => (81, "DeleteBackupKeys"),
        Command::SetReceipts(_) => (60, "SetReceipts"),
        Command::ChangeTag(_) => (61, "ChangeTag"),
        Command::SetProfileField(_) => (62, "SetProfileField"),
        Command::PutDeviceKeys(_) => (65, "PutDeviceKeys"),
        Command::ClaimKeys(_) => (66, "ClaimKeys"),
        Command::PutSigningKeys(_) => (67, "PutSigningKeys"),
        Command::PutSignatures(_) => (68, "PutSignatures"),
        Command::SetAlias(_) => (90, "SetAlias"),
        Command::SetListed(_) => (91, "SetListed"),
        Command::UpgradeRoom(_) => (92, "UpgradeRoom"),
        Command::FileReport(_) => (93, "FileReport"),
        Command::Administer(_) => (110, "Administer"),
        Command::SetPusher(_) => (86, "SetPusher"),
        Command::AdvancePush(_) => (87, "AdvancePush"),
        Command::PutDehydratedDevice(_) => (120, "PutDehydratedDevice"),
        Command::DeleteDehydratedDevice(_) => (121, "DeleteDehydratedDevice"),
    }
}

/// Returns one command of each kind.
fn all_commands() -> [Command; 49] {
    [
        Command::Bootstrap(Default::default()),
        Command::Register(Default::default()),
        Command::OpenSession(Default::default()),
        Command::CloseSession(Default::default()),
        Command::ExtendSession(Default::default()),
        Command::CreateRoom(Default::default()),
        Command::SetMembership(Default::default()),
        Command::SendEvent(Default::default()),
        Command::SetProfile(Default::default()),
        Command::PutFilter(Default::default()),
        Command::PutAccountData(Default::default()),
        Command::Redact(Default::default()),
        Command::PurgeHistory(Default::default()),
        Command::SweepDevice(Default::default()),
        Command::RenewMembers(Default::default()),
        Command::RepairTime(Default::default()),
        Command::RaiseLevel(Default::default()),
        Command::ChangePassword(Default::default()),
        Command::RemoveDevices(Default::default()),
        Command::NameDevice(Default::default()),
        Command::Deactivate(Default::default()),
        Command::ContinueDeactivation(Default::default()),
        Command::KeepSigningKey(Default::default()),
        Command::RefreshSession(Default::default()),
        Command::ConfirmRefresh(Default::default()),
        Command::IssueLoginToken(Default::default()),
        Command::SendToDevice(Default::default()),
        Command::DeleteToDevice(Default::default()),
        Command::CreateBackup(Default::default()),
        Command::UpdateBackup(Default::default()),
        Command::DeleteBackup(Default::default()),
        Command::PutBackupKeys(Default::default()),
        Command::DeleteBackupKeys(Default::default()),
        Command::SetReceipts(Default::default()),
        Command::ChangeTag(Default::default()),
        Command::SetProfileField(Default::default()),
        Command::PutDeviceKeys(Default::default()),
        Command::ClaimKeys(Default::default()),
        Command::PutSigningKeys(Default::default()),
        Command::PutSignatures(Default::default()),
        Command::SetAlias(Default::default()),
        Command::SetListed(Default::default()),
        Command::UpgradeRoom(Default::default()),
        Command::FileReport(Default::default()),
        Command::Administer(Default::default()),
        Command::SetPusher(Default::default()),
        Command::AdvancePush(Default::default()),
        Command::PutDehydratedDevice(Default::default()),
        Command::DeleteDehydratedDevice(Default::default()),
    ]
}

const HEAD: &str = "\
# Formats

Contents of a data directory, by kind, with the versions of this build. This page is generated from `chatd/src/formats.rs`,
whose lists do not compile until they include each new kind; a test compares the two. No number is ever reused for something
else, and every version reads what any earlier one wrote: `chatd/tests/golden` keeps a data directory of each version, which a
test opens, reads row by row and serves. A build refuses data of a newer version with a message that says so; it never guesses.

| where | what | version |
|---|---|---|
";

/// Renders the page `docs/formats.md`. Cannot fail, because it writes to memory.
pub(crate) fn formats_page() -> Result<String, std::fmt::Error> {
    let mut out = HEAD.to_owned();
    writeln!(out, "| `log/N.log` | log segment: header and records | {}, in the header |", segment::VERSION)?;
    writeln!(out, "| `log/N.log.new` | segment whose creation was interrupted; removed | |")?;
    writeln!(out, "| `log/LOCK`, `state/live-N/LOCK` | held by the process that uses the directory | |")?;
    writeln!(out, "| `state/CURRENT` | name of the live directory and a line feed | implied by its form |")?;
    writeln!(
        out,
        "| `state/live-N/` | the state, a RocksDB database | {}, in its row `format` |",
        row::FORMAT_VERSION
    )?;
    let manifest = snapshot::FORMAT_VERSION;
    writeln!(
        out,
        "| `state/snapshots/ID/` | `manifest` and the files of a checkpoint in `data/` | {manifest}, in the manifest |"
    )?;
    writeln!(out, "| `state/incoming/ID/` | the same, while it is being received | the same |")?;
    writeln!(out, "| `*.tmp`, `*.part` | unfinished file or directory; removed | |")?;

    writeln!(
        out,
        "\n## Records of the log\nLayout: `chatd/src/raft/log.rs`. Payloads are protobuf.\n\n| kind | payload |\n|---|---|"
    )?;
    for kind in Record::ALL {
        writeln!(out, "| {} {kind:?} | {} |", kind as u8, describe_record(kind))?;
    }
    writeln!(
        out,
        "\nThe payload of an entry is empty (1), a batch of commands (2) or a membership (3). The table lists the commands by their number in"
    )?;
    writeln!(
        out,
        "`quorate.log.v1.Command`. The cluster accepts a command only once every pod knows its format level\n([ADR 15](adr/0015-commands-of-two-versions.md)):\n"
    )?;
    writeln!(out, "| number | command |\n|---|---|")?;
    for kind in &all_commands() {
        let (number, name) = number_and_name(kind);
        writeln!(out, "| {number} | {name} |")?;
    }

    writeln!(
        out,
        "\n## Rows of the state\nA key on disk is the number of the table (one byte) followed by the key below. Numbers are big-endian: a room has 8 bytes, a position"
    )?;
    writeln!(
        out,
        "16 (incarnation 4, index 8, ordinal 4). Types, state keys, the room ids of backups and the ids of pushers are prefixed with their length (two bytes). A value begins with its"
    )?;
    writeln!(
        out,
        "version byte, {VALUE_VERSION}, followed by a message of `quorate.store.v1`, unless it is marked *bare* or *empty*.\n"
    )?;
    writeln!(out, "| table | column family | key | value |\n|---|---|---|---|")?;
    for table in Table::ALL {
        let (key, value) = describe_rows(table);
        writeln!(out, "| {} {table:?} | {} | {key} | {value} |", table as u8, columns::column_of(table).name())?;
    }
    writeln!(out, "\nThe column family `{}` holds the rows that are not replicated by key:\n", DbColumn::Own.name())?;
    writeln!(out, "| key | value |\n|---|---|")?;
    writeln!(out, "| `format` | version of the database, 4 bytes |")?;
    writeln!(out, "| `applied` | version byte, `quorate.log.v1.LogId` of the last applied entry |")?;
    writeln!(out, "| `membership` | version byte, the `quorate.log.v1.Entry` that set the membership |")?;

    writeln!(
        out,
        "\n## Manifest of a snapshot\nCRC-32 (IEEE, big-endian) of the rest, then `quorate.log.v1.Manifest`: version, id, cluster, last applied entry, membership, and the"
    )?;
    writeln!(out, "name, size and CRC-32 of each file.\n")?;
    writeln!(
        out,
        "## Names\nA name is the base64url encoding of kind and version, log, and position. Clients store names and send them back.\n"
    )?;
    writeln!(
        out,
        "| first byte | name |\n|---|---|\n| 0x11 | event id, after `$`; room id of version 12, after `!` |\n| 0x21 | room id, between `!` and `:` |\n| 0x31 | cursor, after `q` |"
    )?;
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use prost::Message as _;
    use quorate_core::id::{self, Position};
    use std::path::Path;

    /// Compares the page with `docs/formats.md`. With `QUORATE_WRITE=1`, writes it there first.
    #[test]
    fn the_page_of_formats_is_that_of_the_code() {
        // Tests run in the directory of their package.
        let path = Path::new("../docs/formats.md");
        let page = formats_page().unwrap();
        if std::env::var_os("QUORATE_WRITE").is_some() {
            std::fs::write(path, &page).unwrap();
        }
        let kept = std::fs::read_to_string(path).unwrap_or_default();
        assert_eq!(kept, page, "QUORATE_WRITE=1 writes it anew");
    }

    #[test]
    fn a_command_has_the_number_that_is_said() {
        for kind in all_commands() {
            let (number, name) = number_and_name(&kind);
            let bytes = quorate_core::proto::log::Command { kind: Some(kind) }.encode_to_vec();
            let (told, _) = prost::encoding::decode_key(&mut bytes.as_slice()).expect("a field");
            assert_eq!(told, number, "{name}");
        }
    }

    #[test]
    fn names_begin_with_the_byte_that_is_said() {
        use base64::Engine as _;
        let first = |text: &str| base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(text).unwrap()[0];
        assert_eq!(first(&id::event_id(Position::ZERO)[1..]), 0x11);
        assert_eq!(first(id::room_id(Position::ZERO, "a")[1..].strip_suffix(":a").unwrap()), 0x21);
        assert_eq!(first(&id::encode_cursor(Position::ZERO)[1..]), 0x31);
    }
}
