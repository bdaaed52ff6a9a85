"""The clusters of the Spark tests, one for each module that uses it, and the program on a site that a module has."""

import pytest

from support.datasets import BASE
from support.emr_emulator import EmrEmulator
from support.server import Server
from support.spark_cluster import SparkCluster
from support.spark_s3 import s3a_env


@pytest.fixture(scope="module")
def spark_cluster(tmp_path_factory):
    """A standalone master and worker."""
    cluster = SparkCluster(tmp_path_factory.mktemp("spark-cluster"), s3a_env())
    try:
        yield cluster.start()
    finally:
        cluster.stop()


@pytest.fixture(scope="module")
def emr(tmp_path_factory, s3_server):
    """The emulator of EMR Serverless."""
    emulator = EmrEmulator(tmp_path_factory.mktemp("emr"), s3_server.url).start()
    yield emulator
    emulator.stop()


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
