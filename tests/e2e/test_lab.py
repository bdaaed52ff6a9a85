"""The real data set of the laboratory: totals known from the original job."""

from decimal import Decimal

import pytest

from support.cli import (
    OK,
    backfill,
    dates_of,
    kpid,
    only_date,
    read_tables,
    run_date,
    source_url,
)
from support.paths import LAB

pytestmark = pytest.mark.skipif(
    not LAB.is_dir(), reason="the lab data is not beside the checkout"
)

REVENUE = Decimal("2153497.97")
FILES = ("order_kpis.csv", "category_kpis.csv")


@pytest.fixture(scope="module")
def all_dates(tmp_path_factory):
    out = tmp_path_factory.mktemp("lab")
    result = backfill(LAB, out)
    assert result.code == OK, result
    return out


def test_row_counts_are_those_of_the_original(all_dates):
    tables = read_tables(all_dates)
    assert (len(tables["category_kpis"]), len(tables["order_kpis"])) == (217, 31)


@pytest.mark.parametrize(
    "table, column",
    [("order_kpis", "total_revenue"), ("category_kpis", "daily_revenue")],
)
def test_revenue_is_that_of_the_original(all_dates, table, column):
    assert sum(Decimal(row[column]) for row in read_tables(all_dates)[table]) == REVENUE


def test_counts_add_up_to_the_input(all_dates):
    tables = read_tables(all_dates)
    assert sum(int(row["total_orders"]) for row in tables["order_kpis"]) == 9000
    assert sum(int(row["total_items_sold"]) for row in tables["order_kpis"]) == 27007
    assert sum(int(row["item_count"]) for row in tables["category_kpis"]) == 27007


def test_a_single_date_gives_the_same_bytes_as_the_full_run(all_dates, tmp_path):
    for date in dates_of(read_tables(all_dates)):
        assert run_date(LAB, date, tmp_path / date).code == OK
        for name in FILES:
            header, *lines = (all_dates / name).read_bytes().splitlines(keepends=True)
            mine = [line for line in lines if date.encode() in line]
            assert (tmp_path / date / name).read_bytes() == header + b"".join(mine), (
                date,
                name,
            )


@pytest.mark.parametrize("threads", [1, 2, 3, 8])
def test_thread_count_does_not_change_a_byte(all_dates, threads, tmp_path):
    assert backfill(LAB, tmp_path, "--threads", threads).code == OK
    for name in FILES:
        assert (tmp_path / name).read_bytes() == (all_dates / name).read_bytes()


def test_file_layout_does_not_change_a_byte(all_dates, tmp_path):
    merged = tmp_path / "merged"
    for folder in LAB.iterdir():
        parts = sorted(folder.glob("*.csv"), reverse=True)
        lines = [
            line
            for part in parts
            for line in part.read_bytes().splitlines(keepends=True)[1:]
        ]
        header = parts[0].read_bytes().splitlines(keepends=True)[0]
        (merged / folder.name).mkdir(parents=True)
        (merged / folder.name / "all.csv").write_bytes(
            header
            + b"".join(line if line.endswith(b"\n") else line + b"\n" for line in lines)
        )
    assert backfill(merged, tmp_path / "out").code == OK
    for name in FILES:
        assert (tmp_path / "out" / name).read_bytes() == (all_dates / name).read_bytes()


def test_range_of_dates_is_inclusive(all_dates, tmp_path):
    dates = dates_of(read_tables(all_dates))
    result = kpid(
        "backfill",
        "--from",
        dates[3],
        "--to",
        dates[6],
        "--no-publish",
        "--source",
        source_url(LAB),
        "--out",
        tmp_path,
    )
    assert result.code == OK, result
    wanted = [
        only_date(read_tables(all_dates), date)["order_kpis"][0] for date in dates[3:7]
    ]
    assert read_tables(tmp_path)["order_kpis"] == wanted
