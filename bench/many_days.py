"""Many days beside one: a backfill, and the same days posted one by one, by a service over one data set.

The targets: a backfill of all days reads the inputs once and takes at most 1.5 times as long as one day; days that are
posted one by one cost two scans at most.
"""

import argparse
import statistics
import sys
import tempfile
import time
from datetime import date, timedelta
from pathlib import Path

from support.cli import OK, kpid
from support.server import Server

FIRST = date(2024, 1, 1)
TIMES_OF_ONE_DAY = 1.5
SCANS_MAX = 2


def one_day(server: Server, day: date) -> float:
    began = time.monotonic()
    assert server.run(str(day))["state"] == "succeeded"
    return time.monotonic() - began


def backfill(server: Server, days: list[date]) -> float:
    began = time.monotonic()
    ask = {"start_date": str(days[0]), "end_date": str(days[-1]), "reprocess": "all"}
    made = server.post("/backfills", ask)
    assert made.status == 202, made
    found = server.await_end(f"/backfills/{made.json['id']}?wait=50", 600)
    assert found["counts"]["succeeded"] == len(days), found["counts"]
    return time.monotonic() - began


def one_by_one(server: Server, days: list[date]) -> float:
    began = time.monotonic()
    runs = [server.start_run(str(day)) for day in days]
    for run in runs:
        assert server.finish(run["id"], 600)["state"] == "succeeded"
    return time.monotonic() - began


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--orders", type=int, default=5_000_000)
    parser.add_argument("--days", type=int, default=1096)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    days = [FIRST + timedelta(days=n) for n in range(options.days)]
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "in"
        sample = ("--orders", options.orders, "--days", options.days, "--from", FIRST)
        made = kpid("sample", "--out", source, *sample, timeout=3600)
        assert made.code == OK, made
        size = sum(path.stat().st_size for path in source.rglob("*.csv"))
        server = Server(Path(folder) / "k.db", source).start()
        try:
            times: dict[str, list[float]] = {"one day": [], "backfill": [], "one by one": []}
            counted: dict[str, list[int]] = {name: [] for name in times}
            for _ in range(options.rounds):
                for name, act in {
                    "one day": lambda: one_day(server, days[len(days) // 2]),
                    "backfill": lambda: backfill(server, days),
                    "one by one": lambda: one_by_one(server, days),
                }.items():
                    before = server.scans()
                    times[name].append(act())
                    time.sleep(0.5)  # the last log lines
                    counted[name].append(server.scans() - before)
        finally:
            server.kill()
    base = statistics.median(times["one day"])
    print(f"{options.days} days, {options.orders} orders, {size / 1e6:.0f} MB, medians of {options.rounds}")
    for name, seconds in times.items():
        median = statistics.median(seconds)
        print(f"{name:12} {median:7.2f} s  {median / base:5.1f} x one day  scans {max(counted[name])}")
    fast = statistics.median(times["backfill"]) <= TIMES_OF_ONE_DAY * base
    few = max(counted["backfill"]) == 1 and max(counted["one by one"]) <= SCANS_MAX
    print(f"backfill within {TIMES_OF_ONE_DAY} x one day: {'yes' if fast else 'no'}")
    print(f"one scan a backfill, {SCANS_MAX} at most one by one: {'yes' if few else 'no'}")
    return 0 if fast and few else 1


if __name__ == "__main__":
    sys.exit(main())
