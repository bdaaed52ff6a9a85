"""Checks of a day against the four weeks that are published before it."""

import pytest

from support.openapi import Description
from support.series import day, publish_days, write_shop
from support.datasets import write_lines

DAYS = 28
CHECKS = [f"{kpi}_like_history" for kpi in ("orders", "revenue", "items", "customers", "return_rate")]
LOST = "nothing_lost_against_history"


@pytest.fixture
def shop(tmp_path, start_server):
    """A server with `history` days of ten orders each, and `last` orders on the day after them."""

    def make(history=DAYS, last=10, price="2.5"):
        source = write_shop(
            tmp_path / "in",
            history + 1,
            orders_of=lambda n: last if n == history else 10,
            price_of=lambda n: price if n == history else "2.5",
        )
        publish_days(tmp_path / "kpid.db", source, 0, history - 1)
        return start_server(source), day(history)

    return make


def report(server, run):
    reply = server.get(f"/runs/{run['id']}/quality")
    assert reply.status == 200, reply
    Description(server).check("GET", "/runs/{id}/quality", reply)
    return {check["id"]: check for check in reply.json["checks"]}, reply.json


def test_a_usual_day_passes_and_shows_its_figures(shop):
    server, date = shop()
    checks, whole = report(server, server.run(date))
    assert [checks[name]["status"] for name in [*CHECKS, LOST]] == ["passed"] * 6
    assert whole["skipped"] == 0
    orders = checks["orders_like_history"]
    assert orders["history"] == {
        "days": 28,
        "median_of": "weekday",
        "median_days": 4,
        "value": 10,
        "median": 10,
        "low": 5,
        "high": 15,
    }
    assert orders["observed"] == "10 orders"
    assert "5.0 to 15.0" in orders["expected"] and "28 days of history" in orders["expected"]


@pytest.mark.parametrize("last, status", [(5, "passed"), (4, "warned"), (15, "passed"), (16, "warned")])
def test_half_of_the_median_is_the_limit(shop, last, status):
    server, date = shop(last=last)
    run = server.run(date)
    assert run["state"] == "succeeded"
    checks, _ = report(server, run)
    for name in ("orders_like_history", "revenue_like_history", "items_like_history", "customers_like_history"):
        assert (checks[name]["status"], checks[name]["severity"]) == (status, "warning")
    assert checks[LOST]["status"] == "passed"


def test_a_deviation_does_not_block(shop):
    server, date = shop(last=40)
    run = server.run(date, quality_gate="block")
    assert (run["state"], run["quality"]["status"]) == ("succeeded", "warned")


def test_a_loss_fails_and_blocks(shop):
    server, date = shop(price="0")
    checks, whole = report(server, server.run(date))
    assert (checks[LOST]["status"], checks[LOST]["observed"]) == ("failed", "zero: revenue")
    assert checks[LOST]["blocking"] and whole["status"] == "failed"
    run = server.run(date, quality_gate="block")
    assert (run["state"], run["error"]["code"]) == ("failed", "quality_blocked")
    assert "zero" in run["error"]["message"]


@pytest.mark.parametrize("history, status", [(6, "skipped"), (7, "passed")])
def test_a_week_of_history_is_needed(shop, history, status):
    server, date = shop(history=history)
    run = server.run(date)
    checks, whole = report(server, run)
    assert {checks[name]["status"] for name in [*CHECKS, LOST]} == {status}
    assert whole["skipped"] == (6 if status == "skipped" else 0)
    assert run["quality"]["passed"] + run["quality"]["warned"] + whole["skipped"] == len(checks)
    if status == "skipped":
        assert "6 published days" in checks[LOST]["observed"]
        assert "at least 7" in checks[LOST]["expected"]
        assert "history" not in checks["orders_like_history"]


def test_the_page_shows_range_and_days(shop):
    server, date = shop(last=40)
    page = server.get(f"/runs/{server.run(date)['id']}/quality?format=html").text
    assert "40 orders" in page and "28 days of history" in page


def test_history_is_what_is_published_now(shop, tmp_path):
    server, date = shop(history=7)
    write_lines(tmp_path / "in", "orders", [f"{k},{k},c,{day(3)}" for k in range(90)], "more.csv")
    server.run(day(3))
    checks, _ = report(server, server.run(date))
    assert checks["orders_like_history"]["history"]["median"] == 10
    server.run(day(3), publish=False)
    assert checks["orders_like_history"]["history"]["days"] == 7
