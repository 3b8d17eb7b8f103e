"""What the tests with matrix-nio share: people with clients at different pods."""

import asyncio
import os
import secrets
import unittest

from nio import (
    AsyncClient, AsyncClientConfig, KeysQueryResponse, KeysUploadResponse, LoginResponse, MegolmEvent, RegisterResponse,
    RoomCreateResponse, RoomMessageText, RoomPreset, RoomSendResponse, RoomVisibility, SyncResponse, ToDeviceResponse,
)
from nio.store import SqliteMemoryStore

# By default those of deploy/local.
PODS = os.environ.get("QUORATE_PODS", "http://127.0.0.1:18008,http://127.0.0.1:18009,http://127.0.0.1:18010").split(",")
SERVER_NAME = os.environ.get("QUORATE_SERVER_NAME", "chat.localhost")
PASSWORD = "correct horse battery staple"
# A command that kills the pod that leads and starts it again; without it, whoever runs the pods does that or nobody does.
KILL_LEADER = os.environ.get("QUORATE_KILL_LEADER")
# Longer than an election, and than a slow machine takes.
PATIENCE = 60
POLL = 1000


class NioCase(unittest.IsolatedAsyncioTestCase):
    async def asyncSetUp(self):
        self.clients = []

    async def asyncTearDown(self):
        for client in self.clients:
            await client.close()

    async def expect(self, kind, awaitable):
        response = await awaitable
        self.assertIsInstance(response, kind, response)
        return response

    def client(self, pod, user="", config=None):
        client = AsyncClient(PODS[pod % len(PODS)], user, config=config)
        self.clients.append(client)
        return client

    async def newcomer(self, pod, name, config=None):
        """A registered user, logged in by password at another pod than the one that registered them."""
        user = f"{name}-{secrets.token_hex(4)}"
        await self.expect(RegisterResponse, self.client(pod).register(user, PASSWORD))
        return await self.device_of(f"@{user}:{SERVER_NAME}", pod + 1, config)

    async def device_of(self, user, pod, config=None):
        """A new session of a user."""
        client = self.client(pod, user, config)
        await self.expect(LoginResponse, client.login(PASSWORD))
        return client

    async def say(self, client, room, text, txn=None):
        content = {"msgtype": "m.text", "body": text}
        sending = client.room_send(room, "m.room.message", content, tx_id=txn, ignore_unverified_devices=True)
        return await self.expect(RoomSendResponse, sending)

    async def public_room(self, client, name="lobby"):
        made = await self.expect(
            RoomCreateResponse,
            client.room_create(visibility=RoomVisibility.public, preset=RoomPreset.public_chat, name=name),
        )
        return made.room_id

    async def lose_the_leader(self):
        if KILL_LEADER:
            process = await asyncio.create_subprocess_exec(KILL_LEADER)
            self.assertEqual(await process.wait(), 0)


class EncryptingCase(NioCase):
    """People whose clients have keys."""

    def encrypting(self):
        return AsyncClientConfig(store=SqliteMemoryStore, encryption_enabled=True)

    async def turn(self, client, timeout=0):
        """What the loop of a client does once: sync, then whatever its keys need."""
        news = await self.expect(SyncResponse, client.sync(timeout=timeout))
        if client.should_upload_keys:
            await self.expect(KeysUploadResponse, client.keys_upload())
        if client.should_query_keys:
            await self.expect(KeysQueryResponse, client.keys_query())
        for sent in await client.send_to_device_messages():
            self.assertIsInstance(sent, ToDeviceResponse, sent)
        return news

    async def until(self, condition, *clients):
        """Lets clients take turns until something is so."""
        async def take_turns():
            while not condition():
                for client in clients:
                    await self.turn(client, POLL)
        await asyncio.wait_for(take_turns(), PATIENCE)

    async def hear(self, client, room, count):
        """The next messages, as they are after decryption."""
        found = []

        async def collect():
            while len(found) < count:
                news = await self.turn(client, POLL)
                if room in news.rooms.join:
                    events = news.rooms.join[room].timeline.events
                    self.assertFalse([each for each in events if isinstance(each, MegolmEvent)], "not decrypted")
                    found.extend(each for each in events if isinstance(each, RoomMessageText))
        await asyncio.wait_for(collect(), PATIENCE)
        return found

    async def read(self, client, room, count):
        """Bodies of the next messages, all of which were encrypted."""
        found = await self.hear(client, room, count)
        self.assertTrue(all(each.decrypted for each in found))
        return [each.body for each in found]
