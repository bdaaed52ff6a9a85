"""The Spark job as the service meets it: its files, its refusals of what was pinned, its end."""

import gzip
import os
import signal
import subprocess
from pathlib import Path

import pytest

from support.datasets import BASE, BASE_DATES, copy_base, write_source
from support.processes import processes_of, wait_for
from support.spark import KPI_JOB, Outcome, make_spec, run_specs, spark_submit, spark_words, write_spec

DAY = BASE_DATES[0]
UNLICENSED = 4
ODD_CLUSTER = {  # as some are set, for jobs that rather lose rows than fail, and write less
    "spark.hadoop.mapreduce.output.fileoutputformat.compress": "true",
    "spark.hadoop.mapreduce.output.fileoutputformat.compress.codec": "org.apache.hadoop.io.compress.GzipCodec",
    "spark.sql.files.ignoreCorruptFiles": "true",
    "spark.sql.files.ignoreMissingFiles": "true",
}


class Trials:
    """Specs by name, each of a source of its own; some sources change after they were pinned."""

    def __init__(self, folder):
        self.folder, self.uris = folder, {}

    def source(self, name):
        return copy_base(self.folder / name / "in")

    def add(self, name, source, **fields):
        self.uris[name] = write_spec(self.folder / name, make_spec(source, **fields))


UNREADABLE_SPECS = {
    "no JSON": "{",
    "of another format": '{"format": 2}',
    "without its days": '{"format": 1, "run_id": "run-1", "attempt": 1}',
}


def add_unreadable_specs(trials):
    for name, text in UNREADABLE_SPECS.items():
        uri = trials.uris[name] = write_spec(trials.folder / name, make_spec(BASE))
        Path(uri.removeprefix("file://")).write_text(text)


def add_changed_inputs(trials):
    for name, change in {
        "longer": lambda path: path.write_bytes(path.read_bytes() + b"9,9,9,9,shipped,2023-01-15\n"),
        "touched": lambda path: os.utime(path, (1, 1)),
        "gone": lambda path: path.unlink(),
    }.items():
        source = trials.source(name)
        trials.add(name, source)
        change(next((source / "order_items").iterdir()))


def add_damaged_gzip(trials):
    source = trials.source("damaged")
    data = gzip.compress(b"id,category\n" + b"".join(b"%d,c%d\n" % (n, n * 7919) for n in range(5000)))
    (source / "products" / "z.csv.gz").write_bytes(data[: len(data) // 2])
    trials.add("damaged", source)


def add_odd_names(trials):
    source = trials.source("names")
    path = next((source / "order_items").iterdir())
    for name in ("a b%20[1]#{é}.csv", "parts=1.csv"):
        target = path.parent / name
        if "=" in name:
            target.mkdir()
            target /= "day=2023-01-15"
        target.write_bytes(path.read_bytes())
    trials.add("names", source)


def add_cut_file(trials):
    """Blank blocks before the header, then rows of quotes that are closed within a line, CRs and a repeated header."""
    items = ["id,order_id,product_id,sale_price,status,created_at"]
    items += [f'{n},101,1,"{n}",{"x" * (n % 7)}"quoted",{DAY}\r{n}0,101,1,1,"a,""b",{DAY}' for n in range(1, 30)]
    items += [items[0], f"500,101,1,NaN?,shipped,{DAY}"]
    source = trials.source("cut")
    for path in (source / "order_items").iterdir():
        path.unlink()
    (source / "order_items" / "a.csv").write_text(" \n" * 40 + "\n".join(items), newline="")
    trials.add("cut", source, part_bytes=50)
    trials.add("cut not", source)


def add_many_categories(trials):
    source = write_source(
        trials.folder / "many" / "in",
        [f"1,1,completed,{DAY}"],
        [f"{n},1,{n},1,shipped,{DAY}" for n in range(5001)] + ["1,1,1,1,shipped,2023-01-16"],
        [f"{n},Category {n},x" for n in range(5001)],
    )
    trials.add("many", source)


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    trials = Trials(tmp_path_factory.mktemp("job"))
    for add in (add_unreadable_specs, add_changed_inputs, add_damaged_gzip, add_odd_names, add_cut_file, add_many_categories):
        add(trials)
    trials.add("other job", BASE, job_sha256="0" * 64)
    trials.add("empty days", BASE, days=["2001-01-01"])
    gone = f"file://{trials.folder}/kpi-runs/run-1/1/spec.json"
    codes = run_specs([*trials.uris.values(), gone], timeout=900, conf=ODD_CLUSTER)
    assert codes.pop(gone) == UNLICENSED and not (trials.folder / "kpi-runs").exists()
    return {name: Outcome(uri, codes[uri]) for name, uri in trials.uris.items()}


@pytest.mark.timeout(960)
@pytest.mark.parametrize("name", ["longer", "touched", "gone"])
def test_object_that_is_not_as_it_was_listed_is_refused(outcomes, name):
    error = outcomes[name].error
    assert (error["code"], error["object"]) == ("source_unreadable", "order_items/a.csv")
    assert "since it was listed" in error["message"]
    assert not (outcomes[name].folder / "results").exists()


@pytest.mark.parametrize("name", UNREADABLE_SPECS)
def test_spec_that_cannot_be_read_is_named(outcomes, name):
    error = outcomes[name].error
    assert (error["run_id"], error["attempt"], error["code"]) == ("run-1", 1, "engine_failed")
    assert error["message"].startswith("the spec of the job cannot be read: ")


def test_damaged_gzip_is_named(outcomes):
    error = outcomes["damaged"].error
    assert (error["code"], error["object"]) == ("source_unreadable", "products/z.csv.gz")


def test_another_version_of_the_job_does_not_run(outcomes):
    error = outcomes["other job"].error
    assert error["code"] == "engine_failed" and "SHA-256" in error["message"]


def test_names_are_taken_as_they_are(outcomes):
    assert outcomes["names"].manifest["inputs"]["order_items"]["rows"] == 3 * 4


def test_file_that_is_cut_gives_what_it_gives_as_a_whole(outcomes):
    cut, whole = outcomes["cut"], outcomes["cut not"]
    assert cut.days == whole.days and cut.tables() == whole.tables()
    assert cut.manifest["tally"] == whole.manifest["tally"]
    assert cut.manifest["tally"]["found"]["order_items_repeated_header"] == {
        "count": 1,
        "examples": [[0, 41 + 2 * 29 + 1, "id,order_id,product_id,sale_price,status,created_at"]],
    }


def test_day_of_too_many_categories_says_how_many_and_lists_none(outcomes):
    days = outcomes["many"].days
    assert {day: line["categories"] for day, line in days.items()} == {DAY: 5001, "2023-01-16": 1}
    assert [line["day"] for line in outcomes["many"].rows] == ["2023-01-16"]
    assert len(outcomes["many"].categories) == 5001


def test_day_of_which_nothing_is_known_has_no_line(outcomes):
    outcome = outcomes["empty days"]
    assert outcome.days == {} and outcome.rows == []
    assert outcome.manifest["inputs"]["orders"]["rows"] == 3


def test_progress_ends_with_all_that_there_is(outcomes):
    progress = outcomes["names"].progress
    assert (progress["run_id"], progress["attempt"], progress["phase"]) == ("run-1", 1, "aggregating")
    assert progress["rows"] == {"orders": 3, "order_items": 12, "products": 3}
    assert progress["files_done"] == progress["files_total"] == 5
    assert progress["bytes_read"] == progress["bytes_total"] > 0


@pytest.mark.timeout(300)
def test_job_alone_ends_with_a_manifest_and_exit_code_0(tmp_path):
    uri = write_spec(tmp_path, make_spec(BASE, days=list(BASE_DATES), run_id="r-9", attempt=3))
    done = spark_submit(KPI_JOB, uri, timeout=240)
    assert done.returncode == 0, done.stderr[-3000:]
    outcome = Outcome(uri, 0)
    assert (outcome.manifest["run_id"], outcome.manifest["attempt"]) == ("r-9", 3)
    assert sorted(outcome.days) == sorted(BASE_DATES)


@pytest.mark.timeout(300)
def test_no_python_is_left_when_java_is_killed(tmp_path):
    uri = write_spec(tmp_path, make_spec(BASE))
    words, env = spark_words(KPI_JOB, uri)
    process = subprocess.Popen(words, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        progress = tmp_path / "kpi-runs" / "run-1" / "1" / "progress.json"
        wait_for(progress.exists, 120)
        process.send_signal(signal.SIGKILL)  # spark-submit has become the Java process
        wait_for(lambda: not processes_of(uri), 5)
    finally:
        process.kill()
        process.wait()


@pytest.mark.timeout(300)
@pytest.mark.parametrize("progress_seconds", [0.2, 1000], ids=["while it works", "before the manifest"])
def test_job_ends_without_a_trace_when_its_spec_is_removed(progress_seconds, tmp_path):
    uri = write_spec(tmp_path, make_spec(BASE, progress_seconds=progress_seconds))
    prefix = tmp_path / "kpi-runs" / "run-1" / "1"
    words, env = spark_words(KPI_JOB, uri)
    with subprocess.Popen(words, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        try:
            wait_for((prefix / "progress.json").exists, 120)
            (prefix / "spec.json").unlink()
            said = process.communicate(timeout=120)[0]
        finally:
            process.kill()
    assert process.returncode == UNLICENSED, said[-3000:]
    assert "the spec is gone" in said
    assert not prefix.exists()
