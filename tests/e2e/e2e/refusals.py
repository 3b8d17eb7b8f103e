"""Resources that the API server must refuse, with a message that says what to do (point 7 of the acceptance)."""

import copy

from .kube import KubectlError


def change(spec, path, value):
    changed = copy.deepcopy(spec)
    at = changed
    *parents, last = path
    for key in parents:
        at = at.setdefault(key, {})
    at[last] = value
    return changed


# (what, path in the resource, value, words that the message must contain)
NEW = [
    ("an even number of replicas", ("spec", "replicas"), 2, ["odd"]),
    ("more replicas than nine", ("spec", "replicas"), 11, ["9"]),
    ("a duration without a unit", ("spec", "raft", "heartbeatInterval"), "50", ["duration"]),
    ("an election time-out below three heartbeats", ("spec", "raft", "electionTimeout"), {"min": "60ms", "max": "120ms"}, ["heartbeat"]),
    ("a server name with a space", ("spec", "serverName"), "chat example", ["serverName"]),
    ("less storage than one gibibyte", ("spec", "storage", "size"), "10Mi", ["1Gi"]),
    ("a name that is no DNS label for its pods", ("metadata", "name"), "team.one", ["name"]),
    ("minutes in place of milliseconds", ("spec", "raft"), {"heartbeatInterval": "50m", "electionTimeout": {"min": "150m", "max": "300m"}}, ["heartbeatInterval must be at most 10s", "m is minutes"]),
    ("an administrator that is no name", ("spec", "chat"), {"administrators": ["="]}, ["names of users"]),
    ("sessions of ten milliseconds", ("spec", "chat"), {"sessionLifetime": "10ms"}, ["sessionLifetime must be from 1s"]),
    ("a port that there is not", ("spec", "serverName"), "chat.example.org:99999", ["1 to 65535"]),
    ("a server name with two dots", ("spec", "serverName"), "a..b", ["host name"]),
    ("an endpoint for traces that is no address", ("spec", "traces"), {"endpoint": "http://[::"}, ["endpoint must be http://"]),
    ("a variable that stands twice", ("spec", "podTemplate"), {"env": [{"name": "A", "value": "1"}, {"name": "A", "value": "2"}]}, ["duplicate"]),
    ("more memory requested than allowed", ("spec", "podTemplate"), {"resources": {"requests": {"memory": "2Gi"}, "limits": {"memory": "1Gi"}}}, ["limits.memory"]),
    ("a label of the operator", ("spec", "podTemplate"), {"metadata": {"labels": {"app.kubernetes.io/instance": "other"}}}, ["belong to the operator"]),
    ("a storage class that cannot be one", ("spec", "storage"), {"size": "1Gi", "storageClassName": "Fast!"}, ["kubectl get storageclass"]),
    ("the name of the namespace's own account", ("metadata", "name"), "default", ["name default is taken"]),
]
CHANGED = [
    ("another server name", ("spec", "serverName"), "other.example.org", ["immutable"]),
    ("less storage than there is", ("spec", "storage", "size"), "1Gi", ["shr"]),
]


def refused(world, what, manifest, words):
    try:
        world.kubectl.apply(manifest, "--dry-run=server")
    except KubectlError as error:
        missing = [word for word in words if word.lower() not in str(error).lower()]
        assert not missing, f"{what} was refused, but the message does not name {missing}: {error}"
        return
    raise AssertionError(f"{what} was accepted by the API server")


def invalid_resources(world):
    sample = world.sample()
    for what, path, value, words in NEW:
        manifest = change(change(sample, ("metadata", "name"), "refused"), path, value)
        refused(world, what, manifest, words)
    for what, path, value, words in CHANGED:
        refused(world, what, change(sample, path, value), words)
    world.report.note("invalid resources refused with a message", len(NEW) + len(CHANGED))
