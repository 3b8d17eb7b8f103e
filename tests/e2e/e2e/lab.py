"""The local Kubernetes under test, and the faults that its nodes can have."""

import os
import pathlib
import subprocess

TOP = pathlib.Path(__file__).resolve().parents[3]
COMMAND = str(TOP / "deploy/local-kubernetes/local-kubernetes")


class Lab:
    """One named cluster of deploy/local-kubernetes. Removed on exit, unless KEEP is set in the environment."""

    def __init__(self, name, nodes, port):
        self.name, self.nodes, self.port = name, nodes, port

    def _run(self, *args, **kwargs):
        return subprocess.run([COMMAND, *args], check=True, text=True, **kwargs)

    def __enter__(self):
        # A run that was cut off may have left its cluster behind.
        self._run("down", "--name", self.name)
        self._run("up", "--name", self.name, "--nodes", str(self.nodes), "--port", str(self.port))
        return self

    def __exit__(self, *error):
        if os.environ.get("KEEP"):
            print(f"KEEP is set: the cluster stays; remove it with {COMMAND} down --name {self.name}")
            return
        self._run("down", "--name", self.name)

    def kubeconfig(self):
        return self._run("kubeconfig", "--name", self.name, stdout=subprocess.PIPE).stdout.strip()

    def load(self, *archives):
        self._run("load", "--name", self.name, *map(str, archives))

    def node(self, *args):
        """crash N, start N, partition N, heal N ... (see local-kubernetes --help)."""
        return self._run("node", "--name", self.name, *args, stdout=subprocess.PIPE).stdout

    def inside(self, *command):
        """The command line that runs a program of this machine in the cluster's network, with the cluster's DNS."""
        return [COMMAND, "exec", "--name", self.name, "--", *command]

    def kill_container(self, namespace, pod, container="chatd"):
        """A crash of the pod's process: SIGKILL from outside, which Kubernetes does not announce to it."""
        self.node("kill", f"{namespace}/{pod}", container)
