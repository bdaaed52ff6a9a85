"""Data sets that the Spark job and the native engine both compute, and where the job says otherwise: in rows, refusals or quality
notes, to the last digit."""

import json

from support.cli import OK, backfill, dates_of, kpid, only_date, read_tables, source_url
from support.numbers import tables_difference
from support.spark import Outcome, make_spec, quality_differences, run_specs, write_spec

SECONDS_A_SPEC = 40
QUALITY_DAYS_MAX = 3


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


def outcomes_of(trials):
    """What the job makes of trials, by their names, all in one Spark session."""
    uris = [trial.uri for trial in trials.values()]
    codes = run_specs(uris, timeout=60 + SECONDS_A_SPEC * len(uris))
    assert set(codes.values()) <= {0, 1}
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
