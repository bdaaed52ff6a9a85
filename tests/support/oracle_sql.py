"""The KPIs of typed rows by SQL written from the definitions; nothing of it comes from the program."""

from decimal import Decimal
from fractions import Fraction

import duckdb

from support.cli import Tables
from support.numbers import money_text, quotient_text
from support.random_data import Truth

SCHEMA = """
CREATE TABLE orders(join_id TEXT, count_id TEXT, user_id TEXT, day DATE, returned BOOLEAN);
CREATE TABLE items(join_id TEXT, count_id TEXT, product_id TEXT, id TEXT, price DECIMAL(38, 18),
                   day DATE, returned BOOLEAN);
CREATE TABLE products(id TEXT, category TEXT);
"""

CATEGORY_SQL = """
SELECT category, day::TEXT, coalesce(sum(price), 0)::TEXT, count(DISTINCT count_id), count(*),
       count(*) FILTER (returned), count(DISTINCT count_id) FILTER (returned)
FROM items JOIN products ON items.product_id = products.id
GROUP BY category, day
"""

ORDER_SQL = """
SELECT o.day::TEXT, count(DISTINCT o.count_id), coalesce(sum(i.price), 0)::TEXT, count(DISTINCT i.id),
       count(*) FILTER (i.returned), count(DISTINCT o.user_id),
       count(DISTINCT o.count_id) FILTER (o.returned)
FROM orders o LEFT JOIN items i ON o.join_id = i.join_id
GROUP BY o.day
"""


def fill(db: duckdb.DuckDBPyConnection, table: str, rows: list[tuple]) -> None:
    if rows:
        columns = [
            [str(v) if isinstance(v, Decimal) else v for v in column]
            for column in zip(*rows, strict=True)
        ]
        unnests = ", ".join("unnest(?)" for _ in columns)
        db.execute(f"INSERT INTO {table} SELECT {unnests}", columns)


def category_row(row: tuple) -> dict[str, str]:
    category, day, revenue, orders, items, returned, returned_orders = row
    return {
        "category": category,
        "order_date": day,
        "daily_revenue": money_text(Decimal(revenue)),
        "avg_order_value": quotient_text(Fraction(revenue), orders),
        "avg_return_rate": quotient_text(returned, orders),
        "order_count": str(orders),
        "item_count": str(items),
        "returned_items": str(returned),
        "returned_orders": str(returned_orders),
        "orders_returned_rate": quotient_text(returned_orders, orders),
    }


def order_row(row: tuple, order_status: bool) -> dict[str, str]:
    day, orders, revenue, items, returned, users, returned_orders = row
    return {
        "order_date": day,
        "total_orders": str(orders),
        "total_revenue": money_text(Decimal(revenue)),
        "total_items_sold": str(items),
        "return_rate": quotient_text(returned, orders),
        "unique_customers": str(users),
        "returned_items": str(returned),
        "returned_orders": str(returned_orders) if order_status else "",
        "orders_returned_rate": quotient_text(returned_orders, orders)
        if order_status
        else "",
        "avg_order_value": quotient_text(Fraction(revenue), orders),
    }


def expected_tables(truth: Truth, order_status: bool) -> Tables:
    """Both KPI tables over all dates, in the order of the output files."""
    with duckdb.connect() as db:
        db.execute(SCHEMA)
        fill(db, "orders", truth.orders)
        fill(db, "items", truth.items)
        fill(db, "products", truth.products)
        categories = [category_row(row) for row in db.execute(CATEGORY_SQL).fetchall()]
        orders = [
            order_row(row, order_status) for row in db.execute(ORDER_SQL).fetchall()
        ]
    categories.sort(key=lambda row: (row["order_date"], row["category"].encode()))
    return {
        "order_kpis": sorted(orders, key=lambda row: row["order_date"]),
        "category_kpis": categories,
    }
