"""KPI_INTENTS=dynamodb and jobs of a cluster: a service that starts on an empty disk finds the jobs of the one before."""

import pytest

from support.backfills import backfill
from support.datasets import BASE
from support.faults import dynamodb_error
from support.processes import wait_for
from support.spark_site import CLOSE_SECONDS, DAY, SparkSite, answers, finished, spark_run

pytestmark = pytest.mark.timeout(400)


@pytest.fixture(scope="module")
def site(tmp_path_factory, s3_server, emr):
    return SparkSite(tmp_path_factory.mktemp("site"), s3_server, emr)


@pytest.fixture
def tables(dynamodb_server):
    return dynamodb_server.tables().create()


@pytest.fixture
def dynamodb(dynamodb_server, start_proxy):
    return start_proxy(dynamodb_server.port)


@pytest.fixture
def on_new_disk(site, serve, tables, dynamodb):
    """A function that starts a service which has an empty disk, for the same files."""
    url = site.source(BASE)
    kept = {**tables.settings, "KPI_INTENTS": "dynamodb", "AWS_ENDPOINT_URL_DYNAMODB": dynamodb.url}
    return lambda: serve(url=url, KPI_DRAIN_SECONDS=0, **kept).await_ready()


def kept_jobs(tables) -> list[str]:
    return [item["pk"] for item in tables.items("control") if item["pk"].startswith("job#")]


def begun(site, server, **fields):
    """The run, whose job is at work."""
    run = spark_run(server, **fields)
    wait_for(lambda: site.has_begun(run), 90)
    return run


@pytest.mark.parametrize("disks", [1, 2])
def test_job_is_gone_on_with_on_empty_disks(disks, site, on_new_disk, tables):
    server = on_new_disk()
    before = site.submissions()
    run = begun(site, server)
    for _ in range(disks):
        server.kill()
        server = on_new_disk()
        server.await_log("engine.job_found")
    end = finished(server, run)
    assert (end["state"], end["engine"]) == ("succeeded", "spark"), end
    assert site.submissions() - before == 1
    native = server.start_run(DAY, engine="native", force=True)["id"]
    assert finished(server, native)["state"] == "succeeded"
    assert answers(server, run) == answers(server, native)
    wait_for(lambda: site.left(run) == [] and kept_jobs(tables) == [], CLOSE_SECONDS)


def test_job_of_a_run_that_is_cancelled_on_another_disk_is_ended(site, on_new_disk, tables):
    server = on_new_disk()
    before = site.submissions()
    run = begun(site, server)
    server.kill()
    server = on_new_disk()
    server.await_log("engine.job_found")
    assert server.post(f"/runs/{run}/cancel").status in (200, 202)
    assert finished(server, run)["state"] == "cancelled"
    wait_for(lambda: not site.processes(run) and site.left(run) == [] and kept_jobs(tables) == [], CLOSE_SECONDS)
    assert site.submissions() - before == 1
    assert site.last_state() == ["CANCELLED"]


def test_job_that_was_being_ended_when_the_disk_went_is_ended(site, on_new_disk, tables):
    """The run is cancelled, its intent goes, and the cluster cannot be asked to end its job before the disk goes."""
    server = on_new_disk()
    run = begun(site, server)
    site.cluster.is_away = True
    try:
        server.post(f"/runs/{run}/cancel")
        assert finished(server, run)["state"] == "cancelled"
        server.kill()
    finally:
        site.cluster.is_away = False
    on_new_disk()
    wait_for(lambda: not site.processes(run) and site.left(run) == [] and kept_jobs(tables) == [], CLOSE_SECONDS)
    assert site.last_state() == ["CANCELLED"]


@pytest.mark.parametrize("end", ["terminate", "kill"])
def test_job_of_a_backfill_that_went_with_its_disk_is_ended(end, site, on_new_disk, tables):
    server = on_new_disk()
    found = backfill(server, all=True, engine="spark").json["id"]
    wait_for(lambda: site.has_begun(found), 90)
    getattr(server, end)()
    on_new_disk()
    wait_for(lambda: not site.processes(found) and site.left(found) == [] and kept_jobs(tables) == [], CLOSE_SECONDS)
    assert site.last_state() == ["CANCELLED"]


def test_no_job_is_submitted_that_nobody_could_find(site, on_new_disk, tables, dynamodb):
    server = on_new_disk()
    before = site.submissions()
    dynamodb.spoil(dynamodb_error(500, "InternalServerError"), "PutItem")
    found = backfill(server, all=True, engine="spark").json["id"]
    end = server.await_end(f"/backfills/{found}")
    assert (end["state"], end["error"]["code"]) == ("failed", "dynamodb_unavailable"), end
    assert site.submissions() == before
