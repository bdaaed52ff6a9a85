"""Small input folders made by the tests themselves."""

from collections.abc import Iterable
from pathlib import Path

from support.paths import EDGE_CASES, SLOWDOWN

BASE = EDGE_CASES / "00-base-fixture" / "input"
BASE_DATES = ("2023-01-15", "2023-01-16")

HEADERS = {
    "orders": "order_id,user_id,status,created_at",
    "order_items": "id,order_id,product_id,sale_price,status,created_at",
    "products": "id,category,name",
}

# Names of objects that are encoded in URLs, or mean something to those who match names.
AWKWARD_NAMES = [
    "a+b c.csv",
    "50%.csv",
    "%2F%20+.csv",
    "x=y&z.csv",
    "~tilde.csv",
    "it's (1)!*@,;:$.csv",
    "gr\u00f6\u00dfe-\u65e5\u672c\u8a9e.csv",
    'q?h#f<t>"d".csv',
    "[{^`|}].csv",
]


def copy_base(folder: Path) -> Path:
    """A writable copy of the base data set."""
    for path in BASE.glob("*/*.csv"):
        target = folder / path.relative_to(BASE)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())
    return folder


def write_lines(
    folder: Path, dataset: str, lines: Iterable[str], name: str = "a.csv"
) -> Path:
    """One file of a data set: its usual header, then `lines`."""
    path = folder / dataset / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        "\n".join([HEADERS[dataset], *lines]) + "\n", encoding="utf-8", newline=""
    )
    return path


def write_source(
    folder: Path, orders: Iterable[str], items: Iterable[str], products: Iterable[str]
) -> Path:
    """A source of one file for each data set."""
    for dataset, lines in zip(HEADERS, (orders, items, products), strict=True):
        write_lines(folder, dataset, lines)
    return folder


def slow_source(folder: Path, copies: int = 600) -> Path:
    """A source that takes the program seconds to read: one part of items, linked many times.

    A slower program under test is given less.
    """
    copies = max(10, copies // SLOWDOWN)
    stamp = f"{BASE_DATES[0]} 10:00:00"
    write_source(
        folder,
        (f"{n},{n % 1000},completed,{stamp}" for n in range(1000)),
        (
            f"{n},{n % 1000},{n % 97},{n % 100}.25,shipped,{stamp}"
            for n in range(60_000)
        ),
        (f"{n},Category {n % 12},x" for n in range(97)),
    )
    for n in range(copies):
        (folder / "order_items" / f"copy{n}.csv").hardlink_to(
            folder / "order_items" / "a.csv"
        )
    return folder


PHASED_DATES = ("2023-01-15", "2023-01-16", "2023-01-17")


def phased_source(folder: Path, orders: int = 600_000, files: int = 20_000) -> Path:
    """Input that keeps a run of PHASED_DATES for a while in each of its phases: many files, customers and categories.

    As slow_source it is smaller for a slower program under test.
    """
    orders, files = orders // SLOWDOWN, files // SLOWDOWN
    write_source(
        folder,
        (f"{n},{n},completed,{PHASED_DATES[n % 3]}" for n in range(orders)),
        (f"{n},{n % orders},{n // 3 % 4900},{n % 100}.25,shipped,{PHASED_DATES[n % 3]}" for n in range(orders * 3 // 2)),
        (f"{n},Category {n},x" for n in range(4900)),
    )
    empty = write_lines(folder, "orders", [], "empty.csv")
    for n in range(files):
        (folder / "orders" / f"empty{n}.csv").hardlink_to(empty)
    return folder
