//! Chat through any pod.

use crate::support::client::detail;
use crate::support::client::{User, message, said, with_token};
use crate::support::cluster::Cluster;
use crate::support::eventually;
use quorate_wire::chat::v1::create_room_request::Preset;
use quorate_wire::chat::v1::*;

async fn rooms(user: &User, n: usize, include_public: bool) -> Vec<Room> {
    let request = ListRoomsRequest { include_public, ..ListRoomsRequest::default() };
    let first = user.client(n).list_rooms(user.asks(request)).await.expect("rooms").into_inner();
    let mut rooms = first.rooms;
    let mut page = first.next_page;
    while !page.is_empty() {
        let request = ListRoomsRequest { include_public, page, ..ListRoomsRequest::default() };
        let next = user.client(n).list_rooms(user.asks(request)).await.expect("rooms").into_inner();
        rooms.extend(next.rooms);
        page = next.next_page;
    }
    rooms
}

#[tokio::test(flavor = "multi_thread")]
async fn people_chat_through_any_pod() {
    let cluster = Cluster::start("").await;
    let (alice, bob) = (cluster.user(0, "alice").await, cluster.user(1, "bob").await);
    assert_eq!(alice.session.user_id, "@alice:chat.test");

    // Any pod shows at once what another one acknowledged.
    let room = alice.create_room(2, Preset::Public, "lobby").await;
    let found = rooms(&bob, 0, true).await;
    assert_eq!(found.iter().map(|r| r.room_id.as_str()).collect::<Vec<_>>(), [room.as_str()]);
    assert_eq!((found[0].name.as_str(), found[0].membership.as_str()), ("lobby", ""));
    let joined = bob.join(0, &room).await.expect("joined");
    assert_eq!(joined.room_id, room);

    let mut positions = Vec::new();
    for n in 0..6 {
        let user = if n % 2 == 0 { &alice } else { &bob };
        let sent = user.say(n % 3, &room, &format!("message {n}"), &format!("t{n}")).await.expect("sent");
        positions.push(sent.position.map(|p| (p.incarnation, p.index, p.ordinal)));
    }
    assert!(positions.is_sorted(), "{positions:?}");
    for n in 0..3 {
        let said = alice.read_all(n, &room).await;
        let bodies: Vec<_> = said.iter().map(|(_, body)| body.as_str()).collect();
        assert_eq!(bodies, (0..6).map(|n| format!("message {n}")).collect::<Vec<_>>());
        assert_eq!(said[1].0, "@bob:chat.test");
    }
    let members = ListMembersRequest { room_id: room.clone(), ..ListMembersRequest::default() };
    let members = bob.client(2).list_members(bob.asks(members)).await.expect("members").into_inner().members;
    let members: Vec<_> = members.iter().map(|m| (m.user_id.as_str(), m.power_level)).collect();
    assert_eq!(members, [("@alice:chat.test", 100), ("@bob:chat.test", 0)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_transaction_is_applied_once_on_whatever_pod() {
    let cluster = Cluster::start("").await;
    let alice = cluster.user(0, "alice").await;
    let room = alice.create_room(0, Preset::Private, "").await;
    let first = alice.say(0, &room, "once", "t").await.expect("sent");
    for n in 0..3 {
        assert_eq!(alice.say(n, &room, "once", "t").await.expect("sent").event_id, first.event_id);
    }
    assert_eq!(alice.read_all(1, &room).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn rooms_are_entered_by_invitation_and_left() {
    let cluster = Cluster::start("").await;
    let (alice, bob) = (cluster.user(0, "alice").await, cluster.user(1, "bob").await);
    let room = alice.create_room(0, Preset::Private, "secret").await;
    let refused = bob.join(1, &room).await.expect_err("not invited");
    assert_eq!(detail(&refused).code(), ErrorCode::Forbidden, "{refused}");
    let invite = InviteRequest { room_id: room.clone(), user_id: "@bob:chat.test".into(), ..InviteRequest::default() };
    alice.client(2).invite(alice.asks(invite)).await.expect("invited");
    let listed = rooms(&bob, 0, false).await;
    assert_eq!((listed.len(), listed[0].membership.as_str()), (1, "invite"));
    bob.join(2, &room).await.expect("joined");
    bob.say(0, &room, "hello", "1").await.expect("sent");
    let leave = LeaveRoomRequest { room_id: room.clone(), ..LeaveRoomRequest::default() };
    bob.client(1).leave_room(bob.asks(leave)).await.expect("left");
    let refused = bob.say(0, &room, "again", "2").await.expect_err("he left");
    assert_eq!(detail(&refused).code(), ErrorCode::NotMember, "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_ends_everywhere_with_its_logout() {
    let cluster = Cluster::start("").await;
    let alice = cluster.user(0, "alice").await;
    for n in 0..3 {
        let who = alice.client(n).who_am_i(alice.asks(WhoAmIRequest {})).await.expect("known").into_inner();
        assert_eq!((who.user_id.as_str(), who.server_name.as_str()), ("@alice:chat.test", "chat.test"));
    }
    let login = LoginRequest { username: "alice".into(), password: "a password".into(), ..LoginRequest::default() };
    let second = alice.client(1).login(login).await.expect("logged in").into_inner();
    alice.client(2).logout(alice.asks(LogoutRequest::default())).await.expect("logged out");
    let refused = alice.client(2).who_am_i(alice.asks(WhoAmIRequest {})).await.expect_err("it ended");
    assert_eq!(detail(&refused).code(), ErrorCode::Unauthenticated, "{refused}");
    // Writes are checked in the log, so no pod accepts one, however far behind it is.
    for n in 0..3 {
        let refused = alice.create_room_refused(n).await;
        assert_eq!(detail(&refused).code(), ErrorCode::Unauthenticated, "{refused}");
    }
    let other = with_token(WhoAmIRequest {}, &second.access_token);
    alice.client(0).who_am_i(other).await.expect("the other session stands");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_pod_that_acknowledged_a_logout_takes_the_token_no_more() {
    let cluster = Cluster::start("").await;
    let alice = cluster.user(0, "alice").await;
    // A follower learns from the leader that the session ended, and applies that a little later. Sixty attempts make it
    // likely that the gap is hit.
    for n in (0..3).cycle().take(60) {
        let login = LoginRequest { username: "alice".into(), password: "a password".into(), ..LoginRequest::default() };
        let token = alice.client(n).login(login).await.expect("logged in").into_inner().access_token;
        alice.client(n).logout(with_token(LogoutRequest::default(), &token)).await.expect("logged out");
        let refused = alice.client(n).who_am_i(with_token(WhoAmIRequest {}, &token)).await.expect_err("it ended");
        assert_eq!(detail(&refused).code(), ErrorCode::Unauthenticated, "{refused}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_large_events_is_shorter_and_never_more_than_a_client_takes() {
    let cluster = Cluster::start("rateLimit: {enabled: false}").await;
    let alice = cluster.user(0, "alice").await;
    let room = alice.create_room(0, create_room_request::Preset::Private, "").await;
    let large = "x".repeat(60 * 1024);
    for n in 0..80 {
        alice.say(n % 3, &room, &large, &n.to_string()).await.expect("sent");
    }
    // The client has tonic's limit of 4 MiB, and all events together exceed it.
    use history_request::Direction::{Backward, Forward};
    for direction in [Backward, Forward] {
        let (mut from, mut events, mut pages) = (String::new(), 0, 0);
        loop {
            let request = HistoryRequest {
                room_id: room.clone(),
                from,
                direction: direction.into(),
                limit: 1000,
                ..HistoryRequest::default()
            };
            let page = alice.client(1).history(alice.asks(request)).await.expect("a page").into_inner();
            events += page.events.iter().filter(|event| event.r#type == "m.room.message").count();
            pages += 1;
            from = page.next;
            if from.is_empty() {
                break;
            }
        }
        assert_eq!(events, 80);
        assert!(pages > 4, "{pages} pages");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn history_turns_both_ways_and_is_told_how_fresh_it_is() {
    let cluster = Cluster::start("rateLimit: {enabled: false}").await;
    let alice = cluster.user(0, "alice").await;
    let room = alice.create_room(0, Preset::Private, "").await;
    for n in 0..25 {
        alice.say(n % 3, &room, &n.to_string(), &n.to_string()).await.expect("sent");
    }
    let page = async |from: String, direction: history_request::Direction, consistency: Consistency| {
        let request = HistoryRequest {
            room_id: room.clone(),
            from,
            direction: direction.into(),
            limit: 10,
            consistency: consistency.into(),
        };
        alice.client(1).history(alice.asks(request)).await.expect("a page").into_inner()
    };
    use history_request::Direction::{Backward, Forward};
    let bodies = |page: &HistoryResponse| page.events.iter().map(|e| said(e).1).collect::<Vec<_>>();
    let newest = page(String::new(), Backward, Consistency::Unspecified).await;
    assert_eq!(bodies(&newest), (15..25).rev().map(|n| n.to_string()).collect::<Vec<_>>());
    assert_eq!(newest.freshness(), Freshness::Linearizable);
    let older = page(newest.next.clone(), Backward, Consistency::Local).await;
    assert_eq!(bodies(&older), (5..15).rev().map(|n| n.to_string()).collect::<Vec<_>>());
    assert_eq!(older.freshness(), Freshness::Local);
    // Turning around at the newest event of the older page yields the page before it.
    let again = page(older.prev.clone(), Forward, Consistency::Unspecified).await;
    assert_eq!(bodies(&again), (15..25).map(|n| n.to_string()).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn every_pod_tells_who_leads() {
    let cluster = Cluster::start("").await;
    let alice = cluster.user(0, "alice").await;
    let (leader, term) = cluster.leader(0).await;
    for n in 0..3 {
        let servers =
            alice.client(n).list_servers(alice.asks(ListServersRequest {})).await.expect("servers").into_inner();
        assert_eq!((servers.servers.len(), servers.term), (3, term));
        let leads: Vec<_> = servers.servers.iter().filter(|s| s.role == "leader").collect();
        assert_eq!(leads.len(), 1);
        assert_eq!(leads[0].address, cluster.nodes[leader].grpc.to_string());
        let own: Vec<_> = servers.servers.iter().filter(|s| s.is_self).collect();
        assert_eq!((own.len(), own[0].name.as_str()), (1, format!("node-{n}").as_str()));
        assert!(own[0].connections.is_some_and(|open| open >= 1));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn generic_tools_find_health_and_descriptors() {
    use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};
    use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
    use tonic_reflection::pb::v1::{ServerReflectionRequest, server_reflection_request, server_reflection_response};
    let cluster = Cluster::start("").await;
    let channel = cluster.channel(1).await;
    for service in ["", "quorate.chat.v1.Chat"] {
        // Health follows readiness a moment later.
        eventually("it is serving", || async {
            let mut health = HealthClient::new(channel.clone());
            let answer =
                health.check(HealthCheckRequest { service: service.into() }).await.expect("known").into_inner();
            (answer.status() == ServingStatus::Serving).then_some(())
        })
        .await;
    }
    let mut reflection = ServerReflectionClient::new(channel);
    let list = server_reflection_request::MessageRequest::ListServices(String::new());
    let request = ServerReflectionRequest { host: String::new(), message_request: Some(list) };
    let mut answers =
        reflection.server_reflection_info(tokio_stream::iter([request])).await.expect("open").into_inner();
    let answer = answers.message().await.expect("no error").expect("an answer").message_response;
    let Some(server_reflection_response::MessageResponse::ListServicesResponse(list)) = answer else {
        panic!("not a list: {answer:?}")
    };
    assert!(list.service.iter().any(|service| service.name == "quorate.chat.v1.Chat"));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_user_may_write_ten_messages_in_ten_seconds() {
    let cluster = Cluster::start("").await;
    let alice = cluster.user(0, "alice").await;
    let room = alice.create_room(0, Preset::Private, "").await;
    let mut refused = None;
    for n in 0..12 {
        if let Err(status) = alice.say(n % 3, &room, "spam", &n.to_string()).await {
            refused = Some(status);
            break;
        }
    }
    let refused = refused.expect("a limit");
    let detail = detail(&refused);
    assert_eq!(detail.code(), ErrorCode::LimitExceeded, "{refused}");
    assert!((1..=10_000).contains(&detail.retry_after_ms), "{detail:?}");
    // A message that was accepted before may be repeated, because it is not a new one.
    alice.client(1).send(alice.asks(message(&room, "spam", "0"))).await.expect("the first answer again");
}
