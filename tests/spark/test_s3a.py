"""The Spark job on S3: objects, spec and results of a strict server, read and written by Hadoop's client."""

import gzip
import subprocess

import pytest

from support.cli import OK, backfill, read_tables
from support.datasets import AWKWARD_NAMES, BASE, BASE_DATES, copy_base, write_lines
from support.fault_proxy import FaultProxy
from support.faults import s3_error
from support.numbers import tables_difference
from support.processes import wait_for
from support.spark import KPI_JOB, run_specs, spark_words
from support.spark_s3 import S3Trial, s3a_conf, s3a_env

DAY = BASE_DATES[0]
UNLICENSED = 4
DENIED = s3_error(403, "AccessDenied")


@pytest.fixture(scope="module")
def proxies(s3_server):
    """A proxy before the server for each bucket that is to have faults."""
    started = {name: FaultProxy(s3_server.port).start() for name in ("denied", "unreadable", "hiccup")}
    yield started
    for proxy in started.values():
        proxy.stop()


@pytest.fixture(scope="module")
def conf(s3_server, proxies):
    of_buckets = {f"spark.hadoop.fs.s3a.bucket.{name}.endpoint": proxy.url for name, proxy in proxies.items()}
    return {**s3a_conf(s3_server.url), **of_buckets}


class Trials:
    """Trials by name; some sources change after they were pinned."""

    def __init__(self, folder, s3_server, proxies):
        self.folder, self.server, self.proxies, self.made = folder, s3_server, proxies, {}
        self.bucket = s3_server.bucket()

    def add(self, name, source=BASE, bucket=None, **fields):
        self.made[name] = S3Trial(self.folder, bucket or self.bucket, name, source, **fields)
        return self.made[name]

    def source(self, name):
        return copy_base(self.folder / name / "in")


def add_readable(trials):
    trials.add("as it is")
    by_time = trials.add("by time")
    for files in by_time.spec["datasets"].values():
        for o in files:
            o["etag"] = None
    move_spec(trials, "by time")
    names = trials.source("names")
    for n, name in enumerate(AWKWARD_NAMES):
        write_lines(names, "orders", [f"{900 + n},{n},c,{DAY}"], name)
        write_lines(names, "order_items", [f"{900 + n},{900 + n},1,{n}.25,c,{DAY}"], name)
    trials.add("names", names)
    trials.add("in blocks", part_bytes=100)
    packed = trials.source("gzip")
    for path in list(packed.glob("*/*.csv")):
        path.with_suffix(".csv.gz").write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()
    trials.add("gzip", packed)


def add_changed(trials):
    for name, change in {
        "same size": lambda trial, key: trial.bucket.put(key, trial.bucket.get(key)[::-1]),
        "gone": lambda trial, key: trial.bucket.delete(key),
    }.items():
        change(trials.add(name), f"{name}/order_items/a.csv")
    again = trials.add("written again")
    again.bucket.put("written again/orders/a.csv", again.bucket.get("written again/orders/a.csv"))


def add_refused(trials):
    """Data sets in other buckets, to which access fails; their specs are in the one that works."""
    for name in ("denied", "unreadable"):
        bucket = trials.server.bucket(name)
        trials.add(name, bucket=bucket)
        move_spec(trials, name)
    trials.proxies["denied"].spoil(DENIED)
    trials.proxies["unreadable"].spoil(DENIED, "GetObject", path="/orders/a.csv")
    trials.add("no bucket")
    for files in trials.made["no bucket"].spec["datasets"].values():
        for o in files:
            o["uri"] = o["uri"].replace(trials.bucket.name, "there-is-none")
    move_spec(trials, "no bucket")


def move_spec(trials, name):
    trial = trials.made[name]
    trial.bucket, trial.folder = trials.bucket, trial.folder / "moved"
    trial.put_spec(trial.spec)


def add_hiccup(trials):
    trials.add("hiccup", bucket=trials.server.bucket("hiccup"))
    trials.proxies["hiccup"].spoil(DENIED, "HeadObject", path="/spec.json$", skip=2)


@pytest.fixture(scope="module")
def trials(tmp_path_factory, s3_server, proxies):
    made = Trials(tmp_path_factory.mktemp("s3a"), s3_server, proxies)
    for add in (add_readable, add_changed, add_refused, add_hiccup):
        add(made)
    return made.made


@pytest.fixture(scope="module")
def outcomes(trials, conf):
    uris = {name: trial.uri for name, trial in trials.items()}
    codes = run_specs(list(uris.values()), timeout=600, conf=conf, env=s3a_env())
    return {name: trial.outcome(codes[uris[name]]) for name, trial in trials.items()}


@pytest.mark.timeout(660)
@pytest.mark.parametrize("name", ["as it is", "by time", "names", "in blocks", "gzip", "written again", "hiccup"])
def test_objects_are_read_as_files_are(name, trials, outcomes, tmp_path):
    assert outcomes[name].error is None
    native = backfill(trials[name].source, tmp_path)
    assert native.code == OK, native
    assert tables_difference(outcomes[name].tables(), read_tables(tmp_path)) == []


def test_spec_that_cannot_be_looked_for_is_not_gone(proxies, outcomes):
    assert outcomes["hiccup"].manifest
    assert [r for r in proxies["hiccup"].seen("HeadObject") if r.path.endswith("/spec.json") and r.status == 403]


@pytest.mark.parametrize("name", ["same size", "gone"])
def test_object_that_is_not_as_it_was_listed_is_refused(name, outcomes):
    error = outcomes[name].error
    assert (error["code"], error["object"]) == ("s3_object_changed", "order_items/a.csv")
    assert "since it was listed" in error["message"]


@pytest.mark.parametrize(
    ("name", "code", "place"),
    [
        ("denied", "s3_access_denied", ""),
        ("unreadable", "s3_access_denied", "orders/a.csv"),
        ("no bucket", "s3_no_such_bucket", ""),
    ],
)
def test_bucket_that_cannot_be_read_is_named_by_its_code(name, code, place, outcomes):
    error = outcomes[name].error
    assert (error["code"], error["object"]) == (code, place), error


def test_nothing_lies_beside_the_files_of_the_contract(trials, outcomes):
    for name, outcome in outcomes.items():
        start = f"kpi-runs/{name}/1/"
        results = {file["name"] for file in outcome.manifest["files"]} if outcome.manifest else set()
        end = {"manifest.json"} if outcome.manifest else {"error.json"}
        wanted = {start + key for key in {"spec.json", "progress.json", *end, *results}}
        assert set(trials[name].keys()) - {f"{start}results/", f"{start}categories/"} <= wanted, name


@pytest.mark.timeout(300)
def test_job_ends_without_a_trace_when_its_spec_is_removed(tmp_path, s3_server, conf):
    bucket = s3_server.bucket()
    trial = S3Trial(tmp_path, bucket, "r-1", BASE)
    words, env = spark_words(KPI_JOB, trial.uri, conf=conf)
    process = subprocess.Popen(words, env={**env, **s3a_env()}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        wait_for(lambda: f"{trial.prefix}/progress.json" in bucket.keys(trial.prefix), 120)
        bucket.delete(f"{trial.prefix}/spec.json")
        said = process.communicate(timeout=60)[0]
    finally:
        process.kill()
        process.wait()
    assert process.returncode == UNLICENSED, said[-3000:]
    assert trial.keys() == []
