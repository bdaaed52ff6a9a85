"""How the cost of one date grows with the input: the native engine and the Spark job over 1, 2, 4 and 8 times the same kind of data.

Each is a fresh process, measured from start to exit with all that it starts: `kpid run`, and spark-submit of the job with as
many local cores, as a cluster of one machine would run it. The rows of both must be equal, to the last digit, for a time to count.
"""

import argparse
import os
import sys
import tempfile
from pathlib import Path

from contender import Contender
from peers_compare import DATE, sample
from support.cli import read_tables, source_url
from support.paths import clean_env, kpid_binary
from support.spark import KPI_JOB, Outcome, make_spec, spark_env, write_spec

TIMES = (1, 2, 4, 8)


def native(data: Path, out: Path) -> Contender:
    words = ["run", "--date", DATE, "--no-publish", "--source", source_url(data), "--out", str(out)]
    return Contender("native", [str(kpid_binary()), *words], 1, clean_env())


def spark(uri: str) -> Contender:
    env = spark_env()
    words = [f"{env['SPARK_HOME']}/bin/spark-submit", "--master", f"local[{os.cpu_count()}]", "--driver-memory", "2g"]
    return Contender("spark", [*words, "--conf", "spark.ui.enabled=false", str(KPI_JOB), uri], 1, env)


def measure(data: Path, work: Path, rounds: int) -> tuple[int, list[Contender]]:
    """Bytes of the input, and what it cost both."""
    size = sum(path.stat().st_size for path in data.rglob("*.csv"))
    runs = [native(data, work / "out")]
    runs[0].run()  # the files come into the page cache
    runs[0].forget()
    for number in range(rounds):
        uri = write_spec(work, make_spec(data, [DATE], run_id=f"run-{number}", progress_seconds=5))
        job = spark(uri)
        runs[0].run()
        job.run()
        if Outcome(uri, 0).tables() != read_tables(work / "out"):
            sys.exit(f"the engines disagree on {data}")
        runs.append(job)
    return size, [runs[0], merged(runs[1:])]


def merged(runs: list[Contender]) -> Contender:
    """The rounds of one contender, each of which had a command of its own."""
    first, *others = runs
    for run in others:
        first.seconds += run.seconds
        first.cpu_seconds += run.cpu_seconds
        first.peak_mb = max(first.peak_mb, run.peak_mb)
    return first


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--orders", type=int, default=160_000, help="of 1x")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--data", type=Path, help="keep the data here")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as made:
        folder = options.data or Path(made)
        folder.mkdir(parents=True, exist_ok=True)
        print(f"one date, {os.cpu_count()} cores, medians of {options.rounds}\n")
        print("| input | MB | native s | native CPU s | Spark s | Spark CPU s | Spark, CPU s a GB more |\n|---|---|---|---|---|---|---|")
        before: tuple[int, float] | None = None
        for times in TIMES:
            data = sample(folder, options.orders * times)
            with tempfile.TemporaryDirectory() as work:
                size, (own, job) = measure(data, Path(work), options.rounds)
            more = f"{(job.cpu - before[1]) / (size - before[0]) * 1e9:.0f}" if before else ""
            print(f"| {times}x | {size / 1e6:.0f} | {own.median:.3f} | {own.cpu:.3f} | {job.median:.1f} | {job.cpu:.1f} | {more} |")
            sys.stdout.flush()
            before = size, job.cpu
    return 0


if __name__ == "__main__":
    sys.exit(main())
