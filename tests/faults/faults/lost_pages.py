"""Power failures: what was not fsynced is gone, on all three machines at once. And disks that fail to sync, or lie."""

import contextlib

from .cluster import Cluster
from .forgetful import Forgetful
from .hosts import Loopback
from .verify import Verify

FATAL = 70
ROUNDS = 8
# Checkpoints, purges and segments' ends all the time: names are made, changed and removed when the power fails.
OFTEN = "raft: {snapshotEntries: 100, keepLogEntries: 100}"


@contextlib.contextmanager
def on_forgetful_disks(world, more=OFTEN):
    with Forgetful(world) as disk, Loopback() as net, Cluster(world, net, disk.parts, more) as cluster:
        yield disk, cluster


def lose_power(cluster, disk, nodes, how):
    """Of the nodes at once. Gives the pages and names that were lost."""
    disk.power_off(*nodes)
    cluster.kill(*nodes)
    lost = [disk.forget(n, how) for n in nodes]
    for n in nodes:
        cluster.start(n)
    return sum(one["pages"] for one in lost), sum(one["names"] for one in lost)


def power_failures(world):
    """Of all three at once, or of the leader alone, or of a follower alone: with everything unsynced lost, or each page or
    not, as a disk had it or not."""
    with on_forgetful_disks(world) as (disk, cluster):
        pages = names = 0
        with Verify(world, cluster, rate=100) as verify:
            for n in range(ROUNDS):
                verify.go_on(messages=300)
                leader, _ = cluster.leader()
                nodes = [(0, 1, 2), (leader,), (0, 1, 2), ((leader + 1) % 3,)][n % 4]
                lost = lose_power(cluster, disk, nodes, "all" if n % 3 == 0 else world.seed + n)
                pages, names = pages + lost[0], names + lost[1]
                cluster.until_together()
            verify.go_on()
        verify.assert_kept(world.report, "power failures")
        # Nothing to lose would mean that nothing was tested.
        assert pages > 0, "no page was ever unsynced when the power failed"
        world.report.note("power failures: unsynced pages and names lost", f"{pages} and {names}")


def failed_syncs(world):
    """An fsync that fails ends the process; none is tried a second time, because that one would lie."""
    with on_forgetful_disks(world) as (disk, cluster):
        with Verify(world, cluster) as verify:
            verify.go_on()
            for lead in (True, False):
                leader, _ = cluster.leader()
                n = leader if lead else (leader + 1) % 3
                before = len(cluster.log(n))
                disk.say(f"fail node-{n}")
                code = cluster.exit_code(n, seconds=30)
                line = cluster.said(n, "(?i)^chatd: .*input/output error", before)
                assert code == FATAL and line, f"exit {code}: {cluster.log(n)[before:]}"
                counts = disk.say(f"counts node-{n}")
                assert counts["failed"] > 0 and counts["repeated"] == 0, f"an fsync was tried again: {counts}"
                verify.go_on()
                # What had not been synced is then gone for good.
                disk.forget(n)
                disk.say("heal")
                cluster.start(n)
                cluster.until_together()
                verify.go_on()
        verify.assert_kept(world.report, "failed syncs")


def a_lying_disk_of_one_is_filled_again(world):
    """A follower that has lost what its disk said was synced gets it again from the leader that it had acknowledged it to,
    which says so; nobody else has lost anything."""
    # With all of the log kept: it must be filled again from there, and not by a snapshot.
    with on_forgetful_disks(world, more="") as (disk, cluster):
        with Verify(world, cluster) as verify:
            verify.go_on()
            leader, term = cluster.leader()
            n = (leader + 1) % 3
            disk.say(f"lie node-{n}")
            verify.go_on(messages=300)
            cluster.kill(n)
            disk.forget(n)
            disk.say("heal")
            cluster.start(n)
            cluster.until_together()
            verify.go_on()
            assert cluster.leader()[1] == term, "another leader begins anew with everybody: this one must do it"
            assert cluster.went_back(), "the leader did not notice that a log is shorter than it was"
        verify.assert_kept(world.report, "a lying disk of one")


def a_lying_disk_is_noticed(world):
    """All of this would prove nothing if it could not fail: disks that forget what they said was synced must be found
    out by the same means."""
    with on_forgetful_disks(world) as (disk, cluster):
        with Verify(world, cluster, "--settle", "10s") as verify:
            verify.go_on()
            for n in range(3):
                disk.say(f"lie node-{n}")
            verify.go_on(messages=300)
            # No `power_off`: this is what the disk forgets although it was synced.
            cluster.kill(0, 1, 2)
            for n in range(3):
                disk.forget(n)
            disk.say("heal")
            for n in range(3):
                cluster.start(n)
            cluster.until_together()
        lost, smallest = verify.verdict["lost"], verify.verdict["smallest"]
        assert lost > 100 and smallest, f"lost {lost}: {verify.verdict}"
        world.report.note("a lying disk: lost messages found", lost)
        print("      the smallest history that shows it:", *smallest, sep="\n        ", flush=True)
