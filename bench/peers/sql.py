"""The KPIs in SQL, for engines that read the files themselves; the same text for all of them.

Rows of orders and items come first, as a relation of their own: an engine that would read the files twice may keep them.
A row of the answer is day, category (empty for the order KPIs), revenue, orders, returned items; of the order KPIs also items
and customers.
"""

ALL = "all"  # instead of a date

# What `kpid sample` writes. No engine has to guess a type, and none has to parse a column that is not needed.
COLUMNS = {
    "orders": {
        "order_id": "BIGINT",
        "user_id": "BIGINT",
        "status": "VARCHAR",
        "created_at": "VARCHAR",
        "returned_at": "VARCHAR",
        "shipped_at": "VARCHAR",
        "delivered_at": "VARCHAR",
        "num_of_item": "VARCHAR",
    },
    "order_items": {
        "id": "BIGINT",
        "order_id": "BIGINT",
        "user_id": "VARCHAR",
        "product_id": "BIGINT",
        "status": "VARCHAR",
        "created_at": "VARCHAR",
        "shipped_at": "VARCHAR",
        "delivered_at": "VARCHAR",
        "returned_at": "VARCHAR",
        "sale_price": "DOUBLE",
    },
    "products": {
        "id": "BIGINT",
        "sku": "VARCHAR",
        "cost": "VARCHAR",
        "category": "VARCHAR",
        "name": "VARCHAR",
        "retail_price": "VARCHAR",
    },
}
DAY = "substring(created_at, 1, 10)"


def order_rows(orders: str, date: str) -> str:
    """Orders of the date."""
    where = "" if date == ALL else f"WHERE {DAY} = '{date}'"
    return f"SELECT order_id, user_id, CAST({DAY} AS DATE) AS day FROM {orders} {where}"


def item_rows(items: str, date: str, orders_of_date: str) -> str:
    """Items of the date, and those of orders of the date."""
    where = f"WHERE {DAY} = '{date}' OR order_id IN (SELECT order_id FROM {orders_of_date})"
    return f"""
        SELECT id, order_id, product_id, sale_price, CASE WHEN lower(status) = 'returned' THEN 1 ELSE 0 END AS returned,
               CAST({DAY} AS DATE) AS day
        FROM {items} {"" if date == ALL else where}"""


def categories(items: str, products: str, date: str) -> str:
    """Category KPIs from rows of items."""
    where = "" if date == ALL else f"WHERE i.day = DATE '{date}'"
    return f"""
        SELECT i.day AS day, p.category AS category, sum(i.sale_price) AS revenue, count(DISTINCT i.order_id) AS orders,
               sum(i.returned) AS returned
        FROM {items} i JOIN {products} p ON i.product_id = p.id {where}
        GROUP BY i.day, p.category"""


def days(orders: str, items: str) -> str:
    """Order KPIs from rows of orders and items."""
    return f"""
        SELECT o.day AS day, '' AS category, sum(i.sale_price) AS revenue, count(DISTINCT o.order_id) AS orders,
               sum(i.returned) AS returned, count(DISTINCT i.id) AS items, count(DISTINCT o.user_id) AS customers
        FROM {items} i RIGHT JOIN {orders} o ON o.order_id = i.order_id
        GROUP BY o.day"""


def show(rows) -> None:
    """Writes rows of an answer."""
    for row in rows:
        print(*row, sep="\t")
