"""A process that stands still and goes on, as when its machine or its hypervisor had better things to do."""

import signal

from .cluster import Cluster
from .hosts import Loopback
from .verify import Verify

ROUNDS = 3


def paused_leader(world):
    """The leader is stopped past its election timeout and goes on. It may neither acknowledge what it alone has nor
    answer the reads that waited for it from what it had: verify asks it all along."""
    with Loopback() as net, Cluster(world, net) as cluster:
        with Verify(world, cluster) as verify:
            verify.go_on()
            for _ in range(ROUNDS):
                old, term = cluster.leader()
                cluster.send(old, signal.SIGSTOP)
                others = [n for n in range(3) if n != old]
                _, later = cluster.leader(others, above=term)
                verify.go_on()
                cluster.send(old, signal.SIGCONT)
                cluster.until_together()
                assert cluster.leader()[1] >= later
                verify.go_on()
        verify.assert_kept(world.report, "leader stopped and continued")
