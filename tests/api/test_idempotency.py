"""POST /runs sent again, and meeting runs that are there: keys, on_active and on_finished."""

import json
from concurrent.futures import ThreadPoolExecutor

import pytest

from support.datasets import BASE_DATES, copy_base
from support.problems import assert_problem

DAY, NEXT_DAY = BASE_DATES


def post(server, fields, key=None, query=""):
    headers = {"Content-Type": "application/json"}
    if key is not None:
        headers["Idempotency-Key"] = key
    return server.request("POST", "/runs" + query, json.dumps(fields), headers)


# --- keys --------------------------------------------------------------------------------------


def test_hundred_requests_at_once_with_one_key_make_one_run(start_server):
    server = start_server()
    with ThreadPoolExecutor(100) as pool:
        replies = list(
            pool.map(lambda _: post(server, {"date": DAY}, "one"), range(100))
        )
    created = [r for r in replies if r.json["disposition"] == "created"]
    replayed = [r for r in replies if r.json["disposition"] == "replayed"]
    assert (len(created), len(replayed)) == (1, 99)
    assert created[0].status == 202
    assert {r.status for r in replayed} == {200}
    assert {r.headers["idempotency-replayed"] for r in replayed} == {"true"}
    assert {r.json["id"] for r in replies} == {created[0].json["id"]}
    assert len(server.all_runs()) == 1


def test_replay_shows_the_run_as_it_is_now_also_after_a_restart(start_server, tmp_path):
    server = start_server()
    first = post(server, {"date": DAY}, "k1").json
    assert first["idempotency_key"] == "k1"
    server.finish(first["id"])
    server.terminate()
    server.start()
    reply = post(server, {"date": DAY}, "k1")
    assert reply.status == 200
    assert (reply.json["id"], reply.json["state"]) == (first["id"], "succeeded")


def test_key_may_stand_in_header_or_body_bare_or_quoted(start_server):
    server = start_server()
    first = post(server, {"date": DAY}, "a-key").json["id"]
    for fields, key in (
        ({"idempotency_key": "a-key"}, None),
        ({"idempotency_key": '"a-key"'}, None),
        ({}, '"a-key"'),
        ({"idempotency_key": "a-key"}, '"a-key"'),
    ):
        assert post(server, {"date": DAY, **fields}, key).json["id"] == first
    form = server.request(
        "POST",
        "/runs",
        f"date={DAY}&idempotency_key=a-key",
        {"Content-Type": "application/x-www-form-urlencoded"},
    )
    assert form.json["id"] == first
    assert [
        run["id"] for run in server.all_runs("&idempotency_key=a-key")
    ] == [first]
    assert server.all_runs("&idempotency_key=other") == []


@pytest.mark.parametrize("key", ["", "a b", "a\tb", "k" * 256, '"', '""', '"a', '"a"b"', '"a\\b"', "caf\xe9"])
def test_header_that_is_no_key_is_refused(server, key):
    reply = server.request(
        "POST",
        "/runs",
        json.dumps({"date": DAY}),
        {"Content-Type": "application/json", "Idempotency-Key": key.encode("latin-1")},
    )
    if key == '"':  # one visible character, and no string
        assert reply.status in (200, 202)
    elif key == '"a':
        assert reply.status in (200, 202)
    else:
        assert_problem(reply, 400, "malformed-header")


@pytest.mark.parametrize("key", ["", "a b", "k" * 256, 7, None, "\u00e9"])
def test_body_field_that_is_no_key_is_refused(server, key):
    problem = assert_problem(
        post(server, {"date": DAY, "idempotency_key": key}), 422, "validation-failed"
    )
    assert problem["errors"][0]["pointer"] == "/idempotency_key"


def test_longest_key_is_taken(server):
    key = "k" * 255
    fields = {"date": DAY, "publish": False}
    assert post(server, fields, key).json["idempotency_key"] == key
    assert post(server, fields, key).json["disposition"] == "replayed"


def test_two_different_keys_are_refused(server):
    reply = post(server, {"date": DAY, "idempotency_key": "a"}, "b")
    assert_problem(reply, 400, "malformed-header")


@pytest.mark.parametrize(
    "other",
    [
        {"date": NEXT_DAY},
        {"publish": False},
        {"quality_gate": "block"},
        {"bad_rows": "skip"},
        {"max_bad_rows": 5},
        {"force": True},
    ],
)
def test_key_of_another_request_is_refused(server, other):
    key = "used-" + json.dumps(other).encode().hex()
    assert post(server, {"date": DAY}, key).status in (200, 202)
    before = len(server.all_runs())
    reply = post(server, {"date": DAY, **other}, key)
    assert_problem(reply, 422, "idempotency-key-reused")
    assert len(server.all_runs()) == before


def test_what_does_not_change_the_outcome_is_the_same_request(server):
    first = post(server, {"date": DAY}, "same").json["id"]
    for fields in (
        {"labels": {"try": "2"}},
        {"reason": "again"},
        {"timeout_seconds": 7},
        {"max_attempts": 1},
        {"on_active": "reject"},
        {"on_finished": "reject"},
        {"quality_gate": "warn"},
        {"publish": True},
    ):
        reply = post(server, {"date": DAY, **fields}, "same")
        assert (reply.json["id"], reply.json["disposition"]) == (first, "replayed")


def test_refused_request_leaves_no_key(server):
    assert post(server, {"date": "2999-01-01"}, "free").status == 422
    assert post(server, {"date": DAY}, "free").status in (200, 202)


def test_key_of_a_failed_run_is_replayed_or_retried(start_server, tmp_path):
    server = start_server(tmp_path / "later")
    first = server.finish(post(server, {"date": DAY}, "k").json["id"])
    assert first["state"] == "failed"
    assert post(server, {"date": DAY}, "k").json["state"] == "failed"
    copy_base(tmp_path / "later")
    reply = post(server, {"date": DAY, "on_finished": "retry_failed"}, "k")
    assert (reply.status, reply.json["disposition"]) == (202, "retried")
    done = server.finish(first["id"])
    assert (done["state"], done["attempt"]) == ("succeeded", 2)
    assert [a["outcome"] for a in done["attempts"]] == ["failed", "succeeded"]
    again = post(server, {"date": DAY, "on_finished": "retry_failed"}, "k")
    assert (again.status, again.json["disposition"]) == (200, "replayed")


# --- active runs -------------------------------------------------------------------------------


def test_active_run_is_attached_to_refused_or_superseded(slow_server):
    first = post(slow_server, {"date": DAY}, "first").json
    attached = post(slow_server, {"date": DAY}, "second").json
    assert (attached["id"], attached["disposition"]) == (first["id"], "attached")
    refused = post(slow_server, {"date": DAY, "on_active": "reject"})
    problem = assert_problem(refused, 409, "run-already-active")
    assert first["id"] in problem["detail"]
    slow_server.await_begin(f"/runs/{first['id']}")
    reply = post(slow_server, {"date": DAY, "on_active": "supersede"})
    assert (reply.status, reply.json["disposition"]) == (202, "superseded")
    assert reply.json["id"] != first["id"]
    assert slow_server.get(f"/runs/{first['id']}").json["state"] == "cancelled"
    # A key that attached stands for that run, whatever became of it.
    assert post(slow_server, {"date": DAY}, "second").json["id"] == first["id"]
    waiting = post(slow_server, {"date": NEXT_DAY}).json
    over = post(slow_server, {"date": NEXT_DAY, "on_active": "supersede"}).json
    assert over["disposition"] == "superseded"
    assert slow_server.get(f"/runs/{waiting['id']}").json["state"] == "cancelled"
    active = slow_server.all_runs("&active=true")
    assert {run["id"] for run in active} == {reply.json["id"], over["id"]}


@pytest.mark.parametrize("on_finished", ["attach", "retry_failed", "if_changed", "reject"])
def test_run_that_was_superseded_does_not_answer(slow_server, on_finished):
    """It has finished by the time the new run may be created, but only because of this request."""
    first = post(slow_server, {"date": DAY}).json["id"]
    slow_server.await_begin(f"/runs/{first}")
    reply = post(slow_server, {"date": DAY, "on_active": "supersede", "on_finished": on_finished})
    assert (reply.status, reply.json["disposition"]) == (202, "superseded"), reply
    assert reply.json["id"] != first
    assert slow_server.get(f"/runs/{first}").json["state"] == "cancelled"


# --- finished runs -----------------------------------------------------------------------------


def test_finished_run_decides_by_on_finished(start_server, tmp_path):
    source = copy_base(tmp_path / "in")
    server = start_server(source)
    first = server.run(DAY)["id"]
    attached = post(server, {"date": DAY, "on_finished": "attach"})
    assert (attached.status, attached.json["id"]) == (200, first)
    assert_problem(
        post(server, {"date": DAY, "on_finished": "reject"}), 409, "run-already-finished"
    )
    unchanged = post(server, {"date": DAY, "on_finished": "if_changed"})
    assert (unchanged.status, unchanged.json["disposition"]) == (200, "unchanged")
    assert unchanged.json["id"] == first
    (source / "orders" / "more.csv").write_text("order_id,user_id,created_at\n")
    changed = post(server, {"date": DAY, "on_finished": "if_changed"}, query="?wait=30")
    assert changed.json["disposition"] == "created"
    assert changed.json["state"] == "succeeded"
    assert post(server, {"date": DAY}).json["id"] not in (first, changed.json["id"])


def test_first_run_of_a_date_is_created_whatever_the_policy(start_server):
    server = start_server()
    for policy in ("new", "attach", "retry_failed", "if_changed", "reject"):
        reply = post(server, {"date": DAY, "publish": False, "on_finished": policy})
        if policy == "new":
            assert reply.json["disposition"] == "created"
            server.finish(reply.json["id"])
    for policy in ("attach", "retry_failed", "if_changed", "reject"):
        reply = post(server, {"date": NEXT_DAY, "on_finished": policy}, query="?wait=30")
        assert reply.json["disposition"] == "created"
        server.start_run(NEXT_DAY)
        break


def test_source_that_cannot_be_listed_makes_a_run_that_says_so(start_server, tmp_path):
    server = start_server(tmp_path / "gone")
    reply = post(server, {"date": DAY, "on_finished": "if_changed"}, query="?wait=30")
    assert reply.json["disposition"] == "created"
    assert reply.json["error"]["code"] == "source_not_found"
