"""ClickHouse in process: its s3() table function. args: BUCKET DATE"""

import os
import sys

import chdb
import sql

bucket, date = sys.argv[1:]


def relation(dataset: str) -> str:
    url = f"{os.environ['AWS_ENDPOINT_URL_S3']}/{bucket}/Data/{dataset}/*.csv"
    key, secret = os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"]
    return f"s3('{url}', '{key}', '{secret}', 'CSVWithNames')"


items, orders = relation("order_items"), relation("orders")
for query in (sql.categories(items, relation("products"), date), sql.day(orders, items, date)):
    text = chdb.query(f"{query} SETTINGS join_use_nulls = 1", "TSV").data()
    print(text.replace("\t", "|"), end="")
