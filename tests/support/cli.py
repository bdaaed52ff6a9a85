"""Runs the program once and reads what it wrote."""

import csv
import re
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from support.paths import clean_env, kpid_binary

OK, USAGE, DATA, SOURCE = 0, 64, 65, 66
PUBLISH, SYSTEM, DISK, BUSY, CONFIG, INTERRUPTED = 69, 71, 71, 73, 78, 130

ORDER_COLUMNS = [
    "order_date",
    "total_orders",
    "total_revenue",
    "total_items_sold",
    "return_rate",
    "unique_customers",
    "returned_items",
    "returned_orders",
    "orders_returned_rate",
    "avg_order_value",
]
CATEGORY_COLUMNS = [
    "category",
    "order_date",
    "daily_revenue",
    "avg_order_value",
    "avg_return_rate",
    "order_count",
    "item_count",
    "returned_items",
    "returned_orders",
    "orders_returned_rate",
]
TABLES = {"order_kpis": ORDER_COLUMNS, "category_kpis": CATEGORY_COLUMNS}

Row = dict[str, str]
Tables = dict[str, list[Row]]


@dataclass(frozen=True)
class Result:
    """What one invocation left behind."""

    args: tuple[str, ...]
    code: int
    out: str
    err: str

    @property
    def error_code(self) -> str | None:
        """The <code> of the line `kpid: <code>: <message>`."""
        found = re.search(r"^kpid: ([a-z0-9_-]+): ", self.err, re.MULTILINE)
        return found.group(1) if found else None

    @property
    def message(self) -> str:
        """The error line, without the hint."""
        found = re.search(r"^kpid: [a-z0-9_-]+: (.*)$", self.err, re.MULTILINE)
        return found.group(1) if found else ""

    @property
    def hint(self) -> str:
        found = re.search(r"^hint: (.+)$", self.err, re.MULTILINE)
        return found.group(1) if found else ""

    def __str__(self) -> str:
        return f"kpid {' '.join(self.args)} -> {self.code}\n{self.out[-2000:]}\n{self.err[-2000:]}"


def kpid(
    *args: object,
    env: dict[str, str] | None = None,
    cwd: Path | None = None,
    timeout: float = 60,
    through: tuple[str, ...] = (),
) -> Result:
    """Runs the program, by the command `through` if one is given, and never raises for its exit code."""
    words = tuple(str(arg) for arg in args)
    done = subprocess.run(
        [*through, str(kpid_binary()), *words],
        capture_output=True,
        cwd=cwd,
        timeout=timeout,
        env=clean_env(**(env or {})),
        stdin=subprocess.DEVNULL,
        check=False,
    )
    return Result(
        words,
        done.returncode,
        done.stdout.decode("utf-8", "replace"),
        done.stderr.decode("utf-8", "replace"),
    )


def interrupted(process: subprocess.Popen, *signals: int, within: float = 15) -> int:
    """Lets a process work for half a second, sends it signals, and returns its exit code. It is dead afterwards."""
    try:
        time.sleep(0.5)
        assert process.poll() is None, "it ended by itself"
        for number in signals:
            process.send_signal(number)
        return process.wait(within)
    finally:
        process.kill()
        process.communicate()


def source_url(folder: Path) -> str:
    return f"file://{folder.resolve()}"


def backfill(
    source: Path, out: Path, *options: object, env: dict[str, str] | None = None
) -> Result:
    """All dates of `source` into `out`, without a database."""
    return kpid(
        "backfill",
        "--all",
        "--no-publish",
        "--source",
        source_url(source),
        "--out",
        out,
        *options,
        env=env,
    )


def run_date(
    source: Path,
    date: str,
    out: Path,
    *options: object,
    env: dict[str, str] | None = None,
) -> Result:
    """One date of `source` into `out`, without a database."""
    return kpid(
        "run",
        "--date",
        date,
        "--no-publish",
        "--source",
        source_url(source),
        "--out",
        out,
        *options,
        env=env,
    )


def read_table(folder: Path, table: str) -> list[Row]:
    """The rows of <table>.csv, after a check of its header and line ends."""
    data = (folder / f"{table}.csv").read_bytes()
    header = ",".join(TABLES[table]).encode() + b"\n"
    assert data.startswith(header), f"{table}.csv starts with {data[:200]!r}"
    text = data.decode("utf-8")
    return list(csv.DictReader(text.splitlines(keepends=True)))


def read_tables(folder: Path) -> Tables:
    return {table: read_table(folder, table) for table in TABLES}


def only_date(tables: Tables, date: str) -> Tables:
    return {
        name: [row for row in rows if row["order_date"] == date]
        for name, rows in tables.items()
    }


def dates_of(tables: Tables) -> list[str]:
    return sorted({row["order_date"] for rows in tables.values() for row in rows})
