"""A user with a session who asks for large answers over many connections, again and again, and reads none of them."""

import socket
import time

from ..crowd import Crowd
from ..user import Account

TITLE = "slow readers of large answers"
CONNECTIONS = 200
MESSAGES = 30
SIZE = 20_000
SECONDS = 5


def play(stage):
    mallory = Account(stage.pod, "mallory")
    room = mallory.call("POST", "/createRoom", {})["room_id"]
    body = {"msgtype": "m.text", "body": "x" * SIZE}
    for number in range(MESSAGES):
        mallory.call("PUT", f"/rooms/{room}/send/m.room.message/{number}", body)
    ask = (
        f"GET /_matrix/client/v3/rooms/{room}/messages?dir=b&limit=1000 HTTP/1.1\r\nHost: a\r\n"
        f"Authorization: Bearer {mallory.token}\r\n\r\n"
    ).encode()
    crowd = Crowd()
    try:
        until = time.monotonic() + SECONDS
        for _ in range(CONNECTIONS):
            crowd.add(stage.pod.http)
            # As little as the kernel allows, so that the answers wait in the pod.
            crowd.streams[-1].setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        while time.monotonic() < until:
            for stream in crowd.streams:
                crowd.tell(stream, ask)
            stage.wait(0.2)
        refused = stage.pod.figure('quorate_api_refused_total{api="matrix",reason="answer_bytes"}')
        stage.note(f"{refused:.0f} requests refused, {stage.pod.figure('quorate_api_response_bytes') / 2**20:.0f} MiB wait")
    finally:
        crowd.close()
