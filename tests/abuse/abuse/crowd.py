"""Many connections at one time, held by few threads."""

import contextlib
import resource
import selectors
import socket
import time

# What the attacker leaves to itself and to the pod's user.
OTHER_FILES = 400
# Ports of one source address towards one port: Linux gives 28,000.
PER_SOURCE = 4000


def can_hold(wanted):
    """How many connections this process may hold."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(1, min(wanted, soft - OTHER_FILES))


def connect(port, source=2):
    """A connection from another address of the loopback network, so that attackers and user differ by it."""
    stream = socket.socket()
    stream.setsockopt(socket.IPPROTO_IP, getattr(socket, "IP_BIND_ADDRESS_NO_PORT", 24), 1)
    stream.bind((f"127.0.0.{source}", 0))
    stream.settimeout(5)
    try:
        stream.connect(("127.0.0.1", port))
    except OSError:
        stream.close()
        raise
    return stream


class Crowd:
    """Connections that are held until the attack ends."""

    def __init__(self):
        self.streams = []

    def __len__(self):
        return len(self.streams)

    def add(self, port, source=None, say=b""):
        """One more that says this, or as much of it as the pod takes at once; whether it was let in."""
        source = source or 2 + len(self.streams) // PER_SOURCE
        try:
            stream = connect(port, source)
        except OSError:
            return False
        stream.setblocking(False)
        self.streams.append(stream)
        if say:
            self.tell(stream, say)
        return True

    @staticmethod
    def tell(stream, data):
        """Says what the pod takes without waiting; how much."""
        sent = 0
        with contextlib.suppress(OSError):
            while sent < len(data):
                sent += stream.send(data[sent:])
        return sent

    def closed(self):
        """How many the pod has ended."""
        ended = 0
        with selectors.DefaultSelector() as selector:
            for stream in self.streams:
                selector.register(stream, selectors.EVENT_READ)
            for key, _ in selector.select(0):
                with contextlib.suppress(BlockingIOError):
                    try:
                        # What the pod answered first is read and dropped.
                        while key.fileobj.recv(65536):
                            pass
                        ended += 1
                    except ConnectionError:
                        ended += 1
        return ended

    def wait_closed(self, count, seconds):
        """Whether the pod ends so many in time."""
        deadline = time.monotonic() + seconds
        while self.closed() < count:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.1)
        return True

    def close(self):
        for stream in self.streams:
            stream.close()
        self.streams = []
