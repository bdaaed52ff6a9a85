"""scripts/aws-demo, from what it calls on: S3 in, DynamoDB out, read back by boto3."""

import os
import subprocess
import sys

from support.paths import TESTS, kpid_binary


def test_demo_shows_both_tables_and_leaves_nothing():
    environment = {**os.environ, "PYTHONPATH": str(TESTS), "KPID_BIN": str(kpid_binary())}
    done = subprocess.run(
        [sys.executable, "-m", "support.aws_demo"], env=environment, capture_output=True, text=True, timeout=110
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "order_kpis_table: 1 item, read by boto3" in done.stdout
    assert "category_kpis_table: 7 items, read by boto3" in done.stdout
    assert "2025-03-15  645           140416.72      1902" in done.stdout
    assert done.stdout.rstrip().endswith("everything is stopped and removed again")
