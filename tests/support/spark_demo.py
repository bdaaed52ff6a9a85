"""The demonstration behind scripts/spark-demo: sample data on S3, computed by Spark, published and shown."""

import contextlib
import json
import sys
from pathlib import Path

from support.cli import CATEGORY_COLUMNS, ORDER_COLUMNS
from support.demo import DATE, SAMPLE, DemoFailed, must, print_table, run_demo
from support.s3_server import S3Server
from support.server import Server
from support.spark_cluster import SparkCluster
from support.spark_s3 import s3a_env
from support.spark_site import SparkSite

RUN_SECONDS = 240


def run_date(server: Server) -> str:
    """One run by HTTP, waited for: its id."""
    document = {"date": DATE, "engine": "spark"}
    print(f"\n$ curl --json '{json.dumps(document)}' 'http://{server.address}/runs'")
    reply = server.post("/runs", document)
    if reply.status not in (200, 202):
        raise DemoFailed(f"the run was not accepted: {reply}")
    run = server.finish(reply.json["id"], RUN_SECONDS)
    if run["state"] != "succeeded" or run["engine"] != "spark":
        raise DemoFailed(f"the run ended {run['state']}: {run['error']}")
    print(f"run {run['id']} succeeded, computed by {run['engine']}")
    return run["id"]


def rows_of(server: Server, run: str, kpi: str) -> list[dict]:
    return server.get(f"/runs/{run}/results?kpi={kpi}&limit=200").json["rows"]


def show(server: Server, run: str) -> None:
    orders, categories = rows_of(server, run, "orders"), rows_of(server, run, "categories")
    if len(orders) != 1 or not categories:
        raise DemoFailed(f"the run has {len(orders)} and {len(categories)} rows")
    print_table("order_kpis", ORDER_COLUMNS[:6], orders, "HTTP")
    print_table("category_kpis", CATEGORY_COLUMNS[:5], categories, "HTTP")


def demonstrate(folder: Path, cleanup: contextlib.ExitStack) -> None:
    s3 = S3Server(folder / "s3")
    cleanup.callback(s3.stop)
    s3.start()
    cluster = SparkCluster(folder / "cluster", s3a_env())
    cleanup.callback(cluster.stop)
    cluster.start()
    print(f"S3 server (versitygw) at {s3.url}, Spark master at {cluster.url}, its REST server at {cluster.rest_url}")
    must("sample", "--out", folder / "data", *SAMPLE)
    site = SparkSite(folder, s3, cluster)
    source = site.source(folder / "data")
    print(f"uploaded {len(site.bucket.keys('data'))} objects to {source}")
    settings = site.settings()
    must("spark", "install", env={**settings, "KPI_SOURCE": source})
    server = Server(folder / "kpid.db", source, **settings)
    cleanup.callback(server.kill)
    print("\n$ kpid serve")
    server.start()
    show(server, run_date(server))
    if (code := server.terminate()) != 0:
        raise DemoFailed(f"the server ended with {code}")


if __name__ == "__main__":
    sys.exit(run_demo("spark-demo", demonstrate))
