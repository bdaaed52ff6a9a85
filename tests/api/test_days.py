"""GET /days: the calendar with what ran and what is published."""

from datetime import date, timedelta

import pytest

from support.openapi import Description
from support.problems import assert_problem
from support.series import day, publish_days, published_server, write_shop
from support.walk import pages_of

DAYS = 40


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    running = published_server(tmp_path_factory.mktemp("days"), DAYS)
    yield running
    running.kill()


def days_of(server, query):
    return [row for page in pages_of(server, f"/days{query}") for row in page.json["days"]]


@pytest.mark.parametrize("limit", [1, 7, 50, 60, 200])
def test_each_calendar_day_is_there_once_in_order(server, limit):
    rows = days_of(server, f"?from={day(-5)}&to={day(DAYS + 14)}&limit={limit}")
    assert [row["date"] for row in rows] == [day(n) for n in range(-5, DAYS + 15)]
    assert [row["date"] for row in rows if row["published_run_id"]] == [day(n) for n in range(DAYS)]


def test_a_day_tells_its_run_and_its_kpis(server):
    (row,) = days_of(server, f"?from={day(3)}&to={day(3)}")
    run = server.get(f"/runs/{row['run_id']}").json
    assert (row["state"], row["quality_status"]) == ("succeeded", run["quality"]["status"])
    assert row["published_run_id"] == row["run_id"]
    assert row["published_at"] == run["output"]["published_at"]
    for kpi in ("total_orders", "total_revenue", "total_items_sold", "return_rate", "unique_customers"):
        assert row[kpi] == run["summary"][kpi] > 0


def test_a_day_without_anything_is_null(server):
    (row,) = days_of(server, f"?from={day(-1)}&to={day(-1)}")
    assert row.pop("date") == day(-1)
    assert set(row.values()) == {None}


def test_newest_run_and_published_run_may_differ(start_server, tmp_path):
    server = start_server(write_shop(tmp_path / "in", 1))
    published = server.run(day(0))["id"]
    preview = server.run(day(0), publish=False)["id"]
    (row,) = days_of(server, f"?from={day(0)}&to={day(0)}")
    assert (row["run_id"], row["published_run_id"]) == (preview, published)


def test_the_last_31_days_are_the_default(server):
    rows = days_of(server, "")
    last = date.fromisoformat(rows[-1]["date"])
    assert abs((last - date.today()).days) <= 1
    assert [row["date"] for row in rows] == [
        (last - timedelta(days=30 - n)).isoformat() for n in range(31)
    ]
    assert len(days_of(server, f"?to={day(0)}")) == 31


@pytest.mark.parametrize(
    "query, names",
    [
        ("?from=2024-02-30", ["from"]),
        ("?to=x", ["to"]),
        ("?from=20240101&to=", ["to", "from"]),
        (f"?from={day(1)}&to={day(0)}", ["from"]),
        ("?from=9999-12-31", ["from"]),
        (f"?to={day(0)}&cursor=x", ["cursor"]),
        (f"?to={day(0)}&cursor=", ["cursor"]),
    ],
)
def test_bad_days_are_refused_by_name(server, query, names):
    for path in ("/days", "/kpis/orders", "/kpis/categories"):
        problem = assert_problem(server.get(path + query), 422, "validation-failed")
        assert [error["pointer"] for error in problem["errors"]] == names


def test_a_range_has_at_most_3660_days(server):
    first = date(2015, 1, 1)
    for days, status in ((3660, 200), (3661, 422)):
        last = first + timedelta(days=days - 1)
        for path in ("/days", "/kpis/orders", "/kpis/categories"):
            reply = server.get(f"{path}?from={first}&to={last}")
            assert reply.status == status, reply
            if status == 422:
                assert_problem(reply, 422, "range-too-long")


def test_the_first_and_the_last_day_of_the_calendar(server):
    assert len(days_of(server, "?to=0001-01-05")) == 5
    assert len(days_of(server, "?from=9999-12-30&to=9999-12-31&limit=1")) == 2


def test_cursor_outside_the_range_is_refused(server):
    cursor = server.get(f"/days?from={day(0)}&to={day(20)}&limit=5").json["next_cursor"]
    assert_problem(server.get(f"/days?from={day(10)}&to={day(20)}&cursor={cursor}"), 422, "validation-failed")


def test_answers_are_as_described(server):
    description = Description(server)
    for query in (f"?from={day(-5)}&to={day(5)}", "?limit=3", "?from=x", "?from=0001-01-01", "?limit=0"):
        description.check("GET", "/days", server.get("/days" + query))


def test_a_day_without_order_rows_counts_as_zero(start_server, tmp_path):
    source = write_shop(tmp_path / "in", 1)
    publish_days(tmp_path / "kpid.db", source, 1, 1)
    server = start_server(source)
    (row,) = days_of(server, f"?from={day(1)}&to={day(1)}")
    assert (row["published_run_id"] is not None, row["total_orders"]) == (True, 0)
