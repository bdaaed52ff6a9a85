"""POST /runs/{id}/retry: from the start, or only the publishing of what was computed."""

import threading

import pytest

from support.datasets import BASE_DATES
from support.faults import Hold, Meanwhile, dynamodb_error, s3_error
from support.problems import assert_problem
from support.published import disagreements

DAY = BASE_DATES[0]
UNKNOWN_ID = "01890000-0000-7000-8000-000000000000"
OUTAGE = dynamodb_error(500, "InternalServerError")


@pytest.fixture
def failed(site):
    """A site, its server, and a run that was computed but could not be published."""
    server = site.upload().server()
    site.dynamodb.spoil(OUTAGE, "TransactWriteItems")
    run = server.run(DAY)
    assert (run["state"], run["error"]["phase"]) == ("failed", "publishing")
    assert run["error"]["code"] == "dynamodb_unavailable" and run["error"]["retryable"]
    site.dynamodb.heal()
    site.s3.clear()
    return site, server, run


def test_retry_from_publish_sends_the_kept_results_without_reading_again(failed):
    site, server, run = failed
    reply = server.post(f"/runs/{run['id']}/retry", {"from": "publish"})
    assert reply.status == 202, reply
    assert (reply.json["id"], reply.json["state"]) == (run["id"], "queued")
    done = server.finish(run["id"])
    assert (done["state"], done["attempt"]) == ("succeeded", 2), done["error"]
    assert site.s3.seen("GetObject") == []
    assert done["summary"] == run["summary"]
    assert site.tables.categories(DAY) == ["Electronics", "Home"]
    assert disagreements(site.tables, DAY) == []


def test_retry_from_start_reads_everything_again(failed):
    site, server, run = failed
    assert server.post(f"/runs/{run['id']}/retry").status == 202
    assert server.finish(run["id"])["state"] == "succeeded"
    assert len(site.s3.seen("GetObject")) == 3


def test_retry_from_publish_refuses_inputs_that_have_changed(failed):
    site, server, run = failed
    site.bucket.put("Data/products/more.csv", "id,category\n9,Garden\n")
    server.post(f"/runs/{run['id']}/retry", {"from": "publish"})
    done = server.finish(run["id"])
    assert (done["state"], done["error"]["code"]) == ("failed", "s3_object_changed")
    assert site.tables.snapshot() == {"category": [], "order": [], "control": []}
    server.post(f"/runs/{run['id']}/retry", {"from": "start"})
    assert server.finish(run["id"])["state"] == "succeeded"


@pytest.mark.parametrize("mode", ["atomic", "plain"])
def test_retry_from_publish_never_brings_old_rows_back(site, mode):
    server = site.upload().server(KPI_PUBLISH_MODE=mode)
    site.dynamodb.spoil(OUTAGE, "TransactWriteItems|BatchWriteItem")
    old = server.run(DAY)
    site.dynamodb.heal()
    site.bucket.put("Data/orders/more.csv", f"order_id,user_id,created_at\n900,9,{DAY}\n")
    assert server.run(DAY)["summary"]["total_orders"] == 3
    for _ in range(3):
        reply = server.post(f"/runs/{old['id']}/retry", {"from": "publish"})
        assert reply.status in (202, 409), reply
        assert server.finish(old["id"])["state"] == "failed"
        assert [item["total_orders"] for item in site.tables.items("order")] == [3]


def test_results_of_inputs_that_are_no_more_are_not_published_after_an_overtaken_run(site):
    """Round 1 computed; the run was overtaken, listed new inputs and could not read them."""
    server = site.upload().server()
    other = {"AWS_ENDPOINT_URL_S3": f"http://127.0.0.1:{site.s3.upstream_port}"}
    other["AWS_ENDPOINT_URL_DYNAMODB"] = f"http://127.0.0.1:{site.dynamodb.upstream_port}"
    second = site.server(db=site.folder / "second.db", **other)

    def overtake():
        site.bucket.put("Data/orders/more.csv", f"order_id,user_id,created_at\n900,9,{DAY}\n")
        assert second.run(DAY)["state"] == "succeeded"
        site.s3.spoil(s3_error(403, "AccessDenied"), "GetObject")

    site.dynamodb.spoil(Meanwhile(overtake), "TransactWriteItems", times=1)
    run = server.run(DAY)
    assert run["error"]["code"] == "s3_access_denied", run
    site.s3.heal()
    reply = server.post(f"/runs/{run['id']}/retry", {"from": "publish"})
    assert_problem(reply, 409, "results-not-ready")
    assert [item["total_orders"] for item in site.tables.items("order")] == [3]


def test_retry_from_publish_refuses_results_of_another_zone(failed):
    site, server, run = failed
    server.terminate()
    moved = site.server(db=server.db, KPI_TIMEZONE="Asia/Tokyo")
    moved.post(f"/runs/{run['id']}/retry", {"from": "publish"})
    done = moved.finish(run["id"])
    assert done["state"] == "failed" and "KPI_TIMEZONE" in done["error"]["message"]
    assert done["timezone"] == "UTC"


def test_kept_results_survive_a_restart(failed):
    site, server, run = failed
    server.terminate()
    server.start()
    site.s3.clear()
    assert server.post(f"/runs/{run['id']}/retry", {"from": "publish"}).status == 202
    assert server.finish(run["id"])["state"] == "succeeded"
    assert site.s3.seen("GetObject") == []


def test_attempts_tell_what_happened(failed):
    _, server, run = failed
    server.post(f"/runs/{run['id']}/retry", {"from": "publish"})
    attempts = server.finish(run["id"])["attempts"]
    assert [(a["attempt"], a["outcome"]) for a in attempts] == [(1, "failed"), (2, "succeeded")]
    assert attempts[0]["error_code"] == "dynamodb_unavailable"


def test_run_that_has_succeeded_is_not_retried(site):
    server = site.upload().server()
    run = server.run(DAY)
    assert_problem(server.post(f"/runs/{run['id']}/retry"), 409, "run-already-finished")


def test_retry_gives_way_to_another_run_of_the_date(failed):
    site, server, run = failed
    gate = threading.Event()
    site.s3.spoil(Hold(gate), "GetObject")
    other = server.start_run(DAY)
    site.s3.wait_for("GetObject")
    reply = server.post(f"/runs/{run['id']}/retry", {"from": "publish"})
    gate.set()
    assert_problem(reply, 409, "run-already-active")
    assert server.finish(other["id"])["state"] == "succeeded"
    assert server.get(f"/runs/{run['id']}").json["state"] == "failed"


def test_run_without_results_cannot_be_retried_from_publish(site):
    server = site.server()  # the bucket is empty
    run = server.run(DAY)
    assert run["error"]["code"] == "s3_no_objects", run
    reply = server.post(f"/runs/{run['id']}/retry", {"from": "publish"})
    assert_problem(reply, 409, "results-not-ready")


@pytest.mark.parametrize(
    "body", [{"from": "middle"}, {"from": 1}, {"form": "start"}, {"from": None}]
)
def test_bad_retry_is_refused_and_changes_nothing(failed, body):
    _, server, run = failed
    assert_problem(server.post(f"/runs/{run['id']}/retry", body), 422, "validation-failed")
    assert server.get(f"/runs/{run['id']}").json["state"] == "failed"


def test_unknown_run_is_not_found(failed):
    _, server, _ = failed
    assert_problem(server.post(f"/runs/{UNKNOWN_ID}/retry"), 404, "run-not-found")
