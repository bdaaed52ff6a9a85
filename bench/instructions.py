"""How many instructions one worker needs for the small data set, beside what is recorded: a slowdown that no clock has to see. And
how many more when one row of a hundred is bad and skipped, which may be twice as many.

valgrind counts them; it has no AVX-512, so the scanner is that of AVX2. The count depends on the compiler, so each has a record of
its own; --record writes it anew. Fails when a count is more than the tolerance above its record, or of bad rows above what it may
be. Run it by scripts/bench.
"""

import argparse
import csv
import json
import platform
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from support.cli import source_url
from support.paths import REPO, clean_env, kpid_binary

RECORD = REPO / "bench" / "instructions.json"
TOLERANCE, WORTH_RECORDING = 1.05, 0.95
BAD_ROW_EVERY, BAD_ROWS_MAY_COST = 100, 2.0
REFUSED = 65  # exit code
SAMPLE = ("--orders", "125000", "--days", "365", "--seed", "42", "--from", "2024-01-01")
SKIP = ("--bad-rows", "skip", "--max-bad-rows", "2%")
JOBS = {"one date": ("run", "--date", "2024-05-05"), "every date": ("backfill", "--all")}


def compiler() -> str:
    """What the program was built with, as the key of a record: gcc 12 x86_64."""
    cache = (kpid_binary().parent / "CMakeCache.txt").read_text(encoding="utf-8")
    path = re.search(r"^CMAKE_C_COMPILER:\w+=(.*)$", cache, re.MULTILINE).group(1)
    told = subprocess.run([path, "--version"], capture_output=True, text=True, check=True).stdout
    version = subprocess.run([path, "-dumpversion"], capture_output=True, text=True, check=True).stdout
    name = "clang" if "clang" in told else "gcc"
    return f"{name} {version.split('.')[0].strip()} {platform.machine()}"


def kept_file(name: str) -> Path:
    """Where valgrind writes what the instructions were for."""
    return kpid_binary().parent / f"callgrind.{name.replace(' ', '-')}.out"


def spoil(data: Path, out: Path) -> None:
    """Copies the data set with every so many rows of orders and items bad: by the time, and of items in turn by the price."""
    for path in sorted(data.glob("*/*.csv")):
        (out / path.parent.name).mkdir(parents=True, exist_ok=True)
        with path.open(newline="") as source, (out / path.parent.name / path.name).open("w", newline="") as target:
            rows, writer = csv.reader(source), csv.writer(target, lineterminator="\n")
            head = next(rows)
            writer.writerow(head)
            columns = [head.index(name) for name in ("created_at", "sale_price") if name in head]
            for number, row in enumerate(rows, 1):
                if columns and path.parent.name != "products" and number % BAD_ROW_EVERY == 0:
                    row[columns[number // BAD_ROW_EVERY % len(columns)]] = "bad"
                writer.writerow(row)


def count(name: str, job: tuple[str, ...], data: Path, folder: Path) -> int:
    """Instructions of one run."""
    command = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={kept_file(name)}", kpid_binary(), *job, "--no-publish",
               "--threads", "1", "--source", source_url(data), "--out", folder / "out"]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, env=clean_env(KPID_SIMD="avx2"), check=False)
    collected = re.search(r"Collected : (\d+)", done.stderr)
    if done.returncode or not collected:
        sys.exit(f"valgrind failed: {done.stderr[-2000:]}")
    return int(collected.group(1))


def judge(job: str, found: int, known: int | None) -> bool:
    """Says how a count is beside its record. False when there are too many."""
    ratio = found / known if known else 1.0
    verdict = "ok"
    if not known:
        verdict = "no record for this compiler yet: scripts/bench instructions --record"
    elif ratio > TOLERANCE:
        verdict = f"TOO MANY: callgrind_annotate {kept_file(job)} says what they are for"
    elif ratio < WORTH_RECORDING:
        verdict = "far fewer: scripts/bench instructions --record"
    beside = f" of {known:,} recorded, {ratio:.3f}" if known else ""
    print(f"instructions, {compiler()}, {job}: {found:,}{beside}: {verdict}")
    return ratio <= TOLERANCE


def count_spoiled(data: Path, folder: Path) -> dict[str, int]:
    """Instructions of the same jobs where some rows are bad, which they have to skip."""
    spoil(data, folder / "spoiled")
    command = [kpid_binary(), *JOBS["one date"], "--no-publish", "--source", source_url(folder / "spoiled")]
    if subprocess.run(command, capture_output=True, env=clean_env(), check=False).returncode != REFUSED:
        sys.exit("bad rows are not refused: there are none")
    return {name: count(f"{name} bad rows", (*job, *SKIP), folder / "spoiled", folder) for name, job in JOBS.items()}


def judge_bad_rows(job: str, spoiled: int, clean: int) -> bool:
    """Says what bad rows cost. False when that is too much."""
    ratio = spoiled / clean
    print(
        f"instructions, {job}, one row of {BAD_ROW_EVERY} bad: {spoiled:,}, {ratio:.3f} of the same without, at most {BAD_ROWS_MAY_COST}"
    )
    return ratio <= BAD_ROWS_MAY_COST


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--record", action="store_true", help="writes what is counted as the new record")
    args = parser.parse_args()
    records = json.loads(RECORD.read_text(encoding="utf-8")) if RECORD.exists() else {}
    key = compiler()
    with tempfile.TemporaryDirectory(prefix="kpid-bench-") as folder:
        data = Path(folder) / "data"
        subprocess.run([kpid_binary(), "sample", "--out", data, *SAMPLE], check=True, stdout=subprocess.DEVNULL)
        counts = {name: count(name, job, data, Path(folder)) for name, job in JOBS.items()}
        spoiled = count_spoiled(data, Path(folder))
    if args.record:
        records[key] = counts
        RECORD.write_text(json.dumps(records, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    verdicts = [judge(job, found, records.get(key, {}).get(job)) for job, found in counts.items()]
    verdicts += [judge_bad_rows(job, spoiled[job], counts[job]) for job in JOBS]
    return 0 if all(verdicts) else 1


if __name__ == "__main__":
    sys.exit(main())
