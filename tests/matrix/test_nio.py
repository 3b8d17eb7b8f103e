"""What matrix-nio does with a Quorate cluster, through different pods."""

import asyncio
import unittest

from nio import (
    JoinError, JoinResponse, LoginError, RoomCreateResponse, RoomGetEventResponse, RoomGetStateEventResponse, RoomInviteResponse,
    RoomLeaveResponse, RoomMessagesResponse, RoomMessageText, RoomPutStateResponse, RoomSendError, SyncResponse, WhoamiResponse,
)

from nio_case import PODS, NioCase


class Nio(NioCase):
    async def test_users_on_different_pods_talk_and_see_each_message_once(self):
        alice, bob = await self.newcomer(0, "alice"), await self.newcomer(1, "bob")
        room = await self.public_room(alice)
        await self.expect(JoinResponse, bob.join(room))
        first = await self.expect(SyncResponse, bob.sync(timeout=0, full_state=True))
        self.assertIn(room, first.rooms.join)
        self.assertEqual(bob.rooms[room].name, "lobby")
        sent = [(await self.say(alice, room, f"message {i}")).event_id for i in range(5)]
        seen = []
        while len(seen) < len(sent):
            more = await self.expect(SyncResponse, bob.sync(timeout=5000))
            seen += [e.event_id for e in more.rooms.join[room].timeline.events if isinstance(e, RoomMessageText)]
        self.assertEqual(seen, sent)

    async def test_a_long_poll_is_woken_by_a_message_sent_through_another_pod(self):
        alice, bob = await self.newcomer(0, "alice"), await self.newcomer(1, "bob")
        room = await self.public_room(alice)
        await self.expect(JoinResponse, bob.join(room))
        await bob.sync(timeout=0)
        poll = asyncio.create_task(bob.sync(timeout=30_000))
        await self.say(alice, room, "wake up")
        woken = await asyncio.wait_for(poll, 10)
        self.assertEqual([e.body for e in woken.rooms.join[room].timeline.events], ["wake up"])

    async def test_messages_pages_back_to_the_creation_of_the_room(self):
        alice = await self.newcomer(2, "alice")
        room = await self.public_room(alice)
        for i in range(12):
            await self.say(alice, room, f"line {i}")
        here = (await self.expect(SyncResponse, alice.sync(timeout=0))).next_batch
        bodies, kinds, token = [], [], here
        while token:
            page = await self.expect(RoomMessagesResponse, alice.room_messages(room, start=token, limit=5))
            bodies += [e.body for e in page.chunk if isinstance(e, RoomMessageText)]
            kinds += [e.source["type"] for e in page.chunk]
            token = page.end if page.chunk else None
        self.assertEqual(bodies, [f"line {i}" for i in reversed(range(12))])
        self.assertEqual(kinds[-1], "m.room.create")

    async def test_a_private_room_is_entered_by_invitation_only(self):
        alice, bob, eve = [await self.newcomer(i, name) for i, name in enumerate(("alice", "bob", "eve"))]
        made = await self.expect(RoomCreateResponse, alice.room_create(name="board", topic="plans"))
        await self.expect(RoomInviteResponse, alice.room_invite(made.room_id, bob.user_id))
        self.assertIsInstance(await eve.join(made.room_id), JoinError)
        invited = await self.expect(SyncResponse, bob.sync(timeout=5000))
        self.assertIn(made.room_id, invited.rooms.invite)
        await self.expect(JoinResponse, bob.join(made.room_id))
        refused = await eve.room_send(made.room_id, "m.room.message", {"msgtype": "m.text", "body": "hi"})
        self.assertIsInstance(refused, RoomSendError)
        self.assertEqual(refused.status_code, "M_FORBIDDEN")

    async def test_the_same_transaction_on_another_pod_is_the_same_message(self):
        alice = await self.newcomer(0, "alice")
        room = await self.public_room(alice)
        first = await self.say(alice, room, "once", txn="t1")
        for pod in PODS:
            alice.homeserver = pod
            self.assertEqual((await self.say(alice, room, "once", txn="t1")).event_id, first.event_id)

    async def test_state_is_set_and_read_and_events_are_found_by_id(self):
        alice = await self.newcomer(1, "alice")
        room = await self.public_room(alice)
        await self.expect(RoomPutStateResponse, alice.room_put_state(room, "m.room.topic", {"topic": "news"}))
        topic = await self.expect(RoomGetStateEventResponse, alice.room_get_state_event(room, "m.room.topic"))
        self.assertEqual(topic.content, {"topic": "news"})
        sent = await self.say(alice, room, "find me")
        found = await self.expect(RoomGetEventResponse, alice.room_get_event(room, sent.event_id))
        self.assertEqual(found.event.body, "find me")
        members = await alice.joined_members(room)
        self.assertEqual([m.user_id for m in members.members], [alice.user_id])

    async def test_leaving_shows_in_sync_and_ends_the_messages(self):
        alice, bob = await self.newcomer(0, "alice"), await self.newcomer(1, "bob")
        room = await self.public_room(alice)
        await self.expect(JoinResponse, bob.join(room))
        await bob.sync(timeout=0)
        await self.expect(RoomLeaveResponse, bob.room_leave(room))
        left = await self.expect(SyncResponse, bob.sync(timeout=5000))
        self.assertIn(room, left.rooms.leave)
        await self.say(alice, room, "after you left")
        later = await self.expect(SyncResponse, bob.sync(timeout=0))
        self.assertNotIn(room, later.rooms.join)

    async def test_a_wrong_password_and_an_ended_session_are_told_apart(self):
        alice = await self.newcomer(0, "alice")
        wrong = await self.expect(LoginError, self.client(0, alice.user_id).login("guess"))
        self.assertEqual(wrong.status_code, "M_FORBIDDEN")
        await self.expect(WhoamiResponse, alice.whoami())
        token = alice.access_token
        await alice.logout()
        alice.access_token = token
        ended = await alice.whoami()
        self.assertEqual(ended.status_code, "M_UNKNOWN_TOKEN")


if __name__ == "__main__":
    unittest.main()
