"""Backfills that are cancelled, retried, interrupted, given up, or at work beside other runs."""

import time

import pytest

from support.backfills import SHOP_DAYS, backfill, break_day, column, days_of, done, finish, published
from support.datasets import slow_source
from support.openapi import Description
from support.paths import SLOWDOWN
from support.problems import assert_problem
from support.series import write_shop


@pytest.fixture
def server(start_server, tmp_path):
    return start_server(write_shop(tmp_path / "in", SHOP_DAYS))


# --- cancel and retry ----------------------------------------------------------------------------


def test_cancel_stops_what_is_left(slow_server):
    slow_server.start_run("2023-01-17", publish=False)
    reply = backfill(slow_server, start_date="2023-01-01", end_date="2023-01-31")
    began = time.monotonic()
    cancelled = slow_server.post(f"/backfills/{reply.json['id']}/cancel")
    assert cancelled.status in (200, 202), cancelled
    found = finish(slow_server, reply.json["id"])
    assert time.monotonic() - began < 2 * SLOWDOWN
    assert (found["state"], found["counts"]["cancelled"]) == ("cancelled", 31)
    assert slow_server.post(f"/backfills/{reply.json['id']}/cancel").status == 200
    assert published(slow_server) == []


def test_cancel_of_three_years_takes_no_longer(slow_server):
    path = f"/backfills/{backfill(slow_server, start_date='2010-01-01', end_date='2012-12-31').json['id']}"
    while slow_server.get(f"{path}?limit=1").json["counts"]["queued"]:
        time.sleep(0.01)
    began = time.monotonic()
    assert slow_server.post(f"{path}/cancel").status == 202
    assert slow_server.await_end(f"{path}?wait=5&limit=1")["counts"]["cancelled"] == 1096
    assert time.monotonic() - began < 2 * SLOWDOWN


def test_a_day_that_is_retried_is_cancelled_with_its_backfill_once_more(slow_server):
    started = backfill(slow_server, start_date="2023-01-01", end_date="2023-01-31").json
    slow_server.post(f"/backfills/{started['id']}/cancel")
    found = finish(slow_server, started["id"])
    assert found["state"] == "cancelled"
    run = found["days"][7]["run_id"]
    assert slow_server.post(f"/runs/{run}/retry").status == 202
    now = slow_server.get(f"/backfills/{started['id']}").json
    assert (now["state"], now["cancel_requested_at"]) == ("running", None)
    assert slow_server.post(f"/backfills/{started['id']}/cancel").status in (200, 202)
    assert finish(slow_server, started["id"])["state"] == "cancelled"
    assert slow_server.get(f"/runs/{run}").json["state"] == "cancelled"


def test_days_that_are_being_cancelled_are_not_attached_to(slow_server):
    days = {"start_date": "2023-01-01", "end_date": "2023-01-31"}
    first = backfill(slow_server, **days).json
    slow_server.await_begin(f"/backfills/{first['id']}")
    assert slow_server.post(f"/backfills/{first['id']}/cancel").status == 202
    deadline = time.monotonic() + 20
    while (reply := backfill(slow_server, **days)).status == 409:
        assert assert_problem(reply, 409, "run-already-active")["retryable"]
        assert time.monotonic() < deadline
    assert reply.status == 202, reply
    found = finish(slow_server, reply.json["id"])
    assert (found["state"], set(column(found, "action"))) == ("succeeded", {"run"})


def test_cancel_stops_the_search_for_days(slow_server):
    reply = backfill(slow_server, all=True)
    deadline = time.monotonic() + 20
    while slow_server.get(f"/backfills/{reply.json['id']}").json["state"] != "running":
        assert time.monotonic() < deadline
    assert slow_server.post(f"/backfills/{reply.json['id']}/cancel").status in (200, 202)
    assert finish(slow_server, reply.json["id"])["state"] == "cancelled"
    assert slow_server.post(f"/backfills/{reply.json['id']}/retry").status == 202
    found = finish(slow_server, reply.json["id"])
    assert (found["state"], column(found, "date")) == ("succeeded", ["2023-01-15"])


def test_a_finished_backfill_is_not_cancelled(server):
    found = done(server, **days_of(0, 1))
    assert_problem(server.post(f"/backfills/{found['id']}/cancel"), 409, "run-already-finished")
    assert_problem(server.post(f"/backfills/{found['id']}/retry"), 409, "run-already-finished")


def test_retry_computes_the_failed_days_again(start_server, tmp_path):
    source = write_shop(tmp_path / "in", SHOP_DAYS)
    break_day(source, 3)
    break_day(source, 5)
    server = start_server(source)
    found = done(server, **days_of(0, 7))
    assert found["counts"]["failed"] == 2
    write_shop(source, SHOP_DAYS)
    reply = server.post(f"/backfills/{found['id']}/retry")
    assert (reply.status, reply.json["counts"]["succeeded"]) == (202, 6)
    again = finish(server, found["id"])
    assert (again["state"], again["counts"]["succeeded"]) == ("succeeded", 8)
    assert column(again, "run_id") == column(found, "run_id")
    assert server.get(f"/runs/{again['days'][3]['run_id']}").json["attempt"] == 2
    assert server.get(f"/runs/{again['days'][4]['run_id']}").json["attempt"] == 1


def test_a_source_that_is_gone_fails_the_search_with_its_reason(start_server, tmp_path):
    source = write_shop(tmp_path / "in", 3)
    server = start_server(source)
    away = source.rename(tmp_path / "away")
    found = done(server, all=True)
    assert (found["state"], found["error"]["code"]) == ("failed", "source_not_found")
    assert_problem(backfill(server, dry_run=True, **days_of(0, 1)), 503, "storage-unavailable")
    away.rename(source)
    assert server.post(f"/backfills/{found['id']}/retry").status == 202
    again = finish(server, found["id"])
    assert (again["state"], again["error"], again["counts"]["succeeded"]) == ("succeeded", None, 3)


def test_a_search_has_attempts_as_a_run_has(start_server, tmp_path):
    source = write_shop(tmp_path / "in", 3)
    broken = source / "order_items" / "b.csv"
    broken.symlink_to(tmp_path / "nowhere.csv")
    server = start_server(source)
    started = backfill(server, all=True, max_attempts=2).json
    path = f"/backfills/{started['id']}"
    deadline = time.monotonic() + 20
    while (waiting := server.get(path).json)["next_attempt_at"] is None:
        assert time.monotonic() < deadline, waiting
        time.sleep(0.02)
    assert (waiting["state"], waiting["terminal"], waiting["finished_at"]) == ("running", False, None)
    assert (waiting["error"]["code"], waiting["error"]["attempt"]) == ("source_unreadable", 1)
    assert waiting["error"]["phase"] == "listing"
    Description(server).check("get", "/backfills/{id}", server.get(path))
    found = finish(server, started["id"])
    assert (found["state"], found["next_attempt_at"]) == ("failed", None)
    assert (found["error"]["code"], found["error"]["attempt"]) == ("source_unreadable", 2)
    assert found["finished_at"] > waiting["next_attempt_at"]
    assert server.post(f"{path}/retry").status == 202  # with as many attempts again
    while server.get(path).json["next_attempt_at"] is None:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    broken.unlink()
    found = finish(server, started["id"])
    assert (found["state"], found["error"], found["counts"]["succeeded"]) == ("succeeded", None, 3)


def test_a_search_that_waits_for_an_attempt_can_be_cancelled(start_server, tmp_path):
    source = write_shop(tmp_path / "in", 3)
    (source / "order_items" / "b.csv").symlink_to(tmp_path / "nowhere.csv")
    server = start_server(source)
    path = f"/backfills/{backfill(server, all=True, max_attempts=2).json['id']}"
    deadline = time.monotonic() + 20
    while server.get(path).json["next_attempt_at"] is None:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    reply = server.post(f"{path}/cancel")
    assert (reply.status, reply.json["state"], reply.json["next_attempt_at"]) == (200, "cancelled", None)
    time.sleep(5)  # an attempt would be due by now
    assert server.get(path).json["state"] == "cancelled"


def test_a_search_has_a_time_limit(start_server, tmp_path):
    server = start_server(slow_source(tmp_path / "in", 1600), KPI_THREADS="1")
    found = done(server, all=True, timeout_seconds=1)
    assert (found["state"], found["error"]["code"]) == ("failed", "timeout")


def test_a_search_that_the_service_dies_under_is_given_up(slow_input, start_server):
    server = start_server(slow_input)
    path = f"/backfills/{backfill(server, all=True, publish=False, max_attempts=10).json['id']}"
    for _ in range(3):
        deadline = time.monotonic() + 20
        while server.get(path).json["state"] != "running":
            assert time.monotonic() < deadline
            time.sleep(0.01)
        server.kill()
        server.start()
    found = server.get(path).json
    assert (found["state"], found["error"]["code"]) == ("failed", "worker_lost")
    assert found["finished_at"]
    Description(server).check("get", "/backfills/{id}", server.get(path))
    assert server.post(f"{path}/retry").status == 202
    assert server.await_end(f"{path}?wait=5")["state"] == "succeeded"


# --- beside others ------------------------------------------------------------------------------


def test_a_single_day_does_not_wait_for_a_backfill(slow_server):
    found = backfill(slow_server, start_date="2022-01-01", end_date="2023-12-31").json
    run = slow_server.run("2023-01-15", publish=False)
    assert run["state"] == "succeeded"
    assert slow_server.get(f"/backfills/{found['id']}").json["state"] in ("queued", "running")
    slow_server.post(f"/backfills/{found['id']}/cancel")
    finish(slow_server, found["id"])


def test_a_single_day_that_is_attached_to_does_not_wait_for_a_backfill_either(slow_server):
    at_work = backfill(slow_server, start_date="2022-01-01", end_date="2023-12-31").json
    slow_server.await_begin(f"/backfills/{at_work['id']}")
    waiting = backfill(slow_server, start_date="2024-01-01", end_date="2024-01-09").json
    run = slow_server.start_run("2024-01-05")
    assert (run["disposition"], run["state"]) == ("attached", "queued")
    run = slow_server.finish(run["id"])
    assert (run["state"], run["backfill_ids"]) == ("succeeded", [waiting["id"]])
    assert run["started_at"] < finish(slow_server, at_work["id"])["finished_at"]
    assert finish(slow_server, waiting["id"])["counts"]["succeeded"] == 9


def test_a_killed_service_goes_on_with_its_backfills(slow_input, start_server):
    server = start_server(slow_input)
    named = backfill(server, start_date="2023-01-01", end_date="2023-01-31", max_attempts=3).json
    searched = backfill(server, all=True, publish=False).json
    time.sleep(0.3)
    server.kill()
    server.start()
    assert finish(server, named["id"])["counts"]["succeeded"] == 31
    assert finish(server, searched["id"])["counts"]["succeeded"] == 1


def test_a_stopped_service_hands_its_backfills_back(slow_input, start_server):
    server = start_server(slow_input, KPI_DRAIN_SECONDS="0")
    named = backfill(server, start_date="2023-01-01", end_date="2023-01-31").json
    searched = backfill(server, all=True, publish=False).json
    time.sleep(0.3)
    assert server.terminate() == 0
    server.start()
    found = finish(server, named["id"])
    assert (found["state"], found["counts"]["succeeded"]) == ("succeeded", 31)
    assert {run["attempt"] for run in server.all_runs(f"&backfill_id={named['id']}")} == {1}
    assert finish(server, searched["id"])["counts"]["succeeded"] == 1


def test_a_full_queue_takes_no_backfill(slow_server):
    ten_years = {"start_date": "2010-01-01", "end_date": "2020-01-07", "publish": False}
    first = backfill(slow_server, **ten_years).json
    slow_server.await_begin(f"/backfills/{first['id']}")
    others = [backfill(slow_server, **ten_years) for _ in range(3)]  # the first is at work, not in the queue
    assert [reply.status for reply in others] == [202, 202, 429]
    assert_problem(others[2], 429, "queue-full")
    assert len(slow_server.get("/backfills").json["backfills"]) == 3
