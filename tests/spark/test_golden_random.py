"""The Spark job against the native engine on random data sets and the lab's data.

KPID_SPARK_JOB_RANDOM says on how many random data sets (20; deep: 100).
"""

import os
import random

import pytest

from support.paths import LAB
from support.random_data import Maker
from support.spark_golden import SECONDS_A_SPEC, Trial, faults_of, outcomes_of

RANDOM = int(os.environ.get("KPID_SPARK_JOB_RANDOM", "20"))
BASE_SEED = 20260101
SEEDS = [BASE_SEED + n for n in range(RANDOM)]

pytestmark = pytest.mark.timeout(120 + SECONDS_A_SPEC * (1 + 2 * RANDOM))


def some_day(scenario):
    """A day of some order."""
    return random.Random(scenario.seed).choice(scenario.truth.orders)[3].isoformat()


@pytest.fixture(scope="module")
def trials(tmp_path_factory):
    folder = tmp_path_factory.mktemp("spark")
    made = {}
    for seed in SEEDS:
        scenario = Maker(seed).scenario(folder / str(seed) / "in")
        about = (scenario.source, scenario.options, scenario.env)
        made[f"{seed} all"] = Trial(folder / str(seed) / "all", *about)
        if seed % 2:
            made[f"{seed} one"] = Trial(folder / str(seed) / "one", *about, [some_day(scenario)])
        else:
            made[f"{seed} cut"] = Trial(folder / str(seed) / "cut", *about, part_bytes=700)
    if LAB.is_dir():
        made["lab"] = Trial(folder / "lab", LAB)
    return made


@pytest.fixture(scope="module")
def outcomes(trials):
    return outcomes_of(trials)


@pytest.mark.parametrize("name", [f"{seed} {kind}" for seed in SEEDS for kind in ("all", "one" if seed % 2 else "cut")])
def test_random_data_is_as_native_says(name, trials, outcomes, tmp_path):
    assert faults_of(trials[name], outcomes[name], tmp_path) == []


@pytest.mark.skipif(not LAB.is_dir(), reason="the lab data is not beside the checkout")
def test_lab_data_is_as_native_says(trials, outcomes, tmp_path):
    assert faults_of(trials["lab"], outcomes["lab"], tmp_path) == []
