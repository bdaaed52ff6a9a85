"""scripts/spark-demo, from what it calls on: the tables that a Spark cluster computed."""

import pytest

from support.demo import shown_by


@pytest.mark.timeout(330)
def test_demo_shows_both_tables_and_leaves_nothing():
    shown = shown_by("support.spark_demo", 300)
    assert "sha256" in shown
    assert "category_kpis: 7 items" in shown
    assert "2025-03-15  645           140416.72      1902" in shown
    assert shown.rstrip().endswith("everything is stopped and removed again")
