"""gRPC calls whose message of 2 MiB never comes whole: many streams on many connections, with and without a session."""

import struct

from ..crowd import Crowd
from ..http2 import Sender
from ..user import Account

TITLE = "gRPC messages that are never finished"
# Of an address, at most; the addresses together could fill the budget of 64 MiB.
CONNECTIONS, SOURCES = 40, 8
STREAMS = 100
MESSAGE = 2_000_000
BUDGET = 64 << 20
SECONDS = 5


def head(path, token):
    fields = {":method": "POST", ":scheme": "http", ":path": path, ":authority": "a", "content-type": "application/grpc", "te": "trailers"}
    if token:
        fields["authorization"] = f"Bearer {token}"
    return fields


def play(stage):
    token = Account(stage.pod, "trudy").token
    heads = [head(f"/quorate.chat.v1.Chat/{method}", token) for method in ("Send", "Post", "Send")]
    heads.append(head("/quorate.chat.v1.Chat/Login", None))
    begun = struct.pack(">BI", 0, MESSAGE)
    crowd, senders = Crowd(), []
    try:
        for number in range(CONNECTIONS):
            if crowd.add(stage.pod.grpc, source=2 + number % SOURCES):
                senders.append(Sender(crowd.streams[-1], heads[number % len(heads)], STREAMS, begun, MESSAGE - 1))
        until, most = stage.now() + SECONDS, 0
        while stage.now() < until:
            for sender in senders:
                sender.go_on()
            most = max(most, stage.pod.figure("quorate_api_request_bytes"))
        sent = sum(sender.sent for sender in senders)
        stage.note(f"{sent >> 20} MiB sent, at most {most / 2**20:.1f} MiB of them held")
        # Without this the attack does not reach what it attacks.
        stage.check("messages are held", most > BUDGET // 8)
        stage.check("the pod holds no more than the budget", most <= BUDGET)
        stage.check("the gRPC API serves", stage.grpc_serves())
    finally:
        crowd.close()
