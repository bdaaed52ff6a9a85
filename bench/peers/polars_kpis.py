"""Polars: lazily, so that only the needed columns are parsed. args: FOLDER|s3://BUCKET/PREFIX DATE|all"""

import os
import sys

import polars as pl
import sql

source, date = sys.argv[1:]
TYPES = {"BIGINT": pl.Int64, "VARCHAR": pl.String, "DOUBLE": pl.Float64}
S3 = {
    "aws_access_key_id": "AWS_ACCESS_KEY_ID",
    "aws_secret_access_key": "AWS_SECRET_ACCESS_KEY",
    "aws_region": "AWS_REGION",
    "aws_endpoint_url": "AWS_ENDPOINT_URL_S3",
}
options = {}
if source.startswith("s3://"):
    options = {name: os.environ[variable] for name, variable in S3.items()} | {"aws_allow_http": "true"}


def files(dataset: str) -> pl.LazyFrame:
    types = {name: TYPES[kind] for name, kind in sql.COLUMNS[dataset].items()}
    return pl.scan_csv(f"{source}/{dataset}/*.csv*", storage_options=options, schema=types)


day = pl.col("created_at").str.slice(0, 10)
if date == sql.ALL:
    day = day.str.to_date("%Y-%m-%d")
returned = pl.col("status").str.to_lowercase() == "returned"
items = files("order_items").select(
    "id", "order_id", "product_id", "sale_price", returned.alias("returned"), day.alias("day")
)
orders = files("orders").select("order_id", "user_id", day.alias("day"))
sold = items
if date != sql.ALL:
    orders, sold = orders.filter(pl.col("day") == date), items.filter(pl.col("day") == date)
figures = [
    pl.col("sale_price").sum().alias("revenue"),
    pl.col("order_id").n_unique().alias("orders"),
    pl.col("returned").sum(),
]
by_category = (
    sold.join(files("products").select("id", "category"), left_on="product_id", right_on="id")
    .group_by("day", "category")
    .agg(*figures)
)
by_day = (
    orders.join(items.drop("day", "product_id"), on="order_id", how="left")
    .group_by("day")
    .agg(*figures, pl.col("id").drop_nulls().n_unique().alias("items"), pl.col("user_id").drop_nulls().n_unique())
    .select("day", pl.lit("").alias("category"), pl.exclude("day"))
)
for frame in pl.collect_all([by_category, by_day]):
    sql.show(frame.iter_rows())
