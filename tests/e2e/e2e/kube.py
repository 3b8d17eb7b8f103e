"""kubectl, as functions. Only ever against the kubeconfig it was made with: never anybody's own cluster."""

import json
import os
import subprocess


class KubectlError(Exception):
    """kubectl ended with an error; its text is the message."""


class Kubectl:
    def __init__(self, kubeconfig, namespace):
        self.namespace = namespace
        self._env = {**os.environ, "KUBECONFIG": kubeconfig}

    def command(self, *args):
        return ["kubectl", "--namespace", self.namespace, *args]

    def run(self, *args, stdin=None, timeout=120):
        """Output of `kubectl ARGS`."""
        done = subprocess.run(
            self.command(*args), input=stdin, env=self._env, capture_output=True, text=True, timeout=timeout
        )
        if done.returncode != 0:
            raise KubectlError(f"kubectl {' '.join(args)}: {done.stderr.strip() or done.stdout.strip()}")
        return done.stdout

    def popen(self, *args, **kwargs):
        return subprocess.Popen(self.command(*args), env=self._env, text=True, **kwargs)

    def get(self, *args):
        """An object or a list, as JSON; None when it does not exist."""
        try:
            return json.loads(self.run("get", *args, "--output", "json"))
        except KubectlError as error:
            if "NotFound" in str(error):
                return None
            raise

    def items(self, *args):
        return self.get(*args)["items"]

    def apply(self, manifest, *args):
        return self.run("apply", *args, "--filename", "-", stdin=manifest if isinstance(manifest, str) else json.dumps(manifest))
