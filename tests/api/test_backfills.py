"""Backfills: many days by one request, each with a run of its own."""

import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from support.backfills import SHOP_DAYS, backfill, break_day, column, days_of, done, finish, published
from support.datasets import write_lines
from support.openapi import Description
from support.problems import assert_problem
from support.series import day, write_shop

UNKNOWN_ID = "01890000-0000-7000-8000-000000000000"


@pytest.fixture
def server(start_server, tmp_path):
    return start_server(write_shop(tmp_path / "in", SHOP_DAYS))


# --- start -------------------------------------------------------------------------------------


def test_a_range_is_computed_in_one_pass(server):
    reply = backfill(server, **days_of(2, 9))
    assert reply.status == 202, reply
    assert reply.headers["location"] == f"/backfills/{reply.json['id']}"
    assert reply.json["disposition"] == "created"
    assert reply.json["counts"]["total"] == 8
    found = finish(server, reply.json["id"])
    assert (found["state"], found["counts"]["succeeded"]) == ("succeeded", 8)
    assert column(found, "date") == [day(n) for n in range(2, 10)]
    assert set(column(found, "action")) == {"run"}
    assert published(server) == [day(n) for n in range(2, 10)]
    assert server.scans() == 1
    assert found["finished_at"] >= found["created_at"]


def test_a_list_may_have_gaps_and_repeats(server):
    found = done(server, dates=[day(7), day(1), day(7)])
    assert column(found, "date") == [day(1), day(7)]
    assert published(server) == [day(1), day(7)]
    assert (found["start_date"], found["end_date"]) == (day(1), day(7))


def test_every_day_of_the_data_is_found_by_the_one_scan(server):
    reply = backfill(server, all=True)
    assert (reply.status, reply.json["start_date"], reply.json["counts"]["total"]) == (202, None, 0)
    found = finish(server, reply.json["id"])
    assert found["state"] == "succeeded"
    assert column(found, "date") == published(server) == [day(n) for n in range(SHOP_DAYS)]
    assert sum(line["event"] == "backfill.found" for line in server.logs) == 1
    assert server.scans() == 0  # the runs were given what had been computed
    assert (found["all"], found["start_date"], found["end_date"]) == (True, day(0), day(SHOP_DAYS - 1))


def test_a_search_that_finds_nothing_to_do_ends_the_wait(server):
    done(server, all=True)
    began = time.monotonic()
    reply = backfill(server, "?wait=30", all=True)
    assert (reply.status, reply.json["state"], reply.json["counts"]["skipped"]) == (200, "succeeded", SHOP_DAYS)
    assert time.monotonic() - began < 10


def test_words_and_forms_are_taken(server):
    reply = server.request(
        "POST",
        "/backfills",
        "start_date=yesterday&end_date=today&publish=false",
        {"Content-Type": "application/x-www-form-urlencoded"},
    )
    assert reply.status == 202, reply
    today = datetime.now(UTC).date()
    assert column(finish(server, reply.json["id"]), "date") == [str(today - timedelta(days=1)), str(today)]


def test_wait_answers_with_the_finished_backfill(server):
    reply = backfill(server, "?wait=30", **days_of(0, 3))
    assert (reply.status, reply.json["state"]) == (200, "succeeded")


def test_runs_know_their_backfills_and_are_found_by_them(server):
    first = done(server, **days_of(0, 2))
    runs = server.all_runs(f"&backfill_id={first['id']}")
    assert [run["date"] for run in runs] == [day(2), day(1), day(0)]
    assert all(run["backfill_ids"] == [first["id"]] for run in runs)
    alone = server.run(day(5))
    assert alone["backfill_ids"] == []
    assert server.all_runs(f"&backfill_id={UNKNOWN_ID}") == []


def test_the_newest_day_may_go_first(server):
    found = done(server, order="desc", **days_of(0, 9))
    ids = column(found, "run_id")
    assert sorted(ids, reverse=True) == ids  # made, and so published, from the last day on


def test_what_each_run_is_asked_for_is_told(server):
    asked = {
        "publish": False,
        "quality_gate": "off",
        "bad_rows": "skip",
        "max_bad_rows": "5%",
        "force": True,
        "timeout_seconds": 77,
        "max_attempts": 2,
        "labels": {"a": "b"},
        "reason": "why",
    }
    found = done(server, **days_of(0, 1), **asked)
    run = server.get(f"/runs/{found['days'][0]['run_id']}").json
    for name, value in asked.items():
        assert (found[name], run[name]) == (value, value), name
    assert published(server) == []


# --- refused -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "pointer"),
    [
        ({}, "/start_date"),
        ({"start_date": day(0)}, "/end_date"),
        ({"end_date": day(0)}, "/start_date"),
        ({"start_date": day(3), "end_date": day(2)}, "/end_date"),
        ({"start_date": "2023-02-30", "end_date": day(2)}, "/start_date"),
        ({"dates": []}, "/dates"),
        ({"dates": [day(0), "soon"]}, "/dates"),
        ({"dates": day(0)}, "/dates"),
        ({"dates": [day(0)], "all": True}, "/start_date"),
        ({"dates": [day(0)], "start_date": day(0), "end_date": day(0)}, "/start_date"),
        ({"all": "yes"}, "/all"),
        ({"all": False}, "/start_date"),
        ({"all": True, "reprocess": "none"}, "/reprocess"),
        ({"all": True, "order": "up"}, "/order"),
        ({"all": True, "dry_run": 1}, "/dry_run"),
        ({"all": True, "on_active": "attach"}, "/on_active"),
        ({"all": True, "date": day(0)}, "/date"),
        ({"all": True, "quality_gate": "never"}, "/quality_gate"),
    ],
)
def test_what_is_not_understood_is_named(server, fields, pointer):
    problem = assert_problem(server.post("/backfills", fields), 422, "validation-failed")
    assert pointer in [error["pointer"] for error in problem["errors"]]
    assert server.get("/backfills").json["backfills"] == []


@pytest.mark.parametrize(("days", "status"), [(3660, 200), (3661, 422)])
def test_one_backfill_has_ten_years_at_most(server, days, status):
    first = datetime(2001, 1, 1, tzinfo=UTC).date()
    fields = {"start_date": str(first), "end_date": str(first + timedelta(days=days - 1)), "dry_run": True}
    reply = server.post("/backfills", fields)
    assert reply.status == status, reply
    if status == 422:
        assert_problem(reply, 422, "range-too-long")
    else:
        assert len(reply.json["days"]) == days


def test_days_that_have_not_begun_are_refused(server):
    tomorrow = str(datetime.now(UTC).date() + timedelta(days=1))
    assert_problem(backfill(server, start_date=day(0), end_date=day(1), dates=[tomorrow]), 422, "validation-failed")
    assert_problem(backfill(server, dates=[day(0), tomorrow]), 422, "date-in-future")


def test_ids_that_are_none_are_not_found(server):
    for path in (f"/backfills/{UNKNOWN_ID}", "/backfills/x", "/backfills/" + "9" * 200):
        assert_problem(server.get(path), 404, "backfill-not-found")
        assert_problem(server.post(f"{path}/cancel"), 404, "backfill-not-found")
        assert_problem(server.post(f"{path}/retry"), 404, "backfill-not-found")
    assert_problem(server.get("/runs?backfill_id=x"), 422, "validation-failed")


# --- repeating ---------------------------------------------------------------------------------


def test_a_key_makes_it_safe_to_repeat(server):
    with ThreadPoolExecutor(20) as pool:
        replies = list(
            pool.map(lambda _: server.post("/backfills", days_of(0, 4), **{"Idempotency-Key": "k"}), range(40))
        )
    assert sorted(reply.status for reply in replies) == [200] * 39 + [202]
    assert len({reply.json["id"] for reply in replies}) == 1
    replayed = [reply for reply in replies if reply.headers.get("idempotency-replayed") == "true"]
    assert len(replayed) == 39
    assert len(server.get("/backfills").json["backfills"]) == 1
    assert finish(server, replies[0].json["id"])["idempotency_key"] == "k"
    again = server.post("/backfills", days_of(0, 4), **{"Idempotency-Key": "k"})
    assert (again.status, again.json["disposition"], again.json["state"]) == (200, "replayed", "succeeded")


@pytest.mark.parametrize(
    "other",
    [
        days_of(0, 5),
        {"all": True},
        {"dates": [day(0)]},
        {**days_of(0, 4), "reprocess": "all"},
        {**days_of(0, 4), "order": "desc"},
        {**days_of(0, 4), "force": True},
    ],
)
def test_a_key_stands_for_one_request(server, other):
    assert server.post("/backfills", days_of(0, 4), **{"Idempotency-Key": "k"}).status == 202
    assert_problem(server.post("/backfills", other, **{"Idempotency-Key": "k"}), 422, "idempotency-key-reused")
    assert_problem(server.post("/runs", {"date": day(0)}, **{"Idempotency-Key": "k"}), 422, "idempotency-key-reused")


def test_a_key_of_a_run_is_none_for_a_backfill(server):
    assert server.post("/runs", {"date": day(0)}, **{"Idempotency-Key": "k"}).status == 202
    assert_problem(
        server.post("/backfills", days_of(0, 0), **{"Idempotency-Key": "k"}), 422, "idempotency-key-reused"
    )


# --- what becomes of each day -------------------------------------------------------------------


@pytest.fixture
def partly(start_server, tmp_path):
    """Day 0 has succeeded, day 1 has failed, day 2 was cancelled, day 3 has no run."""
    source = write_shop(tmp_path / "in", SHOP_DAYS)
    break_day(source, 1)
    server = start_server(source)
    assert server.run(day(0))["state"] == "succeeded"
    assert server.run(day(1))["state"] == "failed"
    run = server.start_run(day(2))
    if server.post(f"/runs/{run['id']}/cancel").status == 409:  # it was quicker
        run = None
    else:
        assert server.finish(run["id"])["state"] in ("cancelled", "succeeded")
    server.source = source
    return server


@pytest.mark.parametrize(
    ("reprocess", "actions", "reasons"),
    [
        ("missing", ["skip", "skip", "run"], ["succeeded", "failed", "missing"]),
        ("failed", ["skip", "run", "run"], ["succeeded", "failed", "missing"]),
        ("changed", ["skip", "run", "run"], ["unchanged", "failed", "missing"]),
        ("all", ["run", "run", "run"], ["requested", "requested", "missing"]),
    ],
)
def test_reprocess_says_which_days_are_computed_again(partly, reprocess, actions, reasons):
    fields = {"dates": [day(0), day(1), day(3)], "reprocess": reprocess}
    plan = backfill(partly, dry_run=True, **fields)
    assert plan.status == 200, plan
    assert (column(plan.json, "action"), column(plan.json, "reason")) == (actions, reasons)
    assert plan.json["counts"]["run"] == actions.count("run")
    assert partly.get("/backfills").json["backfills"] == []
    found = done(partly, **fields)
    assert (column(found, "action"), column(found, "reason")) == (actions, reasons)
    assert found["state"] == ("failed" if actions[1] == "run" else "succeeded")
    assert found["counts"]["skipped"] == actions.count("skip")


def test_days_whose_inputs_are_others_now_are_computed_again(server, tmp_path):
    done(server, **days_of(0, 2))
    assert set(column(backfill(server, dry_run=True, reprocess="changed", **days_of(0, 2)).json, "action")) == {"skip"}
    write_lines(tmp_path / "in", "orders", [f"777,1,complete,{day(1)}"], "more.csv")
    plan = backfill(server, dry_run=True, reprocess="changed", **days_of(0, 2)).json
    assert set(column(plan, "reason")) == {"changed"}
    assert set(column(backfill(server, dry_run=True, **days_of(0, 2)).json, "reason")) == {"succeeded"}
    assert done(server, reprocess="changed", **days_of(0, 2))["counts"]["succeeded"] == 3


def test_a_plan_tells_what_would_be_read(server, tmp_path):
    size = sum(path.stat().st_size for path in (tmp_path / "in").glob("*/*.csv"))
    plan = backfill(server, dry_run=True, **days_of(0, 9)).json
    assert (plan["dry_run"], plan["scans"], plan["bytes_to_read"]) == (True, 1, size)
    done(server, **days_of(0, 9))
    plan = backfill(server, dry_run=True, **days_of(0, 9)).json
    assert (plan["scans"], plan["bytes_to_read"], plan["counts"]["skip"]) == (0, 0, 10)
    assert backfill(server, dry_run=True, all=True).json["days"] is None


def test_nothing_to_do_is_answered_at_once(server):
    done(server, **days_of(0, 2))
    reply = backfill(server, **days_of(0, 2))
    assert (reply.status, reply.json["disposition"], reply.json["state"]) == (200, "attached", "succeeded")
    assert reply.json["finished_at"]
    assert server.scans() == 1


def test_a_day_that_is_active_elsewhere_is_attached_to(slow_server):
    active = slow_server.start_run("2023-01-15")
    found = backfill(slow_server, dates=["2023-01-15", "2023-01-16"]).json
    by_date = {row["date"]: row for row in found["days"]}
    assert (by_date["2023-01-15"]["action"], by_date["2023-01-15"]["run_id"]) == ("attach", active["id"])
    second = backfill(slow_server, dates=["2023-01-15", "2023-01-16"])
    assert (second.status, second.json["disposition"]) == (200, "attached")
    assert slow_server.get(f"/runs/{active['id']}").json["backfill_ids"] == sorted([found["id"], second.json["id"]])
    slow_server.post(f"/backfills/{found['id']}/cancel")
    assert slow_server.finish(active["id"])["state"] == "succeeded"  # it is another's
    assert len(slow_server.all_runs("&date=2023-01-16")) == 1


# --- looking on ---------------------------------------------------------------------------------


def test_its_state_is_that_of_its_runs(start_server, tmp_path):
    source = write_shop(tmp_path / "in", SHOP_DAYS)
    break_day(source, 3)
    server = start_server(source)
    found = done(server, **days_of(0, 5))
    assert found["state"] == "failed"
    assert (found["counts"]["failed"], found["counts"]["succeeded"]) == (1, 5)
    assert {row["error_code"] for row in found["days"]} == {None, "value_unparsable"}
    reply = server.get(f"/backfills/{found['id']}?expect=succeeded")
    assert_problem(reply, 424, "run-not-succeeded")
    assert published(server) == [day(n) for n in (0, 1, 2, 4, 5)]


def test_pages_of_days_and_of_backfills_are_whole(server):
    found = done(server, **days_of(0, 11))
    days, path = [], f"/backfills/{found['id']}?limit=5"
    while path:
        reply = server.get(path)
        days += column(reply.json, "date")
        cursor = reply.json["next_cursor"]
        path = cursor and f"/backfills/{found['id']}?limit=5&cursor={cursor}"
        assert ('rel="next"' in reply.headers.get("link", "")) == bool(path)
    assert days == [day(n) for n in range(12)]
    ids = [found["id"]] + [done(server, **days_of(0, 0))["id"] for _ in range(3)]
    first = server.get("/backfills?limit=3").json
    rest = server.get(f"/backfills?limit=3&cursor={first['next_cursor']}").json
    assert [b["id"] for b in first["backfills"] + rest["backfills"]] == ids[::-1]
    assert rest["next_cursor"] is None
    for query in ("limit=0", "limit=201"):
        assert server.get(f"/backfills?{query}").status == 400
    assert_problem(server.get("/backfills?cursor=x"), 422, "validation-failed")
    assert_problem(server.get(f"/backfills/{found['id']}?cursor=x"), 422, "validation-failed")


def test_a_change_ends_the_wait_of_who_asks_for_it(slow_server):
    found = backfill(slow_server, dates=["2023-01-15"], publish=False).json
    seen = {found["state"]}
    while not (now := slow_server.get(f"/backfills/{found['id']}?wait=30&until=change").json)["terminal"]:
        seen.add(now["state"])
    assert now["state"] == "succeeded"
    assert seen <= {"queued", "running"}


def test_answers_are_as_described(server):
    description = Description(server)
    plan = backfill(server, dry_run=True, **days_of(0, 3))
    made = backfill(server, **days_of(0, 3))
    found = finish(server, made.json["id"])
    checks = [
        ("post", "/backfills", plan),
        ("post", "/backfills", made),
        ("get", "/backfills", server.get("/backfills")),
        ("get", "/backfills/{id}", server.get(f"/backfills/{found['id']}")),
        ("post", "/backfills/{id}/retry", server.post(f"/backfills/{found['id']}/retry")),
    ]
    for method, path, reply in checks:
        description.check(method, path, reply)
