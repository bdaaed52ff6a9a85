"""DuckDB; S3 by its httpfs extension, from a package. args: FOLDER|s3://BUCKET/PREFIX DATE|all"""

import os
import sys
from pathlib import Path
from urllib.parse import urlsplit

import duckdb
import sql

source, date = sys.argv[1:]
db = duckdb.connect(config={"allow_unsigned_extensions": "true"})
if source.startswith("s3://"):
    import duckdb_extension_httpfs

    (extension,) = Path(duckdb_extension_httpfs.__file__).parent.rglob("httpfs.duckdb_extension")
    db.execute(f"LOAD '{extension}'")
    db.execute(f"""CREATE SECRET (TYPE s3, KEY_ID '{os.environ["AWS_ACCESS_KEY_ID"]}',
            SECRET '{os.environ["AWS_SECRET_ACCESS_KEY"]}', REGION '{os.environ["AWS_REGION"]}',
            ENDPOINT '{urlsplit(os.environ["AWS_ENDPOINT_URL_S3"]).netloc}', URL_STYLE 'path', USE_SSL false)""")


def files(dataset: str) -> str:
    columns = ", ".join(f"'{name}': '{kind}'" for name, kind in sql.COLUMNS[dataset].items())
    return (
        f"read_csv('{source}/{dataset}/*.csv*', header = true, auto_detect = false, delim = ',', quote = '\"',"
        f" escape = '\"', columns = {{{columns}}})"
    )


orders, items = (
    f"({sql.order_rows(files('orders'), date)})",
    f"({sql.item_rows(files('order_items'), date, 'kept_orders')})",
)
if date != sql.ALL:  # all rows are read twice in the time that it takes to keep them, and in less memory
    db.execute(f"CREATE TEMP TABLE kept_orders AS {orders}")
    db.execute(f"CREATE TEMP TABLE kept_items AS {items}")
    orders, items = "kept_orders", "kept_items"
for query in (sql.categories(items, files("products"), date), sql.days(orders, items)):
    sql.show(db.execute(query).fetchall())
