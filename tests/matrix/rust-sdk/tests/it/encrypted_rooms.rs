//! Two people in an encrypted room.

use anyhow::Result;
use quorate_rust_sdk_tests::{Person, lose_the_leader, messages_of};

#[tokio::test(flavor = "multi_thread")]
async fn two_people_read_each_other_in_an_encrypted_room_while_its_leader_is_lost() -> Result<()> {
    let alice = Person::newcomer("alice").await?;
    let bob = Person::newcomer("bob").await?;
    let room = alice.encrypted_room_with(&bob).await?;
    let mut said = Vec::new();
    let losing = tokio::spawn(lose_the_leader());
    for round in 0..5 {
        for (speaker, name) in [(&alice, "alice"), (&bob, "bob")] {
            let body = format!("{name} {round}");
            speaker.say(room.room_id(), &body).await?;
            said.push(body);
            for listener in [&alice, &bob] {
                listener.hears(&said).await?;
            }
        }
    }
    losing.await??;
    alice.say(room.room_id(), "still here").await?;
    said.push("still here".to_owned());
    bob.hears(&said).await?;
    assert_eq!(messages_of(&bob.joined_room(room.room_id()).await?).await?, said);
    Ok(())
}
