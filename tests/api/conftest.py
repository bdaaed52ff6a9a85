"""Servers shared by the tests of one module."""

import pytest

from support.datasets import slow_source
from support.server import Server


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A server over the base data set."""
    running = Server(tmp_path_factory.mktemp("db") / "kpid.db").start()
    yield running
    running.kill()


@pytest.fixture(scope="session")
def slow_input(tmp_path_factory):
    """Input that takes seconds to read."""
    return slow_source(tmp_path_factory.mktemp("slow"))


@pytest.fixture
def slow_server(start_server, slow_input):
    """A server whose runs take seconds, one at a time."""
    return start_server(slow_input, KPI_MAX_ACTIVE_RUNS="1")
