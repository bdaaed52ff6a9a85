"""Fixtures of the tests that need AWS: real servers for the whole run, and a site of its own for each test."""

import pytest

from support.aws_site import Site
from support.dynamodb_server import DynamoDbServer
from support.fault_proxy import FaultProxy
from support.moto_server import MotoServer
from support.s3_server import S3Server


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory):
    """versitygw; stopped at the end of the run."""
    server = S3Server(tmp_path_factory.mktemp("versitygw")).start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def dynamodb_server(tmp_path_factory):
    """DynamoDB Local; stopped at the end of the run."""
    server = DynamoDbServer(tmp_path_factory.mktemp("dynamodb")).start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def moto_server(tmp_path_factory):
    """moto; stopped at the end of the run. Tests take it by `moto`, which resets it."""
    server = MotoServer(tmp_path_factory.mktemp("moto")).start()
    yield server
    server.stop()


@pytest.fixture
def moto(moto_server):
    """moto without state, checking nothing."""
    moto_server.reset()
    return moto_server


@pytest.fixture
def start_proxy():
    """A function that starts a fault proxy before a port; all are stopped at the end."""
    started: list[FaultProxy] = []

    def start(upstream_port: int) -> FaultProxy:
        proxy = FaultProxy(upstream_port)
        started.append(proxy)
        return proxy.start()

    yield start
    for proxy in started:
        proxy.stop()


@pytest.fixture
def site(s3_server, dynamodb_server, start_proxy, start_server, tmp_path):
    """A bucket with the base data set, tables, and a proxy before each server."""
    tables = dynamodb_server.tables().create()
    s3, dynamodb = start_proxy(s3_server.port), start_proxy(dynamodb_server.port)
    return Site(s3_server.bucket(), tables, s3, dynamodb, start_server, tmp_path)
