"""Clients that keep a server busy while something else is measured."""

import http.client
import os
import random
import threading
import time

from support.server import TERMINAL, Server

SEED = int(os.environ.get("KPID_LOAD_SEED", str(int(time.time()))))


def percentile(values: list[float], percent: float) -> float:
    """The smallest value that so many percent of them do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]


def settled(server: Server, timeout: float = 60) -> list[dict]:
    """All runs once none of them is active, or as they are when the time is over."""
    deadline = time.monotonic() + timeout
    while True:
        runs = server.all_runs()
        if all(run["state"] in TERMINAL for run in runs) or time.monotonic() > deadline:
            return runs
        time.sleep(0.05)


class Readers:
    """Threads that read one page after the other until the end of the with statement."""

    PAGES = ("/runs?limit=50", "/days", "/healthz", "/readyz", "/events", "/runs?active=true")

    def __init__(self, server: Server, count: int, seed: int):
        self.server = server
        self.answered = 0
        self.faults: list[str] = []
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._read, args=(random.Random(seed + n),), daemon=True) for n in range(count)
        ]

    def _read(self, rng: random.Random) -> None:
        try:
            self._read_on(rng)
        except (OSError, http.client.HTTPException) as fault:
            self.faults.append(f"a reader was cut off: {fault!r}")

    def _read_on(self, rng: random.Random) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=30)
        while not self._stop.is_set():
            page = rng.choice(self.PAGES)
            connection.request("GET", page, headers={"Accept": "application/json"})
            reply = connection.getresponse()
            body = reply.read()
            if reply.status not in (200, 406, 503):
                self.faults.append(f"{page}: {reply.status} {body[:200]!r}")
            self.answered += 1
        connection.close()

    def __enter__(self) -> "Readers":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(40)
