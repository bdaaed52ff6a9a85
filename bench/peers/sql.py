"""The KPIs of one date in SQL, for engines that read S3 themselves; the same text for all of them."""

COLUMNS = ("category", "revenue", "orders", "returned")


def categories(items: str, products: str, date: str) -> str:
    """Category KPIs from two relations whose columns are texts or guessed types."""
    return f"""
        SELECT p.category AS category, sum(CAST(i.sale_price AS DOUBLE)) AS revenue,
               count(DISTINCT i.order_id) AS orders,
               sum(CASE WHEN lower(i.status) = 'returned' THEN 1 ELSE 0 END) AS returned
        FROM {items} i JOIN {products} p ON i.product_id = p.id
        WHERE substring(CAST(i.created_at AS VARCHAR), 1, 10) = '{date}'
        GROUP BY p.category ORDER BY p.category"""


def day(orders: str, items: str, date: str) -> str:
    """Order KPIs."""
    return f"""
        SELECT '{date}' AS category, sum(CAST(i.sale_price AS DOUBLE)) AS revenue,
               count(DISTINCT o.order_id) AS orders,
               sum(CASE WHEN lower(i.status) = 'returned' THEN 1 ELSE 0 END) AS returned
        FROM {orders} o LEFT JOIN {items} i ON o.order_id = i.order_id
        WHERE substring(CAST(o.created_at AS VARCHAR), 1, 10) = '{date}'"""
