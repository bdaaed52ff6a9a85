"""One way to do the work, as a fresh process: what it costs, round after round, and the rows that it comes to."""

import math
import os
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from support.cli import read_tables
from support.paths import kpid_binary

TIMEOUT_S = 3600
DISK_KIB_MAX = 1024  # a run for which more came from a disk is made again
KPID, FLOOR = "kpid", "read all bytes"  # names of contenders
RELATIVE = 1e-9  # of money and ratios, which peers compute as doubles; counts must be equal
Key = tuple[str, str]  # day, category; the day's own row has no category
Figures = tuple[float, ...]  # revenue, orders, returned items; of a day's row also items and customers
Rows = dict[Key, Figures]


@dataclass
class Contender:
    """A command, and how long it took."""

    name: str
    command: list[str]
    rounds: int
    environment: dict[str, str] = field(default_factory=dict)
    tries: int = 4  # 1: the first run changes the next, or is counted elsewhere too
    seconds: list[float] = field(default_factory=list)  # from start to exit
    cpu_seconds: list[float] = field(default_factory=list)  # user and system, with all child processes
    peak_mb: float = 0.0  # of its largest process

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)

    @property
    def cpu(self) -> float:
        return statistics.median(self.cpu_seconds)

    def run(self) -> str:
        """One fresh process, with all that it reads in the page cache; its standard output."""
        for _ in range(self.tries):
            text, (seconds, cpu_seconds, peak_kib, disk_kib) = self.measure()
            if disk_kib <= DISK_KIB_MAX:
                break
        self.seconds.append(seconds)
        self.cpu_seconds.append(cpu_seconds)
        self.peak_mb = max(self.peak_mb, peak_kib / 1024)
        return text

    def measure(self) -> tuple[str, tuple[float, ...]]:
        """One fresh process: its standard output, and what bench_measure tells."""
        measure = str(kpid_binary().parent / "bench_measure")
        with tempfile.TemporaryDirectory() as folder:
            report, out, error = (Path(folder) / name for name in ("report", "out", "err"))
            with out.open("wb") as to, error.open("wb") as errors:
                code = subprocess.call(
                    [measure, str(report), *self.command],
                    stdin=subprocess.DEVNULL, stdout=to, stderr=errors, env=self.environment, timeout=TIMEOUT_S,
                )  # fmt: skip
            if code:
                sys.exit(f"{self.name} failed ({code}): {error.read_text(errors='replace')[-2000:]}")
            return out.read_text(encoding="utf-8"), tuple(map(float, report.read_text(encoding="ascii").split()))

    def forget(self) -> None:
        """What was measured so far was to warm up."""
        self.seconds.clear()
        self.cpu_seconds.clear()


def cpu_seconds(pid: int) -> float:
    """CPU time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def peer_rows(text: str) -> Rows:
    """What a program of peers/ has written."""
    lines = [line.split("\t") for line in text.splitlines()]
    return {(day, category): tuple(map(float, figures)) for day, category, *figures in lines}


def kpid_rows(folder: Path) -> Rows:
    """The tables that kpid has written, whose ratios must be those of their figures."""
    tables = read_tables(folder)
    columns = {
        "category_kpis": ("daily_revenue", "order_count", "returned_items", "avg_return_rate"),
        "order_kpis": ("total_revenue", "total_orders", "returned_items", "return_rate"),
    }
    rows: Rows = {}
    for table, (revenue, orders, returned, rate) in columns.items():
        for row in tables[table]:
            figures = (float(row[revenue]), float(row[orders]), float(row[returned]))
            assert same((float(row["avg_order_value"]), float(row[rate])), ratios(figures)), row
            if table == "order_kpis":
                figures += (float(row["total_items_sold"]), float(row["unique_customers"]))
            rows[row["order_date"], row.get("category", "")] = figures
    return rows


def ratios(figures: Figures) -> Figures:
    """Average order value and return rate."""
    revenue, orders, returned = figures[:3]
    return revenue / orders, returned / orders


def same(some: Figures, others: Figures) -> bool:
    return len(some) == len(others) and all(
        math.isclose(a, b, rel_tol=RELATIVE) for a, b in zip(some, others, strict=True)
    )


def compare(name: str, rows: Rows, expected: Rows) -> None:
    """A time counts only for the right numbers."""
    if not rows or rows.keys() != expected.keys():
        sys.exit(f"{name} has {len(rows)} rows instead of {len(expected)}, or of other days or categories")
    for key, figures in rows.items():
        counts_differ = figures[1:] != expected[key][1:]
        if counts_differ or not same(figures, expected[key]):
            sys.exit(f"{name} disagrees on {key}: {figures} instead of {expected[key]}")
