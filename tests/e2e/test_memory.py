"""Memory does not grow with the input: one date of a large input, as a server.

KPID_MEMORY_ORDERS says how many orders (300,000; deep: 9,000,000, which is more than 2 GB).
"""

import os
from pathlib import Path

import pytest

from support.cli import OK, kpid

ORDERS = int(os.environ.get("KPID_MEMORY_ORDERS", "300000"))
DAY = "2025-03-15"
LIMIT_BYTES = 200 * 1024 * 1024


def peak_of(pid: int) -> int:
    """The largest resident set the process has had, in bytes."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("no VmHWM")


@pytest.mark.timeout(120 + ORDERS // 5000)
def test_peak_is_bounded_but_for_the_distinct_ids(start_server, tmp_path, capsys):
    made = kpid(
        "sample", "--out", tmp_path / "in", "--orders", ORDERS, "--days", 31, timeout=600
    )
    assert made.code == OK, made
    size = sum(path.stat().st_size for path in (tmp_path / "in").rglob("*.csv"))
    server = start_server(tmp_path / "in")
    assert server.finish(server.start_run(DAY)["id"], 600)["state"] == "succeeded"
    finished = [log for log in server.logs if log.get("event") == "run.finished"]
    accounted, peak = finished[0]["memory_peak_bytes"], peak_of(server.process.pid)
    with capsys.disabled():
        print(
            f"\nmemory: input {size / 1e6:.0f} MB, peak {peak / 1e6:.1f} MB,"
            f" of this distinct ids and join maps {accounted / 1e6:.1f} MB"
        )
    assert peak < LIMIT_BYTES + accounted
