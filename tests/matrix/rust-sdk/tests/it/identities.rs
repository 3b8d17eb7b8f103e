//! Cross-signing, and the verification of one device by another.

use anyhow::{Context as _, Result, bail};
use matrix_sdk::encryption::verification::{SasVerification, VerificationRequest};
use matrix_sdk::encryption::{CrossSigningResetAuthType, VerificationState};
use quorate_rust_sdk_tests::{Person, lose_the_leader};

/// Finds something once a device has all private cross-signing keys.
async fn has_all_keys(person: &Person) -> Result<Option<()>> {
    let status = person.client().encryption().cross_signing_status().await.context("a session has a status")?;
    Ok(status.is_complete().then_some(()))
}

#[tokio::test(flavor = "multi_thread")]
async fn cross_signing_keys_are_replaced_with_the_password_while_the_leader_is_lost() -> Result<()> {
    let alice = Person::newcomer("alice").await?;
    let bob = Person::newcomer("bob").await?;
    let encryption = alice.client().encryption();
    // The first keys need no password.
    encryption.bootstrap_cross_signing(None).await.context("the first keys")?;
    let of_bob = bob.client().encryption();
    let first = of_bob.request_user_identity(alice.user()).await?.context("the keys are published")?;

    let losing = tokio::spawn(lose_the_leader());
    let handle = encryption.reset_cross_signing().await?.context("replacing the keys asks for the password")?;
    let CrossSigningResetAuthType::Uiaa(asked) = handle.auth_type() else {
        bail!("asked for {:?}", handle.auth_type())
    };
    handle.auth(Some(alice.proof(asked))).await.context("the new keys")?;
    losing.await??;

    assert!(has_all_keys(&alice).await?.is_some(), "the keys are complete");
    let second = of_bob.request_user_identity(alice.user()).await?.context("the keys are published")?;
    assert_ne!(first.master_key().get_first_key(), second.master_key().get_first_key());
    let device = of_bob.get_device(alice.user(), alice.device()).await?.context("the device is published")?;
    assert!(device.is_cross_signed_by_owner(), "the device is signed with the new keys");
    Ok(())
}

/// Lets two devices of one person ask and agree to verify each other, and returns the verification as each sees it.
async fn begin_verification(old: &Person, new: &Person) -> Result<(SasVerification, SasVerification)> {
    let known = async || anyhow::Ok(old.client().encryption().get_device(new.user(), new.device()).await?);
    let device = old.until("the new device", known).await?;
    let ours = device.request_verification().await.context("the request")?;
    let theirs = received_request(new, ours.flow_id()).await?;
    theirs.accept().await.context("its acceptance")?;
    old.until("the other's readiness", async || anyhow::Ok(ours.is_ready().then_some(()))).await?;
    let started = ours.start_sas().await?.context("a request that is ready can be started")?;
    let seen = async || {
        let verification = new.client().encryption().get_verification(old.user(), ours.flow_id()).await;
        anyhow::Ok(verification.and_then(|verification| verification.sas()))
    };
    let accepted = new.until("the start of the verification", seen).await?;
    accepted.accept().await.context("the acceptance of the method")?;
    Ok((started, accepted))
}

async fn received_request(person: &Person, flow: &str) -> Result<VerificationRequest> {
    let received =
        async || anyhow::Ok(person.client().encryption().get_verification_request(person.user(), flow).await);
    person.until("the request", received).await
}

#[tokio::test(flavor = "multi_thread")]
async fn two_devices_verify_each_other_by_emoji_and_share_their_secrets() -> Result<()> {
    let old = Person::newcomer("alice").await?;
    old.client().encryption().bootstrap_cross_signing(None).await.context("the first keys")?;
    let new = old.another_device().await?;
    assert!(has_all_keys(&new).await?.is_none(), "a new device has no keys");

    let losing = tokio::spawn(lose_the_leader());
    let (ours, theirs) = begin_verification(&old, &new).await?;
    for (person, sas) in [(&old, &ours), (&new, &theirs)] {
        person.until("the emoji", async || anyhow::Ok(sas.can_be_presented().then_some(()))).await?;
    }
    let symbols = |sas: &SasVerification| sas.emoji().map(|emoji| emoji.map(|each| each.symbol));
    assert!(symbols(&ours).is_some(), "both devices know emoji");
    assert_eq!(symbols(&ours), symbols(&theirs));
    assert_eq!(ours.decimals(), theirs.decimals());
    ours.confirm().await.context("the confirmation of the old device")?;
    theirs.confirm().await.context("the confirmation of the new device")?;
    for (person, sas) in [(&old, &ours), (&new, &theirs)] {
        person.until("the end of the verification", async || anyhow::Ok(sas.is_done().then_some(()))).await?;
    }
    losing.await??;

    let state = new.client().encryption().verification_state();
    let verified = async || anyhow::Ok((state.get() == VerificationState::Verified).then_some(()));
    new.until("the signature of the old device", verified).await?;
    new.until("the keys of the old device", async || has_all_keys(&new).await).await?;
    let device =
        old.client().encryption().get_device(new.user(), new.device()).await?.context("the device is known")?;
    assert!(device.is_verified(), "the old device trusts the new one");
    Ok(())
}
