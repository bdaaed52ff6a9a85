"""What the comparison with peers says: tables, targets met and not met, and the page that keeps them."""

import os
import platform
import subprocess
from dataclasses import dataclass
from datetime import date
from importlib.metadata import version
from pathlib import Path

from contender import FLOOR, KPID, Contender
from support.paths import REPO, kpid_binary

PACKAGES = {
    "duckdb": "duckdb", "polars": "polars", "chdb": "chdb", "datafusion": "datafusion", "spark": "pyspark",
    "csvql": "csvql-query",
}  # fmt: skip
NO_RIVALS = (KPID, FLOOR, "spark", "csvql")  # spark has a target of its own; csvql does only a part
TIMES_FASTEST = {"one date": 7.0, "every date": 5.5}
TIMES_FASTEST_GZ, TIMES_SPARK = 2.0, 60.0
SMALL_SECONDS = {"one date": 0.020, "every date": 0.040}
MEMORY_OF_LEANEST, GROWTH_TOLERANCE = 1 / 4, 1.10


@dataclass(frozen=True)
class Target:
    what: str
    wanted: str
    measured: str
    is_met: bool


@dataclass(frozen=True)
class Results:
    races: list  # of Race
    rounds: int
    day: date

    def races_of(self, *sizes: str) -> list:
        return [race for race in self.races if race.size in sizes]

    @property
    def growth(self) -> dict[str, list]:
        """Races by job, the smallest first."""
        found: dict[str, list] = {}
        for race in self.races:
            if race.size.endswith("x"):
                found.setdefault(race.job, []).append(race)
        return found


def by_name(race) -> dict[str, Contender]:
    return {contender.name: contender for contender in race.contenders}


def rivals(race) -> list[Contender]:
    return [contender for contender in race.contenders if contender.name not in NO_RIVALS]


# ---- tables ----


def in_columns(rows: list[list[str]]) -> str:
    """A table in Markdown that can be read as it is. The first row is its head."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = [
        "| "
        + " | ".join(cell.ljust(w) if i == 0 else cell.rjust(w) for i, (cell, w) in enumerate(zip(row, widths)))
        + " |"
        for row in rows
    ]
    rule = "|" + "|".join("-" * (w + 2) if i == 0 else "-" * (w + 1) + ":" for i, w in enumerate(widths)) + "|"
    return "\n".join([lines[0], rule, *lines[1:]]) + "\n"


def race_table(race) -> str:
    named = by_name(race)
    ours, floor = named[KPID].median, named[FLOOR].median
    rows = [["", "wall s", "from", "to", "CPU s", "peak MB", "x kpid", "of the read limit"]]
    for c in sorted(race.contenders, key=lambda c: c.median):
        note = " (categories only)" if c.name == "csvql" else ""
        rows.append(
            [c.name + note, f"{c.median:.3f}", f"{min(c.seconds):.3f}", f"{max(c.seconds):.3f}", f"{c.cpu:.2f}",
             f"{c.peak_mb:.0f}", f"{c.median / ours:.2f}", f"{100 * floor / c.median:.1f} %"]
        )  # fmt: skip
    return in_columns(rows)


def growth_table(growth: dict[str, list]) -> str:
    races = next(iter(growth.values()))
    rows = [["", *(f"{race.size}, {race.bytes / 1e9:.2f} GB" for race in races)]]
    for job, of_job in growth.items():
        rows.append([f"kpid, {job}", *(f"{by_name(race)[KPID].median:.3f} s" for race in of_job)])
        rows.append(["&nbsp; a byte, beside 1x", *(f"{slope(of_job, race):.2f}" for race in of_job)])
    rows.append([FLOOR, *(f"{by_name(race)[FLOOR].median:.3f} s" for race in races)])
    return in_columns(rows)


def slope(races: list, race) -> float:
    """Time a byte, as times of that of the smallest."""
    first = races[0]
    return by_name(race)[KPID].median / by_name(first)[KPID].median / (race.bytes / first.bytes)


# ---- targets ----


def times(what: str, wanted: float, measured: float, of: str) -> Target:
    return Target(what, f"at least {wanted:g} x", f"{measured:.2f} x ({of})", measured >= wanted)


def targets_of(race) -> list[Target]:
    named, others = by_name(race), rivals(race)
    what, ours = f"{race.size}, {race.job}", named[KPID]
    found = []
    if race.size == "S":
        wanted = SMALL_SECONDS[race.job]
        found.append(Target(f"{what}: start to exit", f"at most {wanted * 1000:.0f} ms",
                            f"{ours.median * 1000:.1f} ms", ours.median <= wanted))  # fmt: skip
        return found
    if others:
        fastest = min(others, key=lambda c: c.median)
        wanted = TIMES_FASTEST_GZ if race.size == "M.gz" else TIMES_FASTEST[race.job]
        found.append(times(f"{what}: the fastest peer", wanted, fastest.median / ours.median, fastest.name))
    if "spark" in named:
        found.append(times(f"{what}: PySpark", TIMES_SPARK, named["spark"].median / ours.median, "spark"))
    if others and race.size != "M.gz":
        leanest = min(others, key=lambda c: c.peak_mb)
        part = ours.peak_mb / leanest.peak_mb
        found.append(Target(f"{what}: memory", f"at most {MEMORY_OF_LEANEST:.2f} of the leanest peer",
                            f"{part:.2f} ({leanest.name})", part <= MEMORY_OF_LEANEST))  # fmt: skip
    return found


def all_targets(results: Results) -> list[Target]:
    found = [target for race in results.races if not race.size.endswith("x") for target in targets_of(race)]
    for job, races in results.growth.items():
        worst = max(slope(races, race) for race in races[1:])
        found.append(Target(f"growth, {job}: time a byte", f"at most {GROWTH_TOLERANCE:.2f} of 1x", f"{worst:.2f}",
                            worst <= GROWTH_TOLERANCE))  # fmt: skip
    return found


def target_table(targets: list[Target]) -> str:
    rows = [["target", "wanted", "measured", ""]]
    rows += [[t.what, t.wanted, t.measured, "MET" if t.is_met else "NOT MET"] for t in targets]
    return in_columns(rows)


# ---- page ----


def first_line(*command: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=REPO)
    except FileNotFoundError:
        return "unknown"
    return (done.stdout + done.stderr).strip().split("\n")[0]


def field_of(file: str, name: str) -> str:
    """The value of a line `name: value` of a file of /proc."""
    lines = Path(file).read_text(encoding="utf-8").splitlines()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith(name)), "unknown")


def machine() -> str:
    memory = int(field_of("/proc/meminfo", "MemTotal").split()[0]) / 1024**2
    return (
        f"{field_of('/proc/cpuinfo', 'model name')}, {os.cpu_count()} cores, {memory:.0f} GiB of memory, "
        f"Linux {platform.release()}; load of the last 15 minutes {os.getloadavg()[2]:.1f}, of which this is a part"
    )


def versions(results: Results) -> str:
    used = {c.name for race in results.races for c in race.contenders}
    found = [first_line(str(kpid_binary()), "version")]
    found += [f"{name} {version(package)}" for name, package in PACKAGES.items() if name in used]
    if "spark" in used:
        found.append(first_line("java", "-version"))
    return ", ".join([*found, f"Python {platform.python_version()}"])


def sections(results: Results, targets: list[Target]) -> str:
    text = []
    for race in results.races:
        if race.size.endswith("x"):
            continue
        text.append(
            f"## {race.size}, {race.job}: {race.bytes / 1e9:.3f} GB, {race.orders} orders\n\n{race_table(race)}"
        )
    if results.growth:
        text.append(f"## Growth\n\n{growth_table(results.growth)}")
    text.append(f"## Targets\n\n{target_table(targets)}")
    return "\n".join(text)


def tell(results: Results) -> list[Target]:
    """Prints tables and targets; returns the targets."""
    targets = all_targets(results)
    print("\n" + sections(results, targets))
    return targets


def write_page(results: Results, targets: list[Target], folder: Path) -> None:
    """Writes RESULTS.md."""
    spark = {len(c.seconds) for race in results.races for c in race.contenders if c.name == "spark"}
    fewer = f" ({min(spark)} of PySpark)" if spark and min(spark) < results.rounds else ""
    (folder / "RESULTS.md").write_text(
        f"""# kpid and its peers

Written by `scripts/bench peers` on {results.day}; not by hand. Medians of {results.rounds} interleaved rounds{fewer}.

{machine()}.
{versions(results)}.

Each is a fresh process from start to exit on the same folder of CSV, in the page cache: a run for which more than 1 MiB came from
a disk is made again, three times at most. Each answer was compared with kpid's, row by row, before its time counted. CPU is user and system of all its processes, memory the peak of the largest.

![Seconds of each, on a logarithmic scale](results.svg)

{sections(results, targets)}""",
        encoding="utf-8",
    )
