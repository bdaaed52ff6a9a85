"""scripts/spark-demo, from what it calls on: the tables that a Spark cluster computed."""

import os
import subprocess
import sys

import pytest

from support.paths import TESTS, kpid_binary


@pytest.mark.timeout(330)
def test_demo_shows_both_tables_and_leaves_nothing():
    environment = {**os.environ, "PYTHONPATH": str(TESTS), "KPID_BIN": str(kpid_binary())}
    done = subprocess.run(
        [sys.executable, "-m", "support.spark_demo"], env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "sha256" in done.stdout
    assert "category_kpis: 7 items" in done.stdout
    assert "2025-03-15  645           140416.72      1902" in done.stdout
    assert done.stdout.rstrip().endswith("everything is stopped and removed again")
