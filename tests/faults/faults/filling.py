"""Volumes that people fill: their writes are refused before that, and everything else goes on."""

import base64
import contextlib
import json
import os
import random
import time
import urllib.error
import urllib.request

from e2e.wait import until

from .cluster import Cluster
from .disks import Loop
from .hosts import Loopback

# Small, so that it is filled in a minute; chatd cuts what it stores to it, and keeps a quarter in reserve.
MEGABYTES = 96
# Near the largest event: one person fills volumes with a thousand of them. Of characters that cannot be compressed.
BODY_BYTES = 45_000
# A refusal that lasts for so long is one that somebody must end: the log is purged every few seconds.
FOR_GOOD = 8
REFUSED = (507, "M_RESOURCE_LIMIT_EXCEEDED")


def filling_disks(world):
    """One person writes until it is refused. All three pods stay up and serve; what makes space goes on; with space
    writes are taken again, by themselves."""
    with contextlib.ExitStack() as stack:
        loops = [stack.enter_context(Loop(world.new_dir(), MEGABYTES)) for _ in range(3)]
        net = stack.enter_context(Loopback())
        cluster = stack.enter_context(Cluster(world, net, [loop.mountpoint / "data" for loop in loops]))
        person = Person(net.hosts[0], "alice")
        room = person.call("POST", "/createRoom", {})["room_id"]
        sent = fill_for_good(person, room)
        world.report.note("filling disks: messages until the refusal", sent)
        for n, status in cluster.status().items():
            volume, reserve = os.statvfs(loops[n].mountpoint), int(status["storage_reserve_bytes"])
            free = volume.f_bavail * volume.f_frsize
            assert free > reserve // 2, f"node-{n}: {free} bytes are left of a reserve of {reserve}"
            world.report.note(f"filling disks: free on node-{n} at the refusal", free >> 20, "MiB")
        serves_while_short(cluster, net, person, room)
        cluster.chatctl("cluster", "purge-history", room, "--older-than", "1s", "--admin", net.hosts[0].peer, "--tls-dir", cluster.dir / "tls", timeout=300)
        until("writes are taken again", lambda: person.send(room, "again", "short again") is None, 300, every=1)
        # The space is really there: as much as half of what filled it goes in again, though the log may have to be purged in between.
        for number in range(sent // 2):
            until("writes go on being taken", lambda n=number: person.send(room, f"more-{n}", body()) is None, 60, every=0.2)
        alive(cluster)
        # A pod that starts on such a volume starts.
        cluster.kill(1)
        cluster.start(1)
        cluster.until_together()


def fill_for_good(person, room):
    """Sends until it stays refused: the first refusals end as soon as the log's older part is removed. How many messages
    were taken."""
    sent = 0
    for attempt in range(1000):
        sent += fill(person, room, prefix=f"{attempt}-")
        began = time.monotonic()
        while time.monotonic() - began < FOR_GOOD:
            if person.send(room, f"{attempt}-again", body()) is None:
                sent += 1
                break
            time.sleep(0.1)
        else:
            return sent
    raise AssertionError(f"after {sent} messages, refusals still end by themselves")


def body():
    return base64.b64encode(random.randbytes(BODY_BYTES)).decode()


def fill(person, room, most=100_000, prefix="m"):
    """Sends until it is refused; how many messages were taken."""
    for number in range(most):
        refusal = person.send(room, f"{prefix}{number}", body())
        if refusal is not None:
            assert refusal == REFUSED, f"message {number}: {refusal}"
            return number
    return most


def serves_while_short(cluster, net, person, room):
    # For a while, and from every pod: nothing that goes on in the background uses the reserve up.
    for attempt in range(20):
        for host in net.hosts:
            other = Person.of(host, person)
            assert other.send(room, f"refused-{attempt}-{host.http}", body()) == REFUSED
            messages = other.call("GET", f"/rooms/{room}/messages?dir=b&limit=5")["chunk"]
            assert messages, "reading goes on"
    newest = next(event for event in messages if event["type"] == "m.room.message")
    person.call("PUT", f"/rooms/{room}/redact/{newest['event_id']}/redaction", {})
    again = Person(net.hosts[1], "alice", register=False)
    again.call("POST", "/logout", {})
    alive(cluster)


def alive(cluster):
    ended = {n: process.poll() for n, process in enumerate(cluster.processes) if process.poll() is not None}
    assert not ended, f"ended, with these codes: {ended}"


class Person:
    """One session on the Matrix API of one host."""

    def __init__(self, host, name, register=True):
        self._base, self._token = f"http://{host.http}/_matrix/client/v3", None
        if register:
            body = {"username": name, "password": "correct horse", "auth": {"type": "m.login.dummy"}}
            self._token = self.call("POST", "/register", body)["access_token"]
        else:
            body = {"type": "m.login.password", "identifier": {"type": "m.id.user", "user": name}, "password": "correct horse"}
            self._token = self.call("POST", "/login", body)["access_token"]

    @classmethod
    def of(cls, host, person):
        """The same session, through another host."""
        other = cls.__new__(cls)
        other._base, other._token = f"http://{host.http}/_matrix/client/v3", person._token
        return other

    def call(self, method, path, body=None):
        request = urllib.request.Request(self._base + path, method=method)
        request.data = None if body is None else json.dumps(body).encode()
        if self._token:
            request.add_header("Authorization", f"Bearer {self._token}")
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)

    def send(self, room, transaction, text):
        """None, or status and code of the refusal."""
        try:
            self.call("PUT", f"/rooms/{room}/send/m.room.message/{transaction}", {"msgtype": "m.text", "body": text})
        except urllib.error.HTTPError as error:
            return error.code, json.load(error).get("errcode")
        return None
