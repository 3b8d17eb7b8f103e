"""`chatctl verify` beside the faults, and its verdict."""

import json
import os
import signal
import subprocess

from e2e.wait import until

KINDS = ("lost", "duplicated", "reordered", "mismatched", "phantom", "unlinearizable")


class Verify:
    """Writers, readers and linearizable reads from the start of the block to its end; `verdict` afterwards."""

    def __init__(self, world, cluster, *more, writers=4, readers=3, rate=50, reads=20):
        self.history = cluster.dir / "history.jsonl"
        self._errors = open(cluster.dir / "verify.log", "w+")
        command = [
            *cluster.net.prefix, world.binary("chatctl"), "--output", "json", "verify", "--servers", cluster.servers,
            "--writers", str(writers), "--readers", str(readers), "--rate", str(rate), "--reads", str(reads),
            # Ended by a signal when the faults are over; the bound is for a test that hangs.
            "--duration", "10m", "--history", self.history, *more,
        ]
        env = {**os.environ, "QUORATE_PROFILE_FILE": str(cluster.dir / "profiles.json")}
        self._process = subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, stderr=self._errors, text=True, env=env)
        self.verdict = None

    def _stderr(self):
        with open(self._errors.name) as file:
            return file.read()

    def _progress(self):
        # What stands behind the last end of a line is still being written.
        whole = self._stderr().split("\n")[:-1]
        lines = [line for line in whole if line.startswith('{"progress"')]
        return json.loads(lines[-1])["progress"] if lines else {"acknowledged": 0}

    def acknowledged(self):
        return self._progress()["acknowledged"]

    def go_on(self, seconds=20, messages=100):
        """Waits until so many more messages are acknowledged than are now: the cluster serves, whatever is broken."""
        target = self.acknowledged() + messages
        def more():
            assert self._process.poll() is None, f"verify has ended: {self._stderr()[-2000:]}"
            return self.acknowledged() >= target
        until(f"{messages} more messages are acknowledged", more, seconds)

    def finish(self):
        self._process.send_signal(signal.SIGTERM)
        out, _ = self._process.communicate(timeout=180)
        try:
            self.verdict = json.loads(out)
        except json.JSONDecodeError:
            raise AssertionError(f"verify printed no verdict (exit {self._process.returncode}): {self._stderr()[-3000:]}") from None
        return self.verdict

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        if self._process.poll() is None:
            if kind is None:
                self.finish()
            else:
                self._process.kill()
                self._process.wait()
                print(f"--- verify\n{self._stderr()[-1500:]}")
        self._errors.close()

    def assert_kept(self, report, what):
        """No promise was broken, and enough was looked at for that to mean something."""
        v = self.verdict
        broken = {kind: v[kind] for kind in KINDS if v[kind]}
        # A reader that has given up is no witness of anything, and its error says why.
        given_up = [reader["error"] for reader in v["readers"] if reader["error"]]
        assert not given_up, f"{what}: readers gave up: {given_up}"
        assert not broken, f"{what}: {broken}: {json.dumps({k: v[k] for k in ('smallest', 'violations')}, indent=1)[:4000]}"
        assert v["acknowledged"] > 100 and v["caught_up"] and v["unscanned"] == 0, json.dumps(v)[:3000]
        assert v["reads"]["linearizable"] > 100, f"too few reads to judge: {v['reads']}"
        report.note(f"{what}: acknowledged", v["acknowledged"])
        report.note(f"{what}: linearizable reads judged", v["reads"]["linearizable"])
        report.note(f"{what}: longest gap", v["longest_gap_ms"], "ms")
