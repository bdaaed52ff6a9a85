"""The chart of the comparison with peers, as SVG: no library, and colours that can be read on light and on dark."""

import math
from html import escape
from pathlib import Path

from contender import FLOOR, KPID

WIDTH, LEFT, RIGHT, ROW, HEAD, FOOT = 840, 130, 150, 24, 44, 26
TEXT, FAINT, OURS, THEIRS = "#6e7781", "#8b949e", "#2f81f7", "#8b949e"
TITLES = {KPID: "kpid", FLOOR: "reading only", "duckdb": "DuckDB", "polars": "Polars", "chdb": "ClickHouse",
          "datafusion": "DataFusion", "spark": "PySpark"}  # fmt: skip
SHOWN = ("L", "M", "S")  # the largest that was run


def text(x: float, y: float, words: str, anchor: str = "start", fill: str = TEXT, weight: int = 400) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{fill}" font-weight="{weight}">{escape(words)}</text>'


def seconds(value: float) -> str:
    return f"{value * 1000:.0f} ms" if value < 0.1 else f"{value:.2f} s" if value < 10 else f"{value:.0f} s"


class Axis:
    """Seconds to the right, each decade as wide as the next."""

    def __init__(self, values: list[float]):
        self.low = math.floor(math.log10(min(values)))
        self.high = math.log10(max(values))

    def __call__(self, value: float) -> float:
        return LEFT + (math.log10(value) - self.low) / (self.high - self.low) * (WIDTH - LEFT - RIGHT)

    @property
    def decades(self) -> list[float]:
        return [10.0**n for n in range(self.low, math.floor(self.high) + 1)]


def panel(race, axis: Axis, top: float) -> list[str]:
    """One job: a line for each contender, the fastest first."""
    shown = sorted((c for c in race.contenders if c.name in TITLES), key=lambda c: c.median)
    ours = next(c.median for c in shown if c.name == KPID)
    bottom = top + HEAD + ROW * len(shown)
    parts = [text(0, top + 20, f"{race.job.capitalize()} of {race.bytes / 1e9:.2f} GB of CSV", weight=600)]
    for at in axis.decades:
        x = axis(at)
        parts.append(f'<path d="M{x:.1f} {top + HEAD - 10}V{bottom}" stroke="{FAINT}" stroke-opacity=".35"/>')
        parts.append(text(x, bottom + 16, f"{at:g} s", "middle", FAINT))
    for i, c in enumerate(shown):
        y, x = top + HEAD + ROW * i + ROW / 2, axis(c.median)
        is_ours = c.name == KPID
        colour = OURS if is_ours else THEIRS
        beside = "" if c.name in (KPID, FLOOR) else f" · {c.median / ours:.1f} x"
        parts.append(
            text(LEFT - 12, y + 4, TITLES[c.name], "end", OURS if is_ours else TEXT, 600 if is_ours else 400)
        )
        parts.append(f'<path d="M{LEFT} {y}H{x:.1f}" stroke="{colour}" stroke-width="2"/>')
        parts.append(f'<circle cx="{x:.1f}" cy="{y}" r="5" fill="{colour}"/>')
        parts.append(
            text(
                x + 12, y + 4, seconds(c.median) + beside, "start", OURS if is_ours else TEXT, 600 if is_ours else 400
            )
        )
    return parts


def draw(results, folder: Path) -> None:
    """Writes results.svg: the largest data set that was compared with peers."""
    races = next((found for size in SHOWN if (found := results.races_of(size))), [])
    if not races:
        return
    axis = Axis([c.median for race in races for c in race.contenders if c.name in TITLES])
    parts, top = [], 0.0
    for race in races:
        parts += panel(race, axis, top)
        top += HEAD + ROW * sum(c.name in TITLES for c in race.contenders) + FOOT
    parts.append(
        text(
            0,
            top + 14,
            f"Seconds from start to exit, logarithmic; medians of {results.rounds} rounds; fewer is better.",
            fill=FAINT,
        )
    )
    (folder / "results.svg").write_text(
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {top + 24:.0f}" width="{WIDTH}" '
        'font-family="-apple-system, Segoe UI, Helvetica, Arial, sans-serif" font-size="13">\n'
        + "\n".join(parts)
        + "\n</svg>\n",
        encoding="utf-8",
    )
