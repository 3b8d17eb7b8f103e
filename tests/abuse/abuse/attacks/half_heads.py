"""Heads that never end, some of them going on byte by byte."""

from ..crowd import Crowd

TITLE = "half-sent heads that drip"
CONNECTIONS = 1000


def play(stage):
    crowd = Crowd()
    try:
        for _ in range(CONNECTIONS):
            crowd.add(stage.pod.http, say=b"GET /_matrix/client/versions HTTP/1.1\r\nHost: a\r\nX-Long: ")
        for _ in range(5):
            for stream in crowd.streams[::2]:
                crowd.tell(stream, b"x")
            stage.wait(1)
        # 10 s, and the machine's time.
        stage.check("the pod ends them", crowd.wait_closed(len(crowd), 25))
    finally:
        crowd.close()
