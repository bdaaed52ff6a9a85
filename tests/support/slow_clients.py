"""Clients that hold connections and take their time: `python -m support.slow_clients PORT COUNT SEED` until its input ends.

A process of its own, so that what they cost is not taken for the server's delay. Prints what they have met as JSON.
"""

import heapq
import json
import random
import resource
import selectors
import socket
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

HEAD = b"GET /version HTTP/1.1\r\nHost: slow\r\nX-Filler: "
POST = b"POST /runs HTTP/1.1\r\nHost: slow\r\nContent-Type: application/json\r\nContent-Length: 60000\r\n\r\n"
WHOLE = b"GET /version HTTP/1.1\r\nHost: slow\r\n\r\n"
LARGE = b"GET /openapi.yaml HTTP/1.1\r\nHost: slow\r\n\r\n"
# What is sent first, and every so many seconds afterwards.
KINDS = {
    "silent": (b"", None),
    "half a head": (HEAD, None),
    "head in bytes": (HEAD, 1.0),
    "half a body": (POST + b"{" + b" " * 1000, None),
    "body in bytes": (POST, 1.0),
    "kept and idle": (WHOLE, None),
    "asking, never reading": (LARGE * 20, None),
}
UNREAD_BYTES = 4096


class Client:
    """One connection after the other: who is cut off comes again as another kind."""

    def __init__(self, crowd: "Crowd"):
        self.crowd = crowd
        self.connect()

    def connect(self) -> None:
        self.kind = self.crowd.rng.choice(list(KINDS))
        self.first, self.pause = KINDS[self.kind]
        self.socket = socket.socket()
        self.socket.setblocking(False)
        if self.kind == "asking, never reading":
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, UNREAD_BYTES)
        self.socket.connect_ex(("127.0.0.1", self.crowd.port))
        self.crowd.selector.register(self.socket, selectors.EVENT_WRITE, self)
        self.crowd.met["connections"] += 1

    def on_ready(self, events: int) -> None:
        try:
            if events & selectors.EVENT_WRITE:
                self.begin()
            elif not self.socket.recv(65536):
                self.again("closed by the server")
        except BlockingIOError:
            pass
        except OSError:
            self.again("reset by the server")

    def begin(self) -> None:
        """Connected: sends what comes first, and from then on reads, unless it is of the kind that never does."""
        if self.first:
            self.socket.send(self.first)
        self.crowd.met[self.kind] += 1
        if self.kind == "asking, never reading":
            self.crowd.selector.unregister(self.socket)
        else:
            self.crowd.selector.modify(self.socket, selectors.EVENT_READ, self)
        self.crowd.later(self, self.pause or 5)

    def on_time(self) -> None:
        try:
            if self.pause:
                self.socket.send(b"a")
            elif self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                raise OSError
        except BlockingIOError:
            pass
        except OSError:
            self.again("reset by the server")
            return
        self.crowd.later(self, self.pause or 5)

    def again(self, why: str) -> None:
        self.crowd.met[why] += 1
        if self.socket in self.crowd.selector.get_map():
            self.crowd.selector.unregister(self.socket)
        self.socket.close()
        self.connect()


class Crowd:
    """All of them, in one thread."""

    def __init__(self, port: int, count: int, seed: int):
        self.port, self.rng = port, random.Random(seed)
        self.selector = selectors.DefaultSelector()
        self.met: Counter = Counter()
        self.due: list[tuple[float, int, Client, socket.socket]] = []
        self.number = 0
        self.clients = [Client(self) for _ in range(count)]

    def later(self, client: Client, seconds: float) -> None:
        self.number += 1
        at = time.monotonic() + seconds * self.rng.uniform(0.2, 1)
        heapq.heappush(self.due, (at, self.number, client, client.socket))

    def run_until_input_ends(self) -> None:
        self.selector.register(sys.stdin.buffer, selectors.EVENT_READ, None)
        while True:
            wait = max(0, self.due[0][0] - time.monotonic()) if self.due else 1
            for key, events in self.selector.select(wait):
                if key.data is None:
                    return
                key.data.on_ready(events)
            while self.due and self.due[0][0] <= time.monotonic():
                _, _, client, connection = heapq.heappop(self.due)
                if client.socket is connection:  # and not another one by now
                    client.on_time()


class SlowClients:
    """The process, for a with statement."""

    def __init__(self, port: int, count: int, seed: int):
        self.process = subprocess.Popen(
            [sys.executable, "-m", "support.slow_clients", str(port), str(count), str(seed)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=Path(__file__).parent.parent,
        )
        self.met: dict[str, int] = {}

    def hang_up(self) -> None:
        """Tells all of them to close their connections, now."""
        self.process.stdin.close()

    def stop(self) -> None:
        """Waits until all have hung up, and reads what they have met."""
        self.met = json.loads(self.process.stdout.read())
        self.process.wait(30)

    def __enter__(self) -> "SlowClients":
        return self

    def __exit__(self, *_) -> None:
        self.process.kill()
        self.process.wait(10)
        self.process.stdin.close()
        self.process.stdout.close()


def main() -> None:
    port, count, seed = map(int, sys.argv[1:])
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
    crowd = Crowd(port, count, seed)
    crowd.run_until_input_ends()
    for client in crowd.clients:
        client.socket.close()
    json.dump(crowd.met, sys.stdout)


if __name__ == "__main__":
    main()
