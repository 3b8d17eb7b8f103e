"""What the processes take, looked at every second."""

import os
import threading
import time
from dataclasses import dataclass

MIB = 1 << 20


@dataclass(frozen=True)
class Sample:
    """One look at one pod."""

    at: float
    state: int
    log: int
    memory: int
    files: int
    # Of the memory, what the state's database has: it fills up to what it was given.
    cache: int


def allocated(directory):
    """Bytes that a directory takes; a file with several names counts once."""
    seen, total = set(), 0
    for where, _, names in os.walk(directory):
        for name in names:
            try:
                found = os.lstat(os.path.join(where, name))
            except FileNotFoundError:
                continue
            if found.st_ino not in seen:
                seen.add(found.st_ino)
                total += found.st_blocks * 512
    return total


def resident(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmRSS:"))


def look(pod, begun):
    pid = pod.process.pid
    return Sample(
        at=time.monotonic() - begun,
        state=allocated(pod.data / "state"),
        log=allocated(pod.data / "log"),
        memory=resident(pid),
        files=len(os.listdir(f"/proc/{pid}/fd")),
        cache=int(pod.figure("quorate_rocksdb_block_cache_bytes")),
    )


class Watch:
    """Looks until told to stop."""

    def __init__(self, pods):
        self.samples = {pod.name: [] for pod in pods}
        self._pods, self._begun = pods, time.monotonic()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        while not self._stop.wait(1):
            for pod in self._pods:
                try:
                    self.samples[pod.name].append(look(pod, self._begun))
                except (OSError, StopIteration):
                    # It has ended, and whoever runs the load says so; or it is too busy for its metrics now and then.
                    if pod.process.poll() is not None:
                        return

    def stop(self):
        self._stop.set()
        self._thread.join()
