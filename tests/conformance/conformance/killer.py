"""Ends the leader: again and again, or whenever the suite asks for it."""

import contextlib
import http.server
import shlex
import threading
import time

# An election takes a second or two.
LONGEST_ELECTION = 30
PAUSE = 0.05
# A command waits for the end of another, a restart (cluster.LONGEST_RESTART) and an election.
LONGEST_COMMAND = 200


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


class LeaderKillSwitch:
    """A command for the suite, which kills whichever pod leads, starts it again, and ends once it is ready. Commands at the
    same time take turns, for the same reason as above."""

    def __init__(self, cluster, home):
        self.killed = 0
        self.command = home / "kill-leader"
        self._cluster = cluster
        self._turn = threading.Lock()
        self._stopped = False
        switch = self

        class Request(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                failure = switch.pull()
                text = (failure or "done").encode()
                self.send_response(500 if failure else 200)
                self.send_header("Content-Length", str(len(text)))
                with contextlib.suppress(OSError):
                    # A suite that fails ends its command.
                    self.end_headers()
                    self.wfile.write(text)

            def log_message(self, *_):
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Request)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        url = shlex.quote(f"http://127.0.0.1:{self._server.server_port}/")
        self.command.write_text(
            f"#!/bin/sh\nexec curl --silent --show-error --fail-with-body --max-time {LONGEST_COMMAND} --request POST {url}\n"
        )
        self.command.chmod(0o755)

    def pull(self):
        """Kills the leader. The reason if that fails."""
        with self._turn:
            if self._stopped:
                return "the suite has ended"
            try:
                self._cluster.kill_and_restart(self._leader())
            except SystemExit as failure:
                return str(failure)
            self.killed += 1
            return None

    def _leader(self):
        deadline = time.monotonic() + LONGEST_ELECTION
        while (leader := self._cluster.leader()) is None:
            if time.monotonic() > deadline:
                raise SystemExit(f"no pod leads within {LONGEST_ELECTION} s")
            time.sleep(PAUSE)
        return leader

    def stop(self):
        """Waits for a pod that is being started again, as it would outlive the others, and lets no command kill another."""
        self._server.shutdown()
        self._server.server_close()
        with self._turn:
            self._stopped = True
