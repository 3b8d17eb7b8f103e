"""16,384 connections that say nothing, or as many as this process may hold."""

from ..crowd import Crowd, can_hold

TITLE = "16,384 silent connections"
CONNECTIONS = 16_384
# Or as many as are opened in this time.
SECONDS = 8


def play(stage):
    crowd = Crowd()
    until = stage.now() + SECONDS
    try:
        for _ in range(can_hold(CONNECTIONS)):
            if not crowd.add(stage.pod.http) or stage.now() > until:
                break
        stage.note(f"{len(crowd)} connections")
        stage.check("strangers stay below their part", stage.pod.figure('quorate_api_connections{api="matrix"}') < CONNECTIONS)
        stage.wait(2)
    finally:
        crowd.close()
