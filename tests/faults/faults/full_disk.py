"""A volume that takes nothing more: full, or read-only."""

import contextlib

from e2e.wait import until

from .cluster import Cluster
from .disks import Loop
from .hosts import Loopback
from .verify import Verify

# Log and state together write some MiB per second: the volume lasts for the whole step, until it is filled.
MEGABYTES = 2048
LOAD = ("--payload", "16000")
# `chatd --help`: the log or the state failed while running; the data directory cannot be used.
FATAL, DATA_DIR = 70, 74


def full_disks(world):
    """First the leader's, then a follower's. The process must say what is wrong and stop; the others go on; with
    space given back it is started again and lacks nothing."""
    _of_leader_and_follower(world, full, "full disks")


def read_only_disks(world):
    """The same with a file system whose journal was aborted, until it is repaired."""
    _of_leader_and_follower(world, read_only, "read-only disks")


def _of_leader_and_follower(world, fault, name):
    with contextlib.ExitStack() as stack:
        loops = [stack.enter_context(Loop(world.new_dir(), MEGABYTES)) for _ in range(3)]
        net = stack.enter_context(Loopback())
        cluster = stack.enter_context(Cluster(world, net, [loop.mountpoint / "data" for loop in loops]))
        with Verify(world, cluster, *LOAD, writers=4, readers=2, rate=60, reads=10) as verify:
            verify.go_on()
            for lead in (True, False):
                fault(world, cluster, loops, verify, lead)
        verify.assert_kept(world.report, name)


def chosen(cluster, lead):
    leader, _ = cluster.leader()
    return leader if lead else (leader + 1) % 3


def full(world, cluster, loops, verify, lead):
    role = "leader" if lead else "follower"
    n = chosen(cluster, lead)
    before = len(cluster.log(n))
    loops[n].fill()
    code = cluster.exit_code(n, seconds=90)
    line = cluster.said(n, "(?i)^chatd: .*no space left", before)
    assert code == FATAL and line, f"full disk of the {role}: exit {code}, {line}"
    print(f"      full disk of the {role}: {line}", flush=True)
    verify.go_on(seconds=30)
    # Started again on the full disk, as Kubernetes would: it says the same, or it runs.
    before = len(cluster.log(n))
    cluster.start(n)
    until("it is ready or has ended", lambda: cluster.processes[n].poll() is not None or cluster.is_ready(n), 60)
    code = cluster.processes[n].poll()
    if code is not None:
        line = cluster.said(n, "(?i)^chatd: .*no space left", before)
        assert code in (FATAL, DATA_DIR) and line, f"started on a full disk: exit {code}: {cluster.log(n)[before:]}"
    world.report.note(f"started again on the full disk of the {role}", "runs" if code is None else f"exit {code}")
    loops[n].empty()
    back(cluster, verify, n)


def read_only(world, cluster, loops, verify, lead):
    role = "leader" if lead else "follower"
    n = chosen(cluster, lead)
    before = len(cluster.log(n))
    loops[n].stop_writes()
    code = cluster.exit_code(n, seconds=60)
    # The abort gives EIO to what is under way, and EROFS afterwards.
    line = cluster.said(n, "(?i)^chatd: .*(read-only|input/output error)", before)
    assert code == FATAL and line, f"read-only disk of the {role}: exit {code}, {line}"
    print(f"      read-only disk of the {role}: {line}", flush=True)
    verify.go_on(seconds=30)
    before = len(cluster.log(n))
    cluster.start(n)
    code = cluster.exit_code(n, seconds=60)
    assert code == DATA_DIR, f"started on a read-only disk: exit {code}: {cluster.log(n)[before:]}"
    loops[n].repair()
    back(cluster, verify, n)
    # Of what is under way when the journal is aborted, only what was really synced may have been acknowledged.
    assert not cluster.went_back(), cluster.went_back()


def back(cluster, verify, n):
    if cluster.processes[n].poll() is not None:
        cluster.start(n)
    cluster.until_together()
    verify.go_on()
