"""Input in S3: the numbers of the same files on a disk, whatever keys, sizes and listings are like, and
whatever happens to the objects during a run.
"""

import gzip
import html
import itertools
import re
import threading
import time
from pathlib import Path
from urllib.parse import parse_qs, quote_plus, urlsplit

import pytest

from support.aws_site import Site
from support.cli import OK, backfill, kpid
from support.datasets import AWKWARD_NAMES, BASE, BASE_DATES, HEADERS, copy_base, write_lines, write_source
from support.faults import Answer, Exchange, Fault, Hold, Meanwhile, Pass, Rewrite, Stall, Status

DAY = BASE_DATES[0]
FILES = ("order_kpis.csv", "category_kpis.csv")
RANGE_BYTES = 8 * 1024 * 1024
BORDERS = (256 * 1024, RANGE_BYTES)  # of what one worker takes, and of what one request asks for
PLAIN_ROW_BYTES = 400
SAMPLE_DAY = "2025-03-01"
ITEMS = "order_items/order_items_part1.csv"
RESTARTS_MAX = 3


def read_files(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in FILES}


def from_files(source: Path, out: Path) -> dict[str, bytes]:
    """Both tables of all dates, from a folder."""
    result = backfill(source, out)
    assert result.code == OK, result
    return read_files(out)


def from_s3(site: Site, out: Path, **settings: object) -> dict[str, bytes]:
    """Both tables of all dates, from the site's bucket."""
    args = ("backfill", "--all", "--no-publish", "--out", out)
    result = site.kpid(*args, **settings)
    assert result.code == OK, result
    return read_files(out)


def assert_same_from_both(site: Site, source: Path, prefix: str = "Data", **settings) -> None:
    site.bucket.upload(source, prefix.rstrip("/"))
    settings["KPI_SOURCE"] = site.bucket.url(prefix)
    expected = from_files(source, site.folder / "from-files")
    assert from_s3(site, site.folder / "from-s3", **settings) == expected
    assert min(len(data.splitlines()) for data in expected.values()) > 1, "no rows"


def sizes(site: Site) -> dict[str, int]:
    """The input objects of the bucket."""
    page = site.bucket.client.list_objects_v2(Bucket=site.bucket.name)
    return {found["Key"]: found["Size"] for found in page["Contents"]}


@pytest.fixture(scope="module")
def large_source(tmp_path_factory):
    """Items that take more than two ranges."""
    folder = tmp_path_factory.mktemp("large")
    made = kpid("sample", "--out", folder, "--orders", 100_000, "--days", 2)
    assert made.code == OK, made
    assert (folder / ITEMS).stat().st_size > 2 * RANGE_BYTES
    return folder


@pytest.fixture(scope="module")
def month_source(tmp_path_factory):
    """A month of 9,000 orders."""
    folder = tmp_path_factory.mktemp("month")
    made = kpid("sample", "--out", folder, "--orders", 9_000, "--days", 31)
    assert made.code == OK, made
    return folder


# --- the same as from files --------------------------------------------------------------------


def test_a_month_gives_the_same_bytes(site, month_source):
    assert_same_from_both(site, month_source)


@pytest.mark.parametrize("concurrency", [1, 64])
def test_large_objects_give_the_same_bytes(site, large_source, concurrency):
    assert_same_from_both(site, large_source, KPI_S3_CONCURRENCY=concurrency)


def item_row(number: int, note: bytes, end: bytes = b"\n") -> bytes:
    """An item whose price no other has, so that any that is lost, doubled or torn changes the sums."""
    return b"%d,%d,%d,%d.25,c,%s,%s%s" % (number, number % 97 + 1, number % 5, number, DAY.encode(), note, end)


def items_around(borders: tuple[int, ...], note: bytes, before: int, end: bytes = b"\n") -> bytes:
    """Items of which one with a note lies so that as many bytes of it are before each border."""
    out = bytearray(HEADERS["order_items"].encode() + b",note" + end)
    number = itertools.count(1)
    for border in borders:
        while border - before - len(out) > 4 * PLAIN_ROW_BYTES:
            out += item_row(next(number), b"x" * PLAIN_ROW_BYTES, end)
        row = item_row(next(number), b"", end)
        out += row[: -len(end)] + b"y" * (border - before - len(out) - len(row)) + end
        out += item_row(next(number), note, end)
        assert border - before == out.rfind(end, 0, border - before) + len(end)
    return bytes(out + item_row(next(number), b"", end)[: -len(end)])


QUOTED = '"a\r\n\n,""b"",\u20ac\U0001f600\n"'.encode()
PLAIN = len(item_row(10**4, b""))  # about the length of one with an empty note
MEGABYTE = b",".join([b"l" * 62_500] * 16)  # cells have a limit of their own
ROWS_OVER_BORDERS = [
    *[(BORDERS, b"", before, b"\n") for before in (0, 1, 20, PLAIN - 1, PLAIN)],
    *[(BORDERS, b"", before, b"\r\n") for before in (PLAIN, PLAIN + 1)],
    *[(BORDERS, QUOTED, PLAIN - 1 + cut, b"\n") for cut in range(0, len(QUOTED) + 1, 2)],
    (BORDERS, b"l" * 9000, 4095, b"\n"),
    (BORDERS, b"l" * 9000, 4096, b"\n"),
    (BORDERS, b"l" * 9000, 5000, b"\n"),
    (BORDERS[1:], MEGABYTE, 1, b"\n"),
    (BORDERS[1:], MEGABYTE, 700_000, b"\n"),
]


@pytest.mark.parametrize("concurrency", [1, 8])
def test_rows_over_the_borders_of_pieces_and_ranges(site, tmp_path, concurrency):
    source = copy_base(tmp_path / "in")
    write_lines(source, "orders", [f"{order},{order % 7},c,{DAY}" for order in range(1, 98)], "many.csv")
    for number, case in enumerate(ROWS_OVER_BORDERS):
        (source / "order_items" / f"border-{number:02}.csv").write_bytes(items_around(*case))
    assert_same_from_both(site, source, KPI_S3_CONCURRENCY=concurrency, KPI_THREADS=3)


def test_compressed_objects(site, tmp_path):
    source = copy_base(tmp_path / "in")
    for path in list(source.glob("*/*.csv")):
        path.with_suffix(".csv.gz").write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()
    write_lines(source, "orders", [f"901,9,c,{DAY}"], "plain.csv")
    assert_same_from_both(site, source)


def encoded(answer: Answer) -> Answer:
    """A listing with the keys encoded, as Amazon S3 sends it; versitygw never does."""

    def encode(key: re.Match) -> str:
        return f"<Key>{quote_plus(html.unescape(key[1]), safe='/')}</Key>"

    page = re.sub("<Key>(.*?)</Key>", encode, answer.body.decode())
    end = "</ListBucketResult>"
    return answer.with_body(page.replace(end, f"<EncodingType>url</EncodingType>{end}").encode())


@pytest.mark.parametrize("listing", [Pass(), Rewrite(encoded)], ids=["as-it-is", "encoded"])
def test_every_awkward_key(site, tmp_path, listing):
    site.s3.spoil(listing, "ListObjectsV2")
    source = copy_base(tmp_path / "in")
    for n, name in enumerate(AWKWARD_NAMES):
        write_lines(source, "orders", [f"{900 + n},{n},c,{DAY}"], name)
    assert_same_from_both(site, source)
    asked = {request.path for request in site.s3.seen("GetObject")}
    assert len(asked) == len(list(source.glob("*/*.csv")))


@pytest.mark.parametrize(
    "prefix",
    ["Data/", "", "deep/er", "a+b &%=~'(\u00e9)/50% *,;:@!"],
    ids=["slash", "root", "deep", "awkward"],
)
def test_every_form_of_prefix(site, prefix):
    assert_same_from_both(site, BASE, prefix)


def test_an_empty_object_among_others(site, tmp_path):
    source = copy_base(tmp_path / "in")
    (source / "orders" / "empty.csv").write_bytes(b"")
    assert_same_from_both(site, source)
    assert not [get for get in site.s3.seen("GetObject") if "empty" in get.path]


def test_a_folder_that_is_named_like_an_object_holds_parts(site, tmp_path):
    source = copy_base(tmp_path / "in")
    folder = source / "orders" / "day.csv"
    folder.mkdir()
    (folder / "part-0").write_text(f"{HEADERS['orders']}\n901,9,c,{DAY}\n")
    (folder / "_SUCCESS").write_bytes(b"")
    assert_same_from_both(site, source)


# --- listing -----------------------------------------------------------------------------------


def test_listing_over_several_pages(site, tmp_path):
    source = write_source(tmp_path / "in", [], [f"1,1,1,5,c,{DAY}"], ["1,A,x"])
    for n in range(1003):
        write_lines(source, "orders", [f"{n},{n % 7},c,{DAY}"], f"{n}.csv")
    assert_same_from_both(site, source)
    listings = site.s3.seen("ListObjectsV2")
    assert [bool(page.query.get("continuation-token")) for page in listings].count(True) == 1


class ManyKeys(Fault):
    """A listing of orders that begins with 100 pages of 1,000 empty objects; the last page is the real one."""

    async def answer(self, exchange: Exchange) -> Answer:
        query = parse_qs(urlsplit(exchange.target).query)
        number = int(query.get("continuation-token", ["0"])[0])
        if not query["prefix"][0].endswith("/orders/") or number == 100:
            return await exchange.forward()
        return await Status(200, self.page(number).encode()).answer(exchange)

    @staticmethod
    def page(number: int) -> str:
        objects = "".join(
            f"<Contents><Key>Data/orders/{number:02}{n:03}.csv</Key><Size>0</Size><ETag>e</ETag>"
            "<LastModified>2026-01-01T00:00:00Z</LastModified></Contents>"
            for n in range(1000)
        )
        token = f"<NextContinuationToken>{number + 1}</NextContinuationToken>"
        more = f"<IsTruncated>true</IsTruncated>{token}"
        return f"<ListBucketResult>{more}{objects}</ListBucketResult>"


def test_listing_of_100_000_keys(site):
    site.upload().s3.spoil(ManyKeys(), "ListObjectsV2")
    run = site.server().run(DAY)
    assert run["state"] == "succeeded", run["error"]
    assert run["input"]["objects"] == 100_000 + len(site.bucket.keys())
    assert run["summary"]["total_orders"] == 2
    assert len(site.s3.seen("GetObject")) == len(site.bucket.keys())


def test_what_is_no_input_is_ignored(site):
    site.upload()
    wanted = {f"/{site.bucket.name}/{key}" for key in site.bucket.keys()}
    row = f"{HEADERS['orders']}\n999,1,c,{DAY}\n"
    names = ["_a.csv", ".b.csv", "_SUCCESS", "nested/c.csv", "notes.txt", "d.csv.bak", "e.CSV2"]
    site.bucket.put_all({f"Data/orders/{name}": row for name in names})
    site.bucket.put_all({"Data/orders_old/f.csv": row, "orders/g.csv": row, "Data/orders/h/": b""})
    run = site.server().run(DAY)
    assert (run["state"], run["input"]["objects"]) == ("succeeded", len(wanted))
    assert {get.path for get in site.s3.seen("GetObject")} == wanted


# --- ranges and progress -----------------------------------------------------------------------


def tiles(ranges: list[tuple[int, int]], size: int) -> bool:
    """Whether inclusive ranges cover `size` bytes, each once."""
    ends = [-1, *(last for _, last in sorted(ranges))]
    starts = [*(first for first, _ in sorted(ranges)), size]
    return all(start == end + 1 for end, start in zip(ends, starts, strict=True))


def test_every_range_is_of_the_version_that_was_listed(site, large_source):
    site.upload(large_source)
    run = site.server().run(SAMPLE_DAY)
    assert run["state"] == "succeeded", run["error"]
    ranges: dict[str, list] = {key: [] for key in sizes(site)}
    for get in site.s3.seen("GetObject"):
        key = get.path.removeprefix(f"/{site.bucket.name}/")
        first, last = map(int, re.fullmatch(r"bytes=(\d+)-(\d+)", get.headers["range"]).groups())
        assert last - first < RANGE_BYTES and get.status == 206
        head = site.bucket.client.head_object(Bucket=site.bucket.name, Key=key)
        assert get.headers["if-match"] == head["ETag"]
        ranges[key].append((first, last))
    assert all(tiles(ranges[key], size) for key, size in sizes(site).items()), ranges
    assert max(map(len, ranges.values())) > 1


def test_progress_ends_at_exactly_the_bytes_of_the_input(site, large_source):
    site.upload(large_source)
    run = site.server().run(SAMPLE_DAY)
    found = sizes(site)
    assert run["input"]["objects"] == run["progress"]["files_done"] == len(found)
    assert run["input"]["bytes"] == sum(found.values())
    assert run["progress"]["bytes_read"] == run["progress"]["bytes_total"] == run["input"]["bytes"]
    assert run["input"]["base"] == site.bucket.url()


def test_fingerprint_changes_with_the_objects_only(site):
    server = site.upload().server()
    first, second = (server.run(DAY)["input"]["fingerprint"] for _ in range(2))
    site.bucket.put("Data/orders/new.csv", f"{HEADERS['orders']}\n901,9,c,{DAY}\n")
    third = server.run(DAY)["input"]["fingerprint"]
    assert first == second != third


# --- objects that change during a run ----------------------------------------------------------


def orders_of(run: dict) -> int:
    assert run["state"] == "succeeded", run["error"]
    return run["summary"]["total_orders"]


def order_lines(*numbers: int) -> str:
    return "\n".join([HEADERS["orders"], *(f"{n},{n},c,{DAY}" for n in numbers)]) + "\n"


@pytest.fixture
def changing(site):
    """A site whose orders are 1 and 2, in two objects."""
    site.upload()
    site.bucket.delete(*site.bucket.keys("Data/orders/"))
    site.bucket.put("Data/orders/a.csv", order_lines(1))
    site.bucket.put("Data/orders/b.csv", order_lines(2))
    return site


def restarts(server) -> int:
    return len([log for log in server.logs if log.get("event") == "run.restarted"])


def replace(site: Site) -> None:
    site.bucket.put("Data/orders/b.csv", order_lines(2, 3, 4))


def delete(site: Site) -> None:
    site.bucket.delete("Data/orders/b.csv")


@pytest.mark.parametrize("change, orders", [(replace, 4), (delete, 1)], ids=["replaced", "deleted"])
def test_object_that_changes_after_the_listing_restarts_the_run(changing, change, orders):
    changing.s3.spoil(Meanwhile(lambda: change(changing)), "GetObject", path="orders/b", times=1)
    server = changing.server()
    assert orders_of(server.run(DAY)) == orders
    assert restarts(server) == 1
    assert changing.tables.day("order", DAY)[0]["total_orders"] == orders


def test_object_that_changes_between_its_ranges_restarts_the_run(site, large_source):
    new = "\n".join([HEADERS["order_items"], f"1,1,1,5,c,{SAMPLE_DAY}"]) + "\n"
    site.upload(large_source)
    site.s3.spoil(
        Meanwhile(lambda: site.bucket.put(f"Data/{ITEMS}", new)),
        "GetObject",
        path=ITEMS,
        headers={"range": f"bytes={RANGE_BYTES}-"},
        times=1,
    )
    server = site.server()
    run = server.run(SAMPLE_DAY)
    assert (run["state"], restarts(server)) == ("succeeded", 1), run["error"]
    assert run["input"]["bytes"] == run["progress"]["bytes_read"] == sum(sizes(site).values())


def test_object_that_never_rests_fails_after_three_restarts(changing):
    number = itertools.count(10)
    changing.s3.spoil(
        Meanwhile(lambda: changing.bucket.put("Data/orders/b.csv", order_lines(next(number)))),
        "GetObject",
        path="orders/b",
    )
    server = changing.server()
    run = server.run(DAY)
    assert (run["state"], run["error"]["code"]) == ("failed", "s3_object_changed")
    assert run["error"]["details"]["key"] == "Data/orders/b.csv"
    assert restarts(server) == RESTARTS_MAX
    assert changing.tables.snapshot() == {"category": [], "order": [], "control": []}
    changing.s3.heal()
    assert orders_of(server.run(DAY)) == 2


def test_last_object_of_a_data_set_that_vanishes_leaves_no_objects(changing):
    delete(changing)
    changing.s3.spoil(Meanwhile(lambda: changing.bucket.delete("Data/orders/a.csv")), "GetObject", path="orders/a")
    run = changing.server().run(DAY)
    assert (run["state"], run["error"]["code"]) == ("failed", "s3_no_objects")


def test_object_that_appears_after_the_listing_belongs_to_the_next_run(changing):
    changing.s3.spoil(
        Meanwhile(lambda: changing.bucket.put("Data/orders/c.csv", order_lines(3))),
        "GetObject",
        path="orders/a",
        times=1,
    )
    server = changing.server()
    first, second = server.run(DAY), server.run(DAY)
    assert (orders_of(first), orders_of(second)) == (2, 3)
    assert restarts(server) == 0


# --- cancelling --------------------------------------------------------------------------------


@pytest.mark.parametrize("operation", ["ListObjectsV2", "GetObject"])
def test_cancel_ends_a_hanging_request_at_once(site, operation):
    gate = threading.Event()
    site.upload().s3.spoil(Hold(gate), operation)
    server = site.server()
    run = server.start_run(DAY)
    site.s3.wait_for(operation)
    assert_cancels_fast(server, run["id"])
    gate.set()
    site.s3.heal()
    assert server.get("/healthz").status == 200
    assert server.run(DAY)["state"] == "succeeded"


def test_cancel_ends_a_body_that_has_stopped_arriving(site):
    site.upload().s3.spoil(Stall(60, at=5), "GetObject")
    server = site.server()
    run = server.start_run(DAY)
    site.s3.wait_for("GetObject")
    assert_cancels_fast(server, run["id"])
    site.s3.heal()
    assert server.run(DAY)["state"] == "succeeded"


def assert_cancels_fast(server, run_id: str) -> None:
    asked = time.monotonic()
    assert server.post(f"/runs/{run_id}/cancel").status in (200, 202)
    assert server.finish(run_id)["state"] == "cancelled"
    assert time.monotonic() - asked < 2
