"""Where the processes run: on loopback, or each in a network of its own that can be cut."""

import socket
import subprocess


class Host:
    """An address with a node's ports, and what stands before its command line."""

    def __init__(self, address, ports, prefix=()):
        self.address, self.prefix = address, list(prefix)
        self.http, self.grpc, self.peer, self.metrics = (f"{address}:{port}" for port in ports)


class Loopback:
    """Three hosts that are one; needs no rights."""

    prefix = ()

    def __init__(self):
        # All are held until all are known, so that none is given twice.
        held = [socket.create_server(("127.0.0.1", 0)) for _ in range(12)]
        ports = [s.getsockname()[1] for s in held]
        for s in held:
            s.close()
        self.hosts = [Host("127.0.0.1", ports[4 * n:4 * n + 4]) for n in range(3)]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass


def ip(*args, check=True):
    done = subprocess.run(["ip", *args], capture_output=True, text=True, check=False)
    assert not check or done.returncode == 0, f"ip {' '.join(args)}: {done.stderr.strip()}"
    return done


class Network:
    """Three network namespaces, joined by a bridge in a fourth, where the clients are. Needs root.

    A direction is cut by telling the sender a hardware address that nobody has: its packets leave and reach no one, as
    when a switch drops them. Nothing answers, no connection is reset, and the other direction is not touched."""

    NOBODY = "02:00:00:00:00:ff"

    def __init__(self, name="quorate-faults"):
        self._name = name
        self._switch = f"{name}-switch"
        self._spaces = [f"{name}-{n}" for n in range(3)]
        self.prefix = ["ip", "netns", "exec", self._switch]
        self.hosts = [
            Host(f"10.99.77.{n + 1}", (8008, 7400, 7401, 9400), ["ip", "netns", "exec", space])
            for n, space in enumerate(self._spaces)
        ]

    def __enter__(self):
        self._remove()
        ip("netns", "add", self._switch)
        ip("-n", self._switch, "link", "add", "bridge", "type", "bridge")
        ip("-n", self._switch, "addr", "add", "10.99.77.254/24", "dev", "bridge")
        for link in ("lo", "bridge"):
            ip("-n", self._switch, "link", "set", link, "up")
        for n, space in enumerate(self._spaces):
            ip("netns", "add", space)
            ip("-n", self._switch, "link", "add", f"node{n}", "type", "veth", "peer", "name", "eth0", "netns", space)
            ip("-n", self._switch, "link", "set", f"node{n}", "master", "bridge", "up")
            ip("-n", space, "addr", "add", f"10.99.77.{n + 1}/24", "dev", "eth0")
            for link in ("lo", "eth0"):
                ip("-n", space, "link", "set", link, "up")
        return self

    def __exit__(self, *_):
        self._remove()

    def _remove(self):
        for space in [*self._spaces, self._switch]:
            ip("netns", "del", space, check=False)

    def lose(self, sender, receiver):
        """Whatever `sender` sends to `receiver` is lost from now on."""
        address = self.hosts[receiver].address
        ip("-n", self._spaces[sender], "neigh", "replace", address, "lladdr", self.NOBODY, "dev", "eth0", "nud", "permanent")

    def separate(self, one, other):
        """Both directions."""
        self.lose(one, other)
        self.lose(other, one)

    def heal(self):
        """All directions work again."""
        for space in self._spaces:
            for host in self.hosts:
                ip("-n", space, "neigh", "del", host.address, "dev", "eth0", check=False)
