"""The command with which a suite kills the leader."""

import pathlib
import subprocess
import tempfile
import threading
import unittest

from conformance.killer import LeaderKillSwitch


# Within this time two commands meet that do not take turns, and a switch stops that waits for nothing.
MEETING = 1


class ClusterInMemory:
    """Leads from the second question on, and notes who was killed."""

    def __init__(self, failure=None):
        self.killed, self.asked = [], 0
        self._failure = failure

    def leader(self):
        self.asked += 1
        return f"pod {self.asked}" if self.asked > 1 else None

    def kill_and_restart(self, pod):
        if self._failure:
            raise SystemExit(self._failure)
        self.killed.append(pod)


class MeetingCluster(ClusterInMemory):
    """Notes whether two pods were down at once."""

    def __init__(self):
        super().__init__()
        self.met = False
        self._meeting = threading.Barrier(2)

    def kill_and_restart(self, pod):
        try:
            self._meeting.wait(MEETING)
            self.met = True
        except threading.BrokenBarrierError:
            self._meeting.reset()
        super().kill_and_restart(pod)


class SlowCluster(ClusterInMemory):
    """Restarts a pod when it is told to."""

    def __init__(self):
        super().__init__()
        self.killing, self.go_on = threading.Event(), threading.Event()

    def kill_and_restart(self, pod):
        self.killing.set()
        self.go_on.wait()
        super().kill_and_restart(pod)


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
        cluster = MeetingCluster()
        switch = self.switch(cluster)
        commands = [self.start(switch) for _ in range(3)]
        self.assertEqual([command.wait(30) for command in commands], [0] * 3)
        self.assertEqual((len(cluster.killed), cluster.met), (3, False))

    def test_a_pod_that_does_not_come_back_fails_the_command_with_the_reason(self):
        command = self.start(self.switch(ClusterInMemory("pod 2 ended with 70")))
        said, _ = command.communicate(timeout=30)
        self.assertNotEqual(command.returncode, 0)
        self.assertIn("pod 2 ended with 70", said)

    def test_a_switch_that_stops_waits_for_the_pod_and_kills_no_other(self):
        cluster = SlowCluster()
        switch = self.switch(cluster)
        self.addCleanup(cluster.go_on.set)
        # A suite that fails ends its command, but not what that has begun.
        command = self.start(switch)
        cluster.killing.wait(30)
        command.kill()
        command.wait(30)
        stopping = threading.Thread(target=switch.stop)
        stopping.start()
        stopping.join(MEETING)
        self.assertTrue(stopping.is_alive(), "the pod is not restarted yet")
        cluster.go_on.set()
        stopping.join(30)
        self.assertEqual((stopping.is_alive(), len(cluster.killed)), (False, 1))
        self.assertEqual((switch.pull(), len(cluster.killed)), ("the suite has ended", 1))


if __name__ == "__main__":
    unittest.main()
