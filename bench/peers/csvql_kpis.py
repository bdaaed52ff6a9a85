"""csvql (Zig). It takes one file a table and has no LEFT JOIN: category KPIs only, where a table is one file. args: FOLDER DATE"""

import sys
from pathlib import Path

import csvql
import sql

source, date = sys.argv[1:]
items, products = (next((Path(source) / dataset).glob("*.csv")) for dataset in ("order_items", "products"))
_, rows = csvql.query_tuples(f"""SELECT p.category, SUM(i.sale_price), COUNT(DISTINCT i.order_id),
               SUM(CASE WHEN i.status = 'returned' THEN 1 ELSE 0 END)
        FROM '{items}' i INNER JOIN '{products}' p ON i.product_id = p.id
        WHERE i.created_at LIKE '{date}%' GROUP BY p.category""")
sql.show((date, *row) for row in rows)
