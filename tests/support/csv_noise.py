"""Writes typed cells as CSV in the many ways that mean the same."""

import gzip
import itertools
import random
import re
from collections.abc import Sequence
from pathlib import Path

NOISE_TEXTS = [
    "",
    "x",
    "a, b",
    'say "hi"',
    "two\nlines",
    "back\\slash",
    "#",
    "=1+1",
    "null",
    "é☃",
    "1e5",
]
NOISE_COLUMNS = [
    "note",
    "sku",
    "shipped_at",
    "num_of_item",
    "order_date",
    "name",
    "gender",
]
NEEDS_QUOTES = re.compile(r'[,\r\n]|^"')

Cell = str | None
Row = Sequence[Cell]


def quoted(rng: random.Random, text: str) -> str:
    inner = text.replace("\\", "\\\\")
    quote = rng.choice(['""', '\\"'])
    return '"' + inner.replace('"', quote) + '"' + rng.choice(["", "", "", " "])


def cell_text(rng: random.Random, cell: Cell) -> str:
    """One cell; an empty one is null whether quoted or not."""
    if not cell:
        return rng.choice(["", "", '""'])
    return (
        quoted(rng, cell) if NEEDS_QUOTES.search(cell) or rng.random() < 0.15 else cell
    )


def header_text(rng: random.Random, name: str) -> str:
    spelt = rng.choice([name, name, name.upper(), name.title(), f" {name}", f"{name} "])
    return f'"{spelt}"' if rng.random() < 0.1 else spelt


def row_text(rng: random.Random, cells: list[Cell], dirty: bool) -> str:
    """One row; a dirty one may lack its empty last cells or have one cell too many."""
    texts = [cell_text(rng, cell) for cell in cells]
    shape = rng.random() if dirty else 1
    if shape < 0.03:
        texts.append("beyond")
    elif shape < 0.13:
        while len(texts) > 2 and not cells[len(texts) - 1]:
            texts.pop()
    return ",".join(texts)


def arranged(
    rng: random.Random, columns: list[str], order: list[str], row: Row
) -> list[Cell]:
    """The row's cells in the order of the header, with noise in the extra columns."""
    named = dict(zip(columns, row, strict=True))
    return [named[name] if name in named else rng.choice(NOISE_TEXTS) for name in order]


def file_bytes(
    rng: random.Random, columns: list[str], rows: list[Row], dirty: bool
) -> bytes:
    """One part: any column order, extra columns, line ends, quoting, BOM and blank lines."""
    extras = rng.sample(
        [c for c in NOISE_COLUMNS if c not in columns], rng.randrange(3)
    )
    order = rng.sample([*columns, *extras], len(columns) + len(extras))
    eol = rng.choice(["\n", "\n", "\r\n", "\r"])
    header = ",".join(header_text(rng, name) for name in order)
    lines = [header]
    for row in rows:
        lines.append(row_text(rng, arranged(rng, columns, order, row), dirty))
        if dirty and rng.random() < 0.02:
            lines.append(rng.choice(["", "   ", "\t", header]))
    text = eol.join(lines) + (eol if rng.random() < 0.8 else "")
    return (b"\xef\xbb\xbf" if rng.random() < 0.2 else b"") + text.encode("utf-8")


def write_dataset(
    rng: random.Random, folder: Path, columns: list[str], rows: list[Row], dirty: bool
) -> None:
    """A data set in 1..5 parts, some of them compressed, sometimes with an empty one."""
    folder.mkdir(parents=True)
    rows = rng.sample(rows, len(rows))
    cuts = sorted(rng.randrange(len(rows) + 1) for _ in range(rng.randrange(5)))
    bounds = [0, *cuts, len(rows)]
    for n, (start, end) in enumerate(itertools.pairwise(bounds)):
        data = file_bytes(rng, columns, rows[start:end], dirty)
        if rng.random() < 0.2:
            (folder / f"p{n}.csv.gz").write_bytes(gzip.compress(data, mtime=0))
        else:
            (folder / f"p{n}.csv").write_bytes(data)
    if rng.random() < 0.1:
        (folder / "zero.csv").write_bytes(b"")
