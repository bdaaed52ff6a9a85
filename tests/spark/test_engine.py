"""The Spark engine end to end: the program and a real cluster, of either kind, beside the native engine.

KPID_SPARK_KILLS says how often each of program, driver and master is killed, and a run cancelled (1; deep: 20), KPID_SPARK_RANDOM how
many random data sets both engines compute (2; deep: 20), each on both clusters; KPID_SPARK_SEED repeats a series.
"""

import os
import random
import time

import pytest

from support.backfills import backfill, finish
from support.datasets import BASE_DATES, copy_base, write_lines
from support.paths import LAB
from support.processes import wait_for
from support.random_data import Maker
from support.spark_cluster import SparkCluster
from support.spark_site import (
    CLOSE_SECONDS,
    DAY,
    ENGINE_ERRORS,
    RUN_SECONDS,
    SparkSite,
    answers,
    assert_failed,
    finished,
    spark_run,
)
from support.tools import free_port

KILLS = int(os.environ.get("KPID_SPARK_KILLS", "1"))
RANDOM = int(os.environ.get("KPID_SPARK_RANDOM", "2"))
SEED = int(os.environ.get("KPID_SPARK_SEED", str(int(time.time()))))
LAB_DAY = "2025-03-29"
DRIVER_SECONDS = 5  # so soon after a cancel no driver is left

pytestmark = pytest.mark.timeout(400)


@pytest.fixture(scope="module", params=["standalone", "emr-serverless"])
def site(request, tmp_path_factory, s3_server):
    name = "emr" if request.param == "emr-serverless" else "spark_cluster"
    return SparkSite(tmp_path_factory.mktemp("site"), s3_server, request.getfixturevalue(name))


def assert_equal_to_native(server, date, **fields):
    found = {}
    for engine in ("native", "spark"):
        run = server.start_run(date, engine=engine, force=True, **fields)["id"]
        end = finished(server, run)
        assert (end["state"], end["engine"]) == ("succeeded", engine), end
        found[engine] = answers(server, run)
    assert found["spark"] == found["native"]
    return run


def test_base_data_is_as_native_says_and_leaves_no_files(site, serve):
    run = assert_equal_to_native(serve(), DAY)
    wait_for(lambda: site.left(run) == [], CLOSE_SECONDS)
    assert site.last_state() in (["SUCCESS"], ["FINISHED"])


@pytest.mark.skipif(not LAB.is_dir(), reason="the lab data is not beside the checkout")
def test_lab_data_is_as_native_says(serve):
    assert_equal_to_native(serve(LAB), LAB_DAY)


def what_came_of(server, run):
    """How a run has ended, and its results, byte for byte."""
    end = server.get(f"/runs/{run}").json
    if end["error"]:
        return end["state"], {key: value for key, value in end["error"].items() if key != "at"}
    quality = server.get(f"/runs/{run}/quality").json
    tables = [server.get(f"/runs/{run}/results?kpi={kpi}&format=csv&limit=200").body for kpi in ("orders", "categories")]
    return end["state"], tables, quality["checks"], quality["profile"]


def what_came_of_all_days(server, **fields):
    """By day, or why there are none."""
    reply = backfill(server, all=True, **fields)
    assert reply.status in (200, 202), reply
    found = finish(server, reply.json["id"], RUN_SECONDS)
    return {row["date"]: what_came_of(server, row["run_id"]) for row in found["days"] or []} or found["error"]["message"]


def differences_of_engines(scenario, site, serve):
    """By day, what came of a data set; empty when it is the same."""
    skips = {"bad_rows": "skip", "max_bad_rows": scenario.truth.bad_rows} if scenario.options else {}
    url, found = site.source(scenario.source), {}
    for engine in ("native", "spark"):
        server = serve(url=url, **scenario.env)
        found[engine] = what_came_of_all_days(server, engine=engine, **skips)
        server.kill()
    if found["native"] == found["spark"]:
        return {}
    if isinstance(found["native"], str) or isinstance(found["spark"], str):
        return found
    days = found["native"].keys() | found["spark"].keys()
    both = {day: (found["native"].get(day), found["spark"].get(day)) for day in days}
    return {day: (native, spark) for day, (native, spark) in both.items() if native != spark}


@pytest.mark.timeout(60 + RANDOM * RUN_SECONDS)
def test_random_data_is_as_native_says_byte_for_byte(site, serve, tell, tmp_path):
    found, began = {}, time.monotonic()
    for seed in range(SEED + RANDOM * site.is_emr, SEED + RANDOM * site.is_emr + RANDOM):
        found[seed] = differences_of_engines(Maker(seed).scenario(tmp_path / str(seed)), site, serve)
    violations = {seed: differences for seed, differences in found.items() if differences}
    tell(
        f"random data sets, {site.kind}: {RANDOM}, violations: {len(violations)}, first seed {min(found)}, series {SEED},"
        f" {time.monotonic() - began:.0f} s"
    )
    assert violations == {}


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


@pytest.mark.timeout(60 + KILLS * 120)
def test_cancelled_run_leaves_no_process_and_no_file(site, serve, tell):
    """Five seconds after the cancel, at whatever moment of the job it comes."""
    rng, took = random.Random(SEED), []
    server = serve()
    for _ in range(KILLS):
        run = spark_run(server, force=True)
        wait_for(lambda: site.processes(run), 90)
        time.sleep(rng.uniform(0, 4))
        began = time.monotonic()
        assert server.post(f"/runs/{run}/cancel").status in (200, 202)
        wait_for(lambda: not site.processes(run), CLOSE_SECONDS)
        took.append(time.monotonic() - began)
        assert finished(server, run)["state"] == "cancelled"
        wait_for(lambda: site.left(run) == [], CLOSE_SECONDS)
    late = [seconds for seconds in took if seconds > DRIVER_SECONDS]
    tell(f"cancels, {site.kind}: {KILLS}, violations: {len(late)}, the last driver gone after {max(took):.1f} s, seed {SEED}")
    assert late == []


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
    assert "it never began: " in assert_failed(server, run, "engine_failed")["message"]
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
    site.kill_driver(run)


def test_manifest_of_another_run_does_not_count(site, serve):
    server = serve()
    run = spark_run(server)
    fake_manifest(site, run)
    assert_failed(server, run, "engine_failed")
    wait_for(lambda: site.left(run) == [], 10)


# ---- kill -9 ----


def kill_program(site, server, run):
    server.kill()
    server.start()


def kill_driver_of(site, server, run):
    site.kill_driver(run)


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
    tell(f"kills of the {what}, {site.kind}: {KILLS}, violations: {len(found)}, seed {SEED}")
    assert found == []
