"""What the tests of the examples share: a service with data, one whose data is broken, and one that is slow."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from support.datasets import copy_base, slow_source, write_lines
from support.server import Server


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A server over the base data set."""
    running = Server(tmp_path_factory.mktemp("db") / "kpid.db").start()
    yield running
    running.kill()


@pytest.fixture(scope="session")
def slow_input(tmp_path_factory):
    """Input that takes a second to read."""
    return slow_source(tmp_path_factory.mktemp("slow"), 100)


@dataclass(frozen=True)
class Broken:
    """A service over data of which one value is no date, until it is mended."""

    server: Server
    bad_file: Path

    def mend(self) -> None:
        self.bad_file.unlink()


@pytest.fixture
def broken(start_server, tmp_path):
    source = copy_base(tmp_path / "in")
    bad_file = write_lines(source, "orders", ["9,9,c,garbage"], "b.csv")
    return Broken(start_server(source), bad_file)
