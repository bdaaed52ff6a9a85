"""ClickHouse in process: its file() and s3() table functions. args: FOLDER|s3://BUCKET/PREFIX DATE|all"""

import os
import sys

import sql
from chdb.session import Session

source, date = sys.argv[1:]
db = Session()


def files(dataset: str) -> str:
    columns = ", ".join(f"{name} Nullable({kind})" for name, kind in sql.COLUMNS[dataset].items())
    if not source.startswith("s3://"):
        return f"file('{source}/{dataset}/*.csv*', 'CSVWithNames', '{columns}')"
    url = f"{os.environ['AWS_ENDPOINT_URL_S3']}/{source.removeprefix('s3://')}/{dataset}/*.csv*"
    key, secret = os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"]
    return f"s3('{url}', '{key}', '{secret}', 'CSVWithNames', '{columns}')"


db.query(f"CREATE TEMPORARY TABLE kept_orders AS {sql.order_rows(files('orders'), date)}")
db.query(f"CREATE TEMPORARY TABLE kept_items AS {sql.item_rows(files('order_items'), date, 'kept_orders')}")
for query in (sql.categories("kept_items", files("products"), date), sql.days("kept_orders", "kept_items")):
    print(db.query(f"{query} SETTINGS join_use_nulls = 1", "TSV").data(), end="")
