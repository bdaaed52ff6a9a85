"""The data-quality report tells what is in the data, whatever the order of its rows and the number of threads."""

import json

import pytest

from support.cli import DATA, kpid, source_url
from support.datasets import BASE_DATES, copy_base, write_lines, write_source

DAY = BASE_DATES[0]


def report(source, *options: str) -> dict[str, dict]:
    """The checks of a run of the day, by name."""
    result = kpid(
        "run", "--date", DAY, "--no-publish", "--format", "json", "--source", source_url(source), *options
    )
    assert result.code == 0, result
    return {check["id"]: check for check in json.loads(result.out)["quality"]["checks"]}


def test_products_that_no_item_can_name_are_no_repeats(tmp_path):
    source = write_source(
        tmp_path, [f"1,1,c,{DAY}"], [f"1,1,1,5,c,{DAY}"], ["A,a,x", "B,b,x", "C,c,x", "01,d,x"]
    )
    assert report(source)["products_id_unique"]["status"] == "passed"


def test_repeated_texts_that_no_item_can_name_are_no_repeats_with_or_without_numbers_beside_them(tmp_path):
    for number, others in enumerate([[], ["01,d,x"]]):
        source = write_source(
            tmp_path / str(number), [f"1,1,c,{DAY}"], [f"1,1,1,5,c,{DAY}"], ["A,a,x", "A,b,x", *others]
        )
        assert report(source)["products_id_unique"]["status"] == "passed"


def test_repeated_numbers_are_repeats_also_beside_texts_that_no_item_can_name(tmp_path):
    for number, texts in enumerate([["A,c,x"], ["A,c,x", "A,d,x"]]):
        source = write_source(
            tmp_path / str(number), [f"1,1,c,{DAY}"], [f"1,1,5,5,c,{DAY}"], ["5,a,x", "5,b,x", *texts]
        )
        check = report(source)["products_id_unique"]
        assert (check["status"], check["unexpected_count"]) == ("warned", 1)


def test_products_with_equal_ids_are_repeats(tmp_path):
    source = write_source(tmp_path, [f"1,1,c,{DAY}"], [f"1,1,1,5,c,{DAY}"], ["1,a,x", "01,d,x", "2,e,x"])
    assert report(source)["products_id_unique"]["unexpected_count"] == 1


def test_orders_that_no_item_can_name_are_without_items(tmp_path):
    orders = [f"A,1,c,{DAY}", f"B,1,c,{DAY}", f"0101,1,c,{DAY}", f",1,c,{DAY}"]
    source = write_source(tmp_path, orders, [f"1,101,1,5,c,{DAY}"], ["1,a,x"])
    assert report(source)["orders_without_items"]["unexpected_count"] == 2


def test_orders_that_no_item_can_name_are_counted_once(tmp_path):
    """Whether the columns are known for text and numbers from the start, or only when "01" has shown that it matters."""
    for folder, item_order in ("one pass", "101"), ("two passes", "0101"):
        orders = [f"A,1,c,{DAY}", f"A,1,c,{DAY}", f"B,1,c,{DAY}", f"01,1,c,{DAY}", f"101,1,c,{DAY}"]
        source = write_source(tmp_path / folder, orders, [f"1,{item_order},1,5,c,{DAY}"], ["1,a,x"])
        for threads in "1", "4":
            checks = report(source, "--threads", threads)
            assert checks["orders_without_items"]["unexpected_count"] == 3, (folder, threads)


@pytest.mark.parametrize("files, threads", [(1, "1"), (4, "4"), (7, "2")])
@pytest.mark.parametrize("backwards", [False, True])
def test_status_checks_do_not_depend_on_the_order_of_rows(files, threads, backwards, tmp_path):
    statuses = [f"status {n:02}" for n in range(70)] + ["Return"] * 3 + ["shipped"] * 5
    items = [f"{n},1,1,5,{status},{DAY}" for n, status in enumerate(statuses)]
    source = write_source(tmp_path, [f"1,1,c,{DAY}"], [], ["1,a,x"])
    items = items[::-1] if backwards else items
    for n in range(files):
        write_lines(source, "order_items", items[n::files], f"part{n}.csv")
    checks = report(source, "--threads", threads)
    assert checks["order_items_status_near_miss"]["unexpected_count"] == 3
    assert checks["order_items_status_domain"]["unexpected_count"] == 73
    examples = checks["order_items_status_near_miss"]["examples"]
    assert [example["value"] for example in examples] == ["Return"]
    assert len({e["value"] for e in checks["order_items_status_domain"]["examples"]}) == 5


def test_price_that_is_no_number_is_noticed_also_where_it_counts_nowhere(tmp_path):
    items = [f"1,1,1,5,c,{DAY}", f"2,77,88,NaN,c,{DAY}"]
    source = write_source(tmp_path, [f"1,1,c,{DAY}"], items, ["1,a,x"])
    assert report(source)["sale_price_finite"]["unexpected_count"] == 1


def test_share_of_rows_left_out_for_their_price_is_a_share_of_all(tmp_path):
    source = write_source(tmp_path, [f"1,1,c,{DAY}"], [f"1,1,1,NaN,c,{DAY}"], ["1,a,x"])
    check = report(source, "--bad-rows", "skip", "--max-bad-rows", "5")["sale_price_finite"]
    assert (check["unexpected_count"], check["unexpected_percent"]) == (1, 100)


def test_row_that_is_left_out_does_not_make_a_column_text(tmp_path):
    """A footer among the orders: its id is no number, but 001 and 1 stay one order."""
    orders = [f"001,1,c,{DAY}", f"1,1,c,{DAY}", f"2,2,c,{DAY}", "TOTAL,,,"]
    source = write_source(tmp_path, orders, [f"1,1,1,5,c,{DAY}"], ["1,a,x"])
    result = kpid(
        "run", "--date", DAY, "--no-publish", "--format", "json", "--source", source_url(source),
        "--bad-rows", "skip", "--max-bad-rows", "5",
    )  # fmt: skip
    assert json.loads(result.out)["order_kpis"][0]["total_orders"] == 2


def test_too_many_bad_rows_name_the_column(tmp_path):
    source = copy_base(tmp_path / "in")
    write_lines(source, "orders", ["9,9,x,garbage"] * 3, "bad.csv")
    result = kpid(
        "run", "--date", DAY, "--no-publish", "--source", source_url(source), "--bad-rows", "skip",
        "--max-bad-rows", "2",
    )  # fmt: skip
    assert (result.code, result.error_code) == (DATA, "too_many_bad_rows")
    assert 'orders/bad.csv:2: created_at: "garbage"' in result.message
