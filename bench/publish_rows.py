"""Publishing category rows to DynamoDB Local in plain mode: kpid against boto3's batch_writer with the same items.

3,650 dates of 28 categories are about 100,000 items, and 3,650 more of the order table. Both write to tables of their
own on one server, in turns; the items are compared before a time counts. The server is on this machine and its CPU is
the limit, so its share is printed; with --latency-ms every answer comes so much later (by toxiproxy), as one from
DynamoDB itself does. Prints medians, ratio and memory. Run it by scripts/bench.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from datetime import date, timedelta
from pathlib import Path

from contender import cpu_seconds
from support.aws_site import no_credentials, static_credentials
from support.cli import kpid, read_tables, source_url
from support.dynamodb_server import DynamoDbServer, KpiTables
from support.paths import clean_env, kpid_binary
from support.published import as_items, original
from support.s3_server import REGION
from toxiproxy import Toxiproxy

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


class MemoryWatch(threading.Thread):
    """Resident MB of a process: when it begins to publish, and the most from then on."""

    def __init__(self, pid: int, has_begun):
        super().__init__(daemon=True)
        self.pid, self.has_begun = pid, has_begun
        self.at_begin = self.most = 0.0

    def run(self) -> None:
        while (now := resident_mb(self.pid)) is not None:
            if self.at_begin or self.has_begun():
                self.at_begin = self.at_begin or now
                self.most = max(self.most, now)
            time.sleep(0.02)


def resident_mb(pid: int) -> float | None:
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
    except (FileNotFoundError, ProcessLookupError):
        return None
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6 if pages else None


def publish_with_kpid(url: str, tables: KpiTables, data: Path, folder: Path) -> tuple[float, MemoryWatch]:
    """Seconds and memory of a whole backfill: reading, computing, publishing, keeping."""
    env = clean_env(
        **tables.settings,
        **static_credentials(),
        **no_credentials(folder),
        AWS_REGION=REGION,
        AWS_ENDPOINT_URL_DYNAMODB=url,
        KPI_PUBLISH="dynamodb",
        KPI_PUBLISH_MODE="plain",
        KPI_DB=str(folder / f"{tables.order}.db"),
    )
    command = [str(kpid_binary()), "backfill", "--all", "--format", "csv", "--source", source_url(data)]
    first = tables.client.get_paginator("scan").paginate(TableName=tables.category, PaginationConfig={"MaxItems": 1})
    started = time.perf_counter()
    with (folder / "out.csv").open("wb") as out:
        process = subprocess.Popen(command, env=env, stdout=out, stderr=subprocess.PIPE, text=True)
        watch = MemoryWatch(process.pid, lambda: any(page["Items"] for page in first))
        watch.start()
        _, errors = process.communicate()
    elapsed = time.perf_counter() - started
    if process.returncode:
        sys.exit(f"kpid failed: {errors[-2000:]}")
    watch.join()
    return elapsed, watch


def publish_with_boto3(url: str, tables: KpiTables, items: dict[str, list]) -> float:
    """Seconds of batch_writer over items that are ready in memory."""
    import boto3  # noqa: PLC0415

    resource = boto3.resource(
        "dynamodb",
        endpoint_url=url,
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
    parser.add_argument("--latency-ms", type=int, default=0)
    parser.add_argument("--toxiproxy", default="toxiproxy-server", help="program that delays answers")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="kpid-bench-") as name:
        folder = Path(name)
        write_data(folder / "data", args.days)
        kpid("backfill", "--all", "--no-publish", "--source", source_url(folder / "data"), "--out", folder / "out")
        items = {kind: as_items(read_tables(folder / "out"), kind) for kind in ("category", "order")}
        server = DynamoDbServer(folder / "dynamodb").start()
        proxy = Toxiproxy(folder / "toxiproxy", args.toxiproxy)
        try:
            url = server.url
            if args.latency_ms:
                url = proxy.start().before(server.port, "latency", latency=args.latency_ms)
            sys.exit(0 if race(args, server, url, items, folder) >= 5 else 1)
        finally:
            proxy.stop()
            server.stop()


def race(args: argparse.Namespace, server: DynamoDbServer, url: str, items: dict[str, list], folder: Path) -> float:
    """Both in turns; the first round warms the server up and is not counted. Prints, and returns the ratio."""
    ours, theirs, served, watches = [], [], [], []
    for number in range(args.rounds + 1):
        mine, other = server.tables().create("category", "order"), server.tables().create("category", "order")
        before = cpu_seconds(server.process.pid)
        seconds, watch = publish_with_kpid(url, mine, folder / "data", folder)
        cpu = cpu_seconds(server.process.pid) - before
        reference = publish_with_boto3(url, other, items)
        for kind in ("category", "order"):
            if not original(mine.items(kind), kind) == original(other.items(kind), kind) == items[kind]:
                sys.exit(f"the {kind} tables differ")
        print(f"  round {number}: kpid {seconds:.2f} s, batch_writer {reference:.2f} s", flush=True)
        mine.drop("category", "order")
        other.drop("category", "order")
        if number:
            ours.append(seconds)
            theirs.append(reference)
            served.append(cpu)
            watches.append(watch)
    ratio = statistics.median(theirs) / statistics.median(ours)
    print(
        f"\n{sum(map(len, items.values()))} items, {args.latency_ms} ms latency, medians: kpid "
        f"{statistics.median(ours):.2f} s with reading, computing and keeping (the server used "
        f"{statistics.median(served):.2f} CPU s of it), batch_writer {statistics.median(theirs):.2f} s: {ratio:.1f} x"
    )
    print(
        f"  memory: {watches[-1].at_begin:.0f} MB when publishing began, at most {watches[-1].most:.0f} MB until its end"
    )
    return ratio


if __name__ == "__main__":
    main()
