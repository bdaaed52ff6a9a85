"""kill -9, two servers on one database, drain, broken databases and the memory limit.

KPID_KILLS says how many kills (15; deep: 200), KPID_KILL_SEED repeats a series.
"""

import contextlib
import http.client
import os
import random
import sqlite3
import threading
import time

import pytest

from support.cli import BUSY, CONFIG, kpid, source_url
from support.datasets import BASE, BASE_DATES, slow_source, write_source
from support.load import settled
from support.problems import assert_problem, problem_name
from support.server import TERMINAL, Server

KILLS = int(os.environ.get("KPID_KILLS", "15"))
SEED = int(os.environ.get("KPID_KILL_SEED", str(int(time.time()))))
DAY = BASE_DATES[0]
DATES = [f"2023-01-{day:02}" for day in range(1, 29)]


class Poster(threading.Thread):
    """Posts runs until the server is gone, and keeps what was accepted."""

    def __init__(self, server: Server, seed: int):
        super().__init__(daemon=True)
        self.server, self.rng = server, random.Random(seed)
        self.accepted: dict[str, str] = {}
        self.faults: list[str] = []

    def run(self):
        while True:
            date = self.rng.choice(DATES)
            try:
                reply = self.server.post(
                    "/runs", {"date": date, "labels": {"n": str(len(self.accepted))}}
                )
            except (OSError, http.client.HTTPException):
                return
            if reply.status in (200, 202):
                self.accepted[reply.json["id"]] = date
            elif reply.status not in (429, 503):
                self.faults.append(str(reply))


def killed_while_posting(
    server: Server, rng: random.Random
) -> tuple[dict[str, str], list[str]]:
    """Kills the server at a random instant; what it had accepted by then, and wrong answers."""
    posters = [Poster(server, rng.randrange(2**32)) for _ in range(4)]
    for poster in posters:
        poster.start()
    time.sleep(rng.uniform(0.005, 0.5))
    server.kill()
    for poster in posters:
        poster.join(20)
    accepted = {
        run: date for poster in posters for run, date in poster.accepted.items()
    }
    return accepted, [fault for poster in posters for fault in poster.faults]


def violations(runs: list[dict], accepted: dict[str, str]) -> list[str]:
    """Runs lost, stuck, doubled or wrongly ended."""
    by_id = {run["id"]: run for run in runs}
    found = [
        f"lost {run} of {date}" for run, date in accepted.items() if run not in by_id
    ]
    found += [
        f"changed date {run}"
        for run, date in accepted.items()
        if run in by_id and by_id[run]["date"] != date
    ]
    found += [
        f"stuck {run['id']} {run['state']}"
        for run in runs
        if run["state"] not in TERMINAL
    ]
    found += [
        f"failed {run['id']}: {run['error']}"
        for run in runs
        if run["state"] == "failed"
        and (run["error"] or {}).get("code") != "worker_lost"
    ]
    found += [f"doubled id {len(runs)} {len(by_id)}"] if len(runs) != len(by_id) else []
    return found


def result_violations(
    server: Server, runs: list[dict], expected: dict[str, list]
) -> list[str]:
    """Succeeded runs whose stored rows are missing, doubled or different."""
    found = []
    for run in runs:
        if run["state"] == "succeeded":
            rows = server.get(f"/runs/{run['id']}/results?kpi=orders").json["rows"]
            if rows != expected.setdefault(run["date"], rows) or len(rows) > 1:
                found.append(f"rows of {run['id']}: {rows}")
    return found


@pytest.fixture(scope="module")
def month(tmp_path_factory):
    """A month of small days."""
    orders = [f"{n},{n % 50},c,{DATES[n % 28]}" for n in range(20_000)]
    items = [
        f"{n},{n % 20_000},{n % 9},{n % 100}.5,returned,{DATES[n % 20_000 % 28]}"
        for n in range(60_000)
    ]
    return write_source(
        tmp_path_factory.mktemp("month"),
        orders,
        items,
        [f"{n},Cat {n % 4},x" for n in range(9)],
    )


@pytest.mark.timeout(120 + 20 * KILLS)
def test_kill_at_any_instant_loses_and_doubles_nothing(start_server, month, tell):
    rng = random.Random(SEED)
    server = start_server(month)
    accepted, faults, expected = {}, [], {}
    for trial in range(KILLS):
        more, wrong = killed_while_posting(server, rng)
        accepted |= more
        faults += [f"trial {trial}: {fault}" for fault in wrong]
        server.start()
        if trial % 5 == 4 or trial == KILLS - 1:
            runs = settled(server)
            faults += [
                f"trial {trial}: {fault}" for fault in violations(runs, accepted)
            ]
            faults += result_violations(server, runs[:100], expected)
    tell(
        f"kill -9: {KILLS} trials, {len(accepted)} accepted runs, {len(faults)} violations, KPID_KILL_SEED={SEED}"
    )
    assert not faults, faults[:20]
    assert accepted, "no run was accepted before any kill: the test showed nothing"


def test_killed_run_is_taken_up_again(start_server, tmp_path):
    server = start_server(slow_source(tmp_path / "in"))
    run = server.start_run(DAY)["id"]
    server.await_begin(f"/runs/{run}")
    server.kill()
    server.start()
    final = server.finish(run)
    assert final["state"] == "succeeded", final["error"]
    assert final["attempt"] == 2


def test_second_server_on_one_database_names_the_holder(start_server, tmp_path):
    first = start_server()
    result = kpid(
        "serve",
        env={
            "KPI_DB": str(first.db),
            "KPI_SOURCE": source_url(BASE),
            "KPI_LISTEN": "127.0.0.1:0",
        },
        timeout=20,
    )
    assert result.code == BUSY, result
    assert str(first.process.pid) in result.err
    assert first.run(DAY)["state"] == "succeeded"


@pytest.mark.parametrize("what", ["file", "folder"])
def test_second_server_through_a_link_names_the_holder(start_server, tmp_path, what):
    folder = tmp_path / "data"
    folder.mkdir()
    first = start_server(db=folder / "kpid.db")
    link = tmp_path / "link"
    link.symlink_to(folder / "kpid.db" if what == "file" else folder)
    path = link if what == "file" else link / "kpid.db"
    result = kpid("migrate", env={"KPI_DB": str(path)}, timeout=20)
    assert result.code == BUSY, result
    assert str(first.process.pid) in result.err
    assert not (tmp_path / "link.lock").exists()


def test_database_behind_a_link_to_nothing_is_made_there(start_server, tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "link.db").symlink_to("data/kpid.db")
    first = start_server(db=tmp_path / "link.db")
    assert first.run(DAY)["state"] == "succeeded"
    assert (tmp_path / "data" / "kpid.db").exists()
    assert (tmp_path / "data" / "kpid.db.lock").exists()
    second = kpid("migrate", env={"KPI_DB": str(tmp_path / "data" / "kpid.db")})
    assert second.code == BUSY, second


def test_links_in_a_circle_are_no_database(tmp_path):
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    result = kpid("migrate", env={"KPI_DB": str(tmp_path / "a")})
    assert result.code == CONFIG, result
    assert f"KPI_DB={tmp_path / 'a'}" in result.message


@pytest.mark.parametrize("command", [["run", "--date", DAY], ["migrate"]])
def test_other_commands_respect_the_lock_of_a_server(start_server, command):
    first = start_server()
    result = kpid(
        *command,
        env={"KPI_DB": str(first.db), "KPI_SOURCE": source_url(BASE)},
        timeout=20,
    )
    assert result.code == BUSY, result


def test_lock_of_a_killed_server_does_not_stay(start_server):
    first = start_server()
    first.kill()
    assert start_server(db=first.db).run(DAY)["state"] == "succeeded"


def test_term_drains_and_exits_with_zero(start_server):
    server = start_server()
    done = server.run(DAY)
    assert server.terminate() == 0
    server.start()
    again = server.get(f"/runs/{done['id']}").json
    assert again["state"] == "succeeded"
    assert again["summary"] == done["summary"]


def test_drain_hands_long_work_back_without_charge(start_server, tmp_path):
    server = start_server(
        slow_source(tmp_path / "in", 2000),
        KPI_DRAIN_SECONDS="0",
        KPI_MAX_ACTIVE_RUNS="1",
    )
    run = server.start_run(DAY)["id"]
    server.await_begin(f"/runs/{run}")
    started = time.monotonic()
    assert server.terminate() == 0
    assert time.monotonic() - started < 10
    server.start()
    resumed = server.get(f"/runs/{run}").json
    assert resumed["state"] in ("queued", "running", "succeeded")
    assert resumed["attempt"] <= 1


def test_draining_server_answers_waiters_and_refuses_new_runs(start_server, tmp_path):
    server = start_server(
        slow_source(tmp_path / "in"), KPI_DRAIN_SECONDS="20", KPI_MAX_ACTIVE_RUNS="1"
    )
    run = server.start_run(DAY)["id"]
    answers = []
    waiter = threading.Thread(
        target=lambda: answers.append(server.get(f"/runs/{run}?wait=50"))
    )
    waiter.start()
    time.sleep(0.3)
    server.process.terminate()
    waiter.join(10)
    assert answers and answers[0].status == 200
    with contextlib.suppress(OSError, http.client.HTTPException):
        reply = server.post("/runs", {"date": "2023-02-02"})
        assert_problem(reply, 503, "draining")
        assert server.get("/healthz").status == 503
    assert server.process.wait(40) == 0


def test_newer_database_is_refused_and_untouched(start_server, tmp_path):
    server = start_server()
    server.run(DAY)
    assert server.terminate() == 0
    with contextlib.closing(sqlite3.connect(server.db)) as db:
        db.execute("PRAGMA user_version = 9999")
        db.commit()
    before = server.db.read_bytes()
    result = kpid(
        "serve",
        env={
            "KPI_DB": str(server.db),
            "KPI_SOURCE": source_url(BASE),
            "KPI_LISTEN": "127.0.0.1:0",
        },
        timeout=20,
    )
    assert result.code == CONFIG, result
    assert "newer" in result.err
    assert server.db.read_bytes() == before


@pytest.mark.parametrize("damage", ["garbage", "header", "truncated"])
def test_corrupt_database_is_set_aside_and_kept(start_server, damage):
    server = start_server()
    server.run(DAY)
    assert server.terminate() == 0
    good = server.db.read_bytes()
    broken = {
        "garbage": b"this is no database at all\n" * 400,
        "header": b"\xff" * 100 + good[100:],
        "truncated": good[: len(good) // 2 + 100],
    }[damage]
    server.db.write_bytes(broken)
    server.start()
    assert server.run(DAY)["state"] == "succeeded"
    kept = [
        path
        for path in server.db.parent.iterdir()
        if path != server.db and path.is_file()
    ]
    assert broken in [path.read_bytes() for path in kept], [path.name for path in kept]


def test_run_beyond_the_memory_limit_fails_and_the_service_goes_on(
    start_server, tmp_path
):
    orders = (f"o{n:032},{n},c,{DAY}" for n in range(1_000_000))
    source = write_source(tmp_path / "in", orders, [], ["1,A,x"])
    server = start_server(source, KPI_MEMORY_LIMIT="64MiB")
    run = server.run(DAY)
    assert (run["state"], run["error"]["code"]) == ("failed", "out_of_memory"), run
    assert "KPI_MEMORY_LIMIT" in run["error"]["message"] + run["error"]["hint"]
    write_source(source, [f"1,1,c,{DAY}"], [], ["1,A,x"])
    assert server.run(DAY)["state"] == "succeeded"
    assert server.terminate() == 0


def test_stored_results_with_a_flipped_bit_are_not_served_as_good(start_server):
    server = start_server()
    run = server.run(DAY)["id"]
    assert server.terminate() == 0
    data = server.db.read_bytes()
    if b"Electronics" not in data:
        pytest.fail("no stored result found to damage")
    server.db.write_bytes(data.replace(b"Electronics", b"Electronicz"))
    server.start()
    reply = server.get(f"/runs/{run}/results?kpi=categories")
    assert reply.status != 200 or "Electronicz" not in reply.text, reply
    if reply.status != 200:
        problem_name(reply)
