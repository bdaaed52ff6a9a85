"""What the tables must hold after a day was published, and how tests ask for it."""

import json
from collections.abc import Iterable
from decimal import Decimal

from support.cli import Tables
from support.dynamodb_server import Item, KpiTables
from support.fault_proxy import Request

ORIGINAL = {
    "category": {
        "category",
        "order_date",
        "daily_revenue",
        "avg_order_value",
        "avg_return_rate",
    },
    "order": {
        "order_date",
        "total_orders",
        "total_revenue",
        "total_items_sold",
        "return_rate",
        "unique_customers",
    },
}
EXTRA = {
    "category": {
        "order_count",
        "item_count",
        "returned_items",
        "returned_orders",
        "orders_returned_rate",
    },
    "order": {
        "returned_items",
        "returned_orders",
        "orders_returned_rate",
        "avg_order_value",
    },
}
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
