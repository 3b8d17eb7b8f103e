"""Ends the leader again and again."""

import threading


class LeaderKiller:
    """Kills whichever pod leads every `seconds`, from the start until it is stopped. The next is killed only once the last
    one is ready again: two dead pods of three serve nobody, and that is no fault."""

    def __init__(self, cluster, seconds):
        self.killed = 0
        self.failure = None
        self._cluster, self._seconds = cluster, seconds
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        try:
            while not self._stop.wait(self._seconds):
                leader = self._cluster.leader()
                if leader is not None:
                    self._cluster.kill_and_restart(leader)
                    self.killed += 1
        except SystemExit as failure:
            # Of a thread of its own nobody would hear it.
            self.failure = failure

    def stop(self):
        self._stop.set()
        self._thread.join()
        if self.failure is not None:
            raise self.failure
