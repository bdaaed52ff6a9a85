"""A job of the Spark engine whose driver runs while the cores of the cluster belong to others: a real cluster, and another
application on it."""

import contextlib
import json
import subprocess
import time

import pytest

from support.processes import wait_for
from support.spark import spark_env
from support.spark_site import SparkSite, finished, spark_run

STALL_SECONDS = 3
LOOK_SECONDS = 5  # at most, between two looks at a job
HOLD = "import sys; from pyspark import SparkContext; SparkContext(); sys.stdin.read()"

pytestmark = pytest.mark.timeout(400)


@pytest.fixture
def site(tmp_path_factory, s3_server, spark_cluster):
    return SparkSite(tmp_path_factory.mktemp("site"), s3_server, spark_cluster)


@contextlib.contextmanager
def another_application(cluster):
    """Holds one of the two cores of the cluster: the driver of a job gets the other one, its executors none."""
    conf = {
        "spark.master": cluster.url,
        "spark.cores.max": "1",
        "spark.executor.memory": "480m",
        "spark.ui.enabled": "false",
        "spark.driver.host": "127.0.0.1",
    }
    words = " ".join(f"--conf {name}={value}" for name, value in conf.items())
    env = {**spark_env(cluster.release), "PYSPARK_SUBMIT_ARGS": f"{words} pyspark-shell"}
    with subprocess.Popen([env["PYSPARK_PYTHON"], "-c", HOLD], env=env, stdin=subprocess.PIPE) as process:
        try:
            wait_for(lambda: list((cluster.folder / "work").glob("app-*/0/stdout")), 90)
            yield
        finally:
            process.stdin.close()
            process.wait(60)


def says_that_it_waits(site, run):
    return site.has_begun(run) and json.loads(site.bucket.get(f"work/kpi-runs/{run}/1/progress.json"))["waiting"]


def go_on(server, stall_seconds):
    """Starts the program again: it goes on with the job that it had."""
    server.terminate()
    server.settings["KPI_STALL_SECONDS"] = str(stall_seconds)
    server.start()


def test_driver_that_waits_for_executors_is_not_stalled(site, serve):
    server = serve()
    with another_application(site.cluster):
        run = spark_run(server)
        wait_for(lambda: says_that_it_waits(site, run), 120)
        go_on(server, STALL_SECONDS)
        time.sleep(LOOK_SECONDS + 2 * STALL_SECONDS)
        now = server.get(f"/runs/{run}").json
        assert now["state"] == "running", now["error"]
        go_on(server, 120)
    assert finished(server, run)["state"] == "succeeded"
