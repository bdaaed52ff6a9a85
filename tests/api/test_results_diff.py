"""GET /runs/{id}/results?diff=previous: which rows have changed, by how much, exactly."""

import csv
import io
from decimal import Decimal

import pytest

from support.datasets import BASE_DATES, write_lines, write_source
from support.openapi import Description
from support.problems import assert_problem
from support.server import Server
from support.walk import exact, in_order, value_of, walk

DAY = BASE_DATES[0]
BIG, BIGGER = "98765432109876543.21", "98765432109876543.215"
BEFORE = {"Gone": "1", "Same": "2.5", "Up": "0.1", "Down": "10", "Big": BIG}
AFTER = {"Same": "2.5", "Up": "0.3", "Down": "9.75", "Big": BIGGER, "New": "7"}


def write_day(folder, prices):
    items = [f"{n},{n},{n},{price},c,{DAY}" for n, price in enumerate(prices.values())]
    write_lines(folder, "order_items", items)
    write_lines(folder, "products", [f"{n},{name},x" for n, name in enumerate(prices)])


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Two publications of one date, a preview of other data after them, and the server."""
    folder = tmp_path_factory.mktemp("diff")
    write_source(folder / "in", [f"{n},{n},c,{DAY}" for n in range(5)], [], [])
    write_day(folder / "in", BEFORE)
    server = Server(folder / "k.db", folder / "in").start()
    first = server.run(DAY)["id"]
    write_day(folder / "in", AFTER)
    second = server.run(DAY)["id"]
    write_day(folder / "in", {"Same": "2.5", "Preview": "1"})
    preview = server.run(DAY, publish=False)["id"]
    yield server, first, second, preview
    server.kill()


def diff_path(run, kpi="categories", **query):
    words = "".join(f"&{k}={v}" for k, v in query.items())
    return f"/runs/{run}/results?kpi={kpi}&diff=previous{words}"


def changes(server, run):
    return {row["category"]: row["change"] for row in walk(server, diff_path(run))}


def test_rows_are_added_removed_changed_or_unchanged(runs):
    server, first, second, _ = runs
    assert changes(server, second) == {
        "Big": "changed",
        "Down": "changed",
        "Gone": "removed",
        "New": "added",
        "Same": "unchanged",
        "Up": "changed",
    }
    assert server.get(diff_path(second)).json["previous_run_id"] == first


def test_differences_are_exact(runs):
    server, _, second, _ = runs
    rows = {row["category"]: row for row in walk(server, diff_path(second))}
    for name in BEFORE.keys() & AFTER.keys():
        before, after = Decimal(BEFORE[name]), Decimal(AFTER[name])
        assert value_of(rows[name], "daily_revenue") == after
        assert value_of(rows[name], "daily_revenue_previous") == before
        assert value_of(rows[name], "daily_revenue_difference") == after - before
        assert rows[name]["item_count_difference"] == 0
    assert rows["Up"]["avg_order_value_difference"] == Decimal("0.2")


def test_a_row_on_one_side_only_has_nulls_on_the_other(runs):
    server, _, second, _ = runs
    rows = {row["category"]: row for row in walk(server, diff_path(second))}
    for name, absent in (("New", "daily_revenue_previous"), ("Gone", "daily_revenue")):
        assert rows[name][absent] is None
        assert rows[name]["daily_revenue_difference"] is None
        assert rows[name]["order_date"] == DAY
    assert rows["Gone"]["daily_revenue_previous"] == 1


def test_the_first_publication_has_added_all(runs):
    server, first, _, _ = runs
    assert set(changes(server, first).values()) == {"added"}
    assert server.get(diff_path(first)).json["previous_run_id"] is None


def test_a_preview_is_compared_with_what_is_published(runs):
    server, _, second, preview = runs
    assert server.get(diff_path(preview)).json["previous_run_id"] == second
    assert changes(server, preview)["Same"] == "unchanged"
    assert changes(server, preview)["Preview"] == "added"
    assert changes(server, preview)["Big"] == "removed"


def test_order_kpis_are_compared_too(runs):
    server, _, second, _ = runs
    (row,) = walk(server, diff_path(second, kpi="orders"))
    gone = sum(map(Decimal, BEFORE.values()))
    now = sum(map(Decimal, AFTER.values()))
    assert (row["change"], value_of(row, "total_revenue_difference")) == ("changed", now - gone)


def test_csv_holds_the_same_cells(runs):
    server, _, second, _ = runs
    document = exact(server.get(diff_path(second)).text)
    reply = server.get(diff_path(second, format="csv"))
    lines = list(csv.DictReader(io.StringIO(reply.text)))
    assert list(lines[0]) == [column["name"] for column in document["columns"]]
    for line, row in zip(lines, document["rows"], strict=True):
        for column in document["columns"]:
            value = value_of(row, column["name"])
            if isinstance(value, Decimal):
                assert Decimal(line[column["name"]]) == value
            else:
                assert line[column["name"]] == (value or "")


def test_html_names_the_run_it_is_compared_with(runs):
    server, first, second, _ = runs
    page = server.get(diff_path(second, format="html"))
    assert f"Compared with run {first}" in page.text
    assert "<td>removed</td>" in page.text and "<script" not in page.text
    assert "no earlier run" in server.get(diff_path(first, format="html")).text


@pytest.mark.parametrize("sign", ["", "-"])
def test_every_column_can_be_sorted_by_and_paged(runs, sign):
    server, _, second, _ = runs
    document = exact(server.get(diff_path(second)).text)
    assert len(document["columns"]) == 27
    for column in (column["name"] for column in document["columns"]):
        expected = in_order(document["rows"], sign + column)
        assert walk(server, diff_path(second, sort=sign + column, limit=2)) == expected, column


def test_tag_follows_what_it_is_compared_with(tmp_path, start_server):
    write_source(tmp_path / "in", [f"0,0,c,{DAY}"], [], [])
    write_day(tmp_path / "in", {"A": "1"})
    server = start_server(tmp_path / "in")
    preview = server.run(DAY, publish=False)["id"]
    before = server.get(diff_path(preview)).headers["etag"]
    assert server.get(diff_path(preview), If_None_Match=before).status == 304
    server.run(DAY)
    assert server.get(diff_path(preview), If_None_Match=before).status == 200


def test_unknown_comparison_is_refused(runs):
    server, first, _, _ = runs
    assert_problem(server.get(f"/runs/{first}/results?diff=next"), 400, "malformed-query")


@pytest.mark.parametrize("kpi", ["orders", "categories"])
def test_answers_are_as_described(runs, kpi):
    server, *ids = runs
    description = Description(server)
    for run in ids:
        for path in (diff_path(run, kpi), f"/runs/{run}/results?kpi={kpi}&sort=-order_date"):
            description.check("GET", "/runs/{id}/results", server.get(path))
