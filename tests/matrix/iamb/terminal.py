"""A program in a terminal of its own: what is on its screen, and keys for it."""

import asyncio
import fcntl
import os
import pty
import struct
import subprocess
import termios

import pyte

COLUMNS, LINES = 120, 40
ENTER, ESCAPE = "\r", "\x1b"
# An election, a restarted pod and a busy machine together take a part of it.
PATIENCE = 120
# The program saves its state and ends its connections.
LONGEST_END = 30


class Terminal:
    """Runs a command in a terminal, and reads what it draws. Needs a running event loop."""

    def __init__(self, command, environment):
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, COLUMNS, 0, 0))
        self._process = subprocess.Popen(
            command, stdin=slave, stdout=slave, stderr=slave, env=environment, start_new_session=True,
            # The terminal is the one from which passwords are read.
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        os.close(slave)
        self._screen = pyte.Screen(COLUMNS, LINES)
        # The program asks where the cursor is, and draws nothing before it is told.
        self._screen.write_process_input = self.type
        self._stream = pyte.ByteStream(self._screen)
        self._news, self._ended = asyncio.Event(), False
        asyncio.get_running_loop().add_reader(self._master, self._read)

    def _read(self):
        try:
            drawn = os.read(self._master, 1 << 16)
        except OSError:
            # So does the end of the last process that has the terminal show.
            drawn = b""
        if drawn:
            self._stream.feed(drawn)
        else:
            asyncio.get_running_loop().remove_reader(self._master)
            self._ended = True
        self._news.set()

    def text(self):
        """The screen, one line for each of its own."""
        return "\n".join(line.rstrip() for line in self._screen.display).rstrip()

    def type(self, keys):
        os.write(self._master, keys.encode())

    async def until(self, what, condition):
        """Waits until the text of the screen fulfils a condition."""
        await self._wait(what, lambda: condition(self.text()))

    async def shows(self, *texts):
        """Waits until all of these are on the screen."""
        await self.until(f"{texts} on the screen", lambda screen: all(text in screen for text in texts))

    async def _wait(self, what, condition):
        async def look():
            while not condition():
                if self._ended:
                    raise AssertionError(f"the program ended instead of {what}; its screen:\n{self.text()}")
                self._news.clear()
                await self._news.wait()
        try:
            await asyncio.wait_for(look(), PATIENCE)
        except asyncio.TimeoutError:
            raise AssertionError(f"waited {PATIENCE} s for {what}; the screen:\n{self.text()}") from None

    async def end(self):
        """Waits until the program has ended by itself; its exit code."""
        await self._wait("its end", lambda: self._ended)
        return self._process.wait(LONGEST_END)

    def close(self):
        """Ends the program if it still runs."""
        if not self._ended:
            asyncio.get_running_loop().remove_reader(self._master)
            self._ended = True
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait(LONGEST_END)
        os.close(self._master)
