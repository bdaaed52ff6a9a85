"""POST /runs, GET /runs, GET /runs/{id} and cancel: what an orchestrator relies on."""

import itertools
import re
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from support.datasets import BASE_DATES
from support.problems import assert_problem
from support.series import day, write_shop
from support.server import TERMINAL

DAY, NEXT_DAY = BASE_DATES
TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
UNKNOWN_ID = "01890000-0000-7000-8000-000000000000"


# --- start -------------------------------------------------------------------------------------


def test_new_run_is_accepted_with_its_location(server):
    reply = server.post("/runs", {"date": DAY})
    assert reply.status == 202, reply
    run = reply.json
    assert run["disposition"] == "created"
    assert reply.headers["location"].endswith(f"/runs/{run['id']}")
    assert run["date"] == DAY
    assert server.finish(run["id"])["state"] == "succeeded"


def test_wait_answers_with_the_finished_run(server):
    reply = server.post("/runs?wait=30", {"date": DAY})
    assert reply.status == 200, reply
    assert (reply.json["state"], reply.json["terminal"]) == ("succeeded", True)


def test_finished_run_tells_what_it_did(server):
    run = server.run(DAY)
    assert run["summary"]["total_orders"] == 2
    assert Decimal(str(run["summary"]["total_revenue"])) == Decimal("46.5")
    assert (run["summary"]["unique_customers"], run["summary"]["categories"]) == (2, 2)
    assert run["progress"]["percent"] == 100
    assert run["progress"]["rows_read"] == {
        "orders": 3,
        "order_items": 4,
        "products": 3,
    }
    assert run["input"]["objects"] == 3
    assert run["error"] is None
    assert run["output"]["published_at"]
    assert run["quality"]["status"] in ("passed", "warned")
    for moment in ("created_at", "started_at", "finished_at", "updated_at"):
        assert TIMESTAMP.fullmatch(run[moment]), moment
    assert run["created_at"] <= run["started_at"] <= run["finished_at"]


def test_run_without_publishing_keeps_its_preview(server):
    run = server.run(DAY, publish=False)
    assert run["state"] == "succeeded"
    assert not (run.get("output") or {}).get("published_at")
    assert server.get(f"/runs/{run['id']}/results").status == 200


def test_labels_and_reason_are_kept(server):
    run = server.run(DAY, labels={"team": "data", "ünï": "☃"}, reason='nightly "test"')
    assert run["labels"] == {"team": "data", "ünï": "☃"}
    assert run["reason"] == 'nightly "test"'


def test_media_type_may_carry_a_charset(server):
    reply = server.request(
        "POST",
        "/runs",
        f'{{"date":"{DAY}"}}',
        {"Content-Type": "application/json; charset=utf-8"},
    )
    assert reply.status in (200, 202), reply


def test_form_body_works_for_curl(server):
    reply = server.request(
        "POST",
        "/runs",
        f"date={DAY}&publish=false",
        {"Content-Type": "application/x-www-form-urlencoded"},
    )
    assert reply.status in (200, 202), reply
    assert reply.json["date"] == DAY


@pytest.mark.parametrize("word, age", [("yesterday", 1), ("today", 0)])
def test_words_for_dates(server, word, age):
    around = [datetime.now(UTC).date() - timedelta(days=age)]
    run = server.start_run(word)
    around.append(datetime.now(UTC).date() - timedelta(days=age))
    assert run["date"] in [day.isoformat() for day in around]


@pytest.mark.parametrize(
    "zone, offset", [("Pacific/Kiritimati", 14), ("Etc/GMT+12", -12)]
)
def test_words_for_dates_follow_the_business_zone(start_server, zone, offset):
    server = start_server(KPI_TIMEZONE=zone)
    before = (datetime.now(UTC) + timedelta(hours=offset)).date()
    run = server.start_run("today")
    after = (datetime.now(UTC) + timedelta(hours=offset)).date()
    assert before.isoformat() <= run["date"] <= after.isoformat()
    assert run["timezone"] == zone


def test_finished_date_can_be_run_again(server):
    first, second = server.run(DAY), server.run(DAY)
    assert first["id"] != second["id"]
    assert first["summary"] == second["summary"]


def test_day_without_data_succeeds_with_no_rows(server):
    run = server.run("2001-01-01")
    assert run["state"] == "succeeded", run["error"]
    assert server.get(f"/runs/{run['id']}/results?kpi=orders").json["rows"] == []


def test_second_request_attaches_to_the_active_run(slow_server):
    first = slow_server.post("/runs", {"date": DAY})
    second = slow_server.post("/runs", {"date": DAY})
    assert (first.status, second.status) == (202, 200)
    assert first.json["id"] == second.json["id"]
    assert second.json["disposition"] == "attached"


def test_other_dates_do_not_attach(slow_server):
    ids = {slow_server.start_run(date)["id"] for date in (DAY, NEXT_DAY, "2023-02-01")}
    assert len(ids) == 3


# --- look --------------------------------------------------------------------------------------


def test_unknown_run_is_not_found(server):
    for path in (
        f"/runs/{UNKNOWN_ID}",
        f"/runs/{UNKNOWN_ID}/results",
        f"/runs/{UNKNOWN_ID}/quality",
        "/runs/x",
    ):
        assert_problem(server.get(path), 404, "run-not-found")
    assert_problem(server.post(f"/runs/{UNKNOWN_ID}/cancel"), 404, "run-not-found")


def test_list_is_newest_first_and_pages_without_loss(start_server):
    server = start_server()
    ids = [server.run(f"2023-01-{day:02}")["id"] for day in range(10, 17)]
    seen, cursor, pages = [], None, 0
    while pages == 0 or cursor:
        reply = server.get("/runs?limit=3" + (f"&cursor={cursor}" if cursor else ""))
        seen += [run["id"] for run in reply.json["runs"]]
        cursor, pages = reply.json["next_cursor"], pages + 1
        assert len(reply.json["runs"]) <= 3
        assert ('rel="next"' in reply.headers.get("link", "")) is bool(cursor)
    assert seen == ids[::-1]
    assert pages == 3


def test_new_runs_do_not_shift_an_open_page(start_server):
    server = start_server()
    ids = [server.run(f"2023-01-{day:02}")["id"] for day in range(10, 14)]
    first = server.get("/runs?limit=2").json
    server.run("2023-01-20")
    second = server.get(f"/runs?limit=2&cursor={first['next_cursor']}").json
    assert [run["id"] for run in first["runs"] + second["runs"]] == ids[::-1]


def test_list_filters_by_date_and_state(server):
    wanted = server.run(NEXT_DAY)["id"]
    assert wanted in [run["id"] for run in server.all_runs(f"&date={NEXT_DAY}")]
    assert {run["date"] for run in server.all_runs(f"&date={NEXT_DAY}")} == {NEXT_DAY}
    assert {run["state"] for run in server.all_runs("&state=succeeded")} == {
        "succeeded"
    }
    assert server.all_runs("&state=failed") == []


def test_filters_may_be_combined(start_server, tmp_path):
    server = start_server(write_shop(tmp_path / "in", 6))
    server.run(day(0), labels={"team": "a"}, publish=False, idempotency_key="k")
    server.run(day(1), labels={"team": "b"})
    backfill = server.post("/backfills", {"start_date": day(0), "end_date": day(3), "labels": {"team": "a"}}).json
    server.await_end(f"/backfills/{backfill['id']}?wait=5")
    server.run(day(9))  # without data: not published, for its guard
    runs = server.all_runs()
    conditions = {
        "state=succeeded": lambda run: run["state"] == "succeeded",
        "active=false": lambda run: run["terminal"],
        "active=true": lambda run: not run["terminal"],
        f"date={day(1)}": lambda run: run["date"] == day(1),
        f"from={day(1)}": lambda run: run["date"] >= day(1),
        f"to={day(2)}": lambda run: run["date"] <= day(2),
        "label=team": lambda run: "team" in run["labels"],
        "label=team:a": lambda run: run["labels"].get("team") == "a",
        "idempotency_key=k": lambda run: run["idempotency_key"] == "k",
        f"backfill_id={backfill['id']}": lambda run: backfill["id"] in run["backfill_ids"],
    }
    for one, other in itertools.combinations(conditions, 2):
        if one.split("=")[0] == other.split("=")[0]:
            continue
        expected = [run["id"] for run in runs if conditions[one](run) and conditions[other](run)]
        assert [run["id"] for run in server.all_runs(f"&{one}&{other}")] == expected, (one, other)
        first = server.get(f"/runs?limit=1&{one}&{other}").json
        assert [run["id"] for run in first["runs"]] == expected[:1]
        assert (first["next_cursor"] is not None) == (len(expected) > 1)


def test_wait_on_a_run_returns_at_its_end_or_at_the_time(slow_server):
    run = slow_server.start_run(DAY)
    started = time.monotonic()
    reply = slow_server.get(f"/runs/{run['id']}?wait=1")
    spent = time.monotonic() - started
    assert spent < 3
    if not reply.json["terminal"]:
        assert spent > 0.8
        assert "retry-after" in reply.headers
    assert slow_server.finish(run["id"])["state"] == "succeeded"


def test_wait_on_a_finished_run_answers_at_once(server):
    run = server.run(DAY)
    started = time.monotonic()
    assert server.get(f"/runs/{run['id']}?wait=20").status == 200
    assert time.monotonic() - started < 2


def test_many_waiters_all_get_the_end(slow_server):
    run = slow_server.start_run(DAY)["id"]
    with ThreadPoolExecutor(60) as pool:
        replies = list(
            pool.map(lambda _: slow_server.get(f"/runs/{run}?wait=50"), range(60))
        )
    assert {reply.status for reply in replies} == {200}
    assert {reply.json["state"] for reply in replies} == {"succeeded"}


def test_etag_of_a_finished_run_is_honoured(server):
    run = server.run(DAY)["id"]
    first = server.get(f"/runs/{run}")
    assert "etag" in first.headers
    again = server.get(f"/runs/{run}", If_None_Match=first.headers["etag"])
    assert (again.status, again.body) == (304, b"")
    assert server.get(f"/runs/{run}", If_None_Match='"other"').status == 200


# --- cancel ------------------------------------------------------------------------------------


def test_running_run_is_cancelled_promptly(slow_server):
    run = slow_server.start_run(DAY)["id"]
    slow_server.await_begin(f"/runs/{run}")
    started = time.monotonic()
    reply = slow_server.post(f"/runs/{run}/cancel")
    assert reply.status in (200, 202), reply
    assert reply.json["state"] in ("cancelling", "cancelled")
    final = slow_server.finish(run)
    assert final["state"] == "cancelled"
    assert final["cancel_requested_at"]
    assert time.monotonic() - started < 4
    assert_problem(slow_server.get(f"/runs/{run}/results"), 409, "results-not-ready")


def test_queued_run_is_cancelled_at_once(slow_server):
    first = slow_server.start_run(DAY)
    slow_server.await_begin(f"/runs/{first['id']}")
    queued = slow_server.start_run("2023-02-02")
    assert queued["state"] == "queued"
    reply = slow_server.post(f"/runs/{queued['id']}/cancel")
    assert (reply.status, reply.json["state"]) == (200, "cancelled"), reply
    again = slow_server.post(f"/runs/{queued['id']}/cancel")
    assert (again.status, again.json["state"]) == (200, "cancelled"), again


def test_finished_run_cannot_be_cancelled(server):
    run = server.run(DAY)
    assert_problem(
        server.post(f"/runs/{run['id']}/cancel"), 409, "run-already-finished"
    )
    assert server.get(f"/runs/{run['id']}").json["state"] == "succeeded"


def test_cancelled_date_can_be_run_again(slow_server):
    first = slow_server.start_run(DAY)["id"]
    slow_server.post(f"/runs/{first}/cancel")
    assert slow_server.finish(first)["state"] in ("cancelled", "succeeded")
    second = slow_server.start_run(DAY)
    assert second["id"] != first
    assert slow_server.finish(second["id"])["state"] == "succeeded"


def test_service_answers_while_a_run_works(slow_server):
    run = slow_server.start_run(DAY)["id"]
    worst = 0.0
    for _ in range(20):
        started = time.monotonic()
        assert slow_server.get("/livez").status == 200
        worst = max(worst, time.monotonic() - started)
    assert worst < 1
    assert slow_server.get(f"/runs/{run}").json["state"] in (
        "queued",
        "running",
        *TERMINAL,
    )
