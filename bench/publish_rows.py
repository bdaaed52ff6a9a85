"""Publishing category rows to DynamoDB Local in plain mode: kpid against boto3's batch_writer with the same items.

3,650 dates of 28 categories are about 100,000 items, and 3,650 more of the order table. Both write to tables of their
own on one server, in turns; the items are compared before a time counts. Prints medians, ratio and memory. Run it by
scripts/bench.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import date, timedelta
from pathlib import Path

from support.aws_site import no_credentials, static_credentials
from support.cli import kpid, read_tables, source_url
from support.dynamodb_server import DynamoDbServer, KpiTables
from support.paths import clean_env, kpid_binary
from support.published import as_items, original
from support.s3_server import REGION

CATEGORIES = 28


def write_data(folder: Path, days: int) -> None:
    """One order and one item of each category for every day."""
    first = date(2014, 1, 1)
    dates = [first + timedelta(days=n) for n in range(days)]
    lines = {
        "orders": ["order_id,user_id,created_at", *(f"{n},{n % 97},{d}" for n, d in enumerate(dates))],
        "order_items": [
            "id,order_id,product_id,status,created_at,sale_price",
            *(
                f"{n * CATEGORIES + c},{n},{c},complete,{d},{(n * 31 + c * 7) % 9999 / 100:.2f}"
                for n, d in enumerate(dates)
                for c in range(CATEGORIES)
            ),
        ],
        "products": ["id,category", *(f"{c},Category {c:02}" for c in range(CATEGORIES))],
    }
    for dataset, rows in lines.items():
        (folder / dataset).mkdir(parents=True)
        (folder / dataset / "a.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")


def publish_with_kpid(server: DynamoDbServer, tables: KpiTables, data: Path, folder: Path) -> tuple[float, float]:
    """Seconds and peak MB of a whole backfill: reading, computing, publishing, keeping."""
    env = clean_env(
        **tables.settings,
        **static_credentials(),
        **no_credentials(folder),
        AWS_REGION=REGION,
        AWS_ENDPOINT_URL_DYNAMODB=server.url,
        KPI_PUBLISH="dynamodb",
        KPI_PUBLISH_MODE="plain",
        KPI_DB=str(folder / f"{tables.order}.db"),
    )
    command = ["/usr/bin/env", "time", "-f", "%M", str(kpid_binary()), "backfill", "--all", "--format", "csv"]
    started = time.perf_counter()
    done = subprocess.run(
        [*command, "--source", source_url(data)], env=env, capture_output=True, text=True, check=False
    )
    elapsed = time.perf_counter() - started
    if done.returncode:
        sys.exit(f"kpid failed: {done.stderr[-2000:]}")
    return elapsed, int(done.stderr.split()[-1]) / 1024


def publish_with_boto3(tables: KpiTables, items: dict[str, list]) -> float:
    """Seconds of batch_writer over items that are ready in memory."""
    import boto3  # noqa: PLC0415

    resource = boto3.resource(
        "dynamodb",
        endpoint_url=tables.client.meta.endpoint_url,
        region_name=REGION,
        aws_access_key_id=static_credentials()["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=static_credentials()["AWS_SECRET_ACCESS_KEY"],
    )
    started = time.perf_counter()
    for kind, rows in items.items():
        with resource.Table(tables.name(kind)).batch_writer() as batch:
            for item in rows:
                batch.put_item(Item=item)
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--days", type=int, default=3650)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="kpid-bench-") as name:
        folder = Path(name)
        write_data(folder / "data", args.days)
        write_data(folder / "tenth", args.days // 10)
        kpid("backfill", "--all", "--no-publish", "--source", source_url(folder / "data"), "--out", folder / "out")
        items = {kind: as_items(read_tables(folder / "out"), kind) for kind in ("category", "order")}
        rows = sum(len(found) for found in items.values())
        server = DynamoDbServer(folder / "dynamodb").start()
        ours, theirs, peaks = [], [], []
        try:
            for number in range(args.rounds + 1):
                mine, other = server.tables().create("category", "order"), server.tables().create("category", "order")
                seconds, peak = publish_with_kpid(server, mine, folder / "data", folder)
                _, small = publish_with_kpid(server, server.tables().create("category", "order"), folder / "tenth", folder)
                reference = publish_with_boto3(other, items)
                for kind in ("category", "order"):
                    if not original(mine.items(kind), kind) == original(other.items(kind), kind) == items[kind]:
                        sys.exit(f"the {kind} tables differ")
                print(f"  round {number}: kpid {seconds:.2f} s, batch_writer {reference:.2f} s", flush=True)
                mine.drop("category", "order")
                other.drop("category", "order")
                if number:  # the first round warms the server up
                    ours.append(seconds)
                    theirs.append(reference)
                    peaks.append((peak, small))
        finally:
            server.stop()
        ratio = statistics.median(theirs) / statistics.median(ours)
        print(
            f"\n{rows} items, medians: kpid {statistics.median(ours):.2f} s (reading and computing too), "
            f"batch_writer {statistics.median(theirs):.2f} s: {ratio:.1f} x"
        )
        print(f"  peak memory: {peaks[-1][0]:.0f} MB; for a tenth of the rows {peaks[-1][1]:.0f} MB")
        sys.exit(0 if ratio >= 5 else 1)


if __name__ == "__main__":
    main()
