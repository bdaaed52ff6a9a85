"""Spark 4.0: a standalone cluster whose REST server wants web tokens, as only that release has them."""

import secrets

import pytest

from support.processes import wait_for
from support.spark_cluster import SparkCluster, web_token
from support.spark_s3 import s3a_env
from support.spark_site import CLOSE_SECONDS, DAY, SparkSite, answers, assert_failed, finished, spark_run

SECRET_BYTES = 32

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def site(tmp_path_factory, s3_server):
    folder = tmp_path_factory.mktemp("spark4")
    cluster = SparkCluster(folder, s3a_env(), release="spark4", secret=secrets.token_bytes(SECRET_BYTES))
    try:
        yield SparkSite(folder, s3_server, cluster.start())
    finally:
        cluster.stop()


@pytest.fixture
def token_file(site, tmp_path):
    """A file with a token that the cluster takes."""
    path = tmp_path / "token"
    path.write_text(f"{web_token(site.cluster.secret)}\n", encoding="ascii")
    return path


def test_day_is_as_native_says_and_leaves_no_files(site, serve, token_file):
    assert str(site.cluster.status("driver-0")["serverSparkVersion"]).startswith("4.")
    server = serve(KPI_SPARK_TOKEN_FILE=str(token_file))
    native = server.start_run(DAY, engine="native", force=True)["id"]
    assert finished(server, native)["state"] == "succeeded"
    run = spark_run(server, force=True)
    end = finished(server, run)
    assert (end["state"], end["engine"]) == ("succeeded", "spark"), (end, site.cluster.logs())
    assert answers(server, run) == answers(server, native)
    wait_for(lambda: site.left(run) == [], CLOSE_SECONDS)
    assert site.last_state() == ["FINISHED"]


def assert_refused(site, server, words):
    before = site.submissions()
    run = spark_run(server, force=True)
    error = assert_failed(server, run, "engine_failed")
    assert "HTTP 403" in error["message"] and words in error["message"], error
    assert site.submissions() == before
    wait_for(lambda: site.left(run) == [], CLOSE_SECONDS)


def test_missing_token_is_named(site, serve):
    assert_refused(site, serve(), "a token is wanted: set KPI_SPARK_TOKEN_FILE")


def test_wrong_token_is_named_and_the_next_one_counts(site, serve, token_file):
    """Of another secret, out of date, none at all; then a good one, for a job and its end, of a service that ran all the time."""
    good, secret = token_file.read_text(encoding="ascii"), site.cluster.secret
    server = serve(KPI_SPARK_TOKEN_FILE=str(token_file))
    for wrong in (web_token(secrets.token_bytes(SECRET_BYTES)), web_token(secret, -60), "no-token"):
        token_file.write_text(wrong, encoding="ascii")
        assert_refused(site, server, "the token in the file that KPI_SPARK_TOKEN_FILE names is refused")
    token_file.write_text(good, encoding="ascii")
    run = spark_run(server, force=True)
    wait_for(lambda: site.has_begun(run), 90)
    assert server.post(f"/runs/{run}/cancel").status in (200, 202)
    assert finished(server, run)["state"] == "cancelled"
    wait_for(lambda: not site.processes(run), CLOSE_SECONDS)
    wait_for(lambda: site.left(run) == [] and site.last_state() == ["KILLED"], CLOSE_SECONDS)
