"""What every step needs: the cluster, its kubectl, the programs, the report."""

import json
import pathlib
import subprocess
import time

from .chat import ChatCluster
from .kube import Kubectl
from .lab import TOP


class World:
    namespace = "chat"
    operator_namespace = "quorate-system"
    name = "team"

    def __init__(self, lab, report, binaries, images):
        self.lab, self.report = lab, report
        # When what was first done to the cluster, for who looks back at it.
        self.faults = {}
        self.chatctl = str(pathlib.Path(binaries) / "chatctl")
        self.images = images
        self.kubectl = Kubectl(lab.kubeconfig(), self.namespace)
        self.cluster = ChatCluster(self.kubectl, self.name)

    def servers(self):
        """The pods' own names, so that writers and readers start on different pods."""
        return [f"{self.name}-{i}.{self.name}-peers.{self.namespace}.svc.cluster.local:7400" for i in range(3)]

    def fault(self, what):
        """Notes that this happens now; of several of a kind, the first."""
        self.faults.setdefault(what, time.time())

    def sample(self):
        """deploy/samples/chatcluster.yaml with this run's image, without rate limits: else the gaps would say nothing."""
        text = (TOP / "deploy/samples/chatcluster.yaml").read_text()
        done = subprocess.run(
            ["kubectl", "create", "--dry-run=client", "--validate=false", "--output", "json", "--filename", "-"],
            input=text, env=self.kubectl._env, capture_output=True, text=True,
        )
        if done.returncode != 0:
            raise AssertionError(f"the sample is not a manifest: {done.stderr}")
        manifest = json.loads(done.stdout)
        manifest["metadata"] = {"name": self.name, "namespace": self.namespace}
        manifest["spec"]["image"] = self.images["quorate"]
        manifest["spec"].setdefault("chat", {})["rateLimit"] = {"enabled": False}
        # More than the least, so that a refused shrink to the least says something.
        manifest["spec"]["storage"]["size"] = "2Gi"
        return manifest

    def helm(self, *args):
        done = subprocess.run(["helm", *args], env=self.kubectl._env, capture_output=True, text=True, timeout=300)
        if done.returncode != 0:
            raise AssertionError(f"helm {' '.join(args)}: {done.stderr.strip()}")
        return done.stdout
