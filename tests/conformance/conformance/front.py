"""One address for all pods, as a Service is: each request goes to the next pod, whatever its connection or user.

So a suite that reads back what it wrote asks another pod than the one it wrote to.
"""

import asyncio
import collections
import itertools
import json
import threading

# As large as the largest head that chatd accepts.
MAX_HEAD = 64 << 10
# A pod that is down refuses connections at once; an election ends within seconds.
LONGEST_SEARCH = 20
PAUSE = 0.05
HOP_HEADERS = {"connection", "keep-alive", "proxy-connection", "expect"}


class PodFailure(Exception):
    """A pod that ended before it said anything."""


class MessageHead:
    """First line and headers of a request or a response."""

    def __init__(self, raw):
        lines = raw.decode("latin-1").split("\r\n")
        self.line = lines[0]
        self.words = self.line.split(" ")
        self.headers = [tuple(part.strip() for part in line.split(":", 1)) for line in lines[1:] if ":" in line]

    def get(self, name):
        return next((value.lower() for key, value in self.headers if key.lower() == name), "")

    def forwarded(self, *more):
        kept = [f"{key}: {value}" for key, value in self.headers if key.lower() not in HOP_HEADERS]
        return "\r\n".join([self.line, *kept, *more, "", ""]).encode("latin-1")


async def body_pieces(reader, head):
    """The body as it is on the wire, chunks with their sizes, piece by piece."""
    if head.get("transfer-encoding") == "chunked":
        size = None
        while size != 0:
            line = await reader.readuntil(b"\r\n")
            size = int(line.split(b";")[0], 16)
            yield line + await reader.readexactly(size + 2)
    elif head.get("content-length"):
        yield await reader.readexactly(int(head.get("content-length")))


class ClientConnection:
    """What a client sends, read ahead: so it is noticed at once when it hangs up."""

    def __init__(self, reader):
        self.sent = asyncio.StreamReader(limit=MAX_HEAD)
        self.reading = asyncio.ensure_future(self._read(reader))

    async def _read(self, reader):
        try:
            while piece := await reader.read(MAX_HEAD):
                self.sent.feed_data(piece)
        except OSError:
            pass
        self.sent.feed_eof()


class TurnTakingFront:
    """Listens on a port of loopback, on a thread of its own. `addresses` returns the ports of the pods that serve.

    A request whose pod ends over it is sent again to the next one, as every client does that people use; suites do not, as they
    know nothing of pods that are killed.
    """

    def __init__(self, addresses):
        self.statuses = collections.Counter()
        # Requests that were answered with 500, which no request may be.
        self.broken = []
        self.port = None
        self._addresses, self._turns = addresses, itertools.count()
        self._loop = asyncio.new_event_loop()
        started = threading.Event()
        threading.Thread(target=self._run, args=(started,), daemon=True).start()
        started.wait()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def _run(self, started):
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(asyncio.start_server(self._serve, "127.0.0.1", 0, limit=MAX_HEAD))
        self.port = server.sockets[0].getsockname()[1]
        started.set()
        self._loop.run_forever()

    async def _serve(self, reader, writer):
        client = ClientConnection(reader)
        answering = asyncio.ensure_future(self._answer_all(client.sent, writer))
        # A client that hangs up ends its long poll at the pod, too.
        await asyncio.wait([answering, client.reading], return_when=asyncio.FIRST_COMPLETED)
        for each in (answering, client.reading):
            each.cancel()
        await asyncio.gather(answering, client.reading, return_exceptions=True)
        writer.close()

    async def _answer_all(self, sent, writer):
        """Answers the requests of a connection one after another, also if they come at once."""
        while True:
            head = MessageHead(await sent.readuntil(b"\r\n\r\n"))
            if head.get("expect") == "100-continue":
                writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            body = b"".join([piece async for piece in body_pieces(sent, head)])
            await self._answer(head, body, writer)
            if head.get("connection") == "close":
                return

    async def _answer(self, head, body, writer):
        deadline = self._loop.time() + LONGEST_SEARCH
        while True:
            try:
                return await self._ask_next_pod(head, body, writer)
            except (ConnectionRefusedError, PodFailure):
                if self._loop.time() > deadline:
                    return self._refuse(head, writer)
            await asyncio.sleep(PAUSE)

    async def _ask_next_pod(self, head, body, writer):
        ports = self._addresses()
        if not ports:
            raise ConnectionRefusedError
        pod_reader, pod_writer = await asyncio.open_connection("127.0.0.1", ports[next(self._turns) % len(ports)])
        try:
            answer = await self._answer_of(pod_reader, pod_writer, head.forwarded("Connection: close") + body)
            self._count(head, int(answer.words[1]))
            writer.write(answer.forwarded())
            # The answer to HEAD says how long a body would be.
            if head.words[0] != "HEAD":
                async for piece in body_pieces(pod_reader, answer):
                    writer.write(piece)
                    await writer.drain()
        finally:
            pod_writer.close()

    async def _answer_of(self, reader, writer, request):
        try:
            writer.write(request)
            return MessageHead(await reader.readuntil(b"\r\n\r\n"))
        except (OSError, asyncio.IncompleteReadError) as cause:
            raise PodFailure from cause

    def _count(self, head, status):
        self.statuses[status] += 1
        if status == 500:
            self.broken.append(" ".join(head.words[:2]))

    def _refuse(self, head, writer):
        self._count(head, 502)
        body = json.dumps({"errcode": "M_UNKNOWN", "error": "No pod answered the request."})
        writer.write(
            f"HTTP/1.1 502 Bad Gateway\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
            f"\r\n{body}".encode()
        )
