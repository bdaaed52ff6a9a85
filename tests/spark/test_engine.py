"""The Spark engine end to end: the program and a real cluster, of either kind, beside the native engine.

KPID_SPARK_KILLS says how often each of program, driver and master is killed (1; deep: 20), KPID_SPARK_KILL_SEED repeats a series.
"""

import contextlib
import os
import random
import sqlite3
import subprocess
import time

import pytest

from support.backfills import backfill, finish
from support.cli import OK, kpid, source_url
from support.datasets import BASE, BASE_DATES, copy_base, write_lines
from support.paths import LAB, clean_env, kpid_binary
from support.processes import wait_for
from support.random_data import Maker
from support.server import Server
from support.spark_cluster import SparkCluster
from support.spark_site import SparkSite, answers
from support.tools import free_port

KILLS = int(os.environ.get("KPID_SPARK_KILLS", "1"))
SEED = int(os.environ.get("KPID_SPARK_KILL_SEED", str(int(time.time()))))
RUN_SECONDS = 240  # on a busy machine
CLOSE_SECONDS = 30  # so long a driver may take to end after its job has, and the service to remove its files
DAY = BASE_DATES[0]
LAB_DAY = "2025-03-29"
ENGINE_ERRORS = {"engine_unavailable", "engine_failed", "engine_lost"}

pytestmark = pytest.mark.timeout(400)


@pytest.fixture(scope="module", params=["standalone", "emr-serverless"])
def site(request, tmp_path_factory, s3_server):
    name = "emr" if request.param == "emr-serverless" else "spark_cluster"
    return SparkSite(tmp_path_factory.mktemp("site"), s3_server, request.getfixturevalue(name))


@pytest.fixture
def serve(site, tmp_path):
    """A function that starts the program on a folder's files; what it leaves is a failure."""
    started = []

    def start(source=BASE, **settings) -> Server:
        url = settings.pop("url", None) or site.source(source)
        env = {**site.settings(), **settings}
        server = Server(tmp_path / f"kpid-{len(started)}.db", url, **env)
        started.append(server)
        return server.start()

    yield start
    for server in started:
        server.kill()


def spark_run(server, date=DAY, **fields):
    return server.start_run(date, engine="spark", **fields)["id"]


def finished(server, run):
    return server.finish(run, RUN_SECONDS)


def assert_equal_to_native(server, date, **fields):
    found = {}
    for engine in ("native", "spark"):
        run = server.start_run(date, engine=engine, force=True, **fields)["id"]
        end = finished(server, run)
        assert (end["state"], end["engine"]) == ("succeeded", engine), end
        found[engine] = answers(server, run)
    assert found["spark"] == found["native"]
    return run


def assert_failed(server, run, *codes):
    """The run failed by one of these codes, and published nothing."""
    end = finished(server, run)
    assert end["state"] == "failed" and end["error"]["code"] in codes, end
    for kpi in ("orders", "categories"):
        assert server.get(f"/kpis/{kpi}?from={DAY}&to={DAY}").json["rows"] == [], kpi
    return end["error"]


def test_base_data_is_as_native_says_and_leaves_no_files(site, serve):
    run = assert_equal_to_native(serve(), DAY)
    wait_for(lambda: site.left(run) == [], CLOSE_SECONDS)
    assert site.last_state() in ("SUCCESS", "FINISHED")


@pytest.mark.skipif(not LAB.is_dir(), reason="the lab data is not beside the checkout")
def test_lab_data_is_as_native_says(serve):
    assert_equal_to_native(serve(LAB), LAB_DAY)


def test_random_data_is_as_native_says(serve, tmp_path):
    scenario = Maker(SEED).scenario(tmp_path / "in")
    day = scenario.truth.orders[0][3].isoformat()
    skips = {"bad_rows": "skip", "max_bad_rows": scenario.truth.bad_rows} if scenario.options else {}
    print(f"seed {SEED}")
    assert_equal_to_native(serve(scenario.source, **scenario.env), day, **skips)


def test_bad_input_is_refused_in_the_words_of_native(site, serve, tmp_path):
    source = copy_base(tmp_path / "in")
    write_lines(source, "order_items", ["900,101,1,1,shipped,no date"], "bad.csv")
    server = serve(source)
    errors = []
    for engine in ("native", "spark"):
        end = finished(server, server.start_run(DAY, engine=engine, force=True)["id"])
        assert end["state"] == "failed", (engine, end)
        errors.append({key: value for key, value in end["error"].items() if key != "at"})
    assert errors[0] == errors[1]
    wait_for(lambda: site.left(end["id"]) == [], 10)


def test_cancelled_run_leaves_no_process_and_no_file(site, serve):
    server = serve()
    run = spark_run(server)
    wait_for(lambda: site.processes(run), 60)
    assert server.post(f"/runs/{run}/cancel").status in (200, 202)
    wait_for(lambda: not site.processes(run), 5)
    assert finished(server, run)["state"] == "cancelled"
    wait_for(lambda: site.left(run) == [], 10)


def test_days_of_a_backfill_are_one_job(site, serve):
    before = site.submissions()
    server = serve()
    reply = backfill(server, start_date=BASE_DATES[0], end_date=BASE_DATES[-1], engine="spark")
    assert reply.status in (200, 202), reply
    end = finish(server, reply.json["id"], RUN_SECONDS)
    assert end["state"] == "succeeded", end
    assert site.submissions() - before == 1


# ---- faults: each is a named error, and publishes nothing ----


def test_another_job_file_is_refused(site, serve):
    good = site.bucket.get("jobs/kpi_job.py")
    site.bucket.put("jobs/other.py", good + b"# changed\n")
    server = serve(KPI_SPARK_JOB_URI=site.bucket.url("jobs/other.py"))
    run = spark_run(server)
    assert "SHA-256" in assert_failed(server, run, "engine_failed")["message"]
    wait_for(lambda: site.left(run) == [], 10)


def test_missing_job_file_is_named(site, serve):
    server = serve(KPI_SPARK_JOB_URI=site.bucket.url("jobs/none.py"))
    run = spark_run(server)
    assert_failed(server, run, "engine_failed", "engine_unavailable")
    wait_for(lambda: site.left(run) == [], 10)


def test_cluster_that_is_away_is_named(site, serve):
    away = f"http://127.0.0.1:{free_port()}"
    server = serve(**{"AWS_ENDPOINT_URL_EMR_SERVERLESS" if site.is_emr else "KPI_SPARK_REST_URL": away})
    run = spark_run(server)
    assert_failed(server, run, "engine_unavailable")
    wait_for(lambda: site.left(run) == [], 10)


def fake_manifest(site, run):
    """Stops the job, and leaves a manifest of another attempt as its own."""
    wait_for(lambda: site.has_begun(run), 90)
    site.bucket.put(f"work/kpi-runs/{run}/1/manifest.json", b'{"format": 1, "run_id": "another", "attempt": 1}')
    kill_driver(site, run)


def kill_driver(site, run):
    if site.is_emr:
        [job] = [job for job in site.cluster.jobs.values() if job.request["clientToken"] == f"kpi-{run}-1"]
        job.kill()
    else:
        site.cluster.kill_driver(f"/kpi-runs/{run}/1/spec.json")


def test_manifest_of_another_run_does_not_count(site, serve):
    server = serve()
    run = spark_run(server)
    fake_manifest(site, run)
    assert_failed(server, run, "engine_failed")
    wait_for(lambda: site.left(run) == [], 10)


def cut_off(bucket, prefix):
    bucket.put(f"{prefix}/manifest.json", bucket.get(f"{prefix}/manifest.json")[:-20])


def change_results(bucket, prefix):
    key = next(key for key in bucket.keys(f"{prefix}/results/part-") if b"1" in bucket.get(key))
    bucket.put(key, bucket.get(key).replace(b"1", b"2", 1))


def remove_results(bucket, prefix):
    for key in bucket.keys(f"{prefix}/results/part-"):
        bucket.delete(key)


class TestEmrServerless:
    """What only this kind of cluster has."""

    @pytest.fixture(scope="class", params=["emr-serverless"])
    def site(self, tmp_path_factory, s3_server, emr):
        return SparkSite(tmp_path_factory.mktemp("site"), s3_server, emr)

    def test_stopped_application_is_named(self, site, serve):
        site.cluster.is_stopped = True
        try:
            server = serve()
            assert_failed(server, spark_run(server), *ENGINE_ERRORS)
        finally:
            site.cluster.is_stopped = False

    def test_lost_reply_and_throttling_lead_to_one_job(self, site, serve):
        server = serve()
        before = site.submissions()
        site.cluster.throttle(2)
        site.cluster.lost_replies = 1
        assert finished(server, spark_run(server))["state"] == "succeeded"
        assert site.submissions() - before == 1

    @pytest.mark.parametrize("damage", [cut_off, change_results, remove_results])
    def test_damaged_results_of_its_own_are_refused(self, damage, site, serve):
        """The job ends while the service is away, and the results are damaged until it comes back."""
        server = serve()
        run = spark_run(server)
        wait_for(lambda: site.has_begun(run), 90)
        server.kill()
        prefix = f"work/kpi-runs/{run}/1"
        wait_for(lambda: site.last_state() == "SUCCESS", 120)
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
    def test_wrong_credentials_are_named(self, wrong, said, site, serve, tmp_path):
        work = tmp_path / "work"
        server = serve(url=source_url(BASE), KPI_SPARK_WORK_URI=f"file://{work}", **wrong)
        before = site.submissions()
        details = assert_failed(server, spark_run(server), "engine_failed")["details"]
        assert (details["aws_operation"], details["aws_error"]) == ("StartJobRun", said), details
        assert site.submissions() == before
        wait_for(lambda: not any(work.glob("kpi-runs/*/*")), CLOSE_SECONDS)

    def test_cluster_that_goes_away_is_waited_for_a_minute(self, site, serve):
        server = serve()
        run = spark_run(server)
        wait_for(lambda: site.has_begun(run), 90)
        site.cluster.is_away, began = True, time.monotonic()
        try:
            kill_driver(site, run)
            assert_failed(server, run, "engine_unavailable")
            assert 55 < time.monotonic() - began < 150
        finally:
            site.cluster.is_away = False
        wait_for(lambda: site.left(run) == [], 90)  # the reaper may have just begun a long wait

    def test_token_used_with_another_body_is_named_and_the_next_job_is_another(self, site, serve):
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

    def test_job_that_a_killed_command_has_left_makes_room_for_the_next(self, site, tmp_path):
        env = {**site.settings(), "KPI_SOURCE": site.source(BASE), "KPI_DB": str(tmp_path / "k.db"), "KPI_ENGINE": "spark"}
        command = subprocess.Popen([kpid_binary(), "run", "--date", DAY], env=clean_env(**env), stdout=subprocess.DEVNULL)
        wait_for(lambda: site.last_state() == "RUNNING", 90)
        command.kill()
        command.wait()
        [left] = [job for job in site.cluster.jobs.values() if job.state == "RUNNING"]
        done = kpid("run", "--date", DAY, env=env, timeout=RUN_SECONDS)
        assert done.code == OK, done
        new = list(site.cluster.jobs.values())[-1]
        assert (left.state, new.state) == ("CANCELLED", "SUCCESS")
        assert left.updated <= new.created

    def test_caller_without_rights_is_named(self, site, serve):
        site.cluster.refuses_callers = True
        try:
            server = serve()
            assert_failed(server, spark_run(server), *ENGINE_ERRORS)
        finally:
            site.cluster.refuses_callers = False


# ---- kill -9 ----


def kill_program(site, server, run):
    server.kill()
    server.start()


def kill_driver_of(site, server, run):
    kill_driver(site, run)


def kill_master(site, server, run):
    if isinstance(site.cluster, SparkCluster):
        site.cluster.restart_master()
    else:
        site.cluster.fail(3)  # nobody can kill that of EMR Serverless: it fails to answer


KILLERS = {"program": kill_program, "driver": kill_driver_of, "master": kill_master}


@pytest.mark.timeout(60 + KILLS * 240)
@pytest.mark.parametrize("what", KILLERS)
def test_killed_while_a_job_runs(what, site, serve, tell):
    """The run succeeds or ends by a named error; a program that comes back goes on with the job that it had."""
    rng = random.Random(SEED)
    server, found = serve(), []
    for trial in range(KILLS):
        before = site.submissions()
        run = spark_run(server, force=True)
        wait_for(lambda: site.processes(run), 90)
        time.sleep(rng.uniform(0, 6))
        KILLERS[what](site, server, run)
        end = finished(server, run)
        code = (end["error"] or {}).get("code")
        if end["state"] != "succeeded" and (what == "program" or code not in ENGINE_ERRORS):
            found.append(f"{trial}: {end['state']} {end['error']}")
        if site.submissions() - before != 1:
            found.append(f"{trial}: {site.submissions() - before} submissions")
        wait_for(lambda: not site.processes(run), CLOSE_SECONDS)
        wait_for(lambda: site.left(run) == [], CLOSE_SECONDS)
    kind = "EMR Serverless" if site.is_emr else "standalone"
    tell(f"kills of the {what}, {kind}: {KILLS}, violations: {len(found)}, seed {SEED}")
    assert found == []
