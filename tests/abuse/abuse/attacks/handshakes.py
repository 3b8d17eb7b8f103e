"""Connections to the peer listener that never begin their handshake, or do not end it: administrators still get in."""

import threading
import time

from ..crowd import Crowd

TITLE = "silent TLS handshakes at the peer listener"
EVERY = 0.01
SECONDS = 6
# A record that announces a hello of 512 bytes, of which nothing comes.
HELLO = b"\x16\x03\x01\x02\x00\x01"


def play(stage):
    crowd, over = Crowd(), threading.Event()

    def come():
        number = 0
        while not over.wait(EVERY):
            number += 1
            crowd.add(stage.pod.peer, source=1, say=HELLO if number % 2 else b"")

    coming = threading.Thread(target=come, daemon=True)
    coming.start()
    try:
        until, asked = time.monotonic() + SECONDS, 0
        stage.wait(2)
        while time.monotonic() < until:
            succeeded, said = stage.administers()
            stage.check(f"an administrator gets in: {said[-300:]}", succeeded)
            asked += 1
        stage.note(f"{len(crowd)} silent handshakes, {asked} administrators let in")
    finally:
        over.set()
        coming.join()
        crowd.close()
