"""Sizes: records across read blocks, and the limits of line, field, columns and categories."""

import gzip
import json
import random

import pytest

from support.cli import DATA, OK, backfill, kpid, read_tables, run_date, source_url
from support.datasets import HEADERS, copy_base, write_lines, write_source

BLOCK = 256 * 1024
MIB = 1024 * 1024
FIELD_LIMIT = 64 * 1024
DAY = "2023-01-15"


def one_order_source(folder, names):
    """One sold product, whose quoted name is each of `names` in turn, between plain rows."""
    products = [f'{n},"Cat {n % 7}","{name}"' for n, name in enumerate(names)]
    items = [f"{n},1,{n},1.25,c,{DAY}" for n in range(len(names))]
    return write_source(folder, [f"1,1,c,{DAY}"], items, products)


def category_rows(source, out, *options):
    result = backfill(source, out, *options)
    assert result.code == OK, result
    return read_tables(out)["category_kpis"]


@pytest.mark.parametrize("shift", range(-3, 4))
@pytest.mark.parametrize("inner", ['a""b', "line\r\nend", "x,y\nz", '\\"q\\\\', "\rCR"])
def test_a_quoted_cell_may_lie_across_a_block_border(inner, shift, tmp_path):
    first = '0,"Cat 0","' + "p" * 1000 + '"'
    filler = (
        BLOCK - len("id,category,name\n") - len(first) - 1 - len('1,"Filler","') + shift
    )
    pieces = [f'1,"Cat 1","{"f" * 60000}"'] * (filler // 60020)
    rest = filler - sum(len(piece) + 1 for piece in pieces)
    products = [
        first,
        *pieces,
        '2,"Cat 2","' + "r" * max(rest - 20, 0) + '"',
        f'3,"Cat 3","{inner}"',
        f'4,"Cat 4 {inner}",x',
        "5,Cat 5,x",
    ]
    items = [f"{n},1,{n},1,c,{DAY}" for n in (0, 2, 3, 4, 5)]
    source = write_source(tmp_path / "in", [f"1,1,c,{DAY}"], items, products)
    unquoted = inner.replace('""', '"').replace('\\"', '"').replace("\\\\", "\\")
    wanted = sorted(["Cat 0", "Cat 2", "Cat 3", "Cat 4 " + unquoted, "Cat 5"])
    for threads in (1, 8):
        result = backfill(source, tmp_path / str(threads), "--threads", threads)
        assert result.code == OK, result
        raw = (tmp_path / str(threads) / "category_kpis.csv").read_bytes()
        assert raw.count(b"," + DAY.encode() + b",1,1,0,1,1,0,0,0\n") == len(wanted)
        assert all(name.replace('"', '""').encode() in raw for name in wanted)


def test_quotes_spread_over_megabytes_give_the_same_bytes_for_any_thread_count(
    tmp_path,
):
    names = [
        ("x" * (n % 977)) + ',\n""' * (n % 13) + '\\"' * (n % 3) for n in range(9000)
    ]
    source = one_order_source(tmp_path / "in", names)
    assert (source / "products" / "a.csv").stat().st_size > 4 * MIB
    outputs = set()
    for threads in (1, 2, 5, 8):
        rows = category_rows(source, tmp_path / str(threads), "--threads", threads)
        assert sum(int(row["item_count"]) for row in rows) == len(names)
        outputs.add((tmp_path / str(threads) / "category_kpis.csv").read_bytes())
    assert len(outputs) == 1


def test_a_large_gzip_part_equals_the_plain_part(tmp_path):
    source = one_order_source(tmp_path / "in", ["n" * (n % 100) for n in range(30000)])
    plain = category_rows(source, tmp_path / "plain")
    part = source / "products" / "a.csv"
    (source / "products" / "a.csv.gz").write_bytes(gzip.compress(part.read_bytes()))
    part.unlink()
    assert category_rows(source, tmp_path / "gz") == plain


def strange_item(draw, number):
    """A row of items: plain, bad, quoted over lines, ragged, blank, or as long as several blocks."""
    plain = f"{number},1,{number % 50},{number % 900}.25,c,{DAY}"
    kind = draw.random()
    if kind < 0.90:
        return plain
    if kind < 0.93:
        return f"{number},1,{number % 50},not a price,c,{draw.choice([DAY, 'no date'])}"
    if kind < 0.96:
        return (
            plain
            + ',"'
            + draw.choice(["a\nb", "\r\n", '""', "x,y"]) * draw.randint(1, 900)
            + '"'
        )
    if kind < 0.98:
        return draw.choice(
            ["", "  ", plain + ",x", f"{number},1", HEADERS["order_items"]]
        )
    if kind < 0.999:
        return plain + "," + "w" * draw.randint(3000, 9000)
    return plain + ("," + "w" * 60_000) * draw.randint(1, 16)


def items_source(folder, name, content):
    write_lines(folder, "orders", [f"1,1,c,{DAY}"])
    write_lines(folder, "products", [f"{n},Cat {n % 7},x" for n in range(50)])
    (folder / "order_items").mkdir()
    (folder / "order_items" / name).write_bytes(content)
    return folder


def report_of(source, threads):
    result = kpid(
        "run",
        "--date",
        DAY,
        "--source",
        source_url(source),
        "--no-publish",
        "--format",
        "json",
        "--bad-rows",
        "skip",
        "--max-bad-rows",
        "20%",
        "--threads",
        threads,
    )
    assert result.code == OK, result
    report = json.loads(result.out.replace(".csv.gz", ".csv"))
    for profile in report["quality"]["profile"].values():
        profile.pop("bytes")
    for check in report["quality"]["checks"]:
        if check["id"] == "input_newer_than_day":
            check.pop("observed")
    return report


@pytest.mark.parametrize("seed", range(3))
def test_pieces_of_a_plain_file_give_what_its_stream_gives(seed, tmp_path):
    """A plain file is read in pieces by all workers, gzip data from its start to its end by one."""
    draw = random.Random(seed)
    rows = "".join(
        strange_item(draw, number) + draw.choice(["\n", "\r\n"])
        for number in range(12_000)
    )
    text = (HEADERS["order_items"] + "\n" + rows).encode()
    text += b"\n" * (-len(text) % BLOCK * (seed % 2))  # ends with a piece, or not
    assert len(text) > 5 * BLOCK
    plain = items_source(tmp_path / "plain", "a.csv", text)
    packed = items_source(tmp_path / "gz", "a.csv.gz", gzip.compress(text, 1))
    wanted = report_of(packed, 1)
    assert (
        wanted["category_kpis"]
        and wanted["quality"]["profile"]["order_items"]["bad_rows"] > 100
    )
    for threads in (1, 2, 8):
        assert report_of(plain, threads) == wanted


def test_files_of_several_pieces_are_read_side_by_side(tmp_path):
    for part in range(10):
        rows = (
            f"{n},1,1,1.25,c,{DAY}" for n in range(part * 30_000, (part + 1) * 30_000)
        )
        path = write_lines(tmp_path / "in", "order_items", rows, f"p{part}.csv")
        assert path.stat().st_size > 3 * BLOCK
    write_lines(tmp_path / "in", "orders", [f"1,1,c,{DAY}"])
    write_lines(tmp_path / "in", "products", ["1,Only,x"])
    for threads in (1, 3, 8):
        (row,) = category_rows(
            tmp_path / "in", tmp_path / str(threads), "--threads", threads
        )
        assert (row["item_count"], row["daily_revenue"]) == ("300000", "375000")


@pytest.mark.parametrize("threads", [1, 2, 8])
def test_the_first_bad_row_of_many_pieces_is_the_one_that_is_named(threads, tmp_path):
    rows = [f"{n},1,1,1.25,c,{DAY}" for n in range(60_000)]
    for number in (55_000, 41_234, 41_235, 59_999):
        rows[number] = f"{number},1,1,1.25,c,no date"
    source = write_source(tmp_path / "in", [f"1,1,c,{DAY}"], rows, ["1,Only,x"])
    assert (source / "order_items" / "a.csv").stat().st_size > 5 * BLOCK
    result = run_date(source, DAY, tmp_path / "out", "--threads", threads)
    assert result.code == DATA, result
    assert "order_items/a.csv:41236: " in result.message


def product_refused(source, tmp_path, line):
    result = backfill(source, tmp_path / "out")
    assert result.code == DATA, result
    assert result.error_code == "csv_malformed", result
    assert f"products/b.csv:{line}" in result.message
    assert result.hint


@pytest.mark.parametrize(
    "size, allowed", [(FIELD_LIMIT, True), (FIELD_LIMIT + 1, False)]
)
def test_field_limit(size, allowed, tmp_path):
    source = copy_base(tmp_path / "in")
    write_lines(source, "products", ["90,Toys,ok", f"91,Toys,{'n' * size}"], "b.csv")
    if allowed:
        assert backfill(source, tmp_path / "out").code == OK
    else:
        product_refused(source, tmp_path, 3)


@pytest.mark.parametrize("quoted", [False, True])
def test_a_line_longer_than_a_mebibyte_is_refused(quoted, tmp_path):
    cell = "n" * 60000
    cells = ",".join([f'"{cell}"' if quoted else cell] * 18)
    source = copy_base(tmp_path / "in")
    write_lines(source, "products", ["90,Toys,ok", f"91,Toys,{cells}"], "b.csv")
    product_refused(source, tmp_path, 3)


def test_a_line_just_below_a_mebibyte_is_read(tmp_path):
    source = copy_base(tmp_path / "in")
    write_lines(source, "products", ["1,Toys," + ",".join(["n" * 60000] * 17)], "b.csv")
    categories = {row["category"] for row in category_rows(source, tmp_path / "out")}
    assert categories == {"Electronics", "Home", "Toys"}


def many_categories(folder, count):
    return write_source(
        folder,
        [f"1,1,c,{DAY}"],
        (f"{n},1,{n},1,c,{DAY}" for n in range(count)),
        (f"{n},Cat {n:05},x" for n in range(count)),
    )


def test_five_thousand_categories_of_a_date_are_allowed(tmp_path):
    source = many_categories(tmp_path / "in", 5000)
    assert run_date(source, DAY, tmp_path / "out").code == OK
    assert len(read_tables(tmp_path / "out")["category_kpis"]) == 5000


def test_one_category_more_is_refused(tmp_path):
    result = run_date(many_categories(tmp_path / "in", 5001), DAY, tmp_path / "out")
    assert result.code == DATA, result
    assert "5000" in (result.err.replace(",", ""))
    assert result.hint


def test_many_dates_and_files(tmp_path):
    source = tmp_path / "in"
    days = [
        f"20{y:02}-{m:02}-{d:02}"
        for y in range(10, 14)
        for m in range(1, 13)
        for d in range(1, 29)
    ]
    for n, day in enumerate(days):
        write_lines(source, "orders", [f"{n},{n},c,{day}"], f"o{n}.csv")
    write_lines(
        source, "order_items", [f"{n},{n},1,0.01,c,{day}" for n, day in enumerate(days)]
    )
    write_lines(source, "products", ["1,Only,x"])
    result = kpid(
        "backfill",
        "--from",
        days[0],
        "--to",
        days[-1],
        "--no-publish",
        "--source",
        source_url(source),
        "--out",
        tmp_path / "out",
    )
    assert result.code == OK, result
    tables = read_tables(tmp_path / "out")
    assert [row["order_date"] for row in tables["order_kpis"]] == days
    assert {row["total_revenue"] for row in tables["order_kpis"]} == {"0.01"}
