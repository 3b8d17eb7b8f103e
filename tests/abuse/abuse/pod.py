"""The pod under attack."""

import subprocess

from chatd_process import LISTENERS, ChatdProcess, free_ports, run_chatctl, stop_all, wait_until_ready

NAME = "a"


class Pod(ChatdProcess):
    def __init__(self, home, settings):
        super().__init__(NAME, home, home / "tls", free_ports(len(LISTENERS)))
        self.settings = settings

    def ctl(self, *arguments, seconds=60):
        """Runs chatctl; whether it succeeded, and what it said."""
        try:
            done = run_chatctl(self.home, *arguments, seconds=seconds)
        except subprocess.TimeoutExpired as late:
            return False, f"{' '.join(late.cmd)} did not end in {seconds} s"
        return done.returncode == 0, done.stdout + done.stderr

    def must(self, *arguments):
        succeeded, said = self.ctl(*arguments)
        if not succeeded:
            raise SystemExit(f"chatctl {' '.join(map(str, arguments))} failed:\n{said}\n{self.last_words()}")

    def serve(self):
        """Makes a cluster of this one pod."""
        make = ["cluster", "init", "--dir", self.tls, "--nodes", f"{NAME}=127.0.0.1:{self.peer}"]
        self.must(*make, "--certificates-only")
        self.start("abuse.localhost", self.settings)
        self.must(*make)
        wait_until_ready([self])

    def stop(self):
        stop_all([self])
