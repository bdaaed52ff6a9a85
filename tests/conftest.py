"""Fixtures and settings shared by all black-box tests."""

import pytest

from support.paths import kpid_binary
from support.server import Server

pytest_plugins = ["support.aws_fixtures"]

DEFAULT_TIMEOUT_SECONDS = 120


def pytest_configure(config):
    config.addinivalue_line(
        "markers", "timeout(seconds): limit of one test (pytest-timeout)"
    )


def pytest_collection_modifyitems(items):
    for item in items:
        if item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(DEFAULT_TIMEOUT_SECONDS))


@pytest.fixture(scope="session", autouse=True)
def binary():
    """The program under test; nothing runs without it."""
    path = kpid_binary()
    if not path.exists():
        pytest.exit(f"no program at {path}: build it or set KPID_BIN", returncode=3)
    return path


@pytest.fixture
def start_server(tmp_path):
    """A function that starts a server of its own; all are stopped and reaped at the end."""
    started: list[Server] = []

    def start(source=None, **settings) -> Server:
        server = Server(settings.pop("db", tmp_path / "kpid.db"), source, **settings)
        started.append(server)
        return server.start()

    yield start
    for server in started:
        server.kill()
