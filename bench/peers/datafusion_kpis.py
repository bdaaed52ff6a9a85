"""DataFusion. args: FOLDER DATE|all"""

import sys
from pathlib import Path

import pyarrow as pa
import sql
from datafusion import SessionContext

source, date = sys.argv[1:]
TYPES = {"BIGINT": pa.int64(), "VARCHAR": pa.string_view(), "DOUBLE": pa.float64()}
db = SessionContext()
for dataset, columns in sql.COLUMNS.items():
    folder = Path(source) / dataset
    packed = any(folder.glob("*.gz"))
    db.register_csv(
        dataset,
        f"{folder}/",
        schema=pa.schema([(name, TYPES[kind]) for name, kind in columns.items()]),
        has_header=True,
        file_extension=".csv.gz" if packed else ".csv",
        file_compression_type="gzip" if packed else None,
    )
db.register_view("kept_orders", db.sql(sql.order_rows("orders", date)).cache())
db.register_view("kept_items", db.sql(sql.item_rows("order_items", date, "kept_orders")).cache())
for query in (sql.categories("kept_items", "products", date), sql.days("kept_orders", "kept_items")):
    sql.show(row.values() for row in db.sql(query).to_pylist())
