"""Volumes and nodes are lost (points 4, 5 and 6 of the acceptance)."""

from .chat import condition
from .verify import Verify, now
from .wait import until

REPLACED_WITHIN = 120


def claim_of(pod):
    return f"data-{pod}"


def lose_with_claim(world, pod):
    """The claim first and without waiting, then the pod: the other way round the pod would come back on the old volume."""
    world.kubectl.run("delete", "persistentvolumeclaim", claim_of(pod), "--wait=false")
    world.kubectl.run("delete", "pod", pod, "--wait=false")


def member_replaced(world, pod):
    old = world.cluster.member_of(pod)["nodeId"]
    start = now()
    lose_with_claim(world, pod)

    def replaced():
        voters = world.cluster.voters()
        return len(voters) == 3 and old not in voters and len(world.cluster.ready_pods()) == 3
    until(f"three voters without {old}, all pods ready", replaced, REPLACED_WITHIN)
    return now() - start


def lost_volumes(world):
    leader, _ = world.cluster.settled()
    follower = next(pod for pod in sorted(world.cluster.pods()) if pod != leader)
    with Verify(world.lab, world.chatctl, world.servers()) as verify:
        until("verify has its first acknowledgements", verify.acknowledging, 60)
        world.report.note("follower replaced with its volume", round(member_replaced(world, follower), 1), "s")
        leader, _ = world.cluster.settled()
        world.report.note("leader replaced with its volume", round(member_replaced(world, leader), 1), "s")
        world.cluster.settled()
        verify.finish()
    verify.assert_nothing_broken()


def all_pods_at_once(world):
    """Everything acknowledged before is there after: verify's final read of the whole history says so."""
    world.cluster.settled()
    with Verify(world.lab, world.chatctl, world.servers()) as verify:
        until("verify has its first acknowledgements", verify.acknowledging, 60)
        uids = {name: pod["metadata"]["uid"] for name, pod in world.cluster.pods().items()}
        start = now()
        world.kubectl.run("delete", "pod", *uids, "--wait=false")

        def renewed():
            pods = world.cluster.pods()
            return len(pods) == 3 and all(pod["metadata"]["uid"] != uids.get(name) for name, pod in pods.items())
        until("all three pods are new ones", renewed, 120)
        world.cluster.settled()
        world.report.note("all pods deleted: serving again after", round(now() - start, 1), "s")
        verify.finish()
    verify.assert_nothing_broken()


def node_number(world, pod):
    return world.cluster.pods()[pod]["spec"]["nodeName"].removeprefix("node")


def cluster_serves_without(world, verify, pod):
    """A quorum is there although one pod is not: Available stays, or comes back at once, and names another leader."""
    until("the pod is seen as not ready", lambda: pod not in world.cluster.ready_pods(), 90)
    leader = until("a leader that is not on the lost node", lambda: (lambda l: l if l and l != pod else None)(world.cluster.leader()[0]), 10)
    assert condition(world.cluster.read(), "Available") == "True", "Available is not True with two of three pods"
    return leader


def lost_nodes(world):
    """A node crashes, another is cut off; each holds a pod, the first the leader's."""
    with Verify(world.lab, world.chatctl, world.servers()) as verify:
        until("verify has its first acknowledgements", verify.acknowledging, 60)
        marks = []
        for fault, cure in (("crash", "start"), ("partition", "heal")):
            pod, _ = world.cluster.settled()
            number = node_number(world, pod)
            marks.append((fault, now()))
            if fault == "crash":
                world.fault("a node crashes")
            world.lab.node(fault, number)
            cluster_serves_without(world, verify, pod)
            world.lab.node(cure, number)
            start = now()
            world.cluster.settled()
            world.report.note(f"node {fault}: all ready after its return", round(now() - start, 1), "s")
        verify.finish()
    verify.assert_nothing_broken()
    for fault, start in marks:
        gap = verify.gap_after(start)
        world.report.note(f"leader's node, {fault}: longest write gap", gap, "ms")
        assert gap <= 10_000, f"{gap} ms without an acknowledgement after a node {fault}"
