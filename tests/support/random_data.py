"""Random data sets: the typed truth, and the text in which the program gets it."""

import random
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_HALF_EVEN, Decimal, localcontext
from pathlib import Path
from zoneinfo import ZoneInfo

from support.csv_noise import write_dataset

ORDER_CELLS = ["order_id", "user_id", "status", "created_at"]
ITEM_CELLS = ["id", "order_id", "product_id", "sale_price", "status", "created_at"]
PRODUCT_CELLS = ["id", "category"]
ZONES = [
    "UTC",
    "America/New_York",
    "Asia/Kolkata",
    "Pacific/Auckland",
    "America/Sao_Paulo",
]
CATEGORIES = [
    "Home",
    "home",
    "Electronics",
    "10",
    "007",
    "A, B",
    'He said "hi"',
    " lead",
    "tail ",
    "two\nlines",
    "Ünï☃",
    "=1+1",
    "null",
    "Zed\\x",
    "#1",
]
UNPARSABLE = [
    "$1",
    "N/A",
    "1,234.50",
    "0x1p3",
    "10d",
    "1.2.3",
    "null",
    "1 2",
    "--1",
    "e5",
    ".",
]
BAD_DATES = [
    None,
    "garbage",
    "2023-02-30",
    "2023/01/15",
    "1/15/2023",
    "2023-01-15 24:00",
    "20230115",
    "1673776800000",
    "2023-01-15t10:00:00",
    "2023-01-15 10:00:60",
    "2023-01-15Z",
    "NULL",
]
QUANTUM = Decimal(1).scaleb(-18)


@dataclass(frozen=True)
class Id:
    """An id cell: its text, what it equals in a join, and what it is counted as."""

    text: str | None
    join: str | None
    count: str | None


NO_ID = Id(None, None, None)


@dataclass
class Truth:
    """Typed rows, as the definitions see them."""

    orders: list[tuple] = field(default_factory=list)
    items: list[tuple] = field(default_factory=list)
    products: list[tuple] = field(default_factory=list)
    bad_rows: int = 0


@dataclass(frozen=True)
class Scenario:
    """One random case, ready to run."""

    seed: int
    source: Path
    truth: Truth
    env: dict[str, str]
    options: list[str]
    threads: int
    order_status: bool


def numeric_spelling(rng: random.Random, n: int, exponents: bool) -> str:
    forms = [f"{n}"] * 6 + [
        f"0{n}",
        f"{n}.0",
        f" {n}",
        f"{n} ",
        f"+{n}",
        f"{n}.",
        f"{n}.00",
    ]
    return rng.choice(forms + ([f"{n}e0", f"{n}0E-1"] if exponents else []))


class IdColumn:
    """Makes the ids of one column; `partner_numeric` says how the other side of its join is."""

    def __init__(
        self, rng: random.Random, numeric: bool, partner_numeric: bool, odd: bool
    ):
        self.rng, self.numeric, self.partner_numeric, self.odd = (
            rng,
            numeric,
            partner_numeric,
            odd,
        )
        self.base = rng.choice([0, 0, 0, 2**53, 2**63 - 3, 10**30])

    def make(self, n: int) -> Id:
        """The id of entity `n`."""
        n += 1
        number = n + self.base
        if self.numeric:
            text = numeric_spelling(self.rng, number, True) if self.odd else str(number)
            return Id(text, str(number), str(number))
        if not self.partner_numeric:
            text = (
                self.rng.choice([f"k{n}", f"K{n}", f"k{n} "]) if self.odd else f"k{n}"
            )
            return Id(text, text, text)
        text = numeric_spelling(self.rng, number, False) if self.odd else str(number)
        return Id(text, str(number), text)

    def stray(self) -> Id:
        """An id of no entity; in a text column one that is no number at all."""
        if self.numeric:
            return self.make(10_000 + self.rng.randrange(3))
        text = self.rng.choice(["guest", "NULL", "1e5x", "#"])
        return Id(text, None if self.partner_numeric else text, text)


def paired(rng: random.Random, odd: bool) -> tuple[IdColumn, IdColumn]:
    """Two columns that are joined, of any mix of kinds, over the same entities."""
    left_numeric, right_numeric = rng.choice(
        [(True, True)] * 3 + [(False, False), (True, False), (False, True)]
    )
    left = IdColumn(rng, left_numeric, right_numeric, odd)
    right = IdColumn(rng, right_numeric, left_numeric, odd)
    right.base = left.base
    return left, right


def lone(rng: random.Random, odd: bool) -> IdColumn:
    numeric = rng.random() < 0.6
    return IdColumn(rng, numeric, False, odd)


def local_text(rng: random.Random, moment: datetime) -> str:
    text = f"{moment.year:04}-{moment.month:02}-{moment.day:02}"
    if rng.random() < 0.2:
        text = f"{moment.year:04}-{moment.month}-{moment.day}"
    clock = f"{moment.hour:02}:{moment.minute:02}:{moment.second:02}"
    clock = rng.choice(
        [
            clock,
            clock,
            clock + ".5",
            clock + ".123456789",
            clock[:5] if moment.second == 0 else clock,
        ]
    )
    return text + rng.choice("T ") + clock


def offset_text(rng: random.Random, offset: timedelta) -> str:
    minutes = int(offset.total_seconds()) // 60
    sign, minutes = "-" if minutes < 0 else "+", abs(minutes)
    return sign + rng.choice(
        [
            f"{minutes // 60:02}:{minutes % 60:02}",
            f"{minutes // 60:02}{minutes % 60:02}",
        ]
    )


def zoned_text(rng: random.Random, instant: datetime) -> str:
    """The instant in some zone, never at a local time that occurs twice."""
    kind = rng.randrange(3)
    if kind == 0:
        return local_text(rng, instant) + rng.choice(["Z", " UTC", "+00:00"])
    if kind == 1:
        offset = timedelta(minutes=rng.randrange(-12 * 60, 14 * 60, 15))
        return local_text(rng, instant + offset) + offset_text(rng, offset)
    zone = ZoneInfo(rng.choice(ZONES[1:]))
    local = instant.astimezone(zone)
    if local.utcoffset() != local.replace(fold=1 - local.fold).utcoffset():
        return local_text(rng, instant) + "Z"
    return f"{local_text(rng, local)} {zone.key}"


class Maker:
    """Draws one scenario from one seed."""

    def __init__(self, seed: int):
        self.rng = rng = random.Random(seed)
        self.seed, self.truth = seed, Truth()
        self.odd = rng.random() < 0.7
        self.dirty = rng.random() < 0.7
        self.skip = self.dirty and rng.random() < 0.5
        self.exact_status = rng.random() < 0.2
        self.unknown = rng.choice([None, None, "Unknown", "Home"])
        self.order_status = rng.random() < 0.8
        self.zone = rng.choice(["UTC", "UTC", *ZONES])
        self.first_day = date(
            rng.choice([2018, 2023, 2024]),
            rng.choice([2, 3, 10, 11]),
            rng.randrange(1, 25),
        )
        self.order_ids, self.item_order_ids = paired(rng, self.odd)
        self.product_ids, self.item_product_ids = paired(rng, self.odd)
        self.user_ids, self.item_ids = lone(rng, self.odd), lone(rng, self.odd)
        self.orders, self.items, self.products = [], [], []

    def chance(self, share: float) -> bool:
        return self.dirty and self.rng.random() < share

    def moment(self) -> tuple[str, date]:
        """A date cell and the business day it means."""
        rng = self.rng
        unit = rng.choice([1, 1, 60, 3600])
        wall = datetime.combine(self.first_day, datetime.min.time(), UTC) + timedelta(
            seconds=rng.randrange(5 * 86400 // unit) * unit
        )
        if not self.odd or rng.random() < 0.6:
            text = (
                local_text(rng, wall) if rng.random() < 0.8 else wall.date().isoformat()
            )
            return rng.choice(["", "", " "]) + text, wall.date()
        return zoned_text(rng, wall), wall.astimezone(ZoneInfo(self.zone)).date()

    def dated(self) -> tuple[str | None, date | None]:
        """As moment(), or a bad cell where bad rows are to be skipped."""
        if self.skip and self.rng.random() < 0.03:
            self.truth.bad_rows += 1
            return self.rng.choice(BAD_DATES), None
        return self.moment()

    def status(self) -> tuple[str | None, bool]:
        plain = [
            "shipped",
            "delivered",
            "cancelled",
            "returned",
            "returned",
            "return",
            "not returned",
            None,
        ]
        odd = ["Returned", " returned", "RETURNED ", "returned\t", "ReTurned"]
        text = self.rng.choice(plain + odd if self.odd else plain)
        if self.exact_status:
            return text, text == "returned"
        return text, (text or "").strip().lower() == "returned"

    def price(self) -> tuple[str | None, Decimal | None]:
        """A price cell and its value; None adds nothing."""
        rng = self.rng
        if self.chance(0.05):
            return rng.choice([None, *UNPARSABLE]), None
        value = Decimal(rng.randrange(-2000, 200_000)) / 100
        if self.odd and rng.random() < 0.3:
            value = rng.choice(
                [
                    Decimal(rng.randrange(10**15)),
                    Decimal(rng.randrange(10**22)).scaleb(-19),
                    Decimal(rng.randrange(1, 10**6, 5)).scaleb(-19),
                    Decimal(rng.randrange(50)),
                ]
            )
        text = self.price_text(value)
        with localcontext() as context:
            context.prec = 60
            return text, Decimal(text).quantize(QUANTUM, ROUND_HALF_EVEN)

    def price_text(self, value: Decimal) -> str:
        plain = format(value, "f")
        if not self.odd:
            return plain
        forms = [
            plain,
            plain,
            f" {plain}",
            f"{plain} ",
            f"{value:E}",
            plain + ("0" if "." in plain else "."),
        ]
        if plain.startswith("0."):
            forms.append(plain[1:])
        if not plain.startswith("-"):
            forms.append(f"+{plain}")
        return self.rng.choice(forms)

    def maybe_null(self, made: Id, share: float) -> Id:
        return NO_ID if self.chance(share) else made

    def add_order(self, order: Id) -> None:
        user = self.maybe_null(self.user_ids.make(self.rng.randrange(12)), 0.04)
        text, day = self.dated()
        status, returned = self.status()
        copies = 2 if self.chance(0.08) else 1
        for _ in range(copies):
            self.orders.append((order.text, user.text, status, text))
            if day is not None:
                self.truth.orders.append(
                    (order.join, order.count, user.count, day, returned)
                )
        if day is None and copies == 2:
            self.truth.bad_rows += 1

    def add_item(self, item: Id, order: Id, product: Id) -> None:
        (cell, price), (status, returned), (text, day) = (
            self.price(),
            self.status(),
            self.dated(),
        )
        copies = 2 if self.chance(0.05) else 1
        for _ in range(copies):
            self.items.append((item.text, order.text, product.text, cell, status, text))
            if day is not None:
                self.truth.items.append(
                    (
                        order.join,
                        order.count,
                        product.join,
                        item.count,
                        price,
                        day,
                        returned,
                    )
                )
        if day is None and copies == 2:
            self.truth.bad_rows += 1

    def add_product(self, product: Id) -> None:
        category = self.rng.choice(CATEGORIES)
        if self.unknown and self.chance(0.1):
            category = None
        self.products.append((product.text, category))
        self.truth.products.append((product.join, category or self.unknown))

    def fill(self) -> None:
        rng = self.rng
        orders, products = rng.choice([1, 5, 40, 120]), rng.choice([1, 8, 30])
        for n in range(orders):
            self.add_order(self.maybe_null(self.order_ids.make(n), 0.02))
            if self.chance(0.05):
                self.add_order(self.order_ids.make(n))
        for n in range(products):
            self.add_product(self.maybe_null(self.product_ids.make(n), 0.03))
            if self.chance(0.1):
                self.add_product(self.product_ids.make(n))
        for n in range(int(orders * rng.choice([0, 1, 2.5]))):
            order = (
                self.item_order_ids.stray()
                if self.chance(0.04)
                else self.item_order_ids.make(rng.randrange(orders))
            )
            product = (
                self.item_product_ids.stray()
                if self.chance(0.04)
                else self.item_product_ids.make(rng.randrange(products))
            )
            item = self.item_ids.make(n if rng.random() < 0.95 else 0)
            self.add_item(
                self.maybe_null(item, 0.02),
                self.maybe_null(order, 0.02),
                self.maybe_null(product, 0.02),
            )
        self.anchor_text_columns()

    def anchor_text_columns(self) -> None:
        """One value that is no number in each text column, in rows that are never bad."""
        self.skip = False
        order, product = (
            column.stray() if not column.numeric else NO_ID
            for column in (self.order_ids, self.product_ids)
        )
        self.add_order(order)
        self.add_product(product)
        if self.items:
            stray = [
                column.stray() if not column.numeric else NO_ID
                for column in (
                    self.item_ids,
                    self.item_order_ids,
                    self.item_product_ids,
                )
            ]
            self.add_item(*stray)

    def write(self, folder: Path) -> None:
        columns, rows = ORDER_CELLS, self.orders
        if not self.order_status:
            columns = [name for name in ORDER_CELLS if name != "status"]
            rows = [(order, user, stamp) for order, user, _, stamp in rows]
        write_dataset(self.rng, folder / "orders", columns, rows, self.dirty)
        write_dataset(
            self.rng, folder / "order_items", ITEM_CELLS, self.items, self.dirty
        )
        write_dataset(
            self.rng, folder / "products", PRODUCT_CELLS, self.products, self.dirty
        )

    def scenario(self, folder: Path) -> Scenario:
        self.fill()
        self.write(folder)
        env = {"KPI_TIMEZONE": self.zone}
        if self.exact_status:
            env["KPI_STATUS_MATCH"] = "exact"
        if self.unknown:
            env["KPI_UNKNOWN_CATEGORY"] = self.unknown
        options = []
        if self.truth.bad_rows:
            options = ["--bad-rows", "skip", "--max-bad-rows", str(self.truth.bad_rows)]
        return Scenario(
            self.seed,
            folder,
            self.truth,
            env,
            options,
            self.rng.randrange(1, 9),
            self.order_status,
        )
