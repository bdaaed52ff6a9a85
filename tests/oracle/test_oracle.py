"""Random data sets, dirty ones included, against SQL written from the definitions.

KPID_ORACLE_CASES says how many (40; deep: 500), KPID_ORACLE_SEED with which seed to begin.
"""

import os
import random
from pathlib import Path

import pytest

from support.cli import OK, backfill, dates_of, only_date, read_tables, run_date
from support.numbers import tables_difference
from support.oracle_sql import expected_tables
from support.random_data import Maker, Scenario

CASES = int(os.environ.get("KPID_ORACLE_CASES", "40"))
BASE_SEED = int(os.environ.get("KPID_ORACLE_SEED", "20230115"))


def faults_of(scenario: Scenario, folder: Path) -> list[str]:
    """What the program says otherwise than the oracle, over all dates and for one of them."""
    options = [*scenario.options, "--threads", scenario.threads]
    expected = expected_tables(scenario.truth, scenario.order_status)
    result = backfill(scenario.source, folder / "all", *options, env=scenario.env)
    if result.code != OK:
        return [str(result)]
    faults = tables_difference(read_tables(folder / "all"), expected)
    if faults:
        return faults
    date = random.Random(scenario.seed).choice(dates_of(expected))
    result = run_date(scenario.source, date, folder / "one", *options, env=scenario.env)
    if result.code != OK:
        return [str(result)]
    return [
        f"alone: {line}"
        for line in tables_difference(
            read_tables(folder / "one"), only_date(expected, date)
        )
    ]


@pytest.mark.timeout(60 + 4 * CASES)
def test_program_agrees_with_the_oracle(tmp_path, tell):
    failed: dict[int, list[str]] = {}
    for seed in range(BASE_SEED, BASE_SEED + CASES):
        scenario = Maker(seed).scenario(tmp_path / str(seed) / "in")
        if faults := faults_of(scenario, tmp_path / str(seed)):
            failed[seed] = faults
    tell(
        f"oracle: {CASES} cases, {len(failed)} mismatches, base seed {BASE_SEED}"
    )
    for seed, faults in failed.items():
        tell(
            f"  KPID_ORACLE_SEED={seed} KPID_ORACLE_CASES=1: {len(faults)} differences, first {faults[0][:600]}"
        )
    assert not failed


def test_oracle_and_generator_are_deterministic(tmp_path):
    made = [Maker(BASE_SEED).scenario(tmp_path / name) for name in ("a", "b")]
    files = [
        {p.relative_to(m.source): p.read_bytes() for p in m.source.rglob("*.csv")}
        for m in made
    ]
    assert files[0] == files[1]
    assert expected_tables(made[0].truth, True) == expected_tables(made[1].truth, True)
