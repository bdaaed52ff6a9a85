"""Memory does not grow with the input: one date of a large input, as a server, from files and from S3.

KPID_MEMORY_ORDERS says how many orders (300,000; deep: 9,000,000, which is more than 2 GB).
"""

import os
import time
from pathlib import Path

import pytest

from support.cli import OK, backfill, kpid, read_tables, run_date
from support.datasets import write_source

ORDERS = int(os.environ.get("KPID_MEMORY_ORDERS", "300000"))
S3_ORDERS = 1_200_000
DAY = "2025-03-15"
LIMIT_BYTES = 200 * 1024 * 1024
S3_LIMIT_BYTES = 80 * 1024 * 1024
S3_PART_SIZES = (300_000, 1_500_000, 4_000_000, 4_300_000, 9_000_000)
S3_PARTS_LIMIT_BYTES = (10 * 8 + 48) * 1024 * 1024  # what downloads may hold, and the program
SPARSE_LIMIT_BYTES = 64 * 1024 * 1024


def peak_of(pid: int) -> int:
    """The largest resident set the process has had, in bytes."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("no VmHWM")


def accounted_peak(server) -> int:
    """What the only run says of its distinct ids and join maps; it is logged after the end is stored."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        for log in list(server.logs):
            if log.get("event") == "run.finished":
                return log["memory_peak_bytes"]
        time.sleep(0.01)
    raise AssertionError("no run.finished in the log")


@pytest.mark.timeout(120 + ORDERS // 5000)
def test_peak_is_bounded_but_for_the_distinct_ids(start_server, tmp_path, tell):
    made = kpid("sample", "--out", tmp_path / "in", "--orders", ORDERS, "--days", 31, timeout=600)
    assert made.code == OK, made
    size = sum(path.stat().st_size for path in (tmp_path / "in").rglob("*.csv"))
    server = start_server(tmp_path / "in")
    assert server.finish(server.start_run(DAY)["id"], 600)["state"] == "succeeded"
    accounted, peak = accounted_peak(server), peak_of(server.process.pid)
    tell(
        f"memory: input {size / 1e6:.0f} MB, peak {peak / 1e6:.1f} MB,"
        f" of this distinct ids and join maps {accounted / 1e6:.1f} MB"
    )
    assert peak < LIMIT_BYTES + accounted


def joined(folder: Path) -> dict[str, bytes]:
    """The files of each data set as one. A repeated header is no row."""
    datasets = ("orders", "order_items", "products")
    return {name: b"".join(path.read_bytes() for path in (folder / name).glob("*.csv")) for name in datasets}


def upload_joined(bucket, folder: Path) -> int:
    """One object for each data set; the size of the largest."""
    datasets = joined(folder)
    for name, data in datasets.items():
        bucket.put(f"Data/{name}/all.csv", data)
    return max(len(data) for data in datasets.values())


@pytest.mark.timeout(240)
def test_object_of_s3_is_never_held_whole(site, s3_server, tmp_path, tell):
    made = kpid("sample", "--out", tmp_path / "in", "--orders", S3_ORDERS, "--days", 31)
    assert made.code == OK, made
    largest = upload_joined(site.bucket, tmp_path / "in")
    server = site.server(AWS_ENDPOINT_URL_S3=s3_server.url, KPI_S3_CONCURRENCY=2)
    run = server.run(DAY)
    assert run["state"] == "succeeded", run["error"]
    accounted, peak = accounted_peak(server), peak_of(server.process.pid)
    tell(
        f"S3 memory: input {run['input']['bytes'] / 1e6:.0f} MB, largest object {largest / 1e6:.0f} MB,"
        f" peak {peak / 1e6:.1f} MB, of this distinct ids and join maps {accounted / 1e6:.1f} MB"
    )
    assert peak < S3_LIMIT_BYTES + accounted < largest


def upload_in_parts(bucket, dataset: str, data: bytes) -> int:
    """Objects of about the sizes in turn, each with the header. How many."""
    header, rows = data.split(b"\n", 1)
    count = at = 0
    while at < len(rows):
        end = rows.find(b"\n", at + S3_PART_SIZES[count % len(S3_PART_SIZES)]) + 1 or len(rows)
        bucket.put(f"Data/{dataset}/{count:04}.csv", header + b"\n" + rows[at:end])
        count, at = count + 1, end
    return count


@pytest.mark.timeout(240)
def test_memory_of_downloads_is_used_again(site, s3_server, tmp_path, tell):
    """Ranges of all sizes, by the fetchers and workers of several runs at a time."""
    made = kpid("sample", "--out", tmp_path / "in", "--orders", ORDERS, "--days", 31)
    assert made.code == OK, made
    parts = {name: upload_in_parts(site.bucket, name, data) for name, data in joined(tmp_path / "in").items()}
    server = site.server(AWS_ENDPOINT_URL_S3=s3_server.url, KPI_MAX_ACTIVE_RUNS=2, KPI_THREADS=4)
    days = [f"2025-03-{day:02}" for day in range(1, 17)]
    started = [server.start_run(day, max_bad_rows=n) for n, day in enumerate(days)]  # so that none shares a scan
    for run in started:
        end = server.finish(run["id"])
        assert end["state"] == "succeeded", end["error"]
    peak = peak_of(server.process.pid)
    tell(f"S3 memory: {sum(parts.values())} objects, {len(days)} runs, peak {peak / 1e6:.1f} MB")
    assert peak < S3_PARTS_LIMIT_BYTES


def sparse_source(folder: Path, count: int, day_count: int = 28) -> Path:
    """As many orders, of some days in turn, with one item each; their ids lie all over 32 bits."""
    ids = [n * 2654435761 % 2**32 for n in range(1, count + 1)]
    days = [f"2025-03-{n % day_count + 1:02}" for n in range(count)]
    orders = [f"{id},{n % 97},c,{day}" for n, (id, day) in enumerate(zip(ids, days))]
    items = [f"{id},{id},{n % 9},1.5,c,{day}" for n, (id, day) in enumerate(zip(ids, days))]
    return write_source(folder, orders, items, [f"{n},Cat {n}" for n in range(9)])


@pytest.mark.parametrize("limit", ["3MiB", "8MiB", "40MiB"])
def test_ids_far_apart_take_no_more_memory_than_others(tmp_path, limit):
    source, env = sparse_source(tmp_path / "in", 5600), {"KPI_MEMORY_LIMIT": limit}
    one = run_date(source, DAY, tmp_path / "one", env=env)
    assert one.code == OK, one
    every = backfill(source, tmp_path / "all", env=env)
    assert every.code == OK, every
    order_days = read_tables(tmp_path / "all")["order_kpis"]
    assert [row["total_orders"] for row in order_days] == ["200"] * 28
    assert read_tables(tmp_path / "one")["order_kpis"][0] in order_days


def test_marks_of_ids_far_apart_are_there_when_they_are_used(start_server, tmp_path):
    """With a cache also one date takes ids for unique, and marks them; each is far from all others."""
    source = sparse_source(tmp_path / "in", 5600, day_count=1)
    server = start_server(source, KPI_CACHE_DIR=str(tmp_path / "cache"))
    assert server.run("2025-03-01")["state"] == "succeeded"
    assert peak_of(server.process.pid) < SPARSE_LIMIT_BYTES
