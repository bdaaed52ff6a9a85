"""SIGTERM while clients post, poll and watch.

KPID_DRAINS says how often (5; deep: 200), KPID_LOAD_SEED repeats a series.
"""

import os

import pytest

from support.datasets import phased_source
from support.drains import DrainSeries
from support.paths import SLOWDOWN

DRAINS = int(os.environ.get("KPID_DRAINS", "5"))


@pytest.fixture(scope="module")
def some_seconds_input(tmp_path_factory):
    """Runs that are at work when the signal comes."""
    return phased_source(tmp_path_factory.mktemp("phased"), orders=300_000, files=2000)


@pytest.mark.timeout(120 + 60 * DRAINS * SLOWDOWN)
def test_drain_under_load_answers_everyone_and_loses_nothing(start_server, some_seconds_input, tell):
    DrainSeries(DRAINS).run(start_server(some_seconds_input, KPI_MAX_ACTIVE_RUNS="2"), tell)
