"""SIGTERM again and again while clients post, poll and watch: what was begun is answered, what was accepted is done, at no charge."""

import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from support.caller import Caller
from support.events import EventStream
from support.load import SEED, settled
from support.paths import SLOWDOWN
from support.server import Server

DATES = [f"2023-01-{day:02}" for day in range(1, 29)]
CALLERS, STREAMS = 6, 3
DRAIN_SECONDS = ("0", "1", "20")


@dataclass
class DrainSeries:
    """What clients were told over all trials, and what was wrong."""

    trials: int
    accepted: dict[str, str] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    told: Counter = field(default_factory=Counter)

    def run(self, server: Server, say: Callable[[str], None]) -> None:
        """The server runs before and after; what has come of it is said and asserted."""
        rng = random.Random(SEED)
        for trial in range(self.trials):
            callers, wrong = drained_while_calling(server, rng)
            begun = begun_requests(server)
            for caller in callers:
                self.accepted |= caller.accepted
                self.told.update(str(sent.status or "not begun") for sent in caller.sent)
                wrong += [f"begun and not answered: {begun[sent.request_id]}" for sent in caller.sent
                          if sent.status is None and sent.request_id in begun]  # fmt: skip
            server.settings["KPI_DRAIN_SECONDS"] = rng.choice(DRAIN_SECONDS)
            server.start()
            if trial % 5 == 4 or trial == self.trials - 1:
                wrong += broken_promises(settled(server, 120 * SLOWDOWN), self.accepted)
            self.faults += [f"trial {trial}: {fault}" for fault in wrong]
        say(
            f"SIGTERM: {self.trials} trials, {len(self.accepted)} accepted runs, {len(self.faults)} violations;"
            f" answers {dict(self.told)}, KPID_LOAD_SEED={SEED}"
        )
        assert not self.faults, self.faults[:20]
        assert self.accepted, "no run was accepted before any signal: the test showed nothing"
        assert not set(self.told) - {"200", "202", "409", "503", "not begun"}, self.told


def drained_while_calling(server: Server, rng: random.Random) -> tuple[list[Caller], list[str]]:
    """Sends SIGTERM at a random instant; what the clients have seen, and what was wrong."""
    callers = [Caller(server, DATES, rng.randrange(2**32)) for _ in range(CALLERS)]
    streams = [EventStream(server, "/events") for _ in range(STREAMS)]
    for caller in callers:
        caller.start()
    time.sleep(rng.uniform(0.02, 1))
    server.process.send_signal(signal.SIGTERM)
    code = server.process.wait(40 + 10 * SLOWDOWN)
    faults = [f"exit code {code}: {server.errors[-5:]}"] if code else []
    for caller in callers:
        caller.join(60)
        faults += [f"{fault} to {caller.name}" for fault in caller.faults]
        faults += [f"{caller.name} hangs"] if caller.is_alive() else []
    for stream in streams:
        try:
            last = stream.rest(10)[-1].name
        except (AssertionError, OSError) as fault:
            last = repr(fault)
        faults += [f"a stream ended with {last}"] if last != "server.draining" else []
        stream.close()
    return callers, faults


def begun_requests(server: Server) -> dict[str, dict]:
    """The log lines of all requests that the server has begun, by their ids; the process has ended."""
    deadline = time.monotonic() + 10
    while not any(line["event"] == "server.stopped" for line in server.logs[-5:]):
        assert time.monotonic() < deadline, server.logs[-5:]
        time.sleep(0.01)
    return {line.get("request_id"): line for line in server.logs if line["event"] == "http.request"}


def broken_promises(runs: list[dict], accepted: dict[str, str]) -> list[str]:
    by_id = {run["id"]: run for run in runs}
    lost = [f"lost {run} of {date}" for run, date in accepted.items() if run not in by_id]
    failed = [f"{run['id']} is {run['state']}: {run['error']}" for run in runs if run["state"] != "succeeded"]
    charged = [f"{run['id']} was charged {run['attempt']} attempts" for run in runs if run["attempt"] != 1]
    return lost + failed + charged
