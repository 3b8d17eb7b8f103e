"""A user who writes and reads through the Matrix API: over one connection, and now and then over a new one."""

import http.client
import itertools
import json
import threading
import time

# A new connection every so many turns.
RECONNECT = 5
PASSWORD = "a password"
# Between two turns: the user is a person, not a load.
PAUSE = 0.02


class Refused(Exception):
    """An answer other than the one that was wanted."""


class Account:
    """An account and its session; also what an attacker needs who has one."""

    def __init__(self, pod, name):
        self.pod, self.name = pod, name
        self.connection = None
        body = {"username": name, "password": PASSWORD, "auth": {"type": "m.login.dummy"}}
        self.token = self.call("POST", "/register", body, token=False)["access_token"]

    @classmethod
    def again(cls, pod, account):
        """The same session over a connection of its own."""
        same = cls.__new__(cls)
        same.pod, same.name, same.token, same.connection = pod, account.name, account.token, None
        return same

    def call(self, method, path, body=None, token=True):
        if self.connection is None:
            self.connection = http.client.HTTPConnection("127.0.0.1", self.pod.http, timeout=30)
        headers = {"Authorization": f"Bearer {self.token}"} if token else {}
        try:
            self.connection.request(method, f"/_matrix/client/v3{path}", json.dumps(body) if body is not None else None, headers)
            answer = self.connection.getresponse()
            text = answer.read()
        except (OSError, http.client.HTTPException):
            self.reconnect()
            raise
        if answer.status != 200:
            raise Refused(f"{method} {path}: {answer.status} {text[:200]}")
        return json.loads(text)

    def reconnect(self):
        if self.connection:
            self.connection.close()
        self.connection = None


class User:
    """Writes and reads until stopped; how long each turn took, and what went wrong."""

    def __init__(self, pod):
        self.account = Account(pod, "user")
        self.room = self.account.call("POST", "/createRoom", {})["room_id"]
        self.turns, self.failures, self.lock = [], [], threading.Lock()
        self.stopped = threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        for number in itertools.count():
            if self.stopped.is_set():
                return
            if number % RECONNECT == 0:
                self.account.reconnect()
            begun = time.monotonic()
            try:
                self.turn(number)
            except Exception as error:  # pylint: disable=broad-except
                with self.lock:
                    self.failures.append(f"turn {number}: {type(error).__name__}: {error}")
            with self.lock:
                self.turns.append(time.monotonic() - begun)
            time.sleep(PAUSE)

    def turn(self, number):
        body = {"msgtype": "m.text", "body": f"message {number}"}
        sent = self.account.call("PUT", f"/rooms/{self.room}/send/m.room.message/turn-{number}", body)
        page = self.account.call("GET", f"/rooms/{self.room}/messages?dir=b&limit=1")
        if page["chunk"][0]["event_id"] != sent["event_id"]:
            raise Refused(f"what was written last is not read: {page}")

    def take(self):
        """The turns since the last time, and their failures."""
        with self.lock:
            turns, failures = self.turns, self.failures
            self.turns, self.failures = [], []
        return turns, failures

    def stop(self):
        self.stopped.set()
        self.thread.join(60)


def quantile(values, part):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * part))] if ordered else float("inf")
