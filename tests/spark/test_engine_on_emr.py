"""The Spark engine end to end on EMR Serverless: what only this kind of cluster has, and what one kind shows as well as two."""

import contextlib
import sqlite3
import subprocess
import time

import pytest

from support.cli import OK, kpid, source_url
from support.datasets import BASE
from support.paths import clean_env, kpid_binary
from support.processes import wait_for
from support.spark_site import CLOSE_SECONDS, DAY, ENGINE_ERRORS, RUN_SECONDS, SparkSite, assert_failed, finished, spark_run

pytestmark = pytest.mark.timeout(400)


@pytest.fixture(scope="module")
def site(tmp_path_factory, s3_server, emr):
    return SparkSite(tmp_path_factory.mktemp("site"), s3_server, emr)


def cut_off(bucket, prefix):
    bucket.put(f"{prefix}/manifest.json", bucket.get(f"{prefix}/manifest.json")[:-20])


def change_results(bucket, prefix):
    key = next(key for key in bucket.keys(f"{prefix}/results/part-") if b"1" in bucket.get(key))
    bucket.put(key, bucket.get(key).replace(b"1", b"2", 1))


def remove_results(bucket, prefix):
    for key in bucket.keys(f"{prefix}/results/part-"):
        bucket.delete(key)


@pytest.mark.parametrize("trouble", ["is_stopped", "refuses_callers"])
def test_application_that_takes_no_jobs_is_named(site, serve, trouble):
    """It was stopped, or the caller has no rights."""
    setattr(site.cluster, trouble, True)
    try:
        server = serve()
        assert_failed(server, spark_run(server), *ENGINE_ERRORS)
    finally:
        setattr(site.cluster, trouble, False)


def test_lost_reply_and_throttling_lead_to_one_job(site, serve):
    server = serve()
    before = site.submissions()
    site.cluster.throttle(2)
    site.cluster.lost_replies = 1
    assert finished(server, spark_run(server))["state"] == "succeeded"
    assert site.submissions() - before == 1


def test_job_of_which_no_reply_told_is_found_and_cancelled(site, serve):
    """Without that it would take the application's room until it finds its spec gone."""
    server = serve()
    site.cluster.lost_replies = 3  # of one start, with its retries
    run = spark_run(server, max_attempts=1)
    assert_failed(server, run, "engine_unavailable")
    wait_for(lambda: site.last_state() == ["CANCELLED"], CLOSE_SECONDS)
    wait_for(lambda: not site.processes(run) and site.left(run) == [], CLOSE_SECONDS)


@pytest.mark.parametrize("damage", [cut_off, change_results, remove_results])
def test_damaged_results_of_its_own_are_refused(damage, site, serve):
    """The job ends while the service is away, and the results are damaged until it comes back."""
    server = serve()
    run = spark_run(server)
    wait_for(lambda: site.has_begun(run), 90)
    server.kill()
    prefix = f"work/kpi-runs/{run}/1"
    wait_for(lambda: site.last_state() == ["SUCCESS"], 120)
    damage(site.bucket, prefix)
    server.start()
    assert_failed(server, run, "engine_failed")
    wait_for(lambda: site.left(run) == [], CLOSE_SECONDS)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"AWS_SECRET_ACCESS_KEY": "wrong"}, "InvalidSignatureException"),
        ({"AWS_ACCESS_KEY_ID": "AKIANOBODY"}, "UnrecognizedClientException"),
    ],
    ids=["secret", "key"],
)
def test_wrong_credentials_are_named(wrong, said, site, serve, tmp_path):
    work = tmp_path / "work"
    server = serve(url=source_url(BASE), KPI_SPARK_WORK_URI=f"file://{work}", **wrong)
    before = site.submissions()
    details = assert_failed(server, spark_run(server), "engine_failed")["details"]
    assert (details["aws_operation"], details["aws_error"]) == ("StartJobRun", said), details
    assert site.submissions() == before
    wait_for(lambda: not any(work.glob("kpi-runs/*/*")), CLOSE_SECONDS)


def test_cluster_that_goes_away_is_waited_for_a_minute(site, serve):
    server = serve()
    run = spark_run(server)
    wait_for(lambda: site.has_begun(run), 90)
    site.cluster.is_away, began = True, time.monotonic()
    try:
        site.kill_driver(run)
        assert_failed(server, run, "engine_unavailable")
        assert 55 < time.monotonic() - began < 150
    finally:
        site.cluster.is_away = False
    wait_for(lambda: site.left(run) == [], 90)  # the reaper may have just begun a long wait


def test_token_used_with_another_body_is_named_and_the_next_job_is_another(site, serve):
    """The service comes back with another time limit while it does not know whether its job was started."""
    server = serve()
    run = spark_run(server, timeout_seconds=3600, max_attempts=2)
    wait_for(lambda: site.processes(run), 90)
    server.kill()
    with contextlib.closing(sqlite3.connect(server.db)) as db, db:
        db.execute("UPDATE engine_jobs SET job_id = NULL")
        db.execute("UPDATE runs SET timeout_seconds = 1800")
    before = site.submissions()
    server.start()
    end = finished(server, run)
    ends = [(one["outcome"], one["error_code"]) for one in end["attempts"]]
    assert ends == [("crashed", None), ("failed", "engine_failed"), ("succeeded", None)], end
    assert site.submissions() - before == 1
    wait_for(lambda: not site.processes(run), CLOSE_SECONDS)


def test_job_that_a_killed_command_has_left_makes_room_for_the_next(site, tmp_path):
    env = {**site.settings(), "KPI_SOURCE": site.source(BASE), "KPI_DB": str(tmp_path / "k.db"), "KPI_ENGINE": "spark"}
    before = site.submissions()  # the last of them may still be called running for a moment
    command = subprocess.Popen([kpid_binary(), "run", "--date", DAY], env=clean_env(**env), stdout=subprocess.DEVNULL)
    wait_for(lambda: site.submissions() > before and site.last_state() == ["RUNNING"], 90)
    command.kill()
    command.wait()
    done = kpid("run", "--date", DAY, env=env, timeout=RUN_SECONDS)
    assert done.code == OK, done
    left, new = list(site.cluster.jobs.values())[before:]
    assert (left.state, new.state) == ("CANCELLED", "SUCCESS")
    assert left.updated <= new.created
