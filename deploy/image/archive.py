"""Reproducible image archives: the same files give the same bytes, so the same digest.

Format: docker-archive (`docker save`), which containerd, podman and docker import.
"""
import hashlib
import io
import json
import os
import platform
import tarfile

ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
EPOCH = "1970-01-01T00:00:00Z"


class Tree:
    """The files of an image, in memory; folders above them are made as needed."""

    def __init__(self):
        self.entries = {}  # path without leading slash -> (TarInfo, bytes)

    def directory(self, path, mode=0o755, owner=0):
        self._put(path, tarfile.DIRTYPE, mode, owner, b"")

    def file(self, path, data, mode=0o644, owner=0):
        self._put(path, tarfile.REGTYPE, mode, owner, data)

    def program(self, source, path):
        with open(source, "rb") as f:
            self.file(path, f.read(), 0o755)

    def _put(self, path, kind, mode, owner, data):
        path = path.strip("/")
        parent = os.path.dirname(path)
        if parent and parent not in self.entries:
            self.directory(parent)
        self.entries[path] = (_info(path, kind, mode, owner, len(data)), data)

    def layer(self):
        """The tree as one uncompressed tar, in the order of its paths."""
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
            for _, (info, data) in sorted(self.entries.items()):
                tar.addfile(info, io.BytesIO(data))
        return out.getvalue()


def _info(path, kind, mode, owner, size):
    info = tarfile.TarInfo(path)
    info.type, info.mode, info.size, info.mtime = kind, mode, size, 0
    info.uid = info.gid = owner
    return info


class Image:
    """One layer and the configuration that goes with it."""

    def __init__(self, tree, entrypoint, labels=None, user=""):
        self.layer = tree.layer()
        self.layer_digest = hashlib.sha256(self.layer).hexdigest()
        config = {
            "Entrypoint": entrypoint,
            "Env": ["PATH=/usr/bin"],
            "WorkingDir": "/",
            "Labels": labels or {},
            "User": user,
        }
        self.config = json.dumps({
            "architecture": ARCHITECTURES.get(platform.machine(), platform.machine()),
            "os": "linux",
            "created": EPOCH,
            "config": config,
            "rootfs": {"type": "layers", "diff_ids": ["sha256:" + self.layer_digest]},
            "history": [{"created": EPOCH, "created_by": "deploy/image"}],
        }, sort_keys=True).encode()
        # What Docker calls the image id: it covers the layer, the entry point, user and labels.
        self.id = hashlib.sha256(self.config).hexdigest()

    def write(self, reference, out):
        """Writes the archive beside `out`, then moves it there, so that a reader never sees half of one."""
        manifest = [{"Config": self.id + ".json", "RepoTags": [reference], "Layers": [self.layer_digest + ".tar"]}]
        parts = [
            (self.layer_digest + ".tar", self.layer),
            (self.id + ".json", self.config),
            ("manifest.json", json.dumps(manifest).encode()),
        ]
        with tarfile.open(out + ".new", "w") as tar:
            for name, data in parts:
                tar.addfile(_info(name, tarfile.REGTYPE, 0o644, 0, len(data)), io.BytesIO(data))
        os.replace(out + ".new", out)
