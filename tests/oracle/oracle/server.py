"""A homeserver as the plan sees it: addresses that take turns, and what its answers have called the things of the plan."""

import http.client
import json
import re
import time
import urllib.parse

# A write may wait ten seconds for a leader.
LONGEST_ANSWER = 60
# Synapse changes the rooms of a user in the background.
LONGEST_SETTLING = 5
REFERENCE = re.compile(r"<([^<>]+)>")


class HomeServer:
    def __init__(self, name, ports):
        self.name = name
        self._ports = ports
        self._turn = 0
        self._connections = {}
        self.names = {}

    def forget(self):
        """What one plan has learnt means nothing to the next."""
        self.names = {}

    def _settle(self, actor, port, headers):
        """Waits until the rooms of a user show the profile; where they never do, the next requests tell."""
        def read(path):
            return self._send(port, "GET", "/_matrix/client/v3" + path, None, headers)[1]

        user = f"@{actor}:hs1"
        deadline = time.monotonic() + LONGEST_SETTLING
        for room in read("/joined_rooms").get("joined_rooms", []):
            member = f"/rooms/{urllib.parse.quote(room)}/state/m.room.member/{user}"
            while time.monotonic() < deadline:
                profile, shown = read(f"/profile/{user}"), read(member)
                if all(profile.get(key) == shown.get(key) for key in ("displayname", "avatar_url")):
                    break
                time.sleep(0.02)

    def lacks(self, step):
        """Whether a token is missing that the step goes on from."""
        return any(self._is_missing_token(value) for value in step.query.values())

    def play(self, step):
        """Sends a step; returns the status and the parsed body."""
        port = self._ports[self._turn % len(self._ports)]
        self._turn += 1
        path = "/_matrix/client" + REFERENCE.sub(lambda each: urllib.parse.quote(self._known(each), safe=""), step.path)
        query = {key: self._resolve(value) for key, value in step.query.items() if not self._is_missing_token(value)}
        if query:
            path += "?" + urllib.parse.urlencode(query)
        headers = {"Content-Type": "application/json"}
        token = self.names.get(f"token of {step.actor}")
        if token:
            headers["Authorization"] = f"Bearer {token}"
        body = None
        if isinstance(step.body, str):
            body = step.body
        elif step.body is not None:
            body = json.dumps(self._resolve(step.body))
        status, answer = self._send(port, step.method, path, body, headers)
        if step.settles and status < 300:
            self._settle(step.actor, port, headers)
        if status < 300 and isinstance(answer, dict):
            for name, key in step.binds.items():
                if key in answer:
                    self.names[name] = answer[key]
        return status, answer

    def _is_missing_token(self, value):
        found = isinstance(value, str) and re.fullmatch(r"<(at .*)>", value)
        return bool(found) and found[1] not in self.names

    def _known(self, match):
        name = match[1]
        return self.names.get(name) or {"room": "!unknown:hs1", "event": "$unknown"}.get(name.split()[0], "unknown")

    def _resolve(self, value):
        if isinstance(value, dict):
            return {REFERENCE.sub(self._known, key): self._resolve(each) for key, each in value.items()}
        if isinstance(value, list):
            return [self._resolve(each) for each in value]
        return REFERENCE.sub(self._known, value) if isinstance(value, str) else value

    def _send(self, port, method, path, body, headers):
        connection = self._connections.get(port)
        if connection is None:
            connection = self._connections[port] = http.client.HTTPConnection("127.0.0.1", port, timeout=LONGEST_ANSWER)
        try:
            connection.request(method, path, body=body, headers=headers)
            answer = connection.getresponse()
            text = answer.read()
        except (ConnectionError, http.client.HTTPException):
            # A kept connection that the server has closed meanwhile. Not after a timeout: the first request may have been carried
            # out, and a second one would be another.
            connection.close()
            connection.request(method, path, body=body, headers=headers)
            answer = connection.getresponse()
            text = answer.read()
        try:
            return answer.status, json.loads(text)
        except ValueError:
            return answer.status, {"not JSON": text.decode(errors="replace")[:500]}
