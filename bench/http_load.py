"""The HTTP side under load: kpid beside nginx and beside a server that syncs every request, driven by wrk in one run.

- GET /healthz and GET /runs/{id} against nginx (two workers, no access log) with files of the same bytes;
- POST /runs, accepted means committed, against one sync a request on the same disk; once as the disk is and once with
  every sync so much later on both sides (--sync-ms), as on a disk behind a network;
- the slowest of a hundred /healthz while a run uses every core, beside an idle service;
- threads, memory and delay of 500 streams and of 500 long polls.

Every round measures each side once, in turns; medians of the rounds. wrk has one thread and shares the cores with what it
measures. Run it by scripts/bench.
"""

import argparse
import os
import selectors
import socket
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from contender import cpu_seconds
from load_tools import PACED, POSTS, Load, LoadedServer, Nginx, SyncEach, status_of, wrk
from support.datasets import BASE_DATES, slow_source
from support.events import EventStream

OF_NGINX, TIMES_OF_ONE_SYNC = 0.5, 5
HEALTH_P99_MS, POLL_MS = 5, 50
WATCHERS, WATCHERS_MIB = 500, 20
DAY, NEXT_DAY = BASE_DATES
BUSY_COPIES = 1000  # of a part of the input: enough work for some seconds of every core


@dataclass(frozen=True)
class Figure:
    """A line of the table."""

    name: str
    measured: str
    wanted: str = ""
    reached: bool | None = None

    def __str__(self) -> str:
        verdict = {True: "ok", False: "NOT REACHED", None: ""}[self.reached]
        return f"{self.name:44} {self.measured:42} {self.wanted:16} {verdict}"


def middle(loads: list[Load], what: str = "rate") -> float:
    return statistics.median(getattr(load, what) for load in loads)


@contextmanager
def serving(*args, **settings: str) -> Iterator[LoadedServer]:
    server = LoadedServer(*args, **settings).start()
    try:
        yield server
    finally:
        server.kill()


# --- beside nginx --------------------------------------------------------------------------------


def beside_nginx(folder: Path, program: str, options) -> Iterator[Figure]:
    nginx = Nginx(folder / "nginx", program).start()
    try:
        with serving(folder / "get.db") as server:
            run = server.run(DAY)["id"]
            for name, path in {"GET /healthz": "/healthz", "GET /runs/{id}": f"/runs/{run}"}.items():
                body = server.get(path).body
                sides = {"kpid": server.url(path), "nginx": nginx.serve(path.rsplit("/", 1)[1], body)}
                loads: dict[str, list[Load]] = {side: [] for side in sides}
                for _ in range(options.rounds):
                    for side, url in sides.items():
                        loads[side].append(wrk(url, options.seconds))
                ratios = [a.rate / b.rate for a, b in zip(loads["kpid"], loads["nginx"], strict=True)]
                ratio = statistics.median(ratios)
                rates = f"{middle(loads['kpid']):,.0f} of {middle(loads['nginx']):,.0f}/s"
                yield Figure(f"{name}, {len(body)} bytes, of nginx", f"{ratio:.2f}  ({rates})",
                             f">= {OF_NGINX}", ratio >= OF_NGINX)  # fmt: skip
    finally:
        nginx.stop()


# --- durable POSTs -------------------------------------------------------------------------------


def durable_posts(folder: Path, options, sync_ms: int) -> Iterator[Figure]:
    """Fresh files in every round, and a second of posts: the queue takes no more than 10,000 runs."""
    slow = {}
    if sync_ms:
        slow = {"LD_PRELOAD": str(options.tools / "libbench_slow_sync.so"), "SLOW_SYNC_US": str(sync_ms * 1000)}
    loads: dict[str, list[Load]] = {"kpid": [], "one": [], "shared": []}
    for n in range(options.rounds):
        with serving(folder / f"post-{sync_ms}-{n}.db", **slow) as server:
            loads["kpid"].append(wrk(server.url("/runs"), 1, POSTS))
        for how in ("one", "shared"):
            with SyncEach(options.tools / "bench_sync_each", folder / "appended", how, **slow) as peer:
                loads[how].append(wrk(peer.url, 1, POSTS))
    ratios = [a.rate / b.rate for a, b in zip(loads["kpid"], loads["one"], strict=True)]
    ratio = statistics.median(ratios)
    later = f", a sync {sync_ms} ms later" if sync_ms else ""
    yield Figure(f"POST /runs, of one sync a request{later}",
                 f"{ratio:.2f}  ({middle(loads['kpid']):,.0f} of {middle(loads['one']):,.0f}/s)",
                 f">= {TIMES_OF_ONE_SYNC}", ratio >= TIMES_OF_ONE_SYNC)  # fmt: skip
    yield Figure("  p50, p99", f"{middle(loads['kpid'], 'p50_ms'):.1f}, {middle(loads['kpid'], 'p99_ms'):.1f} ms")
    yield Figure("  appended and synced side by side", f"{middle(loads['shared']):,.0f}/s")


# --- health beside a run that uses every core ----------------------------------------------------


def health_beside_a_run(folder: Path, options) -> Iterator[Figure]:
    source = slow_source(folder / "slow", BUSY_COPIES)
    seconds = options.seconds
    with serving(folder / "health.db", source, KPI_HEALTH_LISTEN="127.0.0.1:0") as server:
        urls = {"API port": server.url("/healthz"), "health port": f"http://{health_address(server)}/healthz"}
        for name, url in urls.items():
            idle, busy, cores = [], [], []
            for _ in range(options.rounds):
                idle.append(wrk(url, seconds, PACED, 1))
                run = server.start_run(DAY)["id"]
                while server.get(f"/runs/{run}").json["phase"] != "scanning":
                    time.sleep(0.01)
                before = cpu_seconds(server.process.pid)
                busy.append(wrk(url, seconds, PACED, 1))
                cores.append((cpu_seconds(server.process.pid) - before) / seconds)
                assert not server.get(f"/runs/{run}").json["terminal"], "the run was over too early"
                server.post(f"/runs/{run}/cancel")
                server.finish(run)
            p99 = middle(busy, "p99_ms")
            cpu = f"{statistics.median(cores):.2f} of {os.cpu_count()} cores in use"
            yield Figure(f"p99 of /healthz beside a run, {name}", f"{p99:.2f} ms  ({cpu})",
                         f"< {HEALTH_P99_MS} ms", p99 < HEALTH_P99_MS)  # fmt: skip
            yield Figure("  idle", f"{middle(idle, 'p99_ms'):.2f} ms")


def health_address(server: LoadedServer) -> str:
    """The address of the second listener, which the log names, perhaps only after the first has answered."""
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        for line in server.log.read_text().splitlines():
            if "server.health_listening" in line and line.endswith("}"):
                return line.split('"address":"')[1].split('"')[0]
        time.sleep(0.01)
    raise AssertionError("the log names no address of the health port")


# --- those who wait ------------------------------------------------------------------------------


def settle(server: LoadedServer) -> tuple[int, int]:
    """Threads, and KiB of memory, once every thread has served."""
    time.sleep(1.5)
    return status_of(server.process, "Threads"), status_of(server.process, "VmRSS")


def many(name: str, before: tuple[int, int], after: tuple[int, int]) -> Iterator[Figure]:
    grown = (after[1] - before[1]) / 1024
    yield Figure(f"{WATCHERS} {name}: threads more", str(after[0] - before[0]), "0", after[0] == before[0])
    yield Figure(f"{WATCHERS} {name}: memory more", f"{grown:.1f} MiB", f"< {WATCHERS_MIB} MiB", grown < WATCHERS_MIB)


def streams(folder: Path) -> Iterator[Figure]:
    with serving(folder / "streams.db") as server:
        for _ in range(20):
            server.run(NEXT_DAY)
        before = settle(server)
        open_streams = [EventStream(server, "/events") for _ in range(WATCHERS)]
        for stream in open_streams:
            stream.until("snapshot")
        server.run(DAY)
        for stream in open_streams:
            stream.until("run.succeeded")
        yield from many("streams", before, settle(server))
        for stream in open_streams:
            stream.close()


class Polls:
    """Long polls for one run, each on a socket of its own."""

    def __init__(self, server: LoadedServer, run: str, count: int):
        self.selector = selectors.DefaultSelector()
        for _ in range(count):
            connection = socket.create_connection(("127.0.0.1", server.port))
            connection.sendall(f"GET /runs/{run}?wait=50 HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            self.selector.register(connection, selectors.EVENT_READ)

    def answers(self) -> list[float]:
        """When each was answered, by the monotonic clock."""
        times = []
        while self.selector.get_map():
            ready = self.selector.select(30)
            assert ready, "a long poll was not answered"
            for key, _ in ready:
                data = key.fileobj.recv(65536)
                times.append(time.monotonic())
                assert data.startswith(b"HTTP/1.1 200 ") and b'"cancelled"' in data, data
                self.selector.unregister(key.fileobj)
                key.fileobj.close()
        return times


def delays(server: LoadedServer, count: int, rest_seconds: float) -> tuple[list[float], tuple[int, int]]:
    """Milliseconds from sending the cancel of a queued run to the answer of each long poll for it; and what they cost."""
    run = server.start_run(NEXT_DAY)["id"]
    polls = Polls(server, run, count)
    time.sleep(rest_seconds)
    cost = (status_of(server.process, "Threads"), status_of(server.process, "VmRSS"))
    began: list[float] = []

    def cancel() -> None:
        began.append(time.monotonic())
        assert server.post(f"/runs/{run}/cancel").status == 200

    canceller = threading.Thread(target=cancel)
    canceller.start()
    answered = polls.answers()
    canceller.join()
    return [(at - began[0]) * 1000 for at in answered], cost


def long_polls(folder: Path, options) -> Iterator[Figure]:
    """A run at work keeps the next one queued, and the cores busy."""
    source = slow_source(folder / "slower", 20 * BUSY_COPIES)
    with serving(folder / "polls.db", source, KPI_MAX_ACTIVE_RUNS="1") as server:
        blocker = server.start_run(DAY)["id"]
        alone = sorted(delays(server, 1, 0.05)[0][0] for _ in range(20 * options.rounds))
        before = settle(server)
        together, costs = [], []
        for _ in range(options.rounds):
            found, cost = delays(server, WATCHERS, 1.5)
            together += found
            costs.append(cost)
        assert server.get(f"/runs/{blocker}").json["state"] == "running", "nothing kept the runs queued"
    p99 = alone[len(alone) * 99 // 100]
    yield Figure("a long poll after the change: p50, p99", f"{statistics.median(alone):.1f}, {p99:.1f} ms",
                 f"<= {POLL_MS} ms", p99 <= POLL_MS)  # fmt: skip
    together.sort()
    p99 = together[len(together) * 99 // 100]
    yield Figure(f"{WATCHERS} long polls after the change: p50, p99", f"{statistics.median(together):.1f}, {p99:.1f} ms",
                 f"<= {POLL_MS} ms", p99 <= POLL_MS)  # fmt: skip
    yield from many("long polls", before, max(costs, key=lambda cost: cost[1]))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=4, help="of wrk for one figure of one round")
    parser.add_argument("--sync-ms", type=int, default=2, help="how much later a sync is in the second measurement of POSTs")
    parser.add_argument("--only", choices=["get", "post", "health", "streams", "polls"])
    parser.add_argument("--nginx", required=True)
    parser.add_argument("--tools", type=Path, required=True, help="the folder of bench_sync_each")
    options = parser.parse_args()
    options.tools = options.tools.resolve()
    parts = {
        "get": lambda folder: beside_nginx(folder, options.nginx, options),
        "post": lambda folder: [*durable_posts(folder, options, 0), *durable_posts(folder, options, options.sync_ms)],
        "health": lambda folder: health_beside_a_run(folder, options),
        "streams": streams,
        "polls": lambda folder: long_polls(folder, options),
    }
    figures = []
    with tempfile.TemporaryDirectory() as folder:
        os.environ["TMPDIR"] = folder
        for name, part in parts.items():
            for figure in part(Path(folder)) if options.only in (None, name) else ():
                print(figure, flush=True)
                figures.append(figure)
    missed = [figure for figure in figures if figure.reached is False]
    print(f"{len(figures) - len(missed)} of {len(figures)} as wanted, medians of {options.rounds} rounds")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
