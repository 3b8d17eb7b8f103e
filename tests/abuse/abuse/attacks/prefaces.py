"""Connections to the gRPC API whose HTTP/2 preface never comes, or comes in part."""

from ..crowd import Crowd

TITLE = "HTTP/2 prefaces that never come"
CONNECTIONS = 1000
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


def play(stage):
    crowd = Crowd()
    try:
        for number in range(CONNECTIONS):
            # The last way is a whole preface, with the settings and nothing after them.
            say = [b"", PREFACE[:10], PREFACE, PREFACE + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])][number % 4]
            crowd.add(stage.pod.grpc, say=say)
        stage.check("the gRPC API serves", stage.grpc_serves())
        stage.check("the pod ends them", crowd.wait_closed(len(crowd), 25))
    finally:
        crowd.close()
