"""A reader that looks at a date again and again while others publish it, and does not forget what it saw.

The inputs of these tests carry their version as the price of every item, so a row tells what it was computed from.
"""

import random
import threading
from dataclasses import dataclass, field
from decimal import Decimal

from support.dynamodb_server import KpiTables
from support.s3_server import Bucket

PRODUCTS = 400
ITEM_HEADER = "id,order_id,product_id,sale_price,status,created_at"


@dataclass
class VersionedInput:
    """A data set in a bucket whose items change as a whole, in one PUT."""

    bucket: Bucket
    date: str
    rng: random.Random
    version: int = 0
    categories: dict[int, list[str]] = field(default_factory=dict)

    def prepare(self) -> "VersionedInput":
        products = [f"{n},category {n:03}" for n in range(PRODUCTS)]
        self.bucket.put("Data/products/a.csv", "\n".join(["id,category", *products]))
        orders = [f"{n},{n},{self.date}" for n in range(10)]
        self.bucket.put("Data/orders/a.csv", "\n".join(["order_id,user_id,created_at", *orders]))
        self.change()
        return self

    def change(self, rows: int | None = None) -> None:
        """The next version: a random choice of categories, few or more than a transaction takes."""
        rows = rows or self.rng.choice([1, 5, 40, 97, 98, 99, 100, 150, 250])
        chosen = sorted(self.rng.sample(range(PRODUCTS), rows))
        version = self.version + 1
        self.categories[version] = [f"category {n:03}" for n in chosen]
        lines = [f"{n},{i % 10},{n},{version},c,{self.date}" for i, n in enumerate(chosen)]
        self.bucket.put("Data/order_items/a.csv", "\n".join([ITEM_HEADER, *lines]))
        self.version = version


@dataclass
class Look:
    """What a careful reader saw: the control row was the same before and after the rows."""

    control: dict
    orders: list[dict]
    categories: list[dict]

    def faults(self, known: dict[int, list[str]]) -> list[str]:
        """Why this is not one whole version of the inputs."""
        versions = {item["daily_revenue"] for item in self.categories}
        stamps = {
            (item.get("run_id"), item.get("publish_version"))
            for item in self.orders + self.categories
        }
        if stamps != {(self.control["run_id"], self.control["ver"])}:
            return [f"rows of {stamps} under {self.control['run_id']} {self.control['ver']}"]
        if len(versions) != 1 or len(self.orders) != 1:
            return [f"mixed: {versions}, {len(self.orders)} order rows"]
        if sorted(i["category"] for i in self.categories) != known.get(self.version):
            return [f"other rows than those of version {self.version}"]
        revenue = self.version * Decimal(len(self.categories))
        if self.orders[0]["total_revenue"] != revenue:
            return [f"the order row is not of version {self.version}"]
        return []

    @property
    def version(self) -> int:
        return int(self.categories[0]["daily_revenue"]) if self.categories else 0


def look(tables: KpiTables, date: str) -> Look | None:
    """control -> rows -> control, by one careful reader; None while a publication is under way."""
    before = tables.control_row(date)
    categories = tables.day("category", date)
    orders = tables.day("order", date)
    after = tables.control_row(date)
    if before is None or before != after or "pending" in before:
        return None
    return Look(before, orders, categories)


class Auditor(threading.Thread):
    """Looks until it is told to stop; keeps violations: mixed rows, and versions older than one seen before."""

    def __init__(self, tables: KpiTables, source: VersionedInput):
        super().__init__(daemon=True)
        self.tables, self.source = tables, source
        self.looks = self.newest = 0
        self.violations: list[str] = []
        self._stop_event = threading.Event()

    def run(self) -> None:
        while not self._stop_event.is_set():
            self.audit()

    def audit(self) -> Look | None:
        """One look, judged."""
        seen = look(self.tables, self.source.date)
        if seen is None:
            return None
        self.looks += 1
        self.violations += seen.faults(self.source.categories)
        if seen.version < self.newest:
            self.violations.append(f"version {seen.version} after {self.newest}")
        self.newest = max(self.newest, seen.version)
        return seen

    def stop(self) -> None:
        self._stop_event.set()
        self.join(30)


