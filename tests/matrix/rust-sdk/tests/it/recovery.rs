//! The backup of keys, and what a new device gets from it.

use anyhow::{Context as _, Result};
use matrix_sdk::encryption::VerificationState;
use matrix_sdk::encryption::recovery::RecoveryState;
use quorate_rust_sdk_tests::{Person, UNREADABLE, lose_the_leader, messages_of};

/// Lets a person set recovery up; returns the recovery key.
async fn enable_recovery(person: &Person) -> Result<String> {
    let recovery = person.client().encryption().recovery();
    let key = recovery.enable().wait_for_backups_to_upload().await.context("the recovery is enabled")?;
    wait_for_recovery(person).await?;
    Ok(key)
}

/// Waits until a device has all secrets: each sync may look again, and end later than what it looks for.
async fn wait_for_recovery(person: &Person) -> Result<()> {
    let recovery = person.client().encryption().recovery();
    let enabled = async || anyhow::Ok((recovery.state() == RecoveryState::Enabled).then_some(()));
    person.until("the recovery", enabled).await
}

/// Waits until all keys of a person are in the backup.
async fn finish_backup(person: &Person) -> Result<()> {
    let backups = person.client().encryption().backups();
    assert!(backups.are_enabled().await, "the backup is enabled");
    backups.wait_for_steady_state().await.context("the keys are backed up")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_device_reads_the_old_messages_with_the_recovery_key() -> Result<()> {
    let old = Person::newcomer("alice").await?;
    let bob = Person::newcomer("bob").await?;
    old.client().encryption().bootstrap_cross_signing(None).await.context("the first keys")?;
    let room = old.encrypted_room_with(&bob).await?;
    let id = room.room_id().to_owned();
    let mut said = vec!["before the backup".to_owned(), "an answer".to_owned()];
    old.say(&id, &said[0]).await?;
    bob.hears(&said[..1]).await?;
    bob.say(&id, &said[1]).await?;
    old.hears(&said).await?;

    let key = enable_recovery(&old).await?;
    let losing = tokio::spawn(lose_the_leader());
    // Keys that are made afterwards are backed up as well.
    bob.client().get_room(&id).context("Bob is in the room")?.discard_room_key().await?;
    bob.say(&id, "after the backup").await?;
    said.push("after the backup".to_owned());
    old.hears(&said).await?;
    losing.await??;
    finish_backup(&old).await?;
    let another = old.another_device().await?;
    old.log_out().await?;

    let room = another.joined_room(&id).await?;
    assert_eq!(messages_of(&room).await?, vec![UNREADABLE; said.len()]);
    another.client().encryption().recovery().recover(&key).await.context("the recovery")?;
    wait_for_recovery(&another).await?;
    another.client().encryption().backups().download_room_keys_for_room(&id).await.context("the keys of the room")?;
    assert_eq!(messages_of(&room).await?, said);
    let state = another.client().encryption().verification_state();
    let verified = async || anyhow::Ok((state.get() == VerificationState::Verified).then_some(()));
    another.until("the signature of the new device", verified).await?;

    another.say(&id, "back again").await?;
    said.push("back again".to_owned());
    bob.hears(&said).await
}
