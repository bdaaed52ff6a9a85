"""The Spark job: as a module without Spark, and run by Spark on specs as the service writes them."""

import hashlib
import importlib.util
import json
import os
import re
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

from support.numbers import quotient_text
from support.paths import REPO, TESTS, clean_env
from support.tools import spark_venv

KPI_JOB = REPO / "pipeline" / "spark" / "kpi_job.py"

# Which Apache Spark runs jobs where a test does not say: spark (3.5) or spark4 (4.0), as tests/tools names what pins them.
RELEASE = os.environ.get("KPID_SPARK_RELEASE", "spark")


def load_job():
    """The job's file, which is no package's."""
    spec = importlib.util.spec_from_file_location("kpi_job", KPI_JOB)
    module = importlib.util.module_from_spec(spec)
    sys.modules["kpi_job"] = module
    spec.loader.exec_module(module)
    return module


kpi_job = load_job()


# ---- specs, as the service writes them ----


def is_part(name):
    return not name.startswith(("_", "."))


def listed(source, dataset):
    """The objects of a data set in the order of their names; a folder named like a file holds parts."""
    folder = source / dataset
    paths = [p for p in folder.iterdir() if is_part(p.name) and p.name.endswith((".csv", ".csv.gz"))]
    files = [p for p in paths if p.is_file()]
    files += [p for parts in paths if parts.is_dir() for p in parts.iterdir() if is_part(p.name)]
    return sorted(files, key=lambda p: os.fsencode(p))


def pinned(source, path):
    state = path.stat()
    return {
        "name": str(path.relative_to(source)),
        "uri": f"file://{path}",
        "size": state.st_size,
        "etag": None,
        "modified_ms": state.st_mtime_ns // 1_000_000,
        "gzip": path.name.endswith(".gz"),
    }


def make_spec(source, days="all", options=(), env=None, **fields):
    """What the service asks of the job where it is told these options and settings."""
    source, env = source.resolve(), env or {}
    return {
        "format": 1,
        "run_id": "run-1",
        "attempt": 1,
        "input_fingerprint": "0" * 64,
        "job_sha256": hashlib.sha256(KPI_JOB.read_bytes()).hexdigest(),
        "days": days,
        "bad_rows": "skip" if "skip" in options else env.get("KPI_BAD_ROWS", "fail"),
        "status_match": env.get("KPI_STATUS_MATCH", "folded"),
        "unknown_category": env.get("KPI_UNKNOWN_CATEGORY"),
        "timezone": env.get("KPI_TIMEZONE", "UTC"),
        "datasets": {name: [pinned(source, path) for path in listed(source, name)] for name in TABLES_IN},
        "progress_seconds": 0.2,
        **fields,
    }


TABLES_IN = ("orders", "order_items", "products")


def write_spec(folder, spec):
    """Puts a spec where the service does. Returns its URI."""
    prefix = folder.resolve() / "kpi-runs" / spec["run_id"] / str(spec["attempt"])
    prefix.mkdir(parents=True)
    (prefix / "spec.json").write_text(json.dumps(spec), encoding="utf-8")
    return f"file://{prefix}/spec.json"


# ---- running ----


SMALL = {
    "spark.ui.enabled": "false",
    "spark.sql.shuffle.partitions": "1",
    "spark.sql.adaptive.enabled": "false",
    "spark.sql.codegen.wholeStage": "false",  # to compile takes longer than to interpret what is small
    "spark.sql.codegen.cache.maxEntries": "2000",  # one spec takes more than the 100 there are, the next one the same
    "spark.default.parallelism": "1",
    "spark.shuffle.compress": "false",
    "spark.broadcast.compress": "false",
}


def spark_env(release=RELEASE):
    """The environment of all that is started of Spark."""
    venv = spark_venv(release)
    home = next(venv.glob("lib/python3*/site-packages/pyspark"))
    return clean_env(
        SPARK_HOME=str(home),
        PYSPARK_PYTHON=str(venv / "bin" / "python"),
        SPARK_LOCAL_IP="127.0.0.1",
        JAVA_TOOL_OPTIONS="-XX:TieredStopAtLevel=1 -XX:+UseSerialGC",  # of what does not live long
    )


def spark_words(*args, conf=None):
    """The command of spark-submit with a small Spark in one process, and the environment for it."""
    env = spark_env()
    words = [Path(env["SPARK_HOME"]) / "bin" / "spark-submit", "--master", "local[2]", "--driver-memory", "1g"]
    words += [word for name, value in {**SMALL, **(conf or {})}.items() for word in ("--conf", f"{name}={value}")]
    return [str(word) for word in (*words, *args)], env


def spark_submit(*args, timeout, conf=None, env=None):
    """Runs a job to its end; returns the completed process."""
    words, base = spark_words(*args, conf=conf)
    return subprocess.run(
        words, env={**base, **(env or {})}, capture_output=True, text=True, timeout=timeout, check=False
    )


def run_specs(uris, timeout, **how):
    """Runs many specs in one Spark session: the exit code of each."""
    done = spark_submit(TESTS / "spark" / "run_specs.py", KPI_JOB, *uris, timeout=timeout, **how)
    codes = dict(re.findall(r"^spec (.+) (\d+)$", done.stdout, re.MULTILINE))
    assert set(codes) == set(uris), done.stderr[-4000:]
    return {uri: int(code) for uri, code in codes.items()}


# ---- what a job left behind ----


class Outcome:
    """The files of an attempt, checked as the service checks them."""

    def __init__(self, uri, code):
        self.folder = Path(uri.removeprefix("file://")).parent
        self.code = code
        self.error = self.load("error.json")
        self.manifest = self.load("manifest.json")
        self.progress = self.load("progress.json")
        assert (self.manifest is None) == (code != 0) and (self.error is None) == (code == 0)
        sha256 = hashlib.sha256((self.folder / "spec.json").read_bytes()).hexdigest()
        assert {told["spec_sha256"] for told in (self.error, self.manifest, self.progress) if told} == {sha256}
        lines = {"results": [], "categories": []}
        for file in self.manifest["files"] if self.manifest else []:
            data = (self.folder / file["name"]).read_bytes()
            assert (len(data), data.count(b"\n")) == (file["bytes"], file["rows"])
            assert hashlib.sha256(data).hexdigest() == file["sha256"]
            lines[file["name"].split("/")[0]] += map(json.loads, data.splitlines())
        self.categories = sorted(lines["categories"])
        self.days = {line["day"]: line for line in lines["results"] if line["category"] is None}
        self.rows = [line for line in lines["results"] if line["category"] is not None]

    def load(self, name):
        path = self.folder / name
        return json.loads(path.read_bytes()) if path.exists() else None

    def tables(self):
        """The rows that the service would publish, as the program writes them."""
        orders = [
            order_row(day, line["totals"], self.knows_order_status()) for day, line in self.days.items() if line["totals"]
        ]
        return {
            "order_kpis": sorted(orders, key=lambda row: row["order_date"]),
            "category_kpis": sorted(
                map(category_row, self.rows), key=lambda row: (row["order_date"], row["category"].encode())
            ),
        }

    def knows_order_status(self):
        return "status" in self.manifest["inputs"]["orders"]["columns"]


def order_row(day, totals, knows_status):
    revenue, orders = Fraction(totals["revenue"]), totals["orders"]
    return {
        "order_date": day,
        "total_orders": str(orders),
        "total_revenue": totals["revenue"],
        "total_items_sold": str(totals["distinct_items"]),
        "return_rate": quotient_text(totals["returned_item_rows"], orders),
        "unique_customers": str(totals["customers"]),
        "returned_items": str(totals["returned_item_rows"]),
        "returned_orders": str(totals["returned_orders"]) if knows_status else "",
        "orders_returned_rate": quotient_text(totals["returned_orders"], orders) if knows_status else "",
        "avg_order_value": quotient_text(revenue, orders),
    }


def category_row(line):
    revenue, orders = Fraction(line["revenue"]), line["orders"]
    return {
        "category": line["category"],
        "order_date": line["day"],
        "daily_revenue": line["revenue"],
        "avg_order_value": quotient_text(revenue, orders),
        "avg_return_rate": quotient_text(line["returned_item_rows"], orders),
        "order_count": str(orders),
        "item_count": str(line["item_rows"]),
        "returned_items": str(line["returned_item_rows"]),
        "returned_orders": str(line["returned_orders"]),
        "orders_returned_rate": quotient_text(line["returned_orders"], orders),
    }


# ---- quality, as the report of the program shows it ----

JUDGED_BY_THE_SERVICE = re.compile(r"day_has_rows|revenue_reconciles|input_newer_than_day|.*_(like|against)_history")


def shown_value(text):
    return text.encode("latin-1").decode("utf-8", "replace")


def findings(outcome, day, spec):
    """Of each check of a day: how much it found, and its examples."""
    tallies = [outcome.manifest["tally"]]
    if day in outcome.days:
        tallies.append(outcome.days[day]["tally"])
    found = {}
    for check, finding in ((c, f) for tally in tallies for c, f in tally["found"].items()):
        seen = found.setdefault(check, [0, []])
        seen[0] += finding["count"]
        seen[1] += finding["examples"]
    names = {name: [o["name"] for o in spec["datasets"][name]] for name in TABLES_IN}
    return {check: (count, sorted(examples)) for check, (count, examples) in found.items()}, names


def quality_differences(report, outcome, day, spec):
    """Where the program's quality report of a day says otherwise than the job's tallies."""
    found, names = findings(outcome, day, spec)
    faults = []
    for check in report["checks"]:
        if JUDGED_BY_THE_SERVICE.fullmatch(check["id"]):
            continue
        count, examples = found.pop(check["id"], (0, []))
        shown = [{"object": names[check["dataset"]][o], "line": l, "value": shown_value(v)} for o, l, v in examples[:5]]
        if (check["unexpected_count"], check["examples"]) != (count, shown):
            faults.append(f"{check['id']}: {check['unexpected_count']} {check['examples']}, the job {count} {shown}")
    faults += [f"the program has no check {check}" for check in found]
    return faults + profile_differences(report["profile"], outcome, day)


def profile_differences(profile, outcome, day):
    tallies = [outcome.manifest["tally"]] + [outcome.days[day]["tally"]] * (day in outcome.days)
    faults = []
    for name, seen in profile.items():
        counts = {
            "rows": outcome.manifest["inputs"][name]["rows"],
            "relevant_rows": sum(tally["relevant"][name] for tally in tallies),
            "bad_rows": sum(tally["bad_rows"][name] for tally in tallies),
        }
        faults += [f"{name} {key}: {seen[key]}, the job {value}" for key, value in counts.items() if seen[key] != value]
        for column, stats in seen["columns"].items():
            key = f"{name}.{column}"
            nulls, least, greatest = next((t["columns"][key] for t in tallies if key in t["columns"]), (0, None, None))
            if key in outcome.manifest["text_ids"]:
                least = greatest = None
            if column in ("status", "category"):
                least, greatest = (None if v is None else shown_value(v) for v in (least, greatest))
            if (stats["nulls"], stats["min"], stats["max"]) != (nulls, least, greatest):
                faults.append(f"{key}: {stats}, the job {(nulls, least, greatest)}")
    return faults
