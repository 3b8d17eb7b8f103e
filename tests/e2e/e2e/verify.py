"""`chatctl verify` as a process of its own, and its verdict."""

import json
import signal
import subprocess
import tempfile
import time


class Verify:
    """Writers and readers against the cluster from the start of the block to its end; `verdict` afterwards."""

    def __init__(self, lab, binary, servers, writers=4, readers=3, rate=20, post=False):
        self._errors = tempfile.TemporaryFile("w+")
        command = lab.inside(
            binary, "--output", "json", "verify", "--servers", ",".join(servers), "--writers", str(writers),
            "--readers", str(readers), "--rate", str(rate),
            # Ended by a signal when the faults are over; the bound is for a test that hangs.
            "--duration", "20m",
            # Over one stream per writer: then the order of what one writer sends is judged, too.
            *(["--post"] if post else []),
        )
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=self._errors, text=True)
        self.verdict = None

    def errors(self):
        self._errors.seek(0)
        return self._errors.read()[-4000:]

    def acknowledging(self):
        """Progress lines come each second; the load runs once one of them tells of acknowledged messages."""
        self._errors.seek(0)
        return any("acked" in line or "acknowledged" in line for line in self._errors.read().splitlines())

    def finish(self):
        self._process.send_signal(signal.SIGTERM)
        out, _ = self._process.communicate(timeout=180)
        try:
            self.verdict = json.loads(out.strip().splitlines()[-1] if "\n{" not in out else out)
        except (json.JSONDecodeError, IndexError):
            raise AssertionError(f"verify printed no verdict (exit {self._process.returncode}): {out[-500:]}\n{self.errors()}")
        return self.verdict

    def __enter__(self):
        return self

    def __exit__(self, *error):
        if self._process.poll() is None:
            if error[0] is None:
                self.finish()
            else:
                print(self.errors())
                self._process.kill()
                self._process.wait()

    def assert_nothing_broken(self):
        v = self.verdict
        broken = {k: v[k] for k in ("lost", "duplicated", "reordered", "mismatched", "phantom", "unscanned") if v[k] != 0}
        assert not broken, f"verify found {broken}: {json.dumps(v)[:3000]}"
        assert v["acknowledged"] > 0, "nothing was acknowledged"

    def gap_after(self, start, within=15.0):
        """Milliseconds of the longest stretch without an acknowledgement that touches [start, start + within).
        What verify does not list lasted 100 ms at most."""
        lo, hi = start * 1000, (start + within) * 1000
        touching = [length for begin, length in self.verdict["gaps"] if begin < hi and begin + length > lo]
        return max(touching, default=100)


def now():
    """Seconds since the epoch, the clock of verify's gaps."""
    return time.time()
