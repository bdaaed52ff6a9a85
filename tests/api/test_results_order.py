"""GET /runs/{id}/results in any order: every walk gives each row once, in its place; and cursors that do not fit."""

import random
import re

import pytest

from support.cli import CATEGORY_COLUMNS, ORDER_COLUMNS
from support.datasets import BASE_DATES, write_source
from support.problems import assert_problem
from support.server import Server
from support.walk import exact, in_order, pages_of, walk

DAY = BASE_DATES[0]
MANY = 5000
PRICES = ["9.5", "10.25", "-3", "9.50", "100", "0.000000000000000001", "12345678901234567890.5", ""]


def shop(folder, categories: int, seed: int):
    """Categories with few different prices, so that most rows tie with others in most columns."""
    pick = random.Random(seed)
    names = [f"{pick.choice('ÄabZ-=')}{n:05}" for n in range(categories)]
    items = [
        f"{n},{pick.randrange(40)},{n % categories},{pick.choice(PRICES)},{pick.choice(['returned', 'c'])},{DAY}"
        for n in range(categories * 2 if categories < 1000 else categories)
    ]
    orders = [f"{n},{n % 7},c,{DAY}" for n in range(40)]
    return write_source(folder, orders, items, [f"{n},{name},x" for n, name in enumerate(names)])


@pytest.fixture(scope="module", params=[61])
def small(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("small")
    running = Server(folder / "k.db", shop(folder / "in", request.param, 1)).start()
    yield running, running.run(DAY)["id"]
    running.kill()


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    folder = tmp_path_factory.mktemp("many")
    running = Server(folder / "k.db", shop(folder / "in", MANY, 2)).start()
    yield running, running.run(DAY)["id"]
    running.kill()


def path_of(run: str, **query: object) -> str:
    words = {"kpi": "categories", **query}
    return f"/runs/{run}/results?" + "&".join(f"{k}={v}" for k, v in words.items())


@pytest.mark.parametrize("sign", ["", "-"])
@pytest.mark.parametrize("column", CATEGORY_COLUMNS)
def test_each_walk_gives_every_row_once_in_its_place(small, column, sign):
    server, run = small
    whole = exact(server.get(path_of(run, limit=200)).text)["rows"]
    expected = in_order(whole, sign + column)
    for limit in (1, 7, 61, 200):
        rows = walk(server, path_of(run, sort=sign + column, limit=limit))
        assert rows == expected, (column, limit)


@pytest.mark.parametrize("sort", ["", "-daily_revenue", "order_count", "-category"])
def test_five_thousand_categories_are_walked_once_each(many, sort):
    server, run = many
    query = {"sort": sort} if sort else {}
    rows = walk(server, path_of(run, limit=200, **query))
    assert len({row["category"] for row in rows}) == len(rows) == MANY
    assert rows == in_order(rows, sort or "order_date")


def test_money_is_sorted_as_numbers(small):
    server, run = small
    rows = walk(server, path_of(run, sort="-daily_revenue"))
    texts = [str(row["daily_revenue"]) for row in rows]
    assert texts != sorted(texts, reverse=True)


@pytest.mark.parametrize("column", ORDER_COLUMNS)
def test_order_kpis_can_be_sorted_too(small, column):
    server, run = small
    assert len(walk(server, path_of(run, kpi="orders", sort=column))) == 1


def test_csv_and_html_follow_the_order(small):
    server, run = small
    names = [row["category"] for row in walk(server, path_of(run, sort="-item_count"))]
    csv = "".join(
        page.text.split("\n", 1)[1]
        for page in pages_of(server, path_of(run, sort="-item_count", limit=9, format="csv"))
    )
    assert [line.split(",")[0].lstrip("'") for line in csv.splitlines()] == names
    html = "".join(
        page.text for page in pages_of(server, path_of(run, sort="-item_count", limit=9, format="html"))
    )
    assert re.findall(r"<tr><td>([^<]*)</td>", html) == names


@pytest.mark.parametrize("sort", ["", "-", "nonsense", "daily_revenue-", "--category", "revenue", "change"])
def test_unknown_column_is_refused_by_name(small, sort):
    server, run = small
    problem = assert_problem(server.get(path_of(run, sort=sort)), 422, "validation-failed")
    assert [error["pointer"] for error in problem["errors"]] == ["sort"]


@pytest.mark.parametrize(
    "other",
    [{"sort": "daily_revenue"}, {}, {"sort": "-category"}, {"sort": "-daily_revenue", "diff": "previous"}],
)
def test_cursor_of_another_order_is_refused(small, other):
    server, run = small
    first = server.get(path_of(run, sort="-daily_revenue", limit=5)).json
    reply = server.get(path_of(run, cursor=first["next_cursor"], limit=5, **other))
    problem = assert_problem(reply, 422, "validation-failed")
    assert [error["pointer"] for error in problem["errors"]] == ["cursor"]
    assert "sort" in problem["errors"][0]["detail"]


def test_cursor_of_another_table_is_refused(small):
    server, run = small
    cursor = server.get(path_of(run, limit=5)).json["next_cursor"]
    assert_problem(server.get(path_of(run, kpi="orders", cursor=cursor)), 422, "validation-failed")


def test_limit_may_change_from_page_to_page(small):
    server, run = small
    whole = walk(server, path_of(run, sort="-daily_revenue"))
    first = exact(server.get(path_of(run, sort="-daily_revenue", limit=3)).text)
    rest = path_of(run, sort="-daily_revenue", limit=11, cursor=first["next_cursor"])
    assert first["rows"] + walk(server, rest) == whole


def test_next_link_has_one_cursor_however_it_was_written(small):
    server, run = small
    cursor = server.get(path_of(run, limit=5)).json["next_cursor"]
    reply = server.get(path_of(run, limit=5) + f"&curs%6fr={cursor}")
    assert reply.headers["link"].count("cursor=") == 1
    assert len(walk(server, path_of(run, limit=5) + f"&curs%6fr={cursor}")) == 56
