"""A run that is cancelled ends within two seconds, whatever it is doing and whoever else is served.

KPID_CANCELS says how many runs are cancelled (15; deep: 200), KPID_LOAD_SEED repeats their instants.
"""

import os
import random
import threading
import time
from collections import Counter
from dataclasses import dataclass

import pytest

from support.datasets import PHASED_DATES, phased_source
from support.load import SEED, Readers, percentile
from support.paths import SLOWDOWN
from support.server import TERMINAL, Server

CANCELS = int(os.environ.get("KPID_CANCELS", "15"))
PHASES = ("listing", "scanning", "aggregating", "checking", "publishing")
SECONDS = 2
TRIES = 30  # of meeting a phase that may be over before it is seen


@pytest.fixture(scope="module")
def phased_input(tmp_path_factory):
    return phased_source(tmp_path_factory.mktemp("phased"))


@dataclass(frozen=True)
class Trial:
    """One cancel: in which phase the run was, how long it took to end, and as what."""

    phase: str
    seconds: float
    run: dict


def watch(server: Server, run: str, aim: str) -> str | None:
    """Waits until the run is in the phase, or a later one; None when it has ended."""
    while True:
        found = server.get(f"/runs/{run}").json
        if found["state"] in TERMINAL:
            return None
        phase = found["phase"]
        if found["state"] == "running" and phase in PHASES and PHASES.index(phase) >= PHASES.index(aim):
            return phase


def seconds_between(server: Server, first: str, second: str) -> float:
    """How long a run takes from the one phase to the other."""
    run = server.start_run(PHASED_DATES[0])["id"]
    assert watch(server, run, first), "the phase was over before it was seen"
    began = time.monotonic()
    watch(server, run, second)
    spent = time.monotonic() - began
    server.finish(run)
    return spent


class Lane(threading.Thread):
    """Starts runs and cancels each in the phase that is due."""

    def __init__(self, server: Server, day: str, phases: list[str], checking_after: float, rng: random.Random):
        super().__init__(daemon=True)
        self.server, self.day, self.phases, self.rng = server, day, phases, rng
        self.checking_after = checking_after
        self.trials: list[Trial] = []
        self.faults: list[str] = []

    def run(self) -> None:
        for phase in self.phases:
            if not any(self.cancel_one(phase) for _ in range(TRIES)):
                self.faults.append(f"{phase} was not met in {TRIES} tries")

    def cancel_one(self, aim: str) -> bool:
        """False when the run was over, or past the phase, before it could be cancelled."""
        run = self.server.start_run(self.day, publish=self.rng.random() < 0.9)["id"]
        if not watch(self.server, run, "aggregating" if aim == "checking" else aim):
            return False
        # Checking takes a millisecond or two: it is met by the clock, or not at all. Elsewhere: anywhere in the phase.
        time.sleep(self.checking_after * self.rng.uniform(0.8, 1.1) if aim == "checking" else self.rng.uniform(0, 0.05))
        phase = watch(self.server, run, aim if aim != "checking" else "aggregating")
        began = time.monotonic()
        reply = self.server.post(f"/runs/{run}/cancel")
        if not phase or reply.status == 409:
            return False
        ended = self.server.finish(run)
        seconds = time.monotonic() - began
        if reply.status not in (200, 202) or ended["state"] not in ("cancelled", "succeeded"):
            self.faults.append(f"{phase}: {reply.status}, then {ended['state']} {ended['error']}")
        self.trials.append(Trial(phase, seconds, ended))
        return aim in (phase, "checking")


@pytest.mark.timeout(120 + 10 * CANCELS * SLOWDOWN)
def test_cancelled_run_ends_within_two_seconds_in_every_phase(start_server, phased_input, tell):
    rng = random.Random(SEED)
    server = start_server(phased_input, KPI_MAX_ACTIVE_RUNS="2")
    checking_after = seconds_between(server, "aggregating", "publishing")
    aims = [PHASES[n % len(PHASES)] for n in range(CANCELS)]
    rng.shuffle(aims)
    lanes = [  # three runs at a time, of which two may be at work
        Lane(server, day, aims[n :: len(PHASED_DATES)], checking_after, random.Random(rng.random()))
        for n, day in enumerate(PHASED_DATES)
    ]
    with Readers(server, 4, SEED) as readers:
        for lane in lanes:
            lane.start()
        for lane in lanes:
            lane.join()
    trials = [trial for lane in lanes for trial in lane.trials]
    seconds = [trial.seconds for trial in trials]
    faults = [fault for lane in lanes for fault in lane.faults] + readers.faults
    faults += [f"stuck: {run['id']} {run['state']}" for run in server.all_runs("&active=true")]
    p99 = percentile(seconds, 99)
    met = Counter(trial.phase for trial in trials)
    ends = Counter(trial.run["state"] for trial in trials)
    tell(
        f"cancel: {len(trials)} trials, {len(faults)} violations, p50 {percentile(seconds, 50) * 1000:.0f} ms,"
        f" p99 {p99 * 1000:.0f} ms, slowest {max(seconds) * 1000:.0f} ms; in {dict(met)}; ended {dict(ends)};"
        f" {readers.answered} pages read meanwhile, KPID_LOAD_SEED={SEED}"
    )
    assert not faults, faults[:20]
    # Of a few trials it is the slowest one, which a busy machine decides.
    assert p99 <= (SECONDS if len(trials) >= 100 else 3 * SECONDS) * SLOWDOWN
    assert readers.answered > CANCELS, "nothing else was served: there was no load"
    assert set(met) >= set(PHASES) - {"checking"}, f"not every phase was met: {met}"
