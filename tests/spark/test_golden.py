"""The Spark job against the native engine: the same rows, refusals and quality notes, to the last digit.

KPID_SPARK_RANDOM says on how many random data sets beside the cases of tests/data/edge and the lab's data.
"""

import json
import os
import random

import pytest

from support.cases import load_cases
from support.cli import OK, backfill, dates_of, kpid, only_date, read_tables, source_url
from support.numbers import tables_difference
from support.paths import LAB
from support.random_data import Maker
from support.spark import Outcome, make_spec, quality_differences, run_specs, write_spec

RANDOM = int(os.environ.get("KPID_SPARK_RANDOM", "20"))
BASE_SEED = 20260101
SECONDS_A_SPEC = 40
QUALITY_DAYS_MAX = 3

# A listing fails before any engine is asked.
CASES = [c for c in load_cases() if not (c.refusal and c.refusal.code[0].startswith("source_"))]

# The service judges the bad rows, by the job's tallies.
TOO_BAD = [c for c in CASES if c.refusal and c.refusal.code == ["too_many_bad_rows"]]

SEEDS = [BASE_SEED + n for n in range(RANDOM)]


class Trial:
    """A data set, and the spec of all its days or of one."""

    def __init__(self, folder, source, options=(), env=None, days="all", **fields):
        self.source, self.options, self.env, self.days = source, options, env or {}, days
        self.spec = make_spec(source, days, options, env, **fields)
        self.uri = write_spec(folder, self.spec)


def native(trial, day):
    """The program's answer for one day."""
    options = ["--format", "json", "--source", source_url(trial.source), *trial.options]
    return kpid("run", "--date", day, "--no-publish", *options, env=trial.env)


def some_day(scenario):
    """A day of some order."""
    return random.Random(scenario.seed).choice(scenario.truth.orders)[3].isoformat()


@pytest.fixture(scope="module")
def trials(tmp_path_factory):
    folder = tmp_path_factory.mktemp("spark")
    made = {}
    for case in CASES:
        made[case.folder.name] = Trial(folder / case.folder.name, case.input, case.options, case.env)
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
    uris = [trial.uri for trial in trials.values()]
    codes = run_specs(uris, timeout=60 + SECONDS_A_SPEC * len(uris))
    return {name: Outcome(trial.uri, codes[trial.uri]) for name, trial in trials.items()}


def refusals_of(outcome):
    """Every error of the job: that of all days, or those of days."""
    errors = [outcome.error] if outcome.error else [line["refusal"] for line in outcome.days.values() if line["refusal"]]
    return [(e["code"], e["message"]) for e in errors]


def faults_of(trial, outcome, folder):
    """What the engines say differently."""
    result = backfill(trial.source, folder, *trial.options, env=trial.env)
    if result.code != OK:
        said = (result.error_code, result.message)
        return [] if said in refusals_of(outcome) else [f"{said}, the job {refusals_of(outcome)}"]
    if outcome.error:
        return [f"the job refuses: {outcome.error}"]
    wanted = read_tables(folder)
    for day in trial.days if trial.days != "all" else ():
        wanted = only_date(wanted, day)
    faults = tables_difference(outcome.tables(), wanted)
    days = (dates_of(wanted) if trial.days == "all" else trial.days)[:QUALITY_DAYS_MAX]
    for day in days:
        answer = native(trial, day)
        assert answer.code == OK, answer
        faults += [
            f"{day} {fault}" for fault in quality_differences(json.loads(answer.out)["quality"], outcome, day, trial.spec)
        ]
    return faults


@pytest.mark.timeout(120 + SECONDS_A_SPEC * (len(CASES) + 2 * RANDOM))
def test_spark_runs_every_spec(outcomes):
    assert all(outcome.code in (0, 1) for outcome in outcomes.values())


@pytest.mark.parametrize("case", [c for c in CASES if c not in TOO_BAD], ids=str)
def test_edge_case_is_as_native_says(case, trials, outcomes, tmp_path):
    name = case.folder.name
    assert faults_of(trials[name], outcomes[name], tmp_path) == []


@pytest.mark.parametrize("case", [c for c in CASES if c.refusal and c not in TOO_BAD], ids=str)
def test_refused_days_are_those_of_native(case, trials, outcomes):
    trial, outcome = trials[case.folder.name], outcomes[case.folder.name]
    for day in case.refusal.dates or ["2023-01-15"]:
        answer = native(trial, day)
        refusal = outcome.error or outcome.days[day]["refusal"]
        assert (answer.error_code, answer.message) == (refusal["code"], refusal["message"])


@pytest.mark.parametrize("case", TOO_BAD, ids=str)
def test_tallies_hold_the_bad_rows_that_native_refuses(case, trials, outcomes):
    trial, outcome = trials[case.folder.name], outcomes[case.folder.name]
    manifest = outcome.manifest
    bad = sum(manifest["tally"]["bad_rows"].values())
    rows = sum(one["rows"] for one in manifest["inputs"].values())
    found = manifest["tally"]["found"]["orders_created_at_parses"]
    [[_, line, value], *_] = found["examples"]
    said = f'{bad} of {rows} rows are bad, more than allowed; the first: orders/a.csv:{line}: created_at: "{value}"'
    assert native(trial, "2023-01-15").message == said


@pytest.mark.parametrize("name", [f"{seed} {kind}" for seed in SEEDS for kind in ("all", "one" if seed % 2 else "cut")])
def test_random_data_is_as_native_says(name, trials, outcomes, tmp_path):
    assert faults_of(trials[name], outcomes[name], tmp_path) == []


@pytest.mark.skipif(not LAB.is_dir(), reason="the lab data is not beside the checkout")
def test_lab_data_is_as_native_says(trials, outcomes, tmp_path):
    assert faults_of(trials["lab"], outcomes["lab"], tmp_path) == []
