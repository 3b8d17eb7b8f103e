"""From nothing to a cluster that serves (point 1 of the acceptance), and what it costs idle."""

import json
import pathlib
import subprocess
import tempfile

from .lab import TOP
from .verify import now
from .wait import until


def install(world):
    world.kubectl.run("create", "namespace", world.namespace)
    repository, tag = world.images["quorate-operator"].rsplit(":", 1)
    with tempfile.TemporaryDirectory() as folder:
        world.helm(
            "install", "quorate-operator", packaged_operator(world, folder), "--namespace", world.operator_namespace,
            "--create-namespace", "--set", f"image.repository={repository}", "--set", f"image.tag={tag}", "--wait",
            "--timeout", "120s",
        )
    start = now()
    world.kubectl.apply(world.sample())
    world.kubectl.run("wait", f"chatcluster/{world.name}", "--for=condition=Available", "--timeout=120s", timeout=130)
    world.report.note("apply to Available", round(now() - start, 1), "s")
    world.cluster.settled()
    world.report.note("apply to all Ready", round(now() - start, 1), "s")


def packaged_operator(world, folder):
    """The archive of the operator's chart. Its folder in the tree lacks the definition, which is added to the archive."""
    subprocess.run([str(TOP / "charts/package"), folder], env=world.kubectl._env, check=True, stdout=subprocess.DEVNULL)
    return str(next(pathlib.Path(folder).glob("quorate-operator-*.tgz")))


def idle_memory(world):
    """Working set of each pod's container, as the kubelet reports it."""
    pods = world.cluster.pods()

    def measured():
        found = {}
        for node in {pod["spec"]["nodeName"] for pod in pods.values()}:
            summary = world.kubectl.run("get", "--raw", f"/api/v1/nodes/{node}/proxy/stats/summary")
            for pod in json.loads(summary)["pods"]:
                used = (pod.get("memory") or {}).get("workingSetBytes")
                if pod["podRef"]["name"] in pods and pod["podRef"]["namespace"] == world.namespace and used:
                    found[pod["podRef"]["name"]] = used
        return found if len(found) == len(pods) else None
    for name, used in sorted(until("the kubelets report the pods' memory", measured, 60).items()):
        world.report.note(f"memory of {name}, idle", used >> 20, "MiB")
