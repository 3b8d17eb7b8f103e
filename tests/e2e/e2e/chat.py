"""A ChatCluster as its owner sees it: through the API server only."""

import json
import subprocess
import threading
import time

from .wait import until


def condition(obj, kind):
    """A condition's status, "True", "False" or "Unknown"; None when it is absent."""
    for entry in (obj.get("status") or {}).get("conditions", []):
        if entry["type"] == kind:
            return entry["status"]
    return None


class ChatCluster:
    def __init__(self, kubectl, name):
        self.kubectl, self.name = kubectl, name

    def read(self):
        return self.kubectl.get("chatcluster", self.name)

    def status(self):
        return (self.read() or {}).get("status") or {}

    def leader(self):
        """(pod, term), or (None, 0) while there is none."""
        leader = self.status().get("leader") or {}
        return leader.get("name"), int(leader.get("term") or 0)

    def voters(self):
        """Node ids of the voters, as the decimal strings of the status."""
        return {m["nodeId"] for m in self.status().get("members", []) if m.get("voter")}

    def member_of(self, pod):
        return next((m for m in self.status().get("members", []) if m.get("pod") == pod), None)

    def pods(self):
        selector = f"app.kubernetes.io/instance={self.name},app.kubernetes.io/component=chatd"
        return {p["metadata"]["name"]: p for p in self.kubectl.items("pods", "--selector", selector)}

    def ready_pods(self):
        return {name for name, pod in self.pods().items() if condition(pod, "Ready") == "True" and "deletionTimestamp" not in pod["metadata"]}

    def settled(self, replicas=3):
        """All pods Ready, a leader named, and all as specified: the state in which the next fault may come."""
        def check():
            return len(self.ready_pods()) == replicas and self.leader()[0] and condition(self.read(), "Ready") == "True"
        until(f"{self.name} has {replicas} ready pods, a leader and Ready=True; status {self.status().get('conditions')}", check, 180)
        return self.leader()


class LeaderWatch:
    """Notes when each (leader, term) came to stand in the status, from one watch."""

    def __init__(self, cluster):
        self.seen = []
        self._changed = threading.Condition()
        self._process = cluster.kubectl.popen(
            "get", "chatcluster", cluster.name, "--watch", "--output", "json", stdout=subprocess.PIPE
        )
        self._thread = threading.Thread(target=self._follow, daemon=True)
        self._thread.start()

    def _follow(self):
        decoder, text = json.JSONDecoder(), ""
        for line in self._process.stdout:
            text += line
            try:
                obj, end = decoder.raw_decode(text.lstrip())
            except json.JSONDecodeError:
                continue
            text = text.lstrip()[end:]
            leader = (obj.get("status") or {}).get("leader") or {}
            if leader.get("name"):
                with self._changed:
                    self.seen.append((time.time(), leader["name"], int(leader.get("term") or 0)))
                    self._changed.notify_all()

    def after(self, term, seconds):
        """When, and which: the first leader of a term above this one; None when none came in time."""
        def newer():
            return next((entry for entry in self.seen if entry[2] > term), None)
        with self._changed:
            self._changed.wait_for(newer, timeout=seconds)
            return newer()

    def close(self):
        self._process.terminate()
        self._process.wait()
