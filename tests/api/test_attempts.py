"""How long, how often and how late a run may work; the gate; retry by hand."""

import json
import time
from datetime import UTC, datetime, timedelta

import pytest

from support.datasets import BASE_DATES
from support.problems import assert_problem

DAY, NEXT_DAY = BASE_DATES
UNKNOWN_ID = "01890000-0000-7000-8000-000000000000"


# --- limits of a run ---------------------------------------------------------------------------


def test_attempt_that_takes_too_long_is_tried_again_and_then_fails(slow_server):
    run = slow_server.start_run(DAY, timeout_seconds=1, max_attempts=2)
    deadline = time.monotonic() + 30
    states = []
    while time.monotonic() < deadline and "retry_wait" not in states:
        states.append(slow_server.get(f"/runs/{run['id']}").json["state"])
        time.sleep(0.05)
    waiting = slow_server.get(f"/runs/{run['id']}").json
    assert waiting["state"] == "retry_wait", waiting
    assert waiting["error"]["code"] == "timeout"
    assert not waiting["terminal"]
    at = datetime.fromisoformat(waiting["next_attempt_at"])
    assert datetime.now(UTC) < at < datetime.now(UTC) + timedelta(seconds=6)
    done = slow_server.finish(run["id"])
    assert (done["state"], done["attempt"]) == ("failed", 2)
    assert [a["error_code"] for a in done["attempts"]] == ["timeout", "timeout"]
    assert done["next_attempt_at"] is None


def test_run_that_waits_for_an_attempt_can_be_cancelled(slow_server):
    run = slow_server.start_run(DAY, timeout_seconds=1, max_attempts=3)
    while slow_server.get(f"/runs/{run['id']}").json["state"] != "retry_wait":
        time.sleep(0.05)
    reply = slow_server.post(f"/runs/{run['id']}/cancel")
    assert (reply.status, reply.json["state"]) == (200, "cancelled")
    time.sleep(5)
    assert slow_server.get(f"/runs/{run['id']}").json["state"] == "cancelled"


def test_error_that_no_retry_mends_ends_the_run_at_once(start_server, tmp_path):
    server = start_server(tmp_path / "gone")
    run = server.run(DAY, max_attempts=3)
    assert (run["state"], run["attempt"]) == ("failed", 1)
    assert not run["error"]["retryable"]


def test_run_that_was_not_started_in_time_expires(slow_server):
    first = slow_server.start_run(DAY)
    slow_server.await_begin(f"/runs/{first['id']}")  # or they would be computed together
    late = slow_server.start_run(NEXT_DAY, expires_in_seconds=1)
    assert late["expires_at"]
    done = slow_server.finish(late["id"])
    assert (done["state"], done["error"]["code"]) == ("failed", "expired")
    said = slow_server.await_log("run.finished")
    assert said["run_id"] == late["id"]
    assert (said["state"], said["code"]) == ("failed", "expired")
    assert done["attempt"] == 0
    assert slow_server.get(f"/runs/{first['id']}").json["state"] != "failed"


@pytest.mark.parametrize(
    ("field", "most"),
    [("timeout_seconds", 604800), ("max_attempts", 10), ("expires_in_seconds", 2592000)],
)
def test_limits_are_numbers_within_their_range(server, field, most):
    for value in (0, -1, most + 1, 1.5, "5", True, None):
        problem = assert_problem(
            server.post("/runs", {"date": DAY, field: value}), 422, "validation-failed"
        )
        assert problem["errors"][0]["pointer"] == f"/{field}"
    for value in (1, most):
        reply = server.post("/runs", {"date": DAY, "publish": False, field: value})
        assert reply.status == 202, reply
    form = server.request(
        "POST",
        "/runs",
        f"date={DAY}&publish=false&{field}={most}",
        {"Content-Type": "application/x-www-form-urlencoded"},
    )
    assert form.status == 202, form


# --- as_of -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("as_of", "zone", "date"),
    [
        ("2024-11-23T02:00:00Z", "UTC", "2024-11-22"),
        ("2024-11-23T00:00:00Z", "UTC", "2024-11-22"),
        ("2024-11-22T23:59:59.999Z", "UTC", "2024-11-21"),
        ("2024-11-23T02:00:00Z", "America/New_York", "2024-11-21"),
        ("2024-11-23T02:00:00+05:30", "UTC", "2024-11-21"),
        ("2024-11-22T20:00:00-05:00", "Asia/Tokyo", "2024-11-22"),
    ],
)
def test_as_of_is_the_last_complete_day(start_server, as_of, zone, date):
    server = start_server(KPI_TIMEZONE=zone)
    reply = server.post("/runs", {"as_of": as_of})
    assert reply.json["date"] == date


@pytest.mark.parametrize(
    "as_of",
    ["2024-11-23", "2024-11-23T02:00:00", "2024-11-23 02:00:00Z", "2024-13-23T02:00:00Z", "now", 5, None,
     "2024-11-23T25:00:00Z", "2024-11-23T02:00:00Europe/Berlin", "2024-11-23T02:00Z", ""],
)
def test_as_of_that_is_no_instant_is_refused(server, as_of):
    problem = assert_problem(server.post("/runs", {"as_of": as_of}), 422, "validation-failed")
    assert problem["errors"][0]["pointer"] == "/as_of"


def test_date_and_as_of_together_are_refused(server):
    reply = server.post("/runs", {"date": DAY, "as_of": "2024-11-23T02:00:00Z"})
    assert_problem(reply, 422, "validation-failed")


# --- gate --------------------------------------------------------------------------------------


def test_gate_tells_by_the_status_alone(slow_server):
    run = slow_server.start_run(DAY)
    gate = f"/runs/{run['id']}/gate"
    pending = slow_server.get(gate)
    assert (pending.status, pending.body) == (404, b"")
    assert pending.headers["retry-after"]
    assert slow_server.get(gate + "?pending=503").status == 503
    assert slow_server.get(gate + "?on=finished").status == 404
    slow_server.post(f"/runs/{run['id']}/cancel")
    slow_server.finish(run["id"])
    assert_problem(slow_server.get(gate), 424, "run-not-succeeded")
    assert slow_server.get(gate + "?on=finished").status == 200


def test_gate_opens_when_the_run_has_succeeded(server):
    run = server.start_run(DAY, publish=False)
    opened = server.get(f"/runs/{run['id']}/gate?wait=30")
    assert (opened.status, opened.body) == (200, b"")
    assert server.request("HEAD", f"/runs/{run['id']}/gate").status == 200


def test_gate_of_an_unknown_run_is_gone(server):
    reply = server.get(f"/runs/{UNKNOWN_ID}/gate")
    assert reply.status == 410
    assert reply.json["code"] == "run-not-found"
    assert reply.json["status"] == 410
    assert_problem(server.get(f"/runs/{UNKNOWN_ID}/gate?on=x"), 400, "malformed-query")


# --- changes and preconditions -----------------------------------------------------------------


def test_wait_for_a_change_ends_at_once_when_the_tag_is_old(slow_server):
    run = slow_server.start_run(DAY)
    seen = slow_server.get(f"/runs/{run['id']}")
    slow_server.await_begin(f"/runs/{run['id']}")
    started = time.monotonic()
    reply = slow_server.get(
        f"/runs/{run['id']}?wait=20&until=change", If_None_Match=seen.headers["etag"]
    )
    if seen.json["state"] == "queued":
        assert time.monotonic() - started < 2
    assert reply.status == 200


def test_retry_with_an_old_tag_is_refused(start_server, tmp_path):
    server = start_server(tmp_path / "gone")
    run = server.run(DAY)
    tag = server.get(f"/runs/{run['id']}").headers["etag"]
    path = f"/runs/{run['id']}/retry"
    assert_problem(server.post(path, {}, If_Match='"nonsense"'), 412, "precondition-failed")
    assert server.post(path, {}, If_Match=tag).status == 202
    server.finish(run["id"])
    assert_problem(server.post(path, {}, If_Match=tag), 412, "precondition-failed")
    assert server.post(path, {}, If_Match="*").status == 202


def test_drained_and_waiting_runs_survive_a_restart(start_server, slow_input, tmp_path):
    server = start_server(slow_input, KPI_DRAIN_SECONDS="1")
    run = server.start_run(DAY, timeout_seconds=1, max_attempts=5)
    while server.get(f"/runs/{run['id']}").json["state"] != "retry_wait":
        time.sleep(0.05)
    assert server.terminate() == 0
    server.start()
    state = server.get(f"/runs/{run['id']}").json
    assert state["state"] in ("retry_wait", "queued", "running"), json.dumps(state)
    assert state["attempt"] in (1, 2)


def test_a_run_that_has_not_succeeded_says_what_to_do(start_server, tmp_path):
    server = start_server(tmp_path / "gone")
    run = server.run(DAY)
    for path in (f"/runs/{run['id']}?expect=succeeded", f"/runs/{run['id']}/gate"):
        problem = assert_problem(server.get(path), 424, "run-not-succeeded")
        assert run["error"]["message"] in problem["detail"]
        assert (problem["hint"], problem["run_id"]) == (run["error"]["hint"], run["id"])


def test_a_cancelled_run_has_an_error_of_its_own(slow_server):
    run = slow_server.start_run(DAY)
    slow_server.post(f"/runs/{run['id']}/cancel")
    slow_server.finish(run["id"])
    problem = assert_problem(slow_server.get(f"/runs/{run['id']}?expect=succeeded"), 424, "run-not-succeeded")
    assert "cancelled" in problem["detail"]
