"""The demonstration behind scripts/aws-demo: sample data from S3 to DynamoDB and back to the screen."""

import contextlib
import sys
from pathlib import Path

from support.aws_site import no_credentials, static_credentials
from support.cli import CATEGORY_COLUMNS, ORDER_COLUMNS
from support.demo import DATE, SAMPLE, DemoFailed, must, print_table, run_demo
from support.dynamodb_server import DynamoDbServer, KpiTables
from support.s3_server import REGION, S3Server
from support.server import Server

BUCKET = "kpid-demo"


def run_date(server: Server) -> None:
    """One run by HTTP, waited for."""
    print(f"\n$ curl -d date={DATE} 'http://{server.address}/runs?wait=50'")
    reply = server.request(
        "POST",
        "/runs?wait=50",
        f"date={DATE}",
        {"Content-Type": "application/x-www-form-urlencoded"},
    )
    run = reply.json
    if run.get("state") != "succeeded":
        raise DemoFailed(f"the run did not succeed: {reply}")
    print(f"run {run['id']} succeeded, {run['input']['bytes']} bytes read from S3")


def show(tables: KpiTables) -> None:
    orders, categories = tables.day("order", DATE), tables.day("category", DATE)
    if len(orders) != 1 or not categories:
        raise DemoFailed(f"the tables hold {len(orders)} and {len(categories)} items")
    print_table(tables.order, ORDER_COLUMNS[:6], orders)
    print_table(tables.category, CATEGORY_COLUMNS[:5], categories)


def demonstrate(folder: Path, cleanup: contextlib.ExitStack) -> None:
    s3 = S3Server(folder / "s3")
    cleanup.callback(s3.stop)
    dynamodb = DynamoDbServer(folder / "dynamodb")
    cleanup.callback(dynamodb.stop)
    s3.start()
    dynamodb.start()
    print(f"S3 server (versitygw) at {s3.url}, DynamoDB Local at {dynamodb.url}")
    must("sample", "--out", folder / "data", *SAMPLE)
    bucket = s3.bucket(BUCKET).upload(folder / "data")
    print(f"uploaded {len(bucket.keys())} objects to {bucket.url()}")
    tables = KpiTables(
        dynamodb.client, "category_kpis_table", "order_kpis_table", "kpi_control"
    )
    env = {
        "KPI_PUBLISH": "dynamodb",
        "AWS_REGION": REGION,
        "AWS_ENDPOINT_URL_S3": s3.url,
        "AWS_ENDPOINT_URL_DYNAMODB": dynamodb.url,
        **no_credentials(folder),
        **static_credentials(),
    }
    must("tables", "create", env={**env, "KPI_SOURCE": bucket.url()})
    server = Server(folder / "kpid.db", bucket.url(), **env)
    cleanup.callback(server.kill)
    print("\n$ kpid serve")
    server.start()
    run_date(server)
    show(tables)
    if (code := server.terminate()) != 0:
        raise DemoFailed(f"the server ended with {code}")


if __name__ == "__main__":
    sys.exit(run_demo("aws-demo", demonstrate))
