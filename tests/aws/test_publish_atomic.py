"""Publishing in atomic mode: one date changes in one instant, and only when it has changed."""

import json
import subprocess
import sys
import threading
import time
from decimal import Decimal
from pathlib import Path

import pytest

from support.cli import DATA, OK, PUBLISH, backfill, read_tables
from support.datasets import BASE_DATES, write_source
from support.dynamodb_server import KEYS, create_table
from support.faults import Hold, Meanwhile, dynamodb_error
from support.paths import LAB, clean_env
from support.published import (
    EXTRA,
    ORIGINAL,
    STAMPS,
    WRITES,
    actions,
    as_items,
    disagreements,
    original,
)
from support.s3_server import REGION

DAY, NEXT_DAY = BASE_DATES
ELECTRONICS = {
    "category": "Electronics",
    "order_date": DAY,
    "daily_revenue": Decimal("21.5"),
    "avg_order_value": Decimal("10.75"),
    "avg_return_rate": Decimal("0.5"),
}
HOME = {
    "category": "Home",
    "order_date": DAY,
    "daily_revenue": Decimal(25),
    "avg_order_value": Decimal(25),
    "avg_return_rate": Decimal(0),
}
ORDERS = {
    "order_date": DAY,
    "total_orders": Decimal(2),
    "total_revenue": Decimal("46.5"),
    "total_items_sold": Decimal(3),
    "return_rate": Decimal("0.5"),
    "unique_customers": Decimal(2),
}


@pytest.fixture
def shop(site):
    """A site with the base data set in its bucket."""
    return site.upload()


def put_orders(site, orders, items, products) -> None:
    """Replaces the data set by these rows."""
    folder = write_source(site.folder / "changed", orders, items, products)
    site.bucket.delete(*site.bucket.keys())
    site.upload(folder)


def sell(site, categories: list[str], orders: int = 2) -> None:
    """A day on which `orders` orders sold one item of each category."""
    put_orders(
        site,
        [f"{n},{n},complete,{DAY}" for n in range(orders)],
        [
            f"{n},{n % orders},{n},1.25,complete,{DAY}" for n in range(len(categories))
        ],
        [f"{n},{name},x" for n, name in enumerate(categories)],
    )


def many(count: int, first: int = 0) -> list[str]:
    return [f"category {n:04}" for n in range(first, first + count)]


# --- what is written ---------------------------------------------------------------------------


def test_items_carry_what_the_old_job_wrote_and_what_roll_ups_need(shop):
    run = shop.server().run(DAY)
    assert run["state"] == "succeeded", run["error"]
    assert original(shop.tables.items("category"), "category") == [ELECTRONICS, HOME]
    assert original(shop.tables.items("order"), "order") == [ORDERS]
    for kind in ORIGINAL:
        for item in shop.tables.items(kind):
            assert set(item) == ORIGINAL[kind] | EXTRA[kind] | STAMPS
            assert item["run_id"] == run["id"]
    assert disagreements(shop.tables, DAY) == []


def test_a_run_tells_what_it_did_to_each_table(shop):
    run = shop.server().run(DAY)
    names = {shop.tables.order: 1, shop.tables.category: 2}
    assert {table["name"]: table["put"] for table in run["output"]["tables"]} == names
    assert run["progress"]["items_published"] == run["progress"]["items_total"] == 3
    assert run["output"]["published_at"]


def test_original_shape_is_exactly_that_of_the_old_job(shop):
    assert shop.server(KPI_ITEM_SHAPE="original").run(DAY)["state"] == "succeeded"
    assert shop.tables.items("category") == [ELECTRONICS, HOME]
    assert shop.tables.items("order") == [ORDERS]


def test_small_day_is_one_transaction(shop):
    shop.server().run(DAY)
    writes = shop.dynamodb.seen(*WRITES)
    assert [request.operation for request in writes] == ["TransactWriteItems"]
    kinds = sorted(next(iter(action)) for action in actions(writes[0]))
    assert kinds == ["Put", "Put", "Put", "Update"]


def test_control_row_is_read_before_the_inputs_are_listed(shop):
    shop.server().run(DAY)
    (look, *_) = shop.dynamodb.seen("GetItem")
    assert look.at < shop.s3.seen("ListObjectsV2")[0].at


def test_sum_of_more_than_38_digits_is_rounded_to_what_a_number_can_hold(site):
    price = "12345678901234567890123.123456789012345675"  # 41 digits
    put_orders(site, [f"1,1,c,{DAY}"], [f"1,1,1,{price},c,{DAY}"], ["1,A,x"])
    run = site.server().run(DAY)
    assert run["state"] == "succeeded", run["error"]
    (item,) = site.tables.items("order")
    assert item["total_revenue"] == Decimal("12345678901234567890123.123456789012346")


@pytest.mark.skipif(not LAB.is_dir(), reason="the lab data is not beside the checkout")
def test_lab_data_gives_the_items_of_the_file_source(site):
    site.bucket.upload(LAB)
    files = site.folder / "files"
    assert backfill(LAB, files).code == OK
    result = site.kpid("backfill", "--all")
    assert result.code == OK, result
    tables = read_tables(files)
    for kind, count in (("category", 217), ("order", 31)):
        items = site.tables.items(kind)
        assert len(items) == count
        assert original(items, kind) == as_items(tables, kind)
    for day in site.tables.items("order"):
        assert disagreements(site.tables, day["order_date"]) == []


def aws_cli(site, *words: str) -> dict:
    """What a command of the AWS CLI prints."""
    program = Path(sys.executable).parent / "aws"
    command = [str(program), *words, "--region", REGION, "--output", "json", "--endpoint-url", direct(site)]
    done = subprocess.run(command, env=clean_env(**site.settings), capture_output=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_aws_cli_reads_the_tables(shop):
    assert shop.server().run(DAY)["state"] == "succeeded"
    key = json.dumps({"order_date": {"S": DAY}})
    found = aws_cli(shop, "dynamodb", "get-item", "--table-name", shop.tables.order, "--key", key)
    assert found["Item"]["total_revenue"] == {"N": "46.5"}
    assert found["Item"]["total_orders"] == {"N": "2"}
    found = aws_cli(shop, "dynamodb", "scan", "--table-name", shop.tables.category)
    assert sorted(item["category"]["S"] for item in found["Items"]) == ["Electronics", "Home"]


# --- a date that is published again ------------------------------------------------------------


def test_same_results_are_not_written_again(shop):
    server = shop.server()
    server.run(DAY)
    before = shop.tables.snapshot()
    shop.dynamodb.clear()
    run = server.run(DAY)
    assert run["state"] == "succeeded"
    assert shop.dynamodb.seen(*WRITES) == []
    assert shop.tables.snapshot() == before
    counts = {t["name"]: (t["put"], t["unchanged"]) for t in run["output"]["tables"]}
    assert counts == {shop.tables.order: (0, 1), shop.tables.category: (0, 2)}


def test_force_writes_again_what_is_published_already(shop):
    server = shop.server()
    server.run(DAY)
    run = server.run(DAY, force=True)
    assert {item["run_id"] for item in shop.tables.items("category")} == {run["id"]}
    assert shop.tables.control_row(DAY)["ver"] == 2


def test_changed_input_replaces_the_rows_and_removes_stale_ones(shop):
    server = shop.server()
    server.run(DAY)
    sell(shop, ["Home", "Garden"])
    run = server.run(DAY)
    assert run["state"] == "succeeded", run["error"]
    assert shop.tables.categories(DAY) == ["Garden", "Home"]
    assert disagreements(shop.tables, DAY) == []
    deleted = {table["name"]: table["deleted"] for table in run["output"]["tables"]}
    assert deleted == {shop.tables.order: 0, shop.tables.category: 1}


def test_other_tables_get_the_rows_although_the_control_table_knows_them(shop):
    shop.server().run(DAY)
    name = f"{shop.tables.category}_new"
    create_table(shop.tables.client, name, KEYS["category"])
    renamed = shop.server(db=shop.folder / "new.db", KPI_CATEGORY_TABLE=name)
    assert renamed.run(DAY)["state"] == "succeeded"
    assert len(shop.tables.client.scan(TableName=name)["Items"]) == 2


def test_category_with_a_nul_is_a_category_of_its_own(site):
    sell(site, ["A\0B", "A", "B"])
    server = site.server()
    run = server.run(DAY)
    assert run["state"] == "succeeded", run["error"]
    assert site.tables.categories(DAY) == ["A", "A\0B", "B"]
    sell(site, ["B"])
    run = server.run(DAY)
    assert run["state"] == "succeeded", run["error"]
    assert site.tables.categories(DAY) == ["B"]


def test_other_dates_are_left_alone(shop):
    server = shop.server()
    server.run(NEXT_DAY)
    before = shop.tables.day("category", NEXT_DAY)
    server.run(DAY)
    assert shop.tables.day("category", NEXT_DAY) == before


def test_rows_of_the_old_job_that_are_stale_go_with_the_first_run(shop):
    for category, day in (("Home", DAY), ("Electronics", DAY), ("Electronics", NEXT_DAY)):
        shop.tables.put("category", {"category": category, "order_date": day, "daily_revenue": 1})
    sell(shop, ["Home"])
    shop.bucket.put("Data/products/more.csv", "id,category\n77,Electronics\n")
    assert shop.server().run(DAY)["state"] == "succeeded"
    assert shop.tables.categories(DAY) == ["Home"]
    assert shop.tables.categories(NEXT_DAY) == ["Electronics"]


def test_run_that_publishes_nothing_writes_nothing(shop):
    run = shop.server().run(DAY, publish=False)
    assert run["state"] == "succeeded"
    assert shop.tables.snapshot() == {"category": [], "order": [], "control": []}
    assert shop.dynamodb.seen() == []


# --- the guard ---------------------------------------------------------------------------------


def blocked(run: dict) -> bool:
    return run["state"] == "failed" and run["error"]["code"] == "quality_blocked"


def test_loss_of_half_the_orders_is_refused_unless_forced(site):
    sell(site, ["Home"], orders=10)
    server = site.server()
    assert server.run(DAY)["state"] == "succeeded"
    before = site.tables.snapshot()
    sell(site, ["Home"], orders=5)
    run = server.run(DAY)
    assert blocked(run) and "force" in run["error"]["message"], run
    assert site.tables.snapshot() == before
    assert server.run(DAY, force=True)["state"] == "succeeded"
    assert site.tables.items("order")[0]["total_orders"] == 5


def test_loss_of_less_than_half_is_published(site):
    sell(site, ["Home"], orders=10)
    server = site.server()
    server.run(DAY)
    sell(site, ["Home"], orders=6)
    assert server.run(DAY)["state"] == "succeeded"


def test_guard_knows_what_the_old_job_published(site):
    site.tables.put("order", {"order_date": DAY, "total_orders": 10})
    sell(site, ["Home"], orders=5)
    before = site.tables.snapshot()
    assert blocked(site.server().run(DAY))
    assert site.tables.snapshot() == before


def test_day_without_rows_is_refused_unless_forced(shop):
    server = shop.server()
    run = server.run("2023-03-01")
    assert blocked(run) and run["error"]["hint"], run
    assert shop.tables.snapshot() == {"category": [], "order": [], "control": []}
    assert server.run("2023-03-01", force=True)["state"] == "succeeded"


def test_guard_stops_the_command_line_too(shop):
    result = shop.kpid("run", "--date", "2023-03-01")
    assert (result.code, result.error_code) == (DATA, "quality_blocked"), result
    assert shop.kpid("run", "--date", "2023-03-01", "--force").code == OK


# --- more rows than a transaction takes --------------------------------------------------------


def test_long_day_begins_writes_and_commits_under_one_condition(site):
    sell(site, many(250))
    run = site.server().run(DAY)
    assert run["state"] == "succeeded", run["error"]
    assert site.tables.categories(DAY) == many(250)
    assert disagreements(site.tables, DAY) == []
    begin, *chunks, commit = site.dynamodb.seen(*WRITES)
    assert begin.operation == "UpdateItem"
    assert {request.operation for request in [*chunks, commit]} == {"TransactWriteItems"}
    for chunk in chunks:
        assert len(actions(chunk)) <= 100
        assert "ConditionCheck" in actions(chunk)[0]
    assert "Update" in actions(commit)[0]


def test_readers_see_the_old_version_in_control_until_a_long_day_is_whole(site):
    sell(site, many(150))
    server = site.server()
    server.run(DAY)
    seen = []
    site.dynamodb.spoil(
        Meanwhile(lambda: seen.append(site.tables.control_row(DAY))), "TransactWriteItems"
    )
    sell(site, many(150, first=100))
    assert server.run(DAY)["state"] == "succeeded"
    assert [(row["ver"], row["pending"]) for row in seen] == [(1, 2)] * len(seen)
    assert len(seen) >= 3
    assert site.tables.categories(DAY) == many(150, first=100)
    assert disagreements(site.tables, DAY) == []


def test_long_day_that_was_cut_off_leaves_nothing_behind_after_the_next_run(site):
    """A chunk of the first run is written, its commit never: the next run removes what it does not have."""
    sell(site, many(150))
    server = site.server()
    site.dynamodb.spoil(
        dynamodb_error(500, "InternalServerError"), "TransactWriteItems", skip=1
    )
    assert server.run(DAY)["state"] == "failed"
    site.dynamodb.heal()
    assert len(site.tables.categories(DAY)) > 0
    sell(site, ["Home"])
    assert server.run(DAY)["state"] == "succeeded"
    assert site.tables.categories(DAY) == ["Home"]
    assert disagreements(site.tables, DAY) == []
    assert "pending" not in site.tables.control_row(DAY)


def test_day_that_was_cut_off_can_be_replaced_by_one_with_other_names(site):
    """The names of both stand in the control row while the second is on its way."""
    sell(site, [f"{n:04} {'x' * 95}" for n in range(1000)])
    server = site.server()
    site.dynamodb.spoil(dynamodb_error(500, "InternalServerError"), "TransactWriteItems", skip=1)
    assert server.run(DAY)["state"] == "failed"
    site.dynamodb.heal()
    others = [f"{n:04} {'y' * 95}" for n in range(1000)]
    sell(site, others)
    run = server.run(DAY)
    assert run["state"] == "succeeded", run["error"]
    assert site.tables.categories(DAY) == others


def test_names_that_no_control_row_holds_are_refused_with_the_reason(site):
    sell(site, [f"{n:04} {'x' * 2000}" for n in range(97)])
    run = site.server().run(DAY)
    assert run["error"]["code"] == "dynamodb_validation", run
    assert "KPI_PUBLISH_MODE=plain" in run["error"]["message"]
    assert site.dynamodb.seen(*WRITES) == []


@pytest.mark.parametrize(
    "row", [{"ver": 0}, {"pending": 3}, {"ver": 3}, {"ver": 3, "publish_id": "x", "pending_id": "y"}]
)
def test_control_row_of_another_author_is_refused(shop, row):
    shop.tables.put("control", {"pk": f"date#{DAY}", **row})
    run = shop.server().run(DAY)
    assert run["error"]["code"] == "dynamodb_schema_mismatch", run
    assert shop.dynamodb.seen(*WRITES) == []


# --- others that publish the same date ---------------------------------------------------------


def test_run_that_was_overtaken_starts_again_and_never_brings_the_old_back(shop):
    """The first server computes, then a second one publishes newer inputs before the first can write."""
    second = shop.server(db=shop.folder / "second.db", AWS_ENDPOINT_URL_DYNAMODB=direct(shop))

    def overtake():
        sell(shop, ["Garden"])
        assert second.run(DAY)["state"] == "succeeded"

    shop.dynamodb.spoil(Meanwhile(overtake), "TransactWriteItems", times=1)
    run = shop.server().run(DAY)
    assert run["state"] == "succeeded", run["error"]
    assert shop.tables.categories(DAY) == ["Garden"]
    assert disagreements(shop.tables, DAY) == []


def test_run_that_is_overtaken_again_and_again_gives_up(shop):
    second = shop.server(db=shop.folder / "second.db", AWS_ENDPOINT_URL_DYNAMODB=direct(shop))

    def overtake():
        assert second.run(DAY, force=True)["state"] == "succeeded"

    shop.dynamodb.spoil(Meanwhile(overtake), "TransactWriteItems")
    run = shop.server().run(DAY, force=True)
    assert (run["state"], run["error"]["code"]) == ("failed", "newer_run_published")
    assert disagreements(shop.tables, DAY) == []


def direct(site) -> str:
    """The address of DynamoDB without the proxy."""
    return f"http://127.0.0.1:{site.dynamodb.upstream_port}"


def test_day_of_a_backfill_that_was_overtaken_is_published_after_all(shop):
    second = shop.server(db=shop.folder / "second.db", AWS_ENDPOINT_URL_DYNAMODB=direct(shop))
    shop.dynamodb.spoil(
        Meanwhile(lambda: second.run(DAY, force=True)), "TransactWriteItems", times=1, body=DAY
    )
    result = shop.kpid("backfill", "--all", "--force")
    assert result.code == OK, result
    assert shop.tables.control_row(DAY)["ver"] == 2
    assert disagreements(shop.tables, DAY) == []


def test_backfill_goes_on_over_many_days_without_rows(shop):
    result = shop.kpid("backfill", "--from", "2022-10-01", "--to", "2023-01-20", timeout=120)
    assert (result.code, result.error_code) == (DATA, "quality_blocked"), result
    assert [item["order_date"] for item in shop.tables.items("order")] == [DAY, NEXT_DAY]


def test_shutdown_does_not_wait_for_a_service_that_does_not_answer(shop):
    gate = threading.Event()
    shop.dynamodb.spoil(Hold(gate, 120), "TransactWriteItems")
    server = shop.server(KPI_DRAIN_SECONDS=1)
    run = server.start_run(DAY)
    shop.dynamodb.wait_for("TransactWriteItems")
    started = time.monotonic()
    assert server.terminate() == 0
    assert time.monotonic() - started < 10
    gate.set()
    shop.dynamodb.heal()
    server.start()
    done = server.finish(run["id"])
    assert (done["state"], done["attempt"]) == ("succeeded", 1), done
    assert disagreements(shop.tables, DAY) == []


def test_days_of_a_backfill_are_published_side_by_side(site):
    days = [f"2023-05-{n:02}" for n in range(1, 21)]
    put_orders(
        site,
        [f"{n},1,c,{day}" for n, day in enumerate(days)],
        [f"{n},{n},1,2.5,c,{day}" for n, day in enumerate(days)],
        ["1,A,x"],
    )
    gate = threading.Event()
    site.dynamodb.spoil(Hold(gate), "TransactWriteItems")
    results = []
    worker = threading.Thread(target=lambda: results.append(site.kpid("backfill", "--all")))
    worker.start()
    try:
        site.dynamodb.wait_for("TransactWriteItems", 4)
    finally:
        gate.set()
        worker.join(60)
    assert results[0].code == OK, results[0]
    assert [item["order_date"] for item in site.tables.items("order")] == days


# --- tables ------------------------------------------------------------------------------------


def test_tables_are_created_and_checked(site):
    site.tables.drop()
    assert site.kpid("tables", "check").error_code == "dynamodb_table_missing"
    created = site.kpid("tables", "create")
    assert created.code == OK, created
    for kind in ("category", "order", "control"):
        table = site.tables.client.describe_table(TableName=site.tables.name(kind))["Table"]
        assert table["BillingModeSummary"]["BillingMode"] == "PAY_PER_REQUEST"
        assert site.tables.name(kind) in created.out
    assert {r.operation for r in site.dynamodb.seen("UpdateContinuousBackups")}
    assert site.kpid("tables", "check").code == OK
    assert site.kpid("tables", "create").code == OK
    site.upload()
    assert site.kpid("run", "--date", DAY).code == OK


@pytest.mark.parametrize(
    "keys, kind",
    [
        ([("category", "HASH")], "S"),
        ([("order_date", "HASH"), ("category", "RANGE")], "S"),
        ([("category", "HASH"), ("order_date", "RANGE")], "B"),
    ],
)
def test_table_with_other_keys_is_refused_before_any_write(shop, keys, kind):
    shop.tables.drop("category")
    create_table(shop.tables.client, shop.tables.category, keys, kind)
    run = shop.server().run(DAY)
    assert run["error"]["code"] == "dynamodb_schema_mismatch", run
    assert shop.tables.category in run["error"]["message"]
    assert shop.dynamodb.seen(*WRITES) == []
    assert shop.s3.seen("GetObject") == []
    check = shop.kpid("tables", "check")
    assert (check.code, check.error_code) == (PUBLISH, "dynamodb_schema_mismatch")
