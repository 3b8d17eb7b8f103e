"""64 connections of one account that ask for the newest thousand events again and again, and read every answer."""

import http.client
import itertools
import json
import threading
from urllib.parse import quote

from ..user import Account

TITLE = "64 parallel syncs of 1,000 events"
CONNECTIONS = 64
EVENTS = 1000
SECONDS = 6
WRITERS = 8


class Reader(threading.Thread):
    def __init__(self, stage, path, token, over):
        super().__init__(daemon=True)
        self.stage, self.path, self.token, self.over = stage, path, token, over
        self.answered, self.refused, self.bytes = 0, 0, 0

    def run(self):
        connection = http.client.HTTPConnection("127.0.0.1", self.stage.pod.http, timeout=30, source_address=("127.0.0.2", 0))
        while not self.over.is_set():
            try:
                connection.request("GET", self.path, headers={"Authorization": f"Bearer {self.token}"})
                answer = connection.getresponse()
                self.bytes += len(answer.read())
            except (OSError, http.client.HTTPException):
                connection.close()
                continue
            if answer.status == 200:
                self.answered += 1
            else:
                self.refused += 1
        connection.close()


def fill(stage, owner, room):
    """A thousand messages, written by several at a time."""
    numbers = itertools.count()

    def write():
        account = Account.again(stage.pod, owner)
        for number in iter(lambda: next(numbers), None):
            if number >= EVENTS:
                return account.reconnect()
            account.call("PUT", f"/rooms/{room}/send/m.room.message/fill-{number}", {"msgtype": "m.text", "body": "x" * 200})

    writers = [threading.Thread(target=write) for _ in range(WRITERS)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()


def play(stage):
    greedy = Account(stage.pod, "greedy")
    fill(stage, greedy, greedy.call("POST", "/createRoom", {})["room_id"])
    path = f"/_matrix/client/v3/sync?filter={quote(json.dumps({'room': {'timeline': {'limit': EVENTS}}}))}"
    over = threading.Event()
    readers = [Reader(stage, path, greedy.token, over) for _ in range(CONNECTIONS)]
    stage.user.take()
    for reader in readers:
        reader.start()
    stage.wait(SECONDS)
    over.set()
    for reader in readers:
        reader.join()
    answered, refused = sum(reader.answered for reader in readers), sum(reader.refused for reader in readers)
    stage.note(f"{answered} answers of {sum(reader.bytes for reader in readers) >> 10} KiB together, {refused} refused")
    stage.check("the reader itself is served", answered > 0)
