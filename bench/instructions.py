"""How many instructions one worker needs for the small data set, beside what is recorded: a slowdown that no clock has to see.

valgrind counts them; it has no AVX-512, so the scanner is that of AVX2. The count depends on the compiler, so each has a record of
its own; --record writes it anew. Fails when a count is more than the tolerance above its record. Run it by scripts/bench.
"""

import argparse
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
SAMPLE = ("--orders", "125000", "--days", "365", "--seed", "42", "--from", "2024-01-01")
JOBS = {"one date": ("run", "--date", "2024-05-05"), "every date": ("backfill", "--all")}


def compiler() -> str:
    """What the program was built with, as the key of a record: gcc 12 x86_64."""
    cache = (kpid_binary().parent / "CMakeCache.txt").read_text(encoding="utf-8")
    path = re.search(r"^CMAKE_C_COMPILER:\w+=(.*)$", cache, re.MULTILINE).group(1)
    told = subprocess.run([path, "--version"], capture_output=True, text=True, check=True).stdout
    version = subprocess.run([path, "-dumpversion"], capture_output=True, text=True, check=True).stdout
    name = "clang" if "clang" in told else "gcc"
    return f"{name} {version.split('.')[0].strip()} {platform.machine()}"


def kept_file(job: str) -> Path:
    """Where valgrind writes what the instructions were for."""
    return kpid_binary().parent / f"callgrind.{job.replace(' ', '-')}.out"


def count(job: str, data: Path, folder: Path) -> int:
    """Instructions of one run."""
    command = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={kept_file(job)}", kpid_binary(), *JOBS[job], "--no-publish",
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


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--record", action="store_true", help="writes what is counted as the new record")
    args = parser.parse_args()
    records = json.loads(RECORD.read_text(encoding="utf-8")) if RECORD.exists() else {}
    key = compiler()
    with tempfile.TemporaryDirectory(prefix="kpid-bench-") as folder:
        data = Path(folder) / "data"
        subprocess.run([kpid_binary(), "sample", "--out", data, *SAMPLE], check=True, stdout=subprocess.DEVNULL)
        counts = {job: count(job, data, Path(folder)) for job in JOBS}
    if args.record:
        records[key] = counts
        RECORD.write_text(json.dumps(records, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    verdicts = [judge(job, found, records.get(key, {}).get(job)) for job, found in counts.items()]
    return 0 if all(verdicts) else 1


if __name__ == "__main__":
    sys.exit(main())
