//! The queue in which the SDK keeps what is not sent yet.

use anyhow::{Context as _, Result};
use matrix_sdk::Client;
use matrix_sdk::ruma::events::room::message::RoomMessageEventContent;
use quorate_rust_sdk_tests::{Person, lose_the_leader, messages_of};

/// Number of messages that wait in the queue at once.
const BURST: usize = 5;

/// Lets the queue go on after a failure, as clients do once they are online again.
async fn resume_after_failures(client: Client) {
    let mut failures = client.send_queue().subscribe_errors();
    while let Ok(failure) = failures.recv().await {
        if failure.is_recoverable {
            client.send_queue().set_enabled(true).await;
        } else {
            eprintln!("the queue gave a message up: {}", failure.error);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_send_queue_loses_and_doubles_nothing_while_the_leader_is_lost() -> Result<()> {
    let alice = Person::newcomer("alice").await?;
    let bob = Person::newcomer("bob").await?;
    let room = alice.encrypted_room_with(&bob).await?;
    let queue = room.send_queue();
    let resuming = tokio::spawn(resume_after_failures(alice.client().clone()));
    let mut sent = Vec::new();
    let losing = tokio::spawn(lose_the_leader());
    loop {
        let is_over = losing.is_finished();
        for _ in 0..BURST {
            let body = format!("message {}", sent.len());
            queue.send(RoomMessageEventContent::text_plain(&body).into()).await?;
            sent.push(body);
        }
        bob.hears(&sent).await.with_context(|| format!("the queue is enabled: {}", queue.is_enabled()))?;
        // A sync does not bring what is further back than a timeline reaches.
        alice.hears(&sent).await?;
        if is_over {
            break;
        }
    }
    losing.await??;
    resuming.abort();
    for person in [&alice, &bob] {
        assert_eq!(messages_of(&person.joined_room(room.room_id()).await?).await?, sent);
    }
    Ok(())
}
