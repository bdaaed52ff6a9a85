"""Plain mode: what the replaced job did, with its permissions and its items, and nothing more."""

import json
from decimal import Decimal

import pytest

from support.datasets import BASE_DATES
from support.faults import Unprocessed
from support.published import ORIGINAL, STAMPS

DAY, NEXT_DAY = BASE_DATES


@pytest.fixture
def plain(site):
    """A site with the base data set that publishes in plain mode, without a control table."""
    site.tables.drop("control")
    site.extra["KPI_PUBLISH_MODE"] = "plain"
    return site.upload()


def test_only_batch_writes_are_sent_categories_first(plain):
    run = plain.server().run(DAY)
    assert run["state"] == "succeeded", run["error"]
    assert plain.dynamodb.operations() == {"BatchWriteItem"}
    tables = [next(iter(json.loads(r.body)["RequestItems"])) for r in plain.dynamodb.seen()]
    assert tables == [plain.tables.category, plain.tables.order]


def test_items_have_the_shape_of_the_old_job(plain):
    plain.server().run(DAY)
    (orders,) = plain.tables.items("order")
    assert set(orders) == ORIGINAL["order"]
    assert orders["total_revenue"] == Decimal("46.5")
    assert [set(item) for item in plain.tables.items("category")] == [ORIGINAL["category"]] * 2


def test_full_shape_may_be_asked_for(plain):
    plain.server(KPI_ITEM_SHAPE="full").run(DAY)
    (orders,) = plain.tables.items("order")
    assert set(orders) > ORIGINAL["order"]
    assert set(orders) & STAMPS == {"run_id", "published_at"}


def test_nothing_is_deleted(plain):
    plain.tables.put("category", {"category": "Garden", "order_date": DAY, "daily_revenue": 1})
    plain.server().run(DAY)
    assert plain.tables.categories(DAY) == ["Electronics", "Garden", "Home"]


def test_a_repeated_run_writes_the_same_items_again(plain):
    server = plain.server()
    server.run(DAY)
    before = plain.tables.snapshot()
    assert server.run(DAY)["state"] == "succeeded"
    assert plain.tables.snapshot() == before


def test_batches_have_at_most_25_items(plain):
    lines = [f"{n},101,{n},1,c,{DAY}" for n in range(60)]
    header = "id,order_id,product_id,sale_price,status,created_at"
    plain.bucket.put("Data/order_items/a.csv", "\n".join([header, *lines]))
    products = [f"{n},category {n:02},x" for n in range(60)]
    plain.bucket.put("Data/products/a.csv", "\n".join(["id,category,name", *products]))
    for key in plain.bucket.keys("Data/order_items/") + plain.bucket.keys("Data/products/"):
        if not key.endswith("/a.csv"):
            plain.bucket.delete(key)
    run = plain.server().run(DAY)
    assert run["state"] == "succeeded", run["error"]
    sizes = [
        len(next(iter(json.loads(r.body)["RequestItems"].values())))
        for r in plain.dynamodb.seen("BatchWriteItem")
    ]
    assert sizes == [25, 25, 10, 1]
    assert run["progress"]["items_published"] == run["progress"]["items_total"] == 61


def test_unprocessed_items_are_sent_again_and_only_those(plain):
    plain.dynamodb.spoil(Unprocessed(1), "BatchWriteItem", times=1)
    run = plain.server().run(DAY)
    assert run["state"] == "succeeded", run["error"]
    sizes = [
        len(next(iter(json.loads(r.body)["RequestItems"].values())))
        for r in plain.dynamodb.seen("BatchWriteItem")
    ]
    assert sizes == [2, 1, 1]
    assert len(plain.tables.categories(DAY)) == 2


def test_day_without_rows_is_refused(plain):
    run = plain.server().run("2023-03-01")
    assert (run["state"], run["error"]["code"]) == ("failed", "quality_blocked")
    assert plain.dynamodb.seen() == []


def test_shutdown_does_not_wait_for_items_that_stay_unprocessed(plain):
    plain.dynamodb.spoil(Unprocessed(25), "BatchWriteItem")
    server = plain.server(KPI_DRAIN_SECONDS=1)
    run = server.start_run(DAY)
    plain.dynamodb.wait_for("BatchWriteItem", 3)
    assert server.terminate(timeout=15) == 0
    plain.dynamodb.heal()
    server.start()
    assert server.finish(run["id"])["state"] in ("succeeded", "failed")
