"""DuckDB with its httpfs extension, from a package. args: BUCKET DATE"""

import os
import sys
from pathlib import Path
from urllib.parse import urlsplit

import duckdb
import duckdb_extension_httpfs
import sql

bucket, date = sys.argv[1:]
(extension,) = Path(duckdb_extension_httpfs.__file__).parent.rglob("httpfs.duckdb_extension")
db = duckdb.connect(config={"allow_unsigned_extensions": "true"})
db.execute(f"LOAD '{extension}'")
db.execute(
    f"""CREATE SECRET (TYPE s3, KEY_ID '{os.environ["AWS_ACCESS_KEY_ID"]}',
        SECRET '{os.environ["AWS_SECRET_ACCESS_KEY"]}', REGION '{os.environ["AWS_REGION"]}',
        ENDPOINT '{urlsplit(os.environ["AWS_ENDPOINT_URL_S3"]).netloc}', URL_STYLE 'path', USE_SSL false)"""
)


def relation(dataset: str, types: str = "") -> str:
    return f"read_csv('s3://{bucket}/Data/{dataset}/*.csv'{types})"


TEXT_DATES = ", types={'created_at': 'VARCHAR'}"
items, orders = relation("order_items", TEXT_DATES), relation("orders", TEXT_DATES)
for query in (sql.categories(items, relation("products"), date), sql.day(orders, items, date)):
    for row in db.execute(query).fetchall():
        print(*row, sep="|")
