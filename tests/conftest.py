"""Fixtures and settings shared by all black-box tests."""

import sys

import pytest

from support.paths import SLOWDOWN, kpid_binary
from support.server import Server

pytest_plugins = ["support.aws_fixtures"]

DEFAULT_TIMEOUT_SECONDS = 120 if SLOWDOWN == 1 else 300

# Files that take longest, in this order: they are begun first, so that the end does not wait for one of them where files run side
# by side.
LONG_FILES = (
    "test_golden_edge_cases.py",
    "test_engine.py",
    "test_engine_on_emr.py",
    "test_golden_random.py",
    "test_s3a.py",
    "test_backfills_at_work.py",
    "test_backfills.py",
    "test_events.py",
    "test_state_machine.py",
    "test_dynamodb_faults.py",
    "test_shared_scan.py",
    "test_days_together.py",
    "test_s3_faults.py",
    "test_kill.py",
)


def pytest_configure(config):
    config.addinivalue_line(
        "markers", "timeout(seconds): limit of one test (pytest-timeout)"
    )


def pytest_collection_modifyitems(items):
    place = {name: n for n, name in enumerate(LONG_FILES)}
    items.sort(key=lambda item: place.get(item.path.name, len(place)))
    for item in items:
        if item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(DEFAULT_TIMEOUT_SECONDS))


@pytest.fixture(scope="session")
def tell(request):
    """A function that prints a line of counts past pytest, to stderr: what workers write there is seen too."""
    capture = request.config.pluginmanager.getplugin("capturemanager")

    def say(text: str) -> None:
        with capture.global_and_fixture_disabled():
            print(f"\n{text}", file=sys.stderr, flush=True)

    return say


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
