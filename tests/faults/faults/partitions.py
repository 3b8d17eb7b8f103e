"""Nodes that cannot hear each other. Clients reach all of them all the time, also the one that is cut off."""

from .cluster import Cluster
from .hosts import Network
from .verify import Verify


def partitions(world):
    """Each fault in turn; writing goes on while it stands, and all three are together again when it is over."""
    with Network() as net, Cluster(world, net) as cluster:
        with Verify(world, cluster) as verify:
            verify.go_on()
            for name, cut in FAULTS:
                leader, term = cluster.leader()
                followers = [n for n in range(3) if n != leader]
                cut(net, leader, followers)
                try:
                    check_alive(cluster, verify, name, followers, term)
                except AssertionError as error:
                    raise AssertionError(f"{name}: {error}") from error
                net.heal()
                cluster.until_together()
                verify.go_on()
                print(f"      {name}: served on", flush=True)
        verify.assert_kept(world.report, "partitions")


def check_alive(cluster, verify, name, followers, term):
    if name in DEPOSE:
        # Before anything else: otherwise writes that the old leader acknowledged just before would count.
        cluster.leader(followers, above=term)
    verify.go_on(seconds=30)


def leader_alone(net, leader, followers):
    for n in followers:
        net.separate(leader, n)


def follower_alone(net, leader, followers):
    alone, other = followers
    net.separate(alone, leader)
    net.separate(alone, other)


def leader_is_not_heard(net, leader, followers):
    for n in followers:
        net.lose(leader, n)


def leader_hears_nobody(net, leader, followers):
    for n in followers:
        net.lose(n, leader)


def one_follower_does_not_hear_the_leader(net, leader, followers):
    net.lose(leader, followers[0])


def one_follower_is_not_heard(net, leader, followers):
    net.lose(followers[0], leader)


FAULTS = [
    ("the leader is alone", leader_alone),
    ("a follower is alone", follower_alone),
    ("the leader is not heard", leader_is_not_heard),
    ("the leader hears nobody", leader_hears_nobody),
    ("one follower does not hear the leader", one_follower_does_not_hear_the_leader),
    ("one follower is not heard by the leader", one_follower_is_not_heard),
]
# Where the leader has no majority that it can talk with.
DEPOSE = ("the leader is alone", "the leader is not heard", "the leader hears nobody")
