"""PySpark as the replaced job had it: s3a://, inferred schemas, two joins and group-bys. args: BUCKET DATE"""

import os
import sys

from pyspark.sql import SparkSession
from pyspark.sql import functions as F

bucket, date = sys.argv[1:]
spark = (
    SparkSession.builder.appName("kpis")
    .master("local[*]")
    .config("spark.driver.memory", "4g")
    .config("spark.jars", os.environ["SPARK_JARS"])
    .config("spark.ui.enabled", "false")
    .config("spark.sql.session.timeZone", "UTC")
    .config("spark.hadoop.fs.s3a.endpoint", os.environ["AWS_ENDPOINT_URL_S3"])
    .config("spark.hadoop.fs.s3a.path.style.access", "true")
    .config("spark.hadoop.fs.s3a.connection.ssl.enabled", "false")
    .getOrCreate()
)
spark.sparkContext.setLogLevel("ERROR")


def read(dataset: str):
    return spark.read.csv(f"s3a://{bucket}/Data/{dataset}/*.csv", header=True, inferSchema=True)


items, orders, products = read("order_items"), read("orders"), read("products")
returned = F.sum(F.when(F.lower("status") == "returned", 1).otherwise(0)).alias("returned")
by_category = (
    items.where(F.to_date("created_at") == date)
    .join(products, items.product_id == products.id)
    .groupBy("category")
    .agg(F.sum("sale_price").alias("revenue"), F.countDistinct("order_id").alias("orders"), returned)
    .orderBy("category")
)
by_day = (
    orders.where(F.to_date("created_at") == date)
    .select("order_id")
    .join(items.select("order_id", "sale_price", "status"), "order_id", "left")
    .agg(F.sum("sale_price").alias("revenue"), F.countDistinct("order_id").alias("orders"), returned)
    .select(F.lit(date).alias("category"), "revenue", "orders", "returned")
)
for frame in (by_category, by_day):
    for row in frame.collect():
        print(*row, sep="|")
spark.stop()
