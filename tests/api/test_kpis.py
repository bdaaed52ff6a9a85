"""GET /kpis/orders and /kpis/categories: series of what is published."""

import contextlib
import csv
import io
import sqlite3
from urllib.parse import quote

import pytest

from support.cli import CATEGORY_COLUMNS, ORDER_COLUMNS
from support.datasets import write_lines
from support.openapi import Description
from support.problems import assert_problem
from support.series import CATEGORIES, day, publish_days, published_server, write_shop
from support.server import Server
from support.walk import pages_of, walk

DAYS = 40
RANGE = f"from={day(-3)}&to={day(DAYS + 3)}"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    running = published_server(tmp_path_factory.mktemp("kpis"), DAYS)
    yield running
    running.kill()


@pytest.mark.parametrize("limit", [1, 7, 40, 41, 160, 200])
@pytest.mark.parametrize("kpi", ["orders", "categories"])
def test_pages_give_each_row_once_in_order(server, kpi, limit):
    rows = walk(server, f"/kpis/{kpi}?{RANGE}&limit={limit}")
    names = sorted(CATEGORIES, key=str.encode) if kpi == "categories" else [None]
    expected = [(day(n), name) for n in range(DAYS) for name in names]
    assert [(row["order_date"], row.get("category")) for row in rows] == expected


@pytest.mark.parametrize("kpi", ["orders", "categories"])
def test_rows_are_those_of_the_published_runs(server, kpi):
    for n in (0, 17, DAYS - 1):
        (day_row,) = server.get(f"/days?from={day(n)}&to={day(n)}").json["days"]
        run = server.get(f"/runs/{day_row['published_run_id']}/results?kpi={kpi}").json
        series = server.get(f"/kpis/{kpi}?from={day(n)}&to={day(n)}").json
        assert (series["columns"], series["rows"]) == (run["columns"], run["rows"])


@pytest.mark.parametrize("kpi, columns", [("orders", ORDER_COLUMNS), ("categories", CATEGORY_COLUMNS)])
def test_csv_is_the_whole_range(server, kpi, columns):
    reply = server.get(f"/kpis/{kpi}?{RANGE}&format=csv&limit=1")
    assert (reply.status, reply.media_type) == (200, "text/csv")
    assert "link" not in reply.headers
    assert f"{day(-3)}-{day(DAYS + 3)}.csv" in reply.headers["content-disposition"]
    lines = list(csv.reader(io.StringIO(reply.text)))
    rows = walk(server, f"/kpis/{kpi}?{RANGE}&limit=200")
    assert lines[0] == columns
    guarded = [[f"'{cell}" if cell.startswith("=") else cell for cell in map(str, row.values())] for row in rows]
    assert lines[1:] == guarded


@pytest.mark.parametrize("names", [["Books, used"], ["=Toys", "Ünique"], ["nothing"], CATEGORIES])
def test_categories_can_be_chosen(server, names):
    chosen = "".join(f"&category={quote(name)}" for name in names)
    rows = walk(server, f"/kpis/categories?{RANGE}&limit=9{chosen}")
    known = sorted(set(names) & set(CATEGORIES), key=str.encode)
    assert [row["category"] for row in rows] == known * DAYS


def test_only_what_is_published_is_there(start_server, tmp_path):
    server = start_server(write_shop(tmp_path / "in", 2))
    server.run(day(0), publish=False)
    server.run(day(1))
    rows = walk(server, f"/kpis/orders?from={day(0)}&to={day(1)}")
    assert [row["order_date"] for row in rows] == [day(1)]


def test_a_day_published_anew_ends_the_walk_of_its_old_rows(start_server, tmp_path):
    server = start_server(write_shop(tmp_path / "in", 2))
    server.run(day(0))
    path = f"/kpis/categories?from={day(0)}&to={day(1)}&limit=2"
    link = server.get(path).headers["link"].split(">")[0][1:]
    assert server.get(link).status == 200
    write_lines(tmp_path / "in", "products", [f"{n},Other{n},x" for n in range(4)])
    server.run(day(0))
    problem = assert_problem(server.get(link), 422, "validation-failed")
    assert [error["pointer"] for error in problem["errors"]] == ["cursor"]


@pytest.mark.parametrize("kpi", ["orders", "categories"])
def test_other_formats_are_not_acceptable(server, kpi):
    for reply in (
        server.get(f"/kpis/{kpi}?format=html"),
        server.get(f"/kpis/{kpi}", Accept="text/html"),
    ):
        assert_problem(reply, 406, "not-acceptable")
    assert server.get(f"/kpis/{kpi}", Accept="text/csv").media_type == "text/csv"
    assert_problem(server.get(f"/kpis/{kpi}?format=xml"), 400, "malformed-query")


def test_only_the_category_may_be_repeated(server):
    assert_problem(server.get("/kpis/categories?limit=1&limit=1"), 400, "malformed-query")
    assert_problem(server.get("/kpis/orders?category=a"), 400, "malformed-query")


def test_answers_are_as_described(server):
    description = Description(server)
    for kpi in ("orders", "categories"):
        for query in (RANGE, "", "from=x", "format=xml", "format=html", RANGE + "&format=csv"):
            description.check("GET", f"/kpis/{kpi}", server.get(f"/kpis/{kpi}?{query}" if query else f"/kpis/{kpi}"))


WIDE = """
WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 4999)
INSERT INTO category_results (run_id, order_date, category, revenue, orders, items, returned_items, returned_orders)
SELECT run_id, order_date, printf('%05d', i) || replace(hex(zeroblob(1000)), '00', 'x'), '1', 1, 1, 0, 0 FROM published, n
"""


@pytest.fixture(scope="module")
def wide(tmp_path_factory):
    """A server with 5,000 categories of 1,005 characters on each of eight days, put where runs would put them."""
    folder, days = tmp_path_factory.mktemp("wide"), 8
    source = write_shop(folder / "in", days)
    publish_days(folder / "k.db", source, 0, days - 1)
    with contextlib.closing(sqlite3.connect(folder / "k.db")) as connection, connection:
        connection.execute("DELETE FROM category_results")
        connection.execute(WIDE)
    running = Server(folder / "k.db", source).start()
    yield running
    running.kill()


def test_csv_beyond_the_limit_of_a_reply_says_so(wide):
    reply = wide.get(f"/kpis/categories?from={day(0)}&to={day(7)}&format=csv")
    problem = assert_problem(reply, 422, "range-too-long")
    assert "32 MiB" in problem["detail"]
    assert len(wide.get(f"/kpis/categories?from={day(0)}&to={day(5)}&format=csv").body) > 30_000_000


def test_five_thousand_long_categories_are_paged_once_each(wide):
    pages = pages_of(wide, f"/kpis/categories?from={day(3)}&to={day(3)}&limit=200")
    names = [row["category"] for page in pages for row in page.json["rows"]]
    assert (len(pages), names) == (25, sorted(set(names)))
    assert len(names) == 5000
