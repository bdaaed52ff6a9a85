"""KPI_INTENTS=dynamodb: a run that was accepted outlives the disk of the task that accepted it."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

import pytest

from support.datasets import BASE_DATES
from support.faults import Delay, Hold, LostReply, dynamodb_error
from support.problems import assert_problem

DAY, NEXT_DAY = BASE_DATES


@pytest.fixture
def kept(site):
    """A site that keeps accepted runs in its control table."""
    site.extra["KPI_INTENTS"] = "dynamodb"
    return site.upload()


def intents(site) -> list[str]:
    """The ids of the runs that are kept."""
    keys = [item["pk"] for item in site.tables.items("control")]
    return sorted(key.removeprefix("intent#") for key in keys if key.startswith("intent#"))


def intents_become(site, *ids: str, timeout: float = 10) -> bool:
    """Whether just these intents stay; others are removed some time after their run has ended."""
    deadline = time.monotonic() + timeout
    while intents(site) != sorted(ids) and time.monotonic() < deadline:
        time.sleep(0.02)
    return intents(site) == sorted(ids)


def fresh_server(site):
    """A server that starts with an empty disk."""
    return site.server(db=site.folder / "fresh.db").await_ready()


@pytest.fixture
def held(kept):
    """The site, with downloads held back until `gate` is set: runs are accepted but do not end."""
    gate = threading.Event()
    kept.s3.spoil(Hold(gate), "GetObject")
    yield kept, gate
    gate.set()


def test_intent_is_stored_before_the_run_is_accepted_and_goes_with_its_end(kept):
    server = kept.server().await_ready()
    run = server.start_run(DAY)
    (put,) = kept.dynamodb.seen("PutItem")
    assert run["id"].encode() in put.body
    assert server.finish(run["id"])["state"] == "succeeded"
    assert intents_become(kept)


def test_accepted_runs_survive_the_loss_of_the_disk(held):
    site, gate = held
    server = site.server().await_ready()
    asked = {"labels": {"team": "data"}, "reason": "nightly", "bad_rows": "skip", "force": True}
    run = server.start_run(DAY, **asked)
    waiting = server.start_run(NEXT_DAY, publish=False)
    assert intents(site) == sorted([run["id"], waiting["id"]])
    server.kill()
    gate.set()
    fresh = fresh_server(site)
    done = fresh.finish(run["id"])
    assert done["state"] == "succeeded", done["error"]
    assert {name: done[name] for name in asked} == asked
    assert fresh.finish(waiting["id"])["state"] == "succeeded"
    assert site.tables.day("order", DAY) and not site.tables.day("order", NEXT_DAY)
    assert intents_become(site)


def test_restart_with_its_disk_doubles_nothing(held):
    site, gate = held
    server = site.server().await_ready()
    run = server.start_run(DAY)
    server.kill()
    gate.set()
    server.start()
    assert server.finish(run["id"])["state"] == "succeeded"
    assert intents_become(site)
    assert [found["id"] for found in server.all_runs()] == [run["id"]]


def test_run_is_not_accepted_while_its_intent_cannot_be_stored(kept):
    server = kept.server().await_ready()
    kept.dynamodb.spoil(dynamodb_error(500, "InternalServerError"), "PutItem")
    reply = server.post("/runs", {"date": DAY})
    assert_problem(reply, 503, "storage-unavailable")
    assert reply.headers["retry-after"]
    assert server.all_runs() == []
    assert server.get("/healthz").status == 200
    kept.dynamodb.heal()
    assert server.run(DAY)["state"] == "succeeded"


def test_client_is_told_when_storing_takes_too_long(kept):
    server = kept.server().await_ready()
    kept.dynamodb.spoil(Delay(8), "PutItem")
    reply = server.post("/runs", {"date": DAY})
    assert_problem(reply, 503, "storage-unavailable")
    assert server.all_runs() == []
    assert intents_become(kept, timeout=20)


def test_failed_run_that_a_request_queues_again_is_kept_under_its_own_id(held):
    site, gate = held
    server = site.server().await_ready()
    ask = {"date": DAY, "on_finished": "retry_failed"}
    for key in ({}, {"Idempotency_Key": "k"}):
        run = server.post("/runs", ask, **key).json
        server.post(f"/runs/{run['id']}/cancel")
        assert server.finish(run["id"])["state"] == "cancelled"
        assert intents_become(site)
        again = server.post("/runs", ask, **key)
        assert (again.status, again.json["disposition"]) == (202, "retried"), again
        assert again.json["id"] == run["id"]
        assert intents_become(site, run["id"])
        server.post(f"/runs/{run['id']}/cancel")
        server.finish(run["id"])
        assert intents_become(site)
    run = server.post("/runs", ask, Idempotency_Key="k").json
    server.kill()
    gate.set()
    fresh = fresh_server(site)
    assert fresh.finish(run["id"])["state"] == "succeeded"
    assert intents_become(site)
    replayed = fresh.post("/runs", ask, Idempotency_Key="k")  # the key has outlived the disk
    assert (replayed.status, replayed.json["id"]) == (200, run["id"])


def test_superseded_runs_leave_the_intent_of_the_new_one_only(held):
    site, gate = held
    server = site.server().await_ready()
    first = server.start_run(DAY)
    server.await_begin(f"/runs/{first['id']}")
    second = server.post("/runs", {"date": DAY, "on_active": "supersede"})
    assert (second.status, second.json["disposition"]) == (202, "superseded"), second
    assert intents_become(site, second.json["id"])
    queued = server.start_run(NEXT_DAY)
    over = server.post("/runs", {"date": NEXT_DAY, "on_active": "supersede"}).json
    assert intents_become(site, second.json["id"], over["id"])
    assert server.get(f"/runs/{queued['id']}").json["state"] == "cancelled"
    gate.set()
    for run in (second.json, over):
        assert server.finish(run["id"])["state"] == "succeeded"
    assert intents_become(site)


def open_attempts(site, run_id: str) -> set[str]:
    """The attempts of which no service has said that they have ended."""
    (item,) = (item for item in site.tables.items("control") if item["pk"] == f"intent#{run_id}")
    return set(item.get("open_attempts", ()))


def await_open_attempts(site, run_id: str, count: int) -> None:
    deadline = time.monotonic() + 20
    while len(open_attempts(site, run_id)) != count:
        assert time.monotonic() < deadline, open_attempts(site, run_id)
        time.sleep(0.02)


def test_run_that_services_die_under_fails_though_their_disks_have_gone(held):
    site, _ = held
    server = site.server().await_ready()
    run_id = server.start_run(DAY)["id"]
    for death in range(1, 4):
        await_open_attempts(site, run_id, death)
        server.kill()
        server = site.server(db=site.folder / f"disk{death}.db").await_ready()
    done = server.finish(run_id)
    assert (done["state"], done["error"]["code"]) == ("failed", "worker_lost")
    assert "3 times" in done["error"]["message"]
    assert server.await_log("run.finished")["code"] == "worker_lost"
    assert intents_become(site)


def test_services_that_were_stopped_have_not_died(held):
    site, gate = held
    server = site.server(KPI_DRAIN_SECONDS=0).await_ready()
    run_id = server.start_run(DAY)["id"]
    for stop in range(1, 5):
        await_open_attempts(site, run_id, 1)
        assert server.terminate() == 0
        await_open_attempts(site, run_id, 0)
        server = site.server(db=site.folder / f"disk{stop}.db", KPI_DRAIN_SECONDS=0).await_ready()
    gate.set()
    assert server.finish(run_id)["state"] == "succeeded"
    assert intents_become(site)


def test_failed_attempt_is_no_death(kept):
    server = kept.server().await_ready()
    kept.dynamodb.spoil(dynamodb_error(500, "InternalServerError"), "TransactWriteItems")
    run_id = server.start_run(DAY, max_attempts=3)["id"]
    deadline = time.monotonic() + 120
    while server.get(f"/runs/{run_id}").json["state"] != "retry_wait":
        assert time.monotonic() < deadline
        time.sleep(0.05)
    await_open_attempts(kept, run_id, 0)


def test_failed_run_whose_intent_stayed_is_not_made_again(kept):
    server = kept.server().await_ready()
    run = server.start_run(DAY, max_attempts=1)
    for operation in ("TransactWriteItems", "DeleteItem"):
        kept.dynamodb.spoil(dynamodb_error(500, "InternalServerError"), operation)
    assert server.finish(run["id"])["state"] == "failed"
    server.kill()
    kept.dynamodb.heal()
    server.start()
    server.await_ready()
    assert server.get(f"/runs/{run['id']}").json["state"] == "failed"
    assert intents_become(kept)


def fail_publishing(site) -> None:
    site.dynamodb.spoil(dynamodb_error(500, "InternalServerError"), "TransactWriteItems")


def test_retried_run_keeps_its_key_when_the_disk_goes(kept):
    server = kept.server().await_ready()
    fail_publishing(kept)
    ask = {"date": DAY, "max_attempts": 1}
    run = server.post("/runs", ask, Idempotency_Key="k").json
    assert server.finish(run["id"])["state"] == "failed"
    kept.dynamodb.heal()
    gate = threading.Event()
    kept.s3.spoil(Hold(gate), "GetObject")
    assert server.post(f"/runs/{run['id']}/retry").status == 202
    server.kill()
    gate.set()
    fresh = fresh_server(kept)
    assert fresh.finish(run["id"])["state"] == "succeeded"
    again = fresh.post("/runs", ask, Idempotency_Key="k")
    assert (again.json["id"], again.json["disposition"]) == (run["id"], "replayed")


def test_refused_retry_of_a_run_at_work_leaves_its_intent_as_it_is(held):
    site, gate = held
    server = site.server().await_ready()
    run = server.post("/runs", {"date": DAY}, Idempotency_Key="k").json
    await_open_attempts(site, run["id"], 1)
    before = site.tables.items("control")
    assert_problem(server.post(f"/runs/{run['id']}/retry"), 409, "run-already-active")
    assert site.tables.items("control") == before
    server.kill()
    gate.set()
    assert fresh_server(site).finish(run["id"])["state"] == "succeeded"


def test_days_of_a_backfill_ask_nothing_of_the_control_table(kept):
    server = kept.server().await_ready()
    kept.dynamodb.clear()
    backfill = server.post("/backfills", {"start_date": DAY, "end_date": NEXT_DAY, "publish": False}).json
    server.await_end(f"/backfills/{backfill['id']}")
    time.sleep(0.3)
    assert kept.dynamodb.seen() == []


def test_run_queued_again_keeps_its_intent_though_the_removal_is_late(kept):
    server = kept.server().await_ready()
    fail_publishing(kept)
    kept.dynamodb.spoil(Delay(2), "DeleteItem", times=1)
    ask = {"date": DAY, "on_finished": "retry_failed", "max_attempts": 1}
    run = server.post("/runs", ask).json
    assert server.finish(run["id"])["state"] == "failed"
    kept.dynamodb.wait_for("DeleteItem")
    gate = threading.Event()
    kept.s3.spoil(Hold(gate), "GetObject")
    again = server.post("/runs", ask).json
    assert (again["id"], again["disposition"]) == (run["id"], "retried")
    await_open_attempts(kept, run["id"], 1)
    server.kill()
    kept.dynamodb.heal()
    gate.set()
    assert fresh_server(kept).finish(run["id"])["state"] == "succeeded"


def test_cancelled_run_does_not_come_back_with_another_disk(held):
    site, gate = held
    server = site.server().await_ready()
    run = server.start_run(DAY)
    server.await_begin(f"/runs/{run['id']}")
    site.dynamodb.spoil(dynamodb_error(500, "InternalServerError"), "DeleteItem", times=6)
    assert server.post(f"/runs/{run['id']}/cancel").status == 202
    assert intents_become(site, timeout=30)
    server.kill()
    gate.set()
    fresh = fresh_server(site)
    assert fresh.all_runs() == []
    assert not site.tables.day("order", DAY)


def test_run_expires_on_another_disk_when_it_would_have_on_its_own(held):
    site, gate = held
    server = site.server().await_ready()
    first = server.start_run(DAY)
    server.await_begin(f"/runs/{first['id']}")
    late = server.start_run(NEXT_DAY, expires_in_seconds=3)
    server.kill()
    time.sleep(3)
    gate.set()
    fresh = fresh_server(site)
    done = fresh.finish(late["id"])
    assert (done["state"], done["error"]["code"]) == ("failed", "expired")
    assert abs(clock_of(done["created_at"]) - clock_of(late["created_at"])) < 5
    assert fresh.finish(first["id"])["state"] == "succeeded"


def clock_of(text: str) -> float:
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def test_attached_request_leaves_no_intent_of_its_own(held):
    site, gate = held
    server = site.server().await_ready()
    run = server.start_run(DAY)
    assert server.start_run(DAY)["id"] == run["id"]
    assert intents_become(site, run["id"])
    gate.set()
    server.finish(run["id"])
    assert intents_become(site)


def attached_to_a_backfill(server) -> dict:
    """A run of a backfill, which has no intent, that then was asked for alone."""
    made = server.post("/backfills", {"start_date": DAY, "end_date": NEXT_DAY})
    assert made.status == 202, made
    reply = server.post("/runs", {"date": DAY}, Idempotency_Key="k")
    assert (reply.status, reply.json["disposition"]) == (200, "attached"), reply
    return reply.json


def test_run_of_a_backfill_that_was_asked_for_alone_too_is_kept(held):
    site, gate = held
    server = site.server().await_ready()
    run = attached_to_a_backfill(server)
    assert intents(site) == [run["id"]]
    again = server.post("/runs", {"date": DAY}, Idempotency_Key="k")
    assert (again.status, again.json["id"]) == (200, run["id"])
    server.kill()
    gate.set()
    fresh = fresh_server(site)
    assert fresh.finish(run["id"])["state"] == "succeeded"
    assert intents_become(site)
    again = fresh.post("/runs", {"date": DAY}, Idempotency_Key="k")
    assert (again.json["id"], again.json["disposition"]) == (run["id"], "replayed")


def test_waiting_run_that_goes_with_its_backfill_does_not_come_back(held):
    site, gate = held
    server = site.server(KPI_MAX_ACTIVE_RUNS=1).await_ready()
    for path, fields in (("/runs", {"date": "2020-01-01"}), ("/backfills", {"dates": ["2020-01-02"]})):
        assert server.post(path, fields).status == 202  # they keep all that could begin another run busy
    server.await_begin(f"/runs/{server.all_runs()[0]['id']}")
    made = server.post("/backfills", {"dates": [DAY]}).json["id"]
    run = server.post("/runs", {"date": DAY}).json
    assert (run["disposition"], run["state"]) == ("attached", "queued")
    assert run["id"] in intents(site)
    assert server.post(f"/backfills/{made}/cancel").status in (200, 202)
    assert server.get(f"/runs/{run['id']}").json["state"] == "cancelled"
    deadline = time.monotonic() + 10
    while run["id"] in intents(site):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_request_waits_until_the_run_that_answers_it_is_kept(held):
    site, gate = held
    server = site.server().await_ready()
    server.post("/backfills", {"start_date": DAY, "end_date": NEXT_DAY})
    site.dynamodb.spoil(dynamodb_error(500, "InternalServerError"), "PutItem", times=3, skip=1)
    assert_problem(server.post("/runs", {"date": DAY}), 503, "storage-unavailable")
    reply = server.post("/runs", {"date": DAY})
    assert (reply.status, reply.json["disposition"]) == (200, "attached"), reply
    assert intents(site) == [reply.json["id"]]
    gate.set()
    assert server.finish(reply.json["id"])["state"] == "succeeded"
    assert intents_become(site)


def test_clients_that_ask_at_once_for_a_day_of_a_backfill_are_all_answered(held):
    site, gate = held
    server = site.server().await_ready()
    assert server.post("/backfills", {"start_date": DAY, "end_date": NEXT_DAY}).status == 202
    site.dynamodb.spoil(Delay(0.3), "PutItem")
    with ThreadPoolExecutor(6) as clients:
        replies = list(clients.map(lambda _: server.post("/runs", {"date": DAY}), range(6)))
    assert [(reply.status, reply.json.get("disposition")) for reply in replies] == [(200, "attached")] * 6
    assert intents_become(site, replies[0].json["id"])
    gate.set()
    server.finish(replies[0].json["id"])
    assert intents_become(site)


def test_run_at_work_that_goes_with_its_backfill_does_not_come_back(kept):
    server = kept.server().await_ready()
    gate = threading.Event()
    kept.dynamodb.spoil(Hold(gate), "TransactWriteItems")  # what is being published is not broken off
    made = server.post("/backfills", {"dates": [DAY]}).json["id"]
    kept.dynamodb.wait_for("TransactWriteItems")
    run = server.post("/runs", {"date": DAY}).json
    assert (run["disposition"], run["state"]) == ("attached", "running")
    assert intents(kept) == [run["id"]]
    assert server.post(f"/backfills/{made}/cancel").status == 202
    assert intents_become(kept)
    assert server.get(f"/runs/{run['id']}").json["state"] == "cancelling"
    server.kill()
    gate.set()
    assert fresh_server(kept).all_runs() == []


def test_cancelled_run_leaves_no_intent(held):
    site, _ = held
    server = site.server().await_ready()
    run = server.start_run(DAY)
    assert server.post(f"/runs/{run['id']}/cancel").status in (200, 202)
    assert server.finish(run["id"])["state"] == "cancelled"
    assert intents_become(site)


def test_intent_whose_reply_was_lost_is_no_ghost(kept):
    server = kept.server().await_ready()
    kept.dynamodb.spoil(LostReply(), "PutItem", times=1)
    assert server.run(DAY)["state"] == "succeeded"
    assert intents_become(kept)


def test_intents_of_another_source_are_left_alone(kept):
    other = {"pk": "intent#01890000-0000-7000-8000-000000000000", "source": "s3://other/Data"}
    kept.tables.put("control", {**other, "date": DAY})
    server = kept.server().await_ready()
    server.run(DAY)
    assert intents_become(kept, other["pk"].removeprefix("intent#"))
    assert len(server.all_runs()) == 1


def test_nobody_is_told_that_a_run_is_unknown_before_all_are_loaded(held):
    site, gate = held
    server = site.server().await_ready()
    run = server.start_run(DAY)
    server.kill()
    gate.set()
    site.dynamodb.spoil(dynamodb_error(500, "InternalServerError"), "Scan", times=4)
    fresh = site.server(db=site.folder / "fresh.db")
    path = f"/runs/{run['id']}"
    for reply in (
        fresh.get(path),
        fresh.get(f"{path}/results"),
        fresh.post(f"{path}/cancel"),
        fresh.post(f"{path}/retry"),
        fresh.post("/runs", {"date": DAY}),
    ):
        assert_problem(reply, 503, "starting")
        assert reply.headers["retry-after"]
    assert fresh.get("/healthz").status == 200
    checks = {check["name"]: check for check in fresh.get("/readyz").json["checks"]}
    assert not checks["intents"]["ok"] and checks["intents"]["error"]
    assert fresh.await_ready().finish(run["id"])["state"] == "succeeded"
    assert fresh.get("/runs/01890000-0000-7000-8000-000000000000").status == 404


def test_retried_run_survives_the_loss_of_the_disk(kept):
    server = kept.server().await_ready()
    kept.dynamodb.spoil(dynamodb_error(500, "InternalServerError"), "TransactWriteItems")
    run = server.run(DAY)
    assert run["state"] == "failed" and intents_become(kept)
    kept.dynamodb.heal()
    gate = threading.Event()
    kept.s3.spoil(Hold(gate), "GetObject")
    assert server.post(f"/runs/{run['id']}/retry").status == 202
    assert intents(kept) == [run["id"]]
    server.kill()
    gate.set()
    fresh = fresh_server(kept)
    assert fresh.finish(run["id"])["state"] == "succeeded"
    assert intents_become(kept)


def test_refused_retry_leaves_no_intent(kept):
    server = kept.server().await_ready()
    run = server.run(DAY)
    assert intents_become(kept)
    assert_problem(server.post(f"/runs/{run['id']}/retry"), 409, "run-already-finished")
    assert intents_become(kept)


def test_refused_request_asks_nothing_of_dynamodb(kept):
    server = kept.server().await_ready()
    kept.dynamodb.clear()
    assert_problem(server.post("/runs", {"date": "9999-01-01"}), 422, "date-in-future")
    assert_problem(server.post("/runs", {"date": "soon"}), 422, "validation-failed")
    time.sleep(0.3)
    assert kept.dynamodb.seen() == []


def test_shutdown_waits_for_a_slow_dynamodb_while_there_is_time(kept):
    """Or the next service would have a run again that has ended, or count a death that was none."""
    server = kept.server(KPI_DRAIN_SECONDS=20).await_ready()
    kept.dynamodb.spoil(Delay(12), "DeleteItem")
    run = server.start_run(DAY)
    assert server.finish(run["id"])["state"] == "succeeded"
    assert server.terminate() == 0
    assert intents(kept) == []


def test_shutdown_does_not_wait_for_intents_that_are_not_answered(kept):
    gate = threading.Event()
    server = kept.server(KPI_DRAIN_SECONDS=1).await_ready()
    kept.dynamodb.spoil(Hold(gate, 120), "PutItem")
    clients = [
        threading.Thread(target=lambda: server.post("/runs", {"date": DAY}), daemon=True) for _ in range(20)
    ]
    for client in clients:
        client.start()
    kept.dynamodb.wait_for("PutItem", 4)
    started = time.monotonic()
    assert server.terminate() == 0
    assert time.monotonic() - started < 15
    gate.set()
