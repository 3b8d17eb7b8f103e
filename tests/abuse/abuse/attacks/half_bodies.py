"""600 connections that each send a login of a mebibyte but for its last byte, in the ways that there are to announce it."""

from ..crowd import Crowd

TITLE = "half-sent bodies from 600 connections, without a session"
CONNECTIONS = 600
BODY = 1 << 20
SMALL = 16 << 10


def head(path, *lines):
    return "".join(f"{line}\r\n" for line in (f"{path} HTTP/1.1", "Host: a", *lines, "")).encode()


def requests():
    login, send = "POST /_matrix/client/v3/login", "PUT /_matrix/client/v3/rooms/!a:b/send/m.room.message/1"
    known = f"Content-Length: {BODY}"
    yield head(login, known) + b" " * (BODY - 1)
    yield head(login, f"Content-Length: {SMALL}") + b" " * (SMALL - 1)
    # Of a length that is not told.
    yield head(login, "Transfer-Encoding: chunked") + f"{BODY:x}\r\n".encode() + b" " * (BODY - 1)
    yield head(send, known) + b" " * (BODY - 1)
    yield head(send, known, "Authorization: Bearer qat_nobodys") + b" " * (BODY - 1)


def play(stage):
    crowd, ways = Crowd(), list(requests())
    try:
        for number in range(CONNECTIONS):
            crowd.add(stage.pod.http, say=ways[number % len(ways)])
        # What was not taken at once is sent on for as long as the pod takes it.
        for number, stream in enumerate(crowd.streams):
            crowd.tell(stream, ways[number % len(ways)][:BODY])
        stage.wait(4)
        stage.check("the pod reads no more than the budget", stage.pod.figure("quorate_api_request_bytes") <= 64 << 20)
        # The grace of 10 s for a body, and the machine's.
        stage.check("half-sent bodies are not waited for", crowd.wait_closed(len(crowd), 25))
    finally:
        crowd.close()
