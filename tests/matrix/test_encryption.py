"""Encrypted rooms, and what devices tell each other, with matrix-nio through different pods."""

import asyncio
import unittest

from nio import (
    AsyncClientConfig, DeleteDevicesAuthResponse, DeleteDevicesResponse, DevicesResponse, EnableEncryptionBuilder, JoinResponse,
    MegolmEvent, PresenceGetResponse, PresenceSetResponse, RoomCreateResponse, RoomGetEventResponse, RoomTypingResponse,
    ToDeviceResponse, UpdateDeviceResponse, UpdateReceiptMarkerResponse,
)

from nio_case import PASSWORD, EncryptingCase


class Encryption(EncryptingCase):
    async def two_in_an_encrypted_room(self):
        alice = await self.newcomer(0, "alice", self.encrypting())
        bob = await self.newcomer(1, "bob", self.encrypting())
        for each in (alice, bob):
            await self.turn(each)
        made = await self.expect(RoomCreateResponse, alice.room_create(
            name="vault", invite=[bob.user_id], initial_state=[EnableEncryptionBuilder().as_dict()],
        ))
        room = made.room_id
        await self.turn(bob)
        await self.expect(JoinResponse, bob.join(room))
        # So that each knows of the other before a key is shared.
        await self.until(lambda: all(room in each.rooms and each.rooms[room].encrypted for each in (alice, bob)), alice, bob)
        await self.until(lambda: bob.user_id in alice.rooms[room].users, alice)
        return alice, bob, room

    async def test_an_encrypted_conversation_survives_the_loss_of_the_leader(self):
        alice, bob, room = await self.two_in_an_encrypted_room()
        first = await self.say(alice, room, "for your eyes")
        self.assertEqual(await self.read(bob, room, 1), ["for your eyes"])
        await self.say(bob, room, "understood")
        # Her own message comes back to her as well.
        self.assertEqual(await self.read(alice, room, 2), ["for your eyes", "understood"])
        losing = asyncio.create_task(self.lose_the_leader())
        for number in range(3):
            await self.say(alice, room, f"meanwhile {number}")
        self.assertEqual(await self.read(bob, room, 4), ["understood", *(f"meanwhile {number}" for number in range(3))])
        await losing
        await self.say(bob, room, "still here")
        self.assertEqual((await self.read(alice, room, 4))[-1], "still here")
        # A session without keys sees what the pods have.
        plain = await self.device_of(alice.user_id, 2, AsyncClientConfig(encryption_enabled=False))
        stored = await self.expect(RoomGetEventResponse, plain.room_get_event(room, first.event_id))
        self.assertIsInstance(stored.event, MegolmEvent)

    async def test_a_second_device_is_found_by_a_query_and_reads_what_follows(self):
        alice, bob, room = await self.two_in_an_encrypted_room()
        await self.say(alice, room, "to one device")
        self.assertEqual(await self.read(bob, room, 1), ["to one device"])
        second = await self.device_of(bob.user_id, 0, self.encrypting())
        await self.turn(second)
        # Told by device_lists, looked up by keys/query.
        await self.until(lambda: second.device_id in alice.device_store[bob.user_id], alice)
        found = alice.device_store[bob.user_id][second.device_id]
        self.assertEqual(found.ed25519, second.olm.account.identity_keys["ed25519"])
        self.assertTrue(alice.verify_device(found))
        await self.say(alice, room, "to two devices")
        self.assertEqual(await self.read(bob, room, 1), ["to two devices"])
        # Its first sync had the older message, whose key it never gets.
        self.assertEqual(await self.read(second, room, 1), ["to two devices"])

    async def test_two_devices_verify_each_other_by_messages_between_them(self):
        alice, bob, _ = await self.two_in_an_encrypted_room()
        await self.until(lambda: bob.device_id in alice.device_store[bob.user_id], alice)
        await self.until(lambda: alice.device_id in bob.device_store[alice.user_id], bob)
        device = alice.device_store[bob.user_id][bob.device_id]
        await self.expect(ToDeviceResponse, alice.start_key_verification(device))
        await self.until(lambda: bob.key_verifications, bob)
        name = next(iter(bob.key_verifications))
        await self.expect(ToDeviceResponse, bob.accept_key_verification(name))
        ours, theirs = alice.key_verifications[name], bob.key_verifications[name]
        await self.until(lambda: ours.established_sas and theirs.established_sas, alice, bob)
        self.assertEqual(ours.get_emoji(), theirs.get_emoji())
        await self.expect(ToDeviceResponse, alice.confirm_short_auth_string(name))
        await self.expect(ToDeviceResponse, bob.confirm_short_auth_string(name))
        await self.until(lambda: ours.verified and theirs.verified, alice, bob)

    async def test_receipts_typing_and_presence_reach_a_client_of_another_pod(self):
        alice, bob = await self.newcomer(0, "alice"), await self.newcomer(1, "bob")
        room = await self.public_room(alice)
        await self.expect(JoinResponse, bob.join(room))
        for each in (alice, bob):
            await self.turn(each)
        sent = await self.say(alice, room, "read me")
        await self.expect(UpdateReceiptMarkerResponse, bob.update_receipt_marker(room, sent.event_id))
        receipts = alice.rooms[room].threaded_read_receipts
        await self.until(lambda: bob.user_id in receipts, alice)
        self.assertEqual(receipts[bob.user_id]["main"].event_id, sent.event_id)
        await self.expect(RoomTypingResponse, bob.room_typing(room, True))
        await self.until(lambda: alice.rooms[room].typing_users == [bob.user_id], alice)
        await self.expect(RoomTypingResponse, bob.room_typing(room, False))
        await self.until(lambda: alice.rooms[room].typing_users == [], alice)
        await self.expect(PresenceSetResponse, bob.set_presence("unavailable", "out to lunch"))
        await self.until(lambda: alice.rooms[room].users[bob.user_id].status_msg == "out to lunch", alice)
        told = await self.expect(PresenceGetResponse, alice.get_presence(bob.user_id))
        self.assertEqual(told.status_msg, "out to lunch")

    async def test_devices_are_listed_renamed_and_removed_with_the_password(self):
        alice = await self.newcomer(0, "alice")
        second = await self.device_of(alice.user_id, 2)
        await self.expect(UpdateDeviceResponse, alice.update_device(second.device_id, {"display_name": "telephone"}))
        listed = (await self.expect(DevicesResponse, second.devices())).devices
        self.assertEqual({each.id for each in listed if each.display_name == "telephone"}, {second.device_id})
        asked = await self.expect(DeleteDevicesAuthResponse, alice.delete_devices([second.device_id]))
        proof = {
            "type": "m.login.password", "session": asked.session, "password": PASSWORD,
            "identifier": {"type": "m.id.user", "user": alice.user_id},
        }
        await self.expect(DeleteDevicesResponse, alice.delete_devices([second.device_id], proof))
        listed = (await self.expect(DevicesResponse, alice.devices())).devices
        self.assertNotIn(second.device_id, [each.id for each in listed])
        self.assertEqual((await second.whoami()).status_code, "M_UNKNOWN_TOKEN")


if __name__ == "__main__":
    unittest.main()
