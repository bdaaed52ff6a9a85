"""Requests in any order: every run moves as the contract allows, and every answer says what has happened.

One server, random requests (Hypothesis), and a model of what may be: the runs work on meanwhile, so it knows ranges, not
moments. KPID_STATE_EXAMPLES says how many sequences (80; deep: 1,000), KPID_STATE_SEED repeats them.
"""

import os
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import hypothesis
import pytest
from hypothesis import HealthCheck
from hypothesis import strategies as st
from hypothesis.configuration import set_hypothesis_home_dir
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from support.datasets import slow_source
from support.load import settled
from support.problems import problem_name
from support.server import TERMINAL, Reply, Server

EXAMPLES = int(os.environ.get("KPID_STATE_EXAMPLES", "80"))
SEED = int(os.environ.get("KPID_STATE_SEED", str(int(time.time()))))
STEPS = 25
ANY_RUN = st.integers(0, 9)
ON_ACTIVE = st.sampled_from(["attach", "attach", "reject", "supersede"])
ON_FINISHED = st.sampled_from(["new", "new", "attach", "retry_failed", "if_changed", "reject"])
DATES = ("2023-01-15", "2023-01-16", "2023-01-17")
ACTIVE = ("queued", "running", "retry_wait", "cancelling")
ENDED_BADLY = ("failed", "cancelled")
MOVES = {
    None: {"queued"},
    "queued": {"running", "cancelled", "failed"},
    "running": {"succeeded", "failed", "retry_wait", "cancelling", "queued"},
    "retry_wait": {"queued", "cancelled"},
    "cancelling": {"cancelled", "succeeded", "failed"},
    "failed": {"queued"},
    "cancelled": {"queued"},
    "succeeded": set(),
}


def reachable(state: str) -> set[str]:
    """The states that a run may be in a moment later without a request: what the service does by itself."""
    own = {
        "queued": {"running"},
        "running": {"succeeded", "failed", "retry_wait", "queued"},
        "retry_wait": {"queued"},
        "cancelling": {"cancelled", "succeeded", "failed"},
    }
    found, new = {state}, {state}
    while new:
        new = {after for before in new for after in own.get(before, ())} - found
        found |= new
    return found


@dataclass
class Key:
    """What an idempotency key stands for."""

    date: str
    publish: bool
    run: str


class Runs(RuleBasedStateMachine):
    """The requests, and what is known of their outcome."""

    server: Server
    source: Path
    answers: Counter
    examples = 0

    def __init__(self):
        super().__init__()
        type(self).examples += 1
        self.ids: list[str] = []
        self.keys: dict[str, Key] = {}

    # --- helpers ---

    def runs_of(self, date: str) -> dict[str, dict]:
        return {run["id"]: run for run in self.server.all_runs(f"&date={date}")}

    def note(self, what: str, reply: Reply, allowed: set[str]) -> str:
        """The outcome, which must be one of those allowed: a disposition or state, or the name of a problem."""
        if reply.status >= 400:
            outcome = problem_name(reply)
        else:
            outcome = reply.json.get("disposition", reply.json["state"])
        self.answers[f"{what} {outcome}"] += 1
        assert outcome in allowed, f"{what}: {outcome} is none of {allowed}: {reply}"
        return outcome

    def pick(self, nth: int) -> str | None:
        """One of the runs so far. What is drawn must not depend on how quick the service is, so it is a number."""
        return self.ids[nth % len(self.ids)] if self.ids else None

    # --- rules ---

    @initialize()
    def begin(self):
        self.mend_source()

    @rule(
        date=st.sampled_from(DATES),
        publish=st.booleans(),
        on_active=ON_ACTIVE,
        on_finished=ON_FINISHED,
        key=st.sampled_from([None, None, "a", "b", "c"]),
        attempts=st.integers(1, 2),
    )
    def post(self, date, publish, on_active, on_finished, key, attempts):
        self.submit(date, publish, on_active, on_finished, key, attempts)

    @rule(date=st.sampled_from(DATES), on_active=ON_ACTIVE, on_finished=ON_FINISHED)
    def meet_a_run_at_work(self, date, on_active, on_finished):
        self.submit(date, True, "attach", "new", None, 1)
        until = time.monotonic() + 1
        while "running" not in {run["state"] for run in self.runs_of(date).values()} and time.monotonic() < until:
            pass
        self.submit(date, True, on_active, on_finished, None, 1)

    def submit(self, date, publish, on_active, on_finished, key, attempts):
        fields = {"date": date, "publish": publish, "on_active": on_active, "on_finished": on_finished,
                  "max_attempts": attempts}  # fmt: skip
        headers = {}
        if key is not None:
            key = headers["Idempotency_Key"] = f"{SEED}-{self.examples}-{key}"
        before = self.runs_of(date)
        reply = self.server.post("/runs", fields, **headers)
        outcome = self.note("post", reply, self.allowed(fields, self.keys.get(key), before))
        if reply.status < 400:
            self.check_submitted(fields, outcome, reply, before)
            self.keys.setdefault(key, Key(date, publish, reply.json["id"]))
            self.keys.pop(None, None)

    def allowed(self, fields: dict, key: Key | None, before: dict[str, dict]) -> set[str]:
        """What may come of a POST, by what was there before it."""
        if key and (key.date, key.publish) != (fields["date"], fields["publish"]):
            return {"idempotency-key-reused"}
        if key:
            retried = fields["on_finished"] == "retry_failed" and reachable(before[key.run]["state"]) & set(ENDED_BADLY)
            # Another run of the date may be active meanwhile.
            return {"replayed"} | ({"retried", "run-already-active"} if retried else set())
        active = [run for run in before.values() if run["publish"] and run["state"] in ACTIVE] if fields["publish"] else []
        may = set()
        if active:
            may |= {
                "attach": {"attached", "run-already-active"} if "cancelling" in reachable(active[0]["state"]) else {"attached"},
                "reject": {"run-already-active"},
                "supersede": {"superseded", "run-already-active"},
            }[fields["on_active"]]
        if not active or reachable(active[0]["state"]) & set(TERMINAL):
            same = [run for run in before.values() if run["publish"] == fields["publish"]]
            may |= {
                "new": {"created"},
                "attach": {"attached"} if same else {"created"},
                "reject": {"run-already-finished"} if same else {"created"},
                "retry_failed": {"attached", "retried"} if same else {"created"},
                "if_changed": {"created", "unchanged"} if same else {"created"},
            }[fields["on_finished"]]
            if any(run["state"] in ACTIVE for run in same):  # and perhaps none of them has ended yet
                may.add("created")
        return may

    def check_submitted(self, fields: dict, outcome: str, reply: Reply, before: dict[str, dict]) -> None:
        run = reply.json
        is_new = run["id"] not in before
        assert is_new is (outcome in ("created", "superseded")), (outcome, run["id"])
        assert reply.status == (202 if outcome in ("created", "retried", "superseded") and not run["terminal"] else 200)
        assert (run["date"], run["publish"]) == (fields["date"], fields["publish"])
        assert ("idempotency-replayed" in reply.headers) is (outcome == "replayed")
        if is_new:
            assert run["attempt"] <= 1
            assert all(run["id"] > known for known in before)
            self.ids.append(run["id"])
        if outcome == "unchanged":
            assert run["state"] == "succeeded"
        if outcome == "attached" and fields["on_active"] == "supersede":
            was_active = before[run["id"]]["state"] in ("queued", "running", "retry_wait")
            assert not (was_active and run["cancel_requested_at"]), f"attached to the run that it has cancelled: {reply}"
        if outcome == "superseded":
            others = [known for known in self.runs_of(fields["date"]).values()
                      if known["id"] in before and known["publish"] and before[known["id"]]["state"] in ACTIVE]  # fmt: skip
            assert all(known["terminal"] for known in others), others

    @rule(nth=ANY_RUN)
    def cancel(self, nth):
        if not (run := self.pick(nth)):
            return
        before = self.server.get(f"/runs/{run}").json["state"]
        reply = self.server.post(f"/runs/{run}/cancel")
        states = reachable(before)
        allowed = set()
        if states & {"queued", "retry_wait", "cancelled"}:
            allowed.add("cancelled")
        if states & {"running", "cancelling"}:
            allowed.add("cancelling")
        if states & {"succeeded", "failed"}:
            allowed.add("run-already-finished")
        outcome = self.note("cancel", reply, allowed)
        assert reply.status == {"cancelled": 200, "cancelling": 202, "run-already-finished": 409}[outcome]

    @rule(nth=ANY_RUN, start=st.sampled_from(["start", "start", "publish"]), match=st.sampled_from([None, None, "now", "stale"]))
    def retry(self, nth, start, match):
        if not (run := self.pick(nth)):
            return
        seen = self.server.get(f"/runs/{run}")
        headers = {}
        if match:
            headers["If_Match"] = seen.headers["etag"] if match == "now" else '"stale"'
        reply = self.server.post(f"/runs/{run}/retry", {"from": start}, **headers)
        allowed = set()
        if match != "stale":
            states = reachable(seen.json["state"])
            if states & set(ENDED_BADLY):
                allowed |= {"queued", "running", "run-already-active"}  # another one of its date may be active
                allowed |= {"results-not-ready"} if start == "publish" else set()
            if states & set(ACTIVE):
                allowed.add("run-already-active")
            if "succeeded" in states:
                allowed.add("run-already-finished")
        if match == "stale" or (match and seen.json["state"] not in TERMINAL):
            allowed.add("precondition-failed")
        outcome = self.note("retry", reply, allowed)
        if outcome in ("queued", "running"):
            assert (reply.status, reply.json["id"]) == (202, run)
            assert reply.json["error"] is None

    @rule()
    def break_source(self):
        if self.source.exists():
            self.source.rename(self.source.with_name("away"))

    @rule()
    def mend_source(self):
        if not self.source.exists():
            self.source.with_name("away").rename(self.source)

    @rule(nth=ANY_RUN)
    def wait(self, nth):
        if not (run := self.pick(nth)):
            return
        before = self.server.get(f"/runs/{run}").json["state"]
        self.note("wait", self.server.get(f"/runs/{run}?wait=1"), reachable(before))

    @rule()
    def restart(self):
        assert self.server.terminate() == 0
        self.server.start()

    # --- what always holds ---

    @invariant()
    def one_publishing_run_a_date_is_active(self):
        active = Counter(run["date"] for run in self.server.all_runs("&active=true") if run["publish"])
        assert not active or max(active.values()) == 1, active

    @invariant()
    def keys_stand_for_their_runs(self):
        for name, key in self.keys.items():
            runs = self.server.all_runs(f"&idempotency_key={name}")
            assert [run["id"] for run in runs] in ([key.run], []), name  # one that was attached has the key of another

    def teardown(self):
        self.mend_source()
        for run in self.ids:
            self.server.post(f"/runs/{run}/cancel")
        settled(self.server)
        for run in self.ids:
            check_history(self.server, run)


def check_history(server: Server, run: str) -> None:
    """The events of a run are a path of allowed moves that ends in what it is; attempts are counted once each."""
    page = server.get(f"/runs/{run}/events?limit=200", Accept="application/json").json
    events, found = page["events"], server.get(f"/runs/{run}").json
    assert page["next_cursor"] is None
    before, attempt = None, 0
    for event in events:
        state = event["state"]
        assert state in MOVES[before], f"{run}: from {before} to {state}: {events}"
        if state == "running":
            attempt += 1
        if state == "queued" and before == "running":  # handed back, at no charge
            attempt -= 1
        assert event["attempt"] == attempt, events
        before = state
    assert [event["seq"] for event in events] == sorted({event["seq"] for event in events})
    assert found["state"] == before, (found, events)
    assert found["terminal"] is (before in TERMINAL)
    assert found["attempt"] == attempt, (found, events)
    assert bool(found["finished_at"]) is found["terminal"]
    assert found["error"] or before != "failed", found
    assert not found["error"] or before in ENDED_BADLY, found  # who is cancelled while it waits has failed before


@pytest.mark.timeout(120 + 20 * EXAMPLES)
def test_any_order_of_requests_keeps_to_the_state_machine(start_server, tmp_path, tell):
    set_hypothesis_home_dir(tmp_path / "hypothesis")
    source = slow_source(tmp_path / "in", 40)

    class Machine(Runs):
        server = start_server(source, KPI_MAX_ACTIVE_RUNS="2", KPI_DRAIN_SECONDS="0")

    Machine.source, Machine.answers = source, Counter()
    tell(f"state machine: KPID_STATE_SEED={SEED}")
    settings = hypothesis.settings(
        max_examples=EXAMPLES, stateful_step_count=STEPS, deadline=None, database=None, print_blob=False,
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    run_state_machine_as_test(hypothesis.seed(SEED)(Machine), settings=settings)
    tell(f"{Machine.examples} sequences, 0 violations; {dict(sorted(Machine.answers.items()))}")
    met = {answer.split()[1] for answer in Machine.answers if answer.startswith("post ")}
    assert met >= {"created", "attached"}, met  # which of the others come is a matter of the seed
