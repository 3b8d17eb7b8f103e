"""Specs that cannot be carried out, or not as they are: the status says why, nothing else stops, and going back heals.

Each step leaves the cluster as it found it, and none takes much longer than the restarts that it causes.
"""

import json

from .chat import condition
from .kube import KubectlError
from .volumes import member_replaced
from .wait import until

QUOTA = "no-pods"
COLLECTOR = "http://collector.observability:4317"
TAINT = "example.org/maintenance"
ABSENT_IMAGE = "localhost/quorate:absent"


def patch(world, spec):
    """Changes the spec; a value of None takes the field away."""
    world.kubectl.run("patch", "chatcluster", world.name, "--type=merge", "--patch", json.dumps({"spec": spec}))


def message(world, kind):
    """A condition's message; empty while it is not told."""
    found = [entry for entry in world.cluster.status().get("conditions", []) if entry["type"] == kind]
    return found[0]["message"] if found else ""


def told(world, kind, status, *words):
    """Whether the condition has this status and its message all of these words."""
    said = message(world, kind)
    return condition(world.cluster.read(), kind) == status and all(word in said for word in words)


def as_specified(world, seconds=120):
    """The newest generation is observed and carried out."""
    def carried_out():
        cluster = world.cluster.read()
        newest = cluster["status"].get("observedGeneration") == cluster["metadata"]["generation"]
        return newest and condition(cluster, "Ready") == "True" and condition(cluster, "Reconciling") == "False"
    until(f"the newest spec is carried out; {world.cluster.status().get('conditions')}", carried_out, seconds)


def configuration(world, pod):
    """What chatd itself makes of its files and its environment."""
    return world.kubectl.run("exec", pod, "--", "chatd", "config", "--config", "/etc/quorate/chatd.yaml")


def ends(world, pods):
    uids = {pod["metadata"]["uid"] for name, pod in world.cluster.pods().items() if name in pods}
    world.kubectl.run("delete", "pod", *pods, "--wait=false")
    until("the pods are gone", lambda: not uids & {p["metadata"]["uid"] for p in world.cluster.pods().values()}, 90)


def every_pod_gets_the_setting(world):
    """A field that is set after the installation reaches each running chatd before Ready says so."""
    world.cluster.settled()
    patch(world, {"traces": {"endpoint": COLLECTOR, "sampleRatio": "0.5"}})
    as_specified(world)
    for pod in sorted(world.cluster.pods()):
        assert COLLECTOR in configuration(world, pod), f"{pod} does not send traces although Ready is True"
    patch(world, {"traces": None})
    as_specified(world)
    for pod in sorted(world.cluster.pods()):
        assert COLLECTOR not in configuration(world, pod), f"{pod} still sends traces"


def no_pod_may_be_made(world):
    """For a moment there is no pod at all. What the StatefulSet's template names must still be there afterwards."""
    world.cluster.settled()
    world.kubectl.run("create", "quota", QUOTA, "--hard=pods=0")
    try:
        ends(world, sorted(world.cluster.pods()))
        until("the status says why no pod comes", lambda: told(world, "Ready", "False", "exceeded quota", QUOTA), 60)
        assert condition(world.cluster.read(), "Reconciling") == "True" or told(world, "Stalled", "True"), "done, and not ready"
        template = world.kubectl.get("statefulset", world.name)["spec"]["template"]["spec"]
        for volume in template["volumes"]:
            if "configMap" in volume:
                assert world.kubectl.get("configmap", volume["configMap"]["name"]), f"{volume} was pruned"
    finally:
        world.kubectl.run("delete", "quota", QUOTA)
        # Its controller waits longer after each refusal; a write to the object calls it at once.
        world.kubectl.run("annotate", "statefulset", world.name, "example.org/look-again=now", "--overwrite")
    world.cluster.settled()


def a_refused_object_stops_nothing_else(world):
    """A toleration whose operator does not exist passes the ChatCluster's schema, and the StatefulSet is refused with 422. A
    lost member is replaced all the same."""
    leader, _ = world.cluster.settled()
    follower = next(pod for pod in sorted(world.cluster.pods()) if pod != leader)
    patch(world, {"podTemplate": {"tolerations": [{"key": "example.org/busy", "operator": "Perhaps"}]}})
    try:
        until(
            "Stalled names the object and has the API server's words",
            lambda: told(world, "Stalled", "True", f"StatefulSet/{world.name}", "Perhaps"), 30,
        )
        assert told(world, "Ready", "False"), "Ready beside an object that is not applied"
        assert condition(world.cluster.read(), "Available") == "True", "a refused object takes nobody's messages"
        events = world.kubectl.items("events", "--field-selector", f"reason=ObjectRefused,involvedObject.name={world.name}")
        assert events, "no event tells of the refused object"
        world.report.note("member replaced while an object is refused", round(member_replaced(world, follower), 1), "s")
    finally:
        patch(world, {"podTemplate": {"tolerations": None}})
    as_specified(world)
    world.cluster.settled()


def an_image_that_is_not_there(world):
    """The status names the image and what the kubelet says; two of three serve; the former image heals it."""
    world.cluster.settled()
    image = world.cluster.read()["spec"]["image"]
    patch(world, {"image": ABSENT_IMAGE})
    try:
        def reason_is_told():
            operation = world.cluster.status().get("operation") or {}
            return "ImagePullBackOff" in operation.get("message", "") and ABSENT_IMAGE in operation["message"]
        until("the operation tells ImagePullBackOff with the image", reason_is_told, 60)
        began = world.cluster.status()["operation"]
        assert began["type"] == "Rollout", began
        cluster = world.cluster.read()
        found = {kind: condition(cluster, kind) for kind in ("Available", "Ready", "Reconciling")}
        assert found == {"Available": "True", "Ready": "False", "Reconciling": "True"}, found
        assert "ImagePullBackOff" in message(world, "Ready"), message(world, "Ready")
        assert len(world.cluster.ready_pods()) == 2, "the rollout went on past a pod that does not start"
        again = world.cluster.status()["operation"]
        assert (again["type"], again["startedAt"]) == (began["type"], began["startedAt"]), (began, again)
    finally:
        patch(world, {"image": image})
    as_specified(world)
    world.cluster.settled()


def a_first_pod_that_no_node_takes(world):
    """The pod with the lowest ordinal, which a rollout by ordinal comes to last, waits for a node that takes it; the spec
    that lets it start reaches it first. The toleration stays: it does no harm, and taking it away is one more rollout."""
    world.cluster.settled()
    first = f"{world.name}-0"
    world.kubectl.run("taint", "nodes", "--all", f"{TAINT}=now:NoSchedule")
    try:
        ends(world, [first])
        until("the status says why the pod waits", lambda: told(world, "Ready", "False", first, "taint"), 60)
        patch(world, {"podTemplate": {"tolerations": [{"key": TAINT, "operator": "Exists"}]}})
        as_specified(world)
        assert first in world.cluster.ready_pods(), f"Ready beside {first}"
    finally:
        world.kubectl.run("taint", "nodes", "--all", f"{TAINT}-")
    world.cluster.settled()


def a_claim_of_somebody_else(world):
    """A StatefulSet would use a claim of the right name without asking whose it is."""
    name = "stranger"
    claim = {
        "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": f"data-{name}-0"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
    }
    manifest = world.sample()
    manifest["metadata"]["name"] = name
    world.kubectl.apply(claim)
    try:
        world.kubectl.apply(manifest)

        def is_stalled():
            found = world.kubectl.get("chatcluster", name)
            said = [entry for entry in (found.get("status") or {}).get("conditions", []) if entry["type"] == "Stalled"]
            return said and said[0]["status"] == "True" and f"PersistentVolumeClaim/data-{name}-0" in said[0]["message"]
        until("the cluster is Stalled and names the claim", is_stalled, 30)
        assert not world.kubectl.get("statefulset", name), "a StatefulSet was made over somebody else's claim"
    finally:
        for kind, called in (("chatcluster", name), ("persistentvolumeclaim", f"data-{name}-0")):
            try:
                world.kubectl.run("delete", kind, called, "--ignore-not-found", "--wait=false")
            except KubectlError as error:
                print(error)


def a_name_may_be_used_again(world):
    """With whenDeleted: Delete the data goes with the ChatCluster, and not with the StatefulSet alone; the next one of the
    name begins empty."""
    name = "again"
    claim = f"data-{name}-0"
    manifest = world.sample()
    manifest["metadata"]["name"] = name
    manifest["spec"]["replicas"] = 1
    manifest["spec"]["storage"]["persistentVolumeClaimRetentionPolicy"] = {"whenDeleted": "Delete"}

    def made(but=None):
        """Applies it, and waits until a cluster that is not `but` serves: what is left of that one may answer for a moment."""
        world.kubectl.apply(manifest)

        def serving():
            found = world.kubectl.get("chatcluster", name) or {}
            cluster_id = (found.get("status") or {}).get("clusterId")
            return cluster_id if cluster_id not in (None, but) and condition(found, "Available") == "True" else None
        return until("a cluster of its own serves", serving, 120)

    def is_owned():
        owners = world.kubectl.get("persistentvolumeclaim", claim)["metadata"].get("ownerReferences", [])
        return [owner["kind"] for owner in owners] == ["ChatCluster"]
    first = made()
    try:
        until("the claim is owned by the ChatCluster", is_owned, 30)
        uid = world.kubectl.get("persistentvolumeclaim", claim)["metadata"]["uid"]
        world.kubectl.run("delete", "statefulset", name, "--wait=false")
        until("the StatefulSet is made again", lambda: (world.kubectl.get("statefulset", name) or {}).get("status", {}).get("readyReplicas") == 1, 90)
        assert world.kubectl.get("persistentvolumeclaim", claim)["metadata"]["uid"] == uid, "the data went with the StatefulSet"
        world.kubectl.run("delete", "chatcluster", name, "--wait=false")
        made(but=first)
    finally:
        world.kubectl.run("delete", "chatcluster", name, "--ignore-not-found", "--wait=false")
