"""The Spark job against the native engine on the cases of tests/data/edge."""

import pytest

from support.cases import load_cases
from support.spark_golden import SECONDS_A_SPEC, Trial, faults_of, native, outcomes_of

# A listing fails before any engine is asked.
CASES = [c for c in load_cases() if not (c.refusal and c.refusal.code[0].startswith("source_"))]

# The service judges the bad rows, by the job's tallies.
TOO_BAD = [c for c in CASES if c.refusal and c.refusal.code == ["too_many_bad_rows"]]

pytestmark = pytest.mark.timeout(120 + SECONDS_A_SPEC * len(CASES))


@pytest.fixture(scope="module")
def trials(tmp_path_factory):
    folder = tmp_path_factory.mktemp("spark")
    return {c.folder.name: Trial(folder / c.folder.name, c.input, c.options, c.env) for c in CASES}


@pytest.fixture(scope="module")
def outcomes(trials):
    return outcomes_of(trials)


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
