"""The clusters of the Spark tests, one for each module that uses it."""

import pytest

from support.emr_emulator import EmrEmulator
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
