"""One Synapse process on a port of loopback, with SQLite, that lets anyone register and limits nobody.

`python -m synapse_process --home DIR --server-name NAME --port PORT` becomes this process, in a directory that is new. It takes a Python that
has Synapse: `deploy/deps/synapse`.
"""

import argparse
import json
import os
import subprocess
import sys
import time
import urllib.request
from importlib.metadata import version
from pathlib import Path

from chatd_process import LONGEST_STOP, free_ports

LONGEST_START = 60
NO_LIMIT = {"per_second": 100000, "burst_count": 100000}
LIMITS = {
    **{
        f"rc_{name}": NO_LIMIT
        for name in (
            "message", "registration", "registration_token_validity", "admin_redaction", "joins_per_room", "3pid_validation",
            "room_creation", "reports", "user_directory",
        )
    },
    "rc_login": {name: NO_LIMIT for name in ("address", "account", "failed_attempts")},
    "rc_joins": {name: NO_LIMIT for name in ("local", "remote")},
    "rc_invites": {name: NO_LIMIT for name in ("per_room", "per_user", "per_issuer")},
    "rc_presence": {"per_user": NO_LIMIT},
}


def settings(home, server_name, port):
    return {
        "server_name": server_name,
        "public_baseurl": f"http://127.0.0.1:{port}/",
        "report_stats": False,
        "pid_file": str(home / "pid"),
        "signing_key_path": str(home / "signing.key"),
        "media_store_path": str(home / "media"),
        "log_config": str(home / "log.json"),
        "database": {"name": "sqlite3", "args": {"database": str(home / "synapse.db")}},
        "listeners": [
            {"port": port, "bind_addresses": ["127.0.0.1"], "type": "http", "resources": [{"names": ["client"]}]}
        ],
        "trusted_key_servers": [],
        "enable_registration": True,
        "enable_registration_without_verification": True,
        "presence": {"enabled": True},
        # The version that Quorate gives to rooms.
        "default_room_version": "11",
        # Quorate lets members with enough power publish a room.
        "room_list_publication_rules": [{"action": "allow"}],
        # Hashing passwords slowly would be half of the time of a run.
        "bcrypt_rounds": 4,
        # Otherwise the same first sync is answered with what it was two minutes ago.
        "caches": {"sync_response_cache_duration": "0s"},
        **LIMITS,
    }


def prepare(home, server_name, port, log):
    """Writes configuration and keys to a directory that is empty. Returns the command of the server."""
    # JSON is YAML.
    config = home / "homeserver.yaml"
    config.write_text(json.dumps(settings(home, server_name, port)))
    (home / "log.json").write_text(json.dumps({
        "version": 1,
        "handlers": {"console": {"class": "logging.StreamHandler"}},
        "root": {"level": "WARNING", "handlers": ["console"]},
    }))
    command = [sys.executable, "-m", "synapse.app.homeserver", "--config-path", str(config)]
    subprocess.run([*command, "--generate-keys"], cwd=home, stdin=subprocess.DEVNULL, stdout=log, stderr=log, check=True)
    return command


class SynapseProcess:
    def __init__(self, home, server_name):
        self.home, self.server_name = home, server_name
        self.port = free_ports(1)[0]
        self.process = None

    def start(self):
        self.home.mkdir(parents=True)
        with open(self.home / "log", "ab") as log:
            command = prepare(self.home, self.server_name, self.port, log)
            self.process = subprocess.Popen(command, cwd=self.home, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def wait_until_ready(self):
        deadline = time.monotonic() + LONGEST_START
        while not self._is_ready():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"Synapse did not start:\n{self.last_words()}")
            time.sleep(0.1)

    def _is_ready(self):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/_matrix/client/versions", timeout=10):
                return True
        except OSError:
            return False

    def last_words(self):
        return "\n".join((self.home / "log").read_text(errors="replace").splitlines()[-15:])

    def stop(self):
        if self.process is None or self.process.poll() is not None:
            return
        self.process.terminate()
        try:
            self.process.wait(LONGEST_STOP)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def main():
    parser = argparse.ArgumentParser(prog="synapse_process", description=__doc__)
    parser.add_argument("--version", action="version", version=version("matrix-synapse"))
    parser.add_argument("--home", required=True, metavar="DIR", type=Path)
    parser.add_argument("--server-name", required=True, metavar="NAME")
    parser.add_argument("--port", required=True, metavar="PORT", type=int)
    options = parser.parse_args()
    options.home.mkdir(parents=True)
    command = prepare(options.home, options.server_name, options.port, None)
    os.chdir(options.home)
    os.execv(command[0], command)


if __name__ == "__main__":
    main()
