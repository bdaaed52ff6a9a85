"""Days that are queued together are computed in one pass over the data; each keeps its own run and its own end."""

import time
from datetime import date, timedelta
from itertools import pairwise
from pathlib import Path

import pytest

from support.datasets import slow_source, write_source
from support.server import Server

FIRST = date(2024, 1, 1)
DAYS = 30
QUIET_SECONDS = 0.1  # after which days that were posted one by one are begun


def day(n: int) -> str:
    return str(FIRST + timedelta(days=n))


def write_days(folder: Path, days: int = DAYS) -> Path:
    """One order of two items a day."""
    write_source(
        folder,
        (f"{n},{n},completed,{day(n)}" for n in range(days)),
        (f"{n * 2 + i},{n},{i},{n + i}.50,shipped,{day(n)}" for n in range(days) for i in range(2)),
        (f"{n},Category {n},x" for n in range(2)),
    )
    return folder


def published_days(server: Server) -> list[str]:
    reply = server.get(f"/kpis/orders?from={day(0)}&to={day(DAYS - 1)}&limit=200")
    assert reply.status == 200, reply
    return [row["order_date"] for row in reply.json["rows"]]


def busy(slow_input, start_server, **settings) -> tuple[Server, dict]:
    """A server with a run at work that takes seconds: what is posted now is queued together."""
    server = start_server(slow_input, KPI_MAX_ACTIVE_RUNS="1", **settings)
    first = server.start_run("2023-01-15")
    await_phase(server, first["id"], "scanning")
    return server, first


def test_days_posted_one_by_one_cost_two_scans_at_most(start_server, tmp_path):
    server = start_server(write_days(tmp_path / "in"))
    ids, times = [], []
    for n in range(DAYS):
        ids.append(server.start_run(day(n))["id"])
        times.append(time.monotonic())
    runs = [server.finish(run_id) for run_id in ids]
    assert {run["state"] for run in runs} == {"succeeded"}
    pauses = sum(after - before > QUIET_SECONDS / 2 for before, after in pairwise(times))  # of a machine that is busy
    assert server.scans() <= 2 + pauses
    assert [run["summary"]["total_revenue"] for run in runs] == [2 * n + 2 for n in range(DAYS)]
    assert published_days(server) == [day(n) for n in range(DAYS)]


def test_each_day_has_its_own_error_and_only_that(start_server, tmp_path):
    write_days(tmp_path / "in", 10)
    with (tmp_path / "in" / "order_items" / "a.csv").open("a", encoding="utf-8") as items:
        items.write(f"999,4,1,NaN,shipped,{day(4)}\n")
    server = start_server(tmp_path / "in")
    runs = [server.finish(run["id"]) for run in [server.start_run(day(n)) for n in range(10)]]
    assert [run["state"] for run in runs] == ["failed" if n == 4 else "succeeded" for n in range(10)]
    assert runs[4]["error"]["code"] == "value_unparsable"
    assert published_days(server) == [day(n) for n in range(10) if n != 4]


def test_runs_of_other_rules_are_computed_apart(slow_input, start_server):
    server, first = busy(slow_input, start_server)
    skip = [server.start_run(day(n), bad_rows="skip", publish=False)["id"] for n in range(3)]
    fail = [server.start_run(day(n + 3), publish=False)["id"] for n in range(3)]
    assert server.finish(first["id"])["state"] == "succeeded"
    for run_id in skip + fail:
        assert server.finish(run_id)["state"] == "succeeded"
    assert [line["runs"] for line in server.logs if line["event"] == "scan.finished"] == [3, 3]


def test_a_run_of_a_scan_is_cancelled_at_once_and_the_others_go_on(slow_input, start_server):
    server, first = busy(slow_input, start_server)
    ids = [server.start_run(day(n), publish=False)["id"] for n in range(4)]
    server.finish(first["id"])
    await_phase(server, ids[0], "scanning")
    began = time.monotonic()
    assert server.post(f"/runs/{ids[1]}/cancel").status == 202
    assert server.finish(ids[1])["state"] == "cancelled"
    assert time.monotonic() - began < 2
    assert server.get(f"/runs/{ids[0]}").json["state"] == "running"
    assert [server.finish(run_id)["state"] for run_id in ids] == ["succeeded", "cancelled", "succeeded", "succeeded"]


def test_a_scan_that_nobody_waits_for_is_stopped(slow_input, start_server):
    server, first = busy(slow_input, start_server)
    ids = [server.start_run(day(n), publish=False)["id"] for n in range(2)]
    server.finish(first["id"])
    await_phase(server, ids[0], "scanning")
    for run_id in ids:
        server.post(f"/runs/{run_id}/cancel")
    for run_id in ids:
        assert server.finish(run_id)["state"] == "cancelled"
    run = server.run(day(0), publish=False)  # the slot is free at once
    assert run["state"] == "succeeded"
    last = [line for line in server.logs if line["event"] == "scan.finished"][-1]
    assert last["code"] == "cancelled"


def test_a_run_of_a_scan_has_a_time_limit_of_its_own(start_server, tmp_path):
    server, first = busy(slow_source(tmp_path / "in", 4000), start_server, KPI_THREADS="1")
    server.post(f"/runs/{first['id']}/cancel")
    short = server.start_run(day(0), publish=False, timeout_seconds=1)["id"]
    long = server.start_run(day(1), publish=False)["id"]
    server.finish(first["id"])
    run = server.finish(short)
    assert (run["state"], run["error"]["code"]) == ("failed", "timeout")
    assert server.finish(long)["state"] == "succeeded"


def test_runs_that_wait_show_the_counters_of_their_scan(slow_input, start_server):
    server, first = busy(slow_input, start_server)
    ids = [server.start_run(day(n), publish=False)["id"] for n in range(2)]
    server.finish(first["id"])
    await_phase(server, ids[1], "scanning")
    deadline = time.monotonic() + 20
    while (seen := [server.get(f"/runs/{run_id}").json["progress"] for run_id in ids])[0]["bytes_read"] == 0:
        assert time.monotonic() < deadline
    assert all(progress["bytes_total"] > 0 for progress in seen)
    for run_id in ids:
        assert server.finish(run_id)["progress"]["bytes_read"] > 0


def test_a_stopped_service_hands_all_runs_of_a_scan_back(slow_input, start_server):
    server, first = busy(slow_input, start_server, KPI_DRAIN_SECONDS="1")
    ids = [server.start_run(day(n), publish=False)["id"] for n in range(5)]
    server.finish(first["id"])
    await_phase(server, ids[0], "scanning")
    assert server.terminate() == 0
    server.start()
    runs = [server.finish(run_id) for run_id in ids]
    assert {run["state"] for run in runs} == {"succeeded"}
    assert {run["attempt"] for run in runs} == {1}  # a shutdown charges no attempt


def test_a_killed_service_takes_all_runs_of_a_scan_up_again(slow_input, start_server):
    server, first = busy(slow_input, start_server)
    ids = [server.start_run(day(n), publish=False)["id"] for n in range(5)]
    server.finish(first["id"])
    await_phase(server, ids[0], "scanning")
    server.kill()
    server.start()
    assert {server.finish(run_id)["state"] for run_id in ids} == {"succeeded"}


def test_too_many_days_for_the_memory_are_computed_in_parts(start_server, tmp_path):
    server = start_server(write_days(tmp_path / "in", 400), KPI_MEMORY_LIMIT="2MiB")
    backfill = server.post("/backfills", {"start_date": day(0), "end_date": day(399)}).json
    assert server.await_end(f"/backfills/{backfill['id']}?wait=5")["counts"]["succeeded"] == 400
    assert any(line["event"] == "scan.halved" for line in server.logs)


@pytest.mark.parametrize("publish", [True, False])
def test_inputs_that_change_before_publishing_are_read_again(publish, start_server, tmp_path):
    """Every day has the numbers of one state of the inputs, and in the end those of the last."""
    source = write_days(tmp_path / "in", 10)
    server = start_server(source)
    ids = [server.start_run(day(n), publish=publish, max_attempts=3)["id"] for n in range(10)]
    items = source / "order_items" / "a.csv"
    text = items.read_text(encoding="utf-8")
    draft = source / "draft"
    draft.write_text(text.replace(".50,", ".75,"), encoding="utf-8")
    draft.replace(items)
    for n, run_id in enumerate(ids):
        run = server.finish(run_id)
        assert run["state"] == "succeeded", run["error"]
        assert run["summary"]["total_revenue"] in (2 * n + 2, 2 * n + 2.5)


def await_phase(server: Server, run_id: str, phase: str) -> None:
    deadline = time.monotonic() + 30
    while server.get(f"/runs/{run_id}").json["phase"] != phase:
        assert time.monotonic() < deadline, server.get(f"/runs/{run_id}")
        time.sleep(0.02)
