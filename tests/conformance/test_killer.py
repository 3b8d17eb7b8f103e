"""The command with which a suite kills the leader."""

import pathlib
import subprocess
import tempfile
import threading
import unittest

from conformance.killer import LeaderKillSwitch


class ClusterInMemory:
    """Leads from the second question on, and notes who was killed and how many at once."""

    def __init__(self, failure=None):
        self.killed, self.asked, self.at_once, self.most_at_once = [], 0, 0, 0
        self._failure = failure
        self._lock = threading.Lock()

    def leader(self):
        self.asked += 1
        return f"pod {self.asked}" if self.asked > 1 else None

    def kill_and_restart(self, pod):
        with self._lock:
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
        if self._failure:
            raise SystemExit(self._failure)
        self.killed.append(pod)
        with self._lock:
            self.at_once -= 1


class KillSwitch(unittest.TestCase):
    def switch(self, cluster):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        switch = LeaderKillSwitch(cluster, pathlib.Path(folder.name))
        self.addCleanup(switch.stop)
        return switch

    def start(self, switch):
        command = subprocess.Popen([switch.command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.addCleanup(command.stdout.close)
        return command

    def test_the_command_waits_for_a_leader_and_kills_it(self):
        cluster = ClusterInMemory()
        switch = self.switch(cluster)
        self.assertEqual(self.start(switch).wait(30), 0)
        self.assertEqual((cluster.killed, switch.killed), (["pod 2"], 1))

    def test_commands_at_the_same_time_take_turns(self):
        cluster = ClusterInMemory()
        switch = self.switch(cluster)
        commands = [self.start(switch) for _ in range(4)]
        self.assertEqual([command.wait(30) for command in commands], [0] * 4)
        self.assertEqual((len(cluster.killed), cluster.most_at_once), (4, 1))

    def test_a_pod_that_does_not_come_back_fails_the_command_with_the_reason(self):
        command = self.start(self.switch(ClusterInMemory("pod 2 ended with 70")))
        said, _ = command.communicate(timeout=30)
        self.assertNotEqual(command.returncode, 0)
        self.assertIn("pod 2 ended with 70", said)


if __name__ == "__main__":
    unittest.main()
