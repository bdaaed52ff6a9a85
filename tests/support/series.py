"""A shop that sells on many days, and a server that has published them."""

from datetime import date, timedelta
from pathlib import Path

from support.cli import kpid, source_url
from support.datasets import write_source
from support.server import Server

FIRST = date(2024, 2, 1)  # a Thursday; the range crosses 29 February
CATEGORIES = ["Beauty", "Books, used", "=Toys", "Ünique"]


def day(n: int) -> str:
    return (FIRST + timedelta(days=n)).isoformat()


def write_shop(folder: Path, days: int, orders_of=lambda n: 10, price_of=lambda n: "2.5") -> Path:
    """`orders_of(n)` orders on day n, each of one item of each category in turn."""
    orders, items = [], []
    for n in range(days):
        for k in range(orders_of(n)):
            number = n * 1000 + k
            status = "returned" if k % 5 == 0 else "complete"
            orders.append(f"{number},{k},complete,{day(n)}")
            items.append(f"{number},{number},{k % len(CATEGORIES)},{price_of(n)},{status},{day(n)}")
    quoted = ['"' + name + '"' for name in CATEGORIES]
    return write_source(folder, orders, items, [f"{n},{name},x" for n, name in enumerate(quoted)])


def publish_days(db: Path, source: Path, first: int, last: int) -> None:
    """Publishes a range of days by the command line."""
    result = kpid(
        *("backfill", "--from", day(first), "--to", day(last), "--source", source_url(source)),
        env={"KPI_DB": str(db)},
    )
    assert result.code == 0, result


def published_server(folder: Path, days: int, **shop) -> Server:
    source = write_shop(folder / "in", days, **shop)
    publish_days(folder / "k.db", source, 0, days - 1)
    return Server(folder / "k.db", source).start()
