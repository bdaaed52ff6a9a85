"""PySpark as the replaced job had it: inferred schemas, two joins and group-bys. args: FOLDER|s3://BUCKET/PREFIX DATE|all"""

import os
import sys

import sql
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

source, date = sys.argv[1:]
builder = (
    SparkSession.builder.appName("kpis")
    .master("local[*]")
    .config("spark.driver.memory", "8g")
    .config("spark.ui.enabled", "false")
    .config("spark.sql.session.timeZone", "UTC")
)
if source.startswith("s3://"):
    source = source.replace("s3://", "s3a://")
    builder = (
        builder.config("spark.jars", os.environ["SPARK_JARS"])
        .config("spark.hadoop.fs.s3a.endpoint", os.environ["AWS_ENDPOINT_URL_S3"])
        .config("spark.hadoop.fs.s3a.path.style.access", "true")
        .config("spark.hadoop.fs.s3a.connection.ssl.enabled", "false")
    )
spark = builder.getOrCreate()
spark.sparkContext.setLogLevel("ERROR")


def rows(dataset: str):
    return spark.read.csv(f"{source}/{dataset}/*.csv*", header=True, inferSchema=True)


def of_date(frame):
    frame = frame.withColumn("day", F.to_date("created_at"))
    return frame if date == sql.ALL else frame.where(frame.day == date)


items, orders, products = rows("order_items"), rows("orders"), rows("products")
figures = (
    F.sum("sale_price").alias("revenue"),
    F.countDistinct("order_id").alias("orders"),
    F.sum(F.when(F.lower("status") == "returned", 1).otherwise(0)).alias("returned"),
)
by_category = of_date(items).join(products, items.product_id == products.id).groupBy("day", "category").agg(*figures)
by_day = (
    of_date(orders)
    .select("day", "order_id", "user_id")
    .join(items.select("id", "order_id", "sale_price", "status"), "order_id", "left")
    .groupBy("day")
    .agg(*figures, F.countDistinct("id").alias("items"), F.countDistinct("user_id").alias("customers"))
    .select("day", F.lit("").alias("category"), "revenue", "orders", "returned", "items", "customers")
)
for frame in (by_category, by_day):
    sql.show(frame.collect())
spark.stop()
