"""From a folder of CSV to the KPIs of one date, and of every date: kpid and what others make of the same files.

Every contender is a fresh process, measured from start to exit, round after round in turn, with the files in the page cache;
its rows are compared with kpid's, one by one, each time. The floor is what it takes to read all bytes. Writes RESULTS.md with a
chart. Run it by scripts/bench.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

from chart import draw
from contender import FLOOR, KPID, Contender, Rows, compare, kpid_rows, peer_rows
from results_page import Results, tell, write_page
from support.cli import source_url
from support.paths import REPO, clean_env, kpid_binary

PEERS = ("duckdb", "polars", "chdb", "datafusion", "spark", "csvql")
SIZES = {"S": 125_000, "M": 5_000_000, "L": 25_000_000}  # orders
GROWTH_ORDERS = 1_070_000  # 0.27 GB
GROWTH_TIMES = (1, 2, 4, 8)
PARTS = ("S", "M", "L", "gz", "growth")
FIRST_DAY, DAYS, DATE = "2024-01-01", 365, "2024-05-05"
JOBS = {"one date": DATE, "every date": "all"}


@dataclass
class Race:
    """Who does one job with one data set."""

    data: Path
    size: str  # S, M, L, M.gz or 1x to 8x
    job: str
    orders: int
    out: Path
    contenders: list[Contender] = field(default_factory=list)

    @property
    def files(self) -> list[Path]:
        return sorted(self.data.rglob("*.csv*"))

    @property
    def bytes(self) -> int:
        return sum(path.stat().st_size for path in self.files)

    def enter(self, peers: list[str], rounds: int, spark_rounds: int) -> None:
        tools, environment = kpid_binary().parent, clean_env()
        when = ["run", "--date", DATE] if self.job == "one date" else ["backfill", "--all"]
        kpid = [str(kpid_binary()), *when, "--no-publish", "--source", source_url(self.data), "--out", str(self.out)]
        read = [str(tools / "bench_read_all"), str(os.cpu_count()), *map(str, self.files)]
        self.contenders = [
            Contender(FLOOR, read, rounds, environment),  # first: then the files are in the page cache for all
            Contender(KPID, kpid, rounds, environment),
        ]
        for peer in peers:
            if peer == "csvql" and (self.size, self.job) != ("S", "one date"):
                continue  # see there
            script = str(REPO / "bench" / "peers" / f"{peer}_kpis.py")
            command = [sys.executable, script, str(self.data.resolve()), JOBS[self.job]]
            self.contenders.append(Contender(peer, command, spark_rounds if peer == "spark" else rounds, environment))

    def run(self, number: int) -> None:
        """One round; round 0 warms up and is not counted."""
        expected: Rows = {}
        for contender in self.contenders:
            if number > contender.rounds or (number == 0 and contender.name == "spark"):
                continue
            text = contender.run()
            if contender.name == KPID:
                expected = kpid_rows(self.out)
                self.check_all_is_read(expected)
            elif contender.name == "csvql":
                compare(contender.name, peer_rows(text), {key: row for key, row in expected.items() if key[1]})
            elif contender.name != FLOOR:
                compare(contender.name, peer_rows(text), expected)
            print(
                f"  round {number}: {self.size:4} {self.job:10} {contender.name:14} {contender.seconds[-1]:8.3f} s",
                flush=True,
            )
            if number == 0:
                contender.forget()

    def check_all_is_read(self, rows: Rows) -> None:
        """Peers are compared with kpid; that kpid has seen every order is known from the data."""
        counted = sum(figures[1] for (_, category), figures in rows.items() if not category)
        if self.job == "every date" and counted != self.orders:
            sys.exit(f"kpid has counted {counted:.0f} orders of {self.orders}")


def sample(folder: Path, orders: int) -> Path:
    """The data set of so many orders, written unless it is there."""
    data = folder / f"orders-{orders}"
    if not data.exists():
        made = folder / "unfinished"
        options = ["--orders", str(orders), "--days", str(DAYS), "--seed", "42", "--from", FIRST_DAY]
        subprocess.run([kpid_binary(), "sample", "--out", made, *options], check=True)
        made.rename(data)
    return data


def packed(data: Path) -> Path:
    """The same files as .csv.gz."""
    to = data.with_name(data.name + "-gz")
    made = data.with_name("unfinished-gz")
    if to.exists():
        return to

    def pack(path: Path) -> None:
        file = made / path.relative_to(data).with_name(path.name + ".gz")
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("wb") as out:
            subprocess.run(["gzip", "-6", "-c", str(path)], stdout=out, check=True)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(pack, sorted(data.rglob("*.csv"))))
    made.rename(to)
    return to


def races_of(args: argparse.Namespace, folder: Path) -> dict[str, list[Race]]:
    """What is asked for, by part; each part is run to its end before the next begins."""
    found: dict[str, list[Race]] = {}

    def add(part: str, size: str, data: Path, orders: int, peers: list[str]) -> None:
        for job in JOBS:
            race = Race(data, size, job, orders, folder / "out")
            race.enter(peers, args.rounds, args.spark_rounds)
            found.setdefault(part, []).append(race)

    for size in (part for part in PARTS if part in args.parts and part in SIZES):
        add(size, size, sample(folder, SIZES[size]), SIZES[size], args.peers)
    if "gz" in args.parts:
        data = packed(sample(folder, SIZES["M"]))
        add("gz", "M.gz", data, SIZES["M"], [peer for peer in args.peers if peer not in ("spark", "csvql")])
    if "growth" in args.parts:
        for times in GROWTH_TIMES:
            orders = times * GROWTH_ORDERS
            add("growth", f"{times}x", sample(folder, orders), orders, [])
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="*", choices=PARTS, default=["S", "M", "gz", "growth"])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--spark-rounds", type=int, help="as many as --rounds, if not given")
    parser.add_argument("--peers", nargs="*", choices=PEERS, default=list(PEERS))
    parser.add_argument("--data", type=Path, help="a folder where data sets are kept and found again")
    parser.add_argument("--out", type=Path, default=REPO / "bench", help="folder of RESULTS.md and results.svg")
    args = parser.parse_args()
    if args.spark_rounds is None:
        args.spark_rounds = args.rounds
    if args.spark_rounds == 0:
        args.peers = [peer for peer in args.peers if peer != "spark"]
    with tempfile.TemporaryDirectory(prefix="kpid-bench-") as temporary:
        folder = args.data or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        args.out.mkdir(parents=True, exist_ok=True)  # now, and not after an hour
        parts = races_of(args, folder)
        for races in parts.values():
            for number in range(args.rounds + 1):
                for race in races:
                    race.run(number)
        results = Results([race for races in parts.values() for race in races], args.rounds, date.today())
        targets = tell(results)
        write_page(results, targets, args.out)
        draw(results, args.out)
    return 0 if all(target.is_met for target in targets) else 1


if __name__ == "__main__":
    sys.exit(main())
