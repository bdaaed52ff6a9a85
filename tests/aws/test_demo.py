"""scripts/aws-demo, from what it calls on: S3 in, DynamoDB out, read back by boto3."""

from support.demo import shown_by


def test_demo_shows_both_tables_and_leaves_nothing():
    shown = shown_by("support.aws_demo", 110)
    assert "order_kpis_table: 1 item, read by boto3" in shown
    assert "category_kpis_table: 7 items, read by boto3" in shown
    assert "2025-03-15  645           140416.72      1902" in shown
    assert shown.rstrip().endswith("everything is stopped and removed again")
