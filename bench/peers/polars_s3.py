"""Polars: scan_csv of s3://, lazily, so that only the needed columns are parsed. args: BUCKET DATE"""

import os
import sys

import polars as pl

bucket, date = sys.argv[1:]
OPTIONS = {
    "aws_access_key_id": os.environ["AWS_ACCESS_KEY_ID"],
    "aws_secret_access_key": os.environ["AWS_SECRET_ACCESS_KEY"],
    "aws_region": os.environ["AWS_REGION"],
    "aws_endpoint_url": os.environ["AWS_ENDPOINT_URL_S3"],
    "aws_allow_http": "true",
}


def scan(dataset: str, **types) -> pl.LazyFrame:
    return pl.scan_csv(
        f"s3://{bucket}/Data/{dataset}/*.csv", storage_options=OPTIONS, schema_overrides=types
    )


items = scan("order_items", created_at=pl.String)
orders = scan("orders", created_at=pl.String)
products = scan("products")
returned = (pl.col("status").str.to_lowercase() == "returned").sum().alias("returned")
by_category = (
    items.filter(pl.col("created_at").str.starts_with(date))
    .join(products, left_on="product_id", right_on="id")
    .group_by("category")
    .agg(pl.col("sale_price").sum().alias("revenue"), pl.col("order_id").n_unique().alias("orders"), returned)
    .sort("category")
)
by_day = (
    orders.filter(pl.col("created_at").str.starts_with(date))
    .select("order_id")
    .join(items.select("order_id", "sale_price", "status"), on="order_id", how="left")
    .select(
        pl.lit(date).alias("category"),
        pl.col("sale_price").sum().alias("revenue"),
        pl.col("order_id").n_unique().alias("orders"),
        returned,
    )
)
for frame in pl.collect_all([by_category, by_day]):
    for row in frame.select("category", "revenue", "orders", "returned").iter_rows():
        print(*row, sep="|")
