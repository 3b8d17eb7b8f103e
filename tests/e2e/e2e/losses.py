"""The leader is lost, again and again, while people write (points 2 and 3 of the acceptance)."""

import time

from .chat import LeaderWatch
from .verify import Verify, now
from .wait import until


def graceful(world, pod):
    world.kubectl.run("delete", "pod", pod, "--wait=false")


def forced(world, pod):
    world.kubectl.run("delete", "pod", pod, "--grace-period=0", "--force", "--wait=false")


def killed(world, pod):
    world.lab.kill_container(world.kubectl.namespace, pod)


# Graceful and hard in turn; kills are spaced by the settling in between, or they meet CrashLoopBackOff.
LOSSES = [("graceful", graceful), ("killed", killed), ("forced", forced)] * 2

# Seconds within which a new leader must stand in the status, from the loss.
STATUS_WITHIN = 2.0
# What is aimed at, in milliseconds; reported, and a hard bound far above it keeps the test honest.
AIM_MS = {"graceful": 300, "forced": 1500, "killed": 1500}
BOUND_MS = 5000
# Seconds after a loss in which a gap is that loss's, unless the next one comes sooner.
WINDOW = 15.0


def lose_the_leader(world, watch, kind, lose):
    """One loss: (start, seconds until the status named the next leader)."""
    pod, term = world.cluster.settled()
    start = now()
    lose(world, pod)
    entry = watch.after(term, STATUS_WITHIN + 8)
    assert entry, f"no new leader in the status 10 s after {pod} was lost ({kind})"
    took = entry[0] - start
    assert took <= STATUS_WITHIN, f"the new leader stood in the status only {took:.2f} s after the {kind} loss of {pod}"
    # The lost pod must be seen gone before "settled" can mean anything.
    until("the status shows the loss", lambda: world.cluster.leader()[1] > term, 10)
    return start, took


def losses_of_the_leader(world):
    watch = LeaderWatch(world.cluster)
    marks = []
    try:
        with Verify(world.lab, world.chatctl, world.servers()) as verify:
            until("verify has its first acknowledgements", verify.acknowledging, 60)
            world.fault("the leader is lost again and again")
            for number, (kind, lose) in enumerate(LOSSES, 1):
                start, took = lose_the_leader(world, watch, kind, lose)
                marks.append((f"loss {number}, {kind}", kind, start))
                world.report.note(f"loss {number}, {kind}: new leader in status", round(took, 2), "s")
            world.cluster.settled()
            verify.finish()
    finally:
        watch.close()
    verify.assert_nothing_broken()
    world.report.note("acknowledged under six losses", verify.verdict["acknowledged"])
    world.report.note("lost / duplicated / reordered", "0 / 0 / 0")
    judge_gaps(world, verify, marks)


def judge_gaps(world, verify, marks):
    over = []
    following = [start for _, _, start in marks[1:]] + [marks[-1][2] + WINDOW]
    for (name, kind, start), until_next in zip(marks, following):
        gap = verify.gap_after(start, min(WINDOW, until_next - start))
        world.report.note(f"{name}: longest write gap", gap, f"ms (aim {AIM_MS[kind]})")
        if gap > BOUND_MS:
            over.append((name, gap))
    assert not over, f"write gaps over {BOUND_MS} ms: {over}"


def loss_without_the_operator(world):
    """Failover is Raft's alone: with the operator away clients notice nothing more, and the status comes right after."""
    operator = ["deployment", "--selector", "app.kubernetes.io/name=quorate-operator", "--namespace", world.operator_namespace]
    _, term = world.cluster.settled()
    with Verify(world.lab, world.chatctl, world.servers(), rate=100, post=True) as verify:
        until("verify has its first acknowledgements", verify.acknowledging, 60)
        world.fault("the operator is scaled to 0")
        world.kubectl.run("scale", *operator, "--replicas=0")
        selector = ["pods", "--selector", "app.kubernetes.io/name=quorate-operator", "--namespace", world.operator_namespace]
        until("the operator is gone", lambda: not world.kubectl.items(*selector), 60)
        pod, _ = world.cluster.leader()
        start = now()
        killed(world, pod)
        # The status is nobody's to write now: that writing goes on is what counts, for as long as the pod needs to return.
        until("three pods are ready again without an operator", lambda: time.time() > start + 3 and len(world.cluster.ready_pods()) == 3, 120)
        world.kubectl.run("scale", *operator, "--replicas=2")
        until("the status names a leader of a higher term", lambda: world.cluster.leader()[1] > term, 60)
        world.cluster.settled()
        verify.finish()
    verify.assert_nothing_broken()
    gap = verify.gap_after(start)
    world.report.note("loss without the operator: longest write gap", gap, "ms (aim 1500)")
    assert gap <= BOUND_MS, f"a write gap of {gap} ms without the operator"
