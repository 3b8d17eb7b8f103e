"""gRPC calls whose message of 2 MiB never comes whole: many streams on many connections, with and without a session."""

import struct

from ..crowd import Crowd
from ..user import Account

TITLE = "gRPC messages that are never finished"
CONNECTIONS = 40
STREAMS = 200
# HTTP/2's window of a new connection lets so much come before the pod grants more.
PIECE = 16_000
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
SETTINGS, HEADERS, DATA, END_HEADERS = 4, 1, 0, 4


def frame(kind, flags, stream, payload):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def text(value):
    assert len(value) < 127, value
    return bytes([len(value)]) + value.encode()


def head(path, token):
    fields = {":method": "POST", ":scheme": "http", ":path": path, ":authority": "a", "content-type": "application/grpc", "te": "trailers"}
    if token:
        fields["authorization"] = f"Bearer {token}"
    # HPACK: literals without indexing.
    return b"".join(b"\0" + text(name) + text(value) for name, value in fields.items())


def calls(path, token):
    """The start of a call on each stream, with a piece of its message."""
    yield PREFACE + frame(SETTINGS, 0, 0, b"")
    message = struct.pack(">BI", 0, 2_000_000) + b"x" * PIECE
    for number in range(STREAMS):
        stream = 2 * number + 1
        yield frame(HEADERS, END_HEADERS, stream, head(path, token)) + frame(DATA, 0, stream, message)


def play(stage):
    token = Account(stage.pod, "trudy").token
    ways = [b"".join(calls(f"/quorate.chat.v1.Chat/{method}", token)) for method in ("Send", "Post")]
    ways += [b"".join(calls(f"/quorate.chat.v1.Chat/{method}", None)) for method in ("Login", "Send")]
    crowd = Crowd()
    try:
        for number in range(CONNECTIONS):
            crowd.add(stage.pod.grpc, say=ways[number % len(ways)])
        for _ in range(8):
            for number, stream in enumerate(crowd.streams):
                # Out of step with the frames by now: the pod must take any bytes.
                crowd.tell(stream, ways[number % len(ways)])
            stage.wait(0.5)
        held = stage.pod.figure("quorate_door_request_bytes")
        stage.note(f"{held / 2**20:.1f} MiB of messages held")
        stage.check("the pod holds no more than the budget", held <= 64 << 20)
        stage.check("the gRPC door serves", stage.grpc_serves())
    finally:
        crowd.close()
