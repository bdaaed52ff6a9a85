"""What the tables must hold after a day was published, and how tests ask for it."""

import json
from collections.abc import Iterable
from decimal import Decimal

from support.cli import CATEGORY_COLUMNS, ORDER_COLUMNS, Tables
from support.dynamodb_server import Item, KpiTables
from support.fault_proxy import Request

# What the replaced job wrote stands first among the columns.
COLUMNS = {"category": (CATEGORY_COLUMNS, 5), "order": (ORDER_COLUMNS, 6)}
ORIGINAL = {kind: set(names[:count]) for kind, (names, count) in COLUMNS.items()}
EXTRA = {kind: set(names[count:]) for kind, (names, count) in COLUMNS.items()}
STAMPS = {"run_id", "published_at", "publish_version"}
FILES = {"category": "category_kpis", "order": "order_kpis"}
WRITES = ("TransactWriteItems", "BatchWriteItem", "UpdateItem", "PutItem", "DeleteItem")


def original(items: Iterable[Item], kind: str) -> list[Item]:
    """The attributes that the replaced job wrote."""
    return [{name: item[name] for name in ORIGINAL[kind]} for item in items]


def as_items(tables: Tables, kind: str) -> list[Item]:
    """The rows that the command line wrote to files, as the tables must hold them, sorted by key."""
    texts = {"category", "order_date"}
    rows = [
        {name: row[name] if name in texts else Decimal(row[name]) for name in ORIGINAL[kind]}
        for row in tables[FILES[kind]]
    ]
    keys = ("category", "order_date") if kind == "category" else ("order_date",)
    return sorted(rows, key=lambda row: [row[key] for key in keys])


def disagreements(tables: KpiTables, date: str) -> list[str]:
    """Why the rows of a date are not those that its control row speaks of: one run's, all of them."""
    control = tables.control_row(date)
    orders, categories = tables.day("order", date), tables.day("category", date)
    if control is None or "ver" not in control:
        return [f"{date}: rows without a control row"] if orders or categories else []
    found = []
    for item in orders + categories:
        if item["run_id"] != control["run_id"] or item["publish_version"] != control["ver"]:
            found.append(f"{date}: {item} is not of {control['run_id']} {control['ver']}")
    if sorted(item["category"] for item in categories) != sorted(control["categories"]):
        found.append(f"{date}: the categories are not those of the control row")
    if sum(item["total_orders"] for item in orders) != control["orders"]:
        found.append(f"{date}: the orders are not those of the control row")
    return found


def actions(request: Request) -> list[dict]:
    """The actions of a TransactWriteItems request."""
    return json.loads(request.body)["TransactItems"]
