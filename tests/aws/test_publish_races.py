"""kill -9 inside publishing, and two servers on one date: no reader ever sees a mixed or an older state.

KPID_PUBLISH_KILLS and KPID_PUBLISH_RACES say how many (25 and 10; deep: 500 and 200), KPID_KILL_SEED repeats a series.
"""

import http.client
import os
import random
import threading
import time

import pytest

from support.auditor import Auditor, VersionedInput
from support.faults import Meanwhile
from support.paths import SLOWDOWN
from support.published import WRITES
from support.server import Server

KILLS = int(os.environ.get("KPID_PUBLISH_KILLS", "25"))
RACES = int(os.environ.get("KPID_PUBLISH_RACES", "10"))
SEED = int(os.environ.get("KPID_KILL_SEED", str(int(time.time()))))
DAY = "2023-01-15"
ANY_WRITE = "|".join(WRITES)


@pytest.fixture
def source(site):
    """Inputs that change; the program reads them without a proxy between."""
    site.extra["AWS_ENDPOINT_URL_S3"] = f"http://127.0.0.1:{site.s3.upstream_port}"
    return VersionedInput(site.bucket, DAY, random.Random(SEED)).prepare()


@pytest.fixture
def auditor(site, source):
    watching = Auditor(site.tables, source)
    watching.start()
    yield watching
    watching.stop()


def test_auditor_notices_mixed_and_older_states(site, source):
    site.server().run(DAY)
    source.change(rows=5)
    site.kpid("run", "--date", DAY, "--force")
    auditor = Auditor(site.tables, source)
    assert auditor.audit().version == 2 and auditor.violations == []
    site.tables.put("category", {"category": "x", "order_date": DAY, "daily_revenue": 1})
    auditor.audit()
    assert auditor.violations
    auditor.violations.clear()
    auditor.newest = 3
    site.kpid("run", "--date", DAY, "--force")
    auditor.audit()
    assert "version 2 after 3" in auditor.violations


def kill_inside_publish(site, server: Server, rng: random.Random) -> bool:
    """A run of the date whose server dies before or after a write took place; False: it had fewer writes."""
    died = threading.Event()

    def die():
        if not died.is_set():
            time.sleep(rng.choice([0, 0, rng.uniform(0, 0.01)]))
            server.kill()
            died.set()

    site.dynamodb.spoil(
        Meanwhile(die, after=rng.random() < 0.5), ANY_WRITE, skip=rng.choice([0, 0, 1, 2])
    )
    run = server.start_run(DAY, force=True)
    while not died.is_set() and not has_ended(server, run["id"]):
        time.sleep(0.002)
    site.dynamodb.heal()
    server.kill()
    return died.is_set()


def has_ended(server: Server, run_id: str) -> bool:
    """Whether the server says so; a dead one says nothing."""
    try:
        return server.get(f"/runs/{run_id}").json["terminal"]
    except (OSError, ValueError, http.client.HTTPException):
        return False


def settle(server: Server) -> list[dict]:
    """The runs once none is active."""
    while active := server.all_runs("&active=true"):
        server.finish(active[0]["id"])
    return server.all_runs()


@pytest.mark.timeout(120 + 10 * SLOWDOWN * KILLS)
def test_kill_inside_publish_leaves_no_mixed_and_no_older_state(site, source, auditor, tell):
    rng = random.Random(SEED + 1)
    server = site.server()
    faults: list[str] = []
    inside = 0
    while inside < KILLS:
        trial, wanted = inside, source.version
        if kill_inside_publish(site, server, rng):
            inside += 1
            if rng.random() < 0.5:
                source.change()
            wanted = source.version
        server.start()
        lost = [run["state"] for run in settle(server) if run["state"] != "succeeded"]
        faults += [f"trial {trial}: a run has {state}" for state in lost]
        seen = auditor.audit()
        if seen is None or seen.version != wanted:
            faults.append(f"trial {trial}: {seen and seen.version} instead of {wanted}")
        source.change()
    auditor.stop()
    faults += auditor.violations
    tell(
        f"kills inside publish: {inside} trials, {auditor.looks} careful looks, "
        f"{len(faults)} violations, seed {SEED}"
    )
    assert faults == []
    assert auditor.looks >= KILLS


@pytest.mark.timeout(120 + 20 * SLOWDOWN * RACES)
def test_two_servers_on_one_date_leave_no_mixed_and_no_older_state(site, source, auditor, tell):
    rng = random.Random(SEED + 2)
    servers = [site.server(db=site.folder / f"{name}.db") for name in ("first", "second")]
    site.dynamodb.spoil(Meanwhile(lambda: time.sleep(rng.uniform(0, 0.02))))
    faults, ends = [], {"succeeded": 0, "newer_run_published": 0}
    for trial in range(RACES):
        runs = []
        for server in rng.sample(servers, 2):
            runs.append((server, server.start_run(DAY, force=rng.random() < 0.5)["id"]))
            time.sleep(rng.choice([0, rng.uniform(0, 0.05)]))
            if rng.random() < 0.5:
                source.change()
        at_least = source.version - 2
        for server, run_id in runs:
            run = server.finish(run_id)
            end = run["error"]["code"] if run["error"] else run["state"]
            if end in ends:
                ends[end] += 1
            else:
                faults.append(f"trial {trial}: {end}: {run['error']}")
        seen = auditor.audit()
        if seen is None or seen.version < at_least:
            faults.append(f"trial {trial}: {seen and seen.version} is older than {at_least}")
        source.change()
    auditor.stop()
    faults += auditor.violations
    tell(
        f"two servers on one date: {RACES} trials, {auditor.looks} careful looks, {ends}, "
        f"{len(faults)} violations, seed {SEED}"
    )
    assert faults == []
