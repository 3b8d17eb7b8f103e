"""usage: python3 matrix_talk.py SERVER...  (Matrix homeservers of one cluster)

Somebody with a Matrix client, until standard input ends: says something each second, waits for it in /sync, looks who is there. Asks the
next server when one does not answer. Needs nothing but Python: it runs in the cluster's network.
"""

import json
import secrets
import select
import sys
import urllib.error
import urllib.parse
import urllib.request


class Client:
    def __init__(self, servers):
        self._servers, self._token = servers, None

    def _ask(self, method, path, body=None):
        request = urllib.request.Request(f"{self._servers[0]}/_matrix/client/v3/{path}", method=method)
        if self._token:
            request.add_header("Authorization", f"Bearer {self._token}")
        data = None if body is None else json.dumps(body).encode()
        with urllib.request.urlopen(request, data, timeout=10) as answer:
            return json.load(answer)

    def ask(self, method, path, body=None):
        """The answer; each server is asked a few times, for one of them may just be down."""
        for _ in range(10 * len(self._servers)):
            try:
                return self._ask(method, path, body)
            except urllib.error.HTTPError as error:
                if error.code not in (429, 502, 503, 504):
                    raise RuntimeError(f"{method} {path}: {error.code} {error.read().decode()}") from error
            except OSError:
                pass
            self._servers.append(self._servers.pop(0))
            ended(0.2)
        raise RuntimeError(f"{method} {path}: no server answers")

    def register(self):
        user = {"username": f"matrix-{secrets.token_hex(4)}", "password": secrets.token_hex(8), "auth": {"type": "m.login.dummy"}}
        self._token = self.ask("POST", "register", user)["access_token"]

    def room(self):
        return urllib.parse.quote(self.ask("POST", "createRoom", {"preset": "public_chat"})["room_id"])

    def say(self, room, text):
        self.ask("PUT", f"rooms/{room}/send/m.room.message/{secrets.token_hex(8)}", {"msgtype": "m.text", "body": text})

    def members(self, room):
        """A linearizable read, on a server that may not lead."""
        self._servers.append(self._servers.pop(0))
        return self.ask("GET", f"rooms/{room}/joined_members")["joined"]

    def sync(self, since=None, timeout=0):
        query = {"timeout": timeout} | ({"since": since} if since else {})
        return self.ask("GET", f"sync?{urllib.parse.urlencode(query)}")["next_batch"]


def ended(seconds):
    """Waits that long for the end of the input."""
    readable, _, _ = select.select([sys.stdin], [], [], seconds)
    return bool(readable) and not sys.stdin.read(1)


def main():
    client = Client(sys.argv[1:])
    client.register()
    room = client.room()
    since = client.sync()
    while not ended(0.5):
        client.say(room, "hello")
        since = client.sync(since, 1000)
        client.members(room)
        # Nothing is new by now: this one waits until its time is out.
        since = client.sync(since, 300)


if __name__ == "__main__":
    main()
