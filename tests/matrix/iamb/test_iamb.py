"""What a person at a terminal does with iamb, while somebody else uses matrix-nio."""

import asyncio
import os
import pathlib
import secrets
import tempfile
import unittest

from nio import EnableEncryptionBuilder, RegisterResponse, RoomCreateResponse, RoomPreset, RoomVisibility

from nio_case import PASSWORD, PODS, SERVER_NAME, EncryptingCase
from terminal import ENTER, ESCAPE, Terminal

# The program; deploy/deps/iamb builds it.
IAMB = os.environ["QUORATE_IAMB"]
# Without the protocol of kitty, which the terminal does not know.
CONFIG = """
[profiles.test]
user_id = "{user}"
url = "{url}"

[settings.terminal]
enable_extended_keys = false
"""
INSERTING = "-- INSERT --"


class Iamb(EncryptingCase):
    async def asyncSetUp(self):
        await super().asyncSetUp()
        home = tempfile.TemporaryDirectory(prefix="quorate-iamb.")
        self.addCleanup(home.cleanup)
        self.home = pathlib.Path(home.name)
        self.terminals = []

    async def asyncTearDown(self):
        for terminal in self.terminals:
            terminal.close()
        await super().asyncTearDown()

    async def registered(self, name):
        """The id of a new user, who has not logged in yet."""
        user = f"{name}-{secrets.token_hex(4)}"
        await self.expect(RegisterResponse, self.client(0).register(user, PASSWORD))
        return f"@{user}:{SERVER_NAME}"

    def start(self, user):
        folder = self.home / "config" / "iamb"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config.toml").write_text(CONFIG.format(user=user, url=PODS[0]))
        # Nothing of the person who runs the test: neither settings, nor a desktop that would be notified.
        environment = {
            "HOME": str(self.home), "XDG_CONFIG_HOME": str(self.home / "config"), "XDG_DATA_HOME": str(self.home / "data"),
            "XDG_CACHE_HOME": str(self.home / "cache"), "PATH": os.environ["PATH"], "TERM": "xterm-256color", "LANG": "C.UTF-8",
            "RUST_BACKTRACE": "1",
        }
        terminal = Terminal([IAMB], environment)
        self.terminals.append(terminal)
        return terminal

    async def log_in(self, user):
        """Starts iamb for the first time, which asks for the password."""
        terminal = self.start(user)
        await terminal.shows("[p]assword")
        terminal.type("p" + ENTER)
        await terminal.shows("Password:")
        terminal.type(PASSWORD + ENTER)
        await terminal.shows("Welcome to iamb!")
        return terminal

    async def open_room(self, alice, *state):
        """A public room of somebody; its id, its alias and its name, each of which has its own words."""
        name, alias = f"parlour {secrets.token_hex(4)}", f"door-{secrets.token_hex(4)}"
        made = await self.expect(RoomCreateResponse, alice.room_create(
            visibility=RoomVisibility.public, preset=RoomPreset.public_chat, name=name, alias=alias, initial_state=list(state),
        ))
        return made.room_id, f"#{alias}:{SERVER_NAME}", name

    async def enter(self, terminal, alias, name):
        """Opens a room, and joins it if need be."""
        terminal.type(f":join {alias}{ENTER}")
        # While it joins, the screen has the alias alone.
        await terminal.until(f"the room {name}", lambda screen: name in screen and "Joining" not in screen)

    async def write(self, terminal, text):
        """Types a message into the open room, and sends it."""
        terminal.type("i")
        await terminal.shows(INSERTING)
        terminal.type(text)
        await terminal.shows(text)
        terminal.type(ENTER + ESCAPE)
        await terminal.until("the end of typing", lambda screen: INSERTING not in screen)

    async def converse(self, terminal, alice, room):
        """Both write and read, while the leader is lost. All that was written, in order."""
        written = ["hello from the terminal"]
        await self.write(terminal, written[0])
        self.assertEqual([each.body for each in await self.hear(alice, room, 1)], written)
        losing = asyncio.create_task(self.lose_the_leader())
        for number in range(3):
            theirs, ours = f"question number {number}", f"reply number {number}"
            await self.say(alice, room, theirs)
            await terminal.shows(theirs)
            await self.write(terminal, ours)
            # Her own message comes back to her as well.
            self.assertEqual([each.body for each in await self.hear(alice, room, 2)], [theirs, ours])
            written += [theirs, ours]
        await losing
        await terminal.shows(*written)
        return written

    async def test_a_person_at_a_terminal_joins_a_room_and_talks_while_the_leader_is_lost(self):
        alice = await self.newcomer(0, "alice")
        room, alias, name = await self.open_room(alice)
        await self.turn(alice)
        user = await self.registered("bob")
        terminal = await self.log_in(user)
        await self.enter(terminal, alias, name)
        await self.until(lambda: user in alice.rooms[room].users, alice)
        written = await self.converse(terminal, alice, room)
        terminal.type(f":quitall{ENTER}")
        self.assertEqual(await terminal.end(), 0, terminal.text())

        # The session is kept, so that nobody is asked for a password; the history comes from the pods or the cache.
        again = self.start(user)
        await again.until("its first screen", lambda screen: "Welcome to iamb!" in screen or name in screen)
        await self.enter(again, alias, name)
        await again.shows(*written)
        await self.say(alice, room, "welcome back")
        await again.shows("welcome back")

    async def test_an_encrypted_room_is_read_at_a_terminal_while_the_leader_is_lost(self):
        alice = await self.newcomer(0, "alice", self.encrypting())
        await self.turn(alice)
        room, alias, name = await self.open_room(alice, EnableEncryptionBuilder().as_dict())
        await self.until(lambda: room in alice.rooms and alice.rooms[room].encrypted, alice)
        user = await self.registered("bob")
        terminal = await self.log_in(user)
        await self.enter(terminal, alias, name)
        # So that she knows of his device before a key is shared.
        await self.until(lambda: user in alice.rooms[room].users and alice.device_store[user], alice)
        await self.converse(terminal, alice, room)


if __name__ == "__main__":
    unittest.main()
