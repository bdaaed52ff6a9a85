"""GET /runs/{id}/results and /quality: tables, pages, formats, and text that must stay text."""

import base64
import csv
import html
import io
import json
import re
from decimal import Decimal
from html.parser import HTMLParser

import pytest

from support.cli import CATEGORY_COLUMNS, ORDER_COLUMNS, kpid, source_url
from support.datasets import BASE, BASE_DATES, write_source
from support.problems import assert_problem, problem_name
from support.server import Server

DAY = BASE_DATES[0]
LONGEST_CATEGORY = 2048
HOSTILE = [
    "<script>alert(1)</script>",
    "=1+1",
    "+1",
    "-1+2",
    "@SUM(A1)",
    "\tx",
    '"><img src=x>',
    "a,b",
    'q"q',
    "l\nf",
    "&amp;",
    "plain",
    "\rx",
]


def opaque(text):
    """A cursor that stands for a text."""
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


@pytest.fixture(scope="module")
def run(server):
    return server.run(DAY)["id"]


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    """A server with category names that mean something to browsers and spreadsheets."""
    folder = tmp_path_factory.mktemp("hostile")
    quoted = ['"' + name.replace('"', '""') + '"' for name in HOSTILE]
    write_source(
        folder / "in",
        [f"1,1,c,{DAY}"],
        [f"{n},1,{n},-2.5,c,{DAY}" for n in range(len(HOSTILE))],
        [f"{n},{name},x" for n, name in enumerate(quoted)],
    )
    running = Server(folder / "k.db", folder / "in").start()
    yield running, running.run(DAY)["id"]
    running.kill()


def results(server, run, query="", **headers):
    return server.get(f"/runs/{run}/results{query}", **headers)


def cell_names(document):
    return [column["name"] for column in document["columns"]]


@pytest.mark.parametrize(
    "kpi, columns, table",
    [
        ("orders", ORDER_COLUMNS, "order_kpis"),
        ("categories", CATEGORY_COLUMNS, "category_kpis"),
    ],
)
def test_json_is_what_the_command_line_prints(server, run, kpi, columns, table):
    reply = results(server, run, f"?kpi={kpi}")
    assert (reply.status, reply.media_type) == (200, "application/json"), reply
    assert cell_names(reply.json) == columns
    assert all(column["type"] for column in reply.json["columns"])
    printed = kpid(
        "run",
        "--date",
        DAY,
        "--no-publish",
        "--source",
        source_url(BASE),
        "--format",
        "json",
    ).out
    assert (
        json.loads(reply.text, parse_float=str)["rows"]
        == json.loads(printed, parse_float=str)[table]
    )
    assert reply.json["next_cursor"] is None


def test_rows_page_in_order_without_loss(server, run):
    whole = results(server, run, "?kpi=categories").json["rows"]
    first = results(server, run, "?kpi=categories&limit=1")
    second = results(
        server, run, f"?kpi=categories&limit=1&cursor={first.json['next_cursor']}"
    )
    assert first.json["rows"] + second.json["rows"] == whole
    assert second.json["next_cursor"] is None
    assert 'rel="next"' in first.headers["link"]
    assert "link" not in second.headers


@pytest.fixture(scope="module")
def long_names(tmp_path_factory):
    """A server with categories as long as they may be."""
    folder = tmp_path_factory.mktemp("long")
    names = [letter * LONGEST_CATEGORY for letter in "abc"]
    write_source(
        folder / "in",
        [f"1,1,c,{DAY}"],
        [f"{n},1,{n},1,c,{DAY}" for n in range(len(names))],
        [f"{n},{name},x" for n, name in enumerate(names)],
    )
    running = Server(folder / "k.db", folder / "in").start()
    yield running, running.run(DAY)["id"], names
    running.kill()


def linked_pages(server, path, next_of):
    """The replies from `path` on, as long as one names a next page."""
    replies = []
    while path:
        replies.append(server.get(path))
        assert replies[-1].status == 200, replies[-1]
        path = next_of(replies[-1])
    return replies


def by_link_header(reply):
    found = re.match(r'<([^>]*)>; rel="next"$', reply.headers.get("link", ""))
    return found and found[1]


def by_html_link(reply):
    found = re.search(r'<a href="([^"]*)">Next page</a>', reply.text)
    return found and html.unescape(found[1])


@pytest.mark.parametrize(
    "form, next_of",
    [
        ("json", by_link_header),
        ("csv", by_link_header),
        ("html", by_link_header),
        ("html", by_html_link),
    ],
)
def test_pages_of_long_names_can_be_followed(long_names, form, next_of):
    server, run, names = long_names
    first = f"/runs/{run}/results?kpi=categories&limit=1&format={form}"
    pages = linked_pages(server, first, next_of)
    assert [name for page in pages for name in names if name in page.text] == names


def test_cursor_is_short_whatever_the_category(long_names):
    server, run, names = long_names
    page, seen = results(server, run, "?kpi=categories&limit=1").json, []
    while True:
        seen.append(page["rows"][0]["category"])
        if page["next_cursor"] is None:
            break
        assert len(page["next_cursor"]) <= 128
        query = f"?kpi=categories&limit=1&cursor={page['next_cursor']}"
        page = results(server, run, query).json
    assert seen == names


@pytest.mark.parametrize(
    "cursor",
    [
        "nonsense",
        "",
        "*",
        opaque(f"{DAY}Electronics"),
        opaque("categories"),
        opaque("categories x"),
        opaque("categories -1"),
        opaque("categories 99999999999999999999"),
        opaque("orders 1"),
    ],
)
def test_wrong_cursor_is_told_as_one_of_the_list_of_runs(server, run, cursor):
    for reply in (
        results(server, run, f"?kpi=categories&cursor={cursor}"),
        server.get(f"/runs?cursor={cursor}"),
    ):
        problem = assert_problem(reply, 422, "validation-failed")
        assert [error["pointer"] for error in problem["errors"]] == ["cursor"]


@pytest.mark.parametrize(
    "kpi, columns", [("orders", ORDER_COLUMNS), ("categories", CATEGORY_COLUMNS)]
)
@pytest.mark.parametrize("by_accept", [False, True])
def test_csv_has_a_header_and_a_file_name(server, run, kpi, columns, by_accept):
    reply = (
        results(server, run, f"?kpi={kpi}", Accept="text/csv")
        if by_accept
        else results(server, run, f"?kpi={kpi}&format=csv")
    )
    assert (reply.status, reply.media_type) == (200, "text/csv"), reply
    assert "filename=" in reply.headers["content-disposition"]
    assert next(csv.reader(io.StringIO(reply.text))) == columns


def test_html_is_chosen_by_accept_or_format(server, run):
    for reply in (
        results(server, run, "?kpi=categories&format=html"),
        results(server, run, "?kpi=categories", Accept="text/html,*/*;q=0.1"),
    ):
        assert (reply.status, reply.media_type) == (200, "text/html"), reply
        assert "Electronics" in reply.text
        assert "default-src 'none'" in reply.headers["content-security-policy"]
        assert reply.headers["x-content-type-options"] == "nosniff"
        assert reply.headers["referrer-policy"] == "no-referrer"


def test_format_wins_over_accept(server, run):
    assert (
        results(server, run, "?format=json", Accept="text/html").media_type
        == "application/json"
    )


def test_json_is_the_default(server, run):
    for accept in ("*/*", "application/json", "application/*"):
        assert results(server, run, "", Accept=accept).media_type == "application/json"


@pytest.mark.parametrize(
    "accept", ["image/png", "application/xml", "text/html;q=0, image/*"]
)
def test_unknown_media_type_is_not_acceptable(server, run, accept):
    assert_problem(results(server, run, "", Accept=accept), 406, "not-acceptable")


@pytest.mark.parametrize(
    "query",
    [
        "?kpi=nonsense",
        "?format=xml",
        "?limit=0",
        "?limit=201",
        "?limit=x",
    ],
)
def test_bad_query_is_refused(server, run, query):
    reply = results(server, run, query)
    assert reply.status in (400, 406, 422), reply
    problem_name(reply)


def test_etag_of_results_is_honoured(server, run):
    first = results(server, run)
    assert results(server, run, If_None_Match=first.headers["etag"]).status == 304
    assert results(server, run, "?format=csv").headers["etag"] != first.headers["etag"]


def test_head_is_get_without_a_body(server, run):
    for path in (f"/runs/{run}/results", f"/runs/{run}", "/runs", "/livez"):
        reply = server.request("HEAD", path)
        assert (reply.status, reply.body) == (200, b"")


def test_json_keeps_hostile_names_verbatim(hostile):
    server, run = hostile
    rows = results(server, run, "?kpi=categories").json["rows"]
    assert [row["category"] for row in rows] == sorted(HOSTILE, key=str.encode)


def test_csv_neutralises_formulas_and_only_them(hostile):
    server, run = hostile
    reply = results(server, run, "?kpi=categories&format=csv")
    rows = list(csv.DictReader(io.StringIO(reply.text, newline="")))
    assert len(rows) == len(HOSTILE)
    names = {row["category"] for row in rows}
    assert not any(name[0] in "=+-@\t\r" for name in names), names
    assert names >= {"plain", "a,b", 'q"q', "l\nf", "&amp;"}
    assert {row["daily_revenue"] for row in rows} == {"-2.5"}


class Tags(HTMLParser):
    """Collects the tags and the text of a page."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.texts = [], []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.texts.append(data)


def test_html_escapes_hostile_names_and_has_no_script(hostile):
    server, run = hostile
    page = Tags(results(server, run, "?kpi=categories&format=html").text)
    names = {tag for tag, _ in page.tags}
    assert not names & {"script", "img", "iframe", "object"}
    assert not any(name.startswith("on") for _, attrs in page.tags for name in attrs)
    assert "<script>alert(1)</script>" in "".join(page.texts)
    assert "&amp;" in "".join(page.texts)


def test_results_of_an_active_run_are_not_ready(slow_server):
    slow_server.start_run(DAY)
    queued = slow_server.start_run("2023-02-02")["id"]
    reply = slow_server.get(f"/runs/{queued}/results")
    problem = assert_problem(reply, 409, "results-not-ready")
    assert problem["retryable"] is True
    assert "retry-after" in reply.headers


def test_results_that_will_never_come_are_not_worth_waiting_for(start_server, tmp_path):
    server = start_server(write_source(tmp_path / "in", ["1,1,c,garbage"], [], []))
    run = server.run(DAY)
    assert run["state"] == "failed"
    for reply in (
        server.get(f"/runs/{run['id']}/results"),
        server.post(f"/runs/{run['id']}/retry", {"from": "publish"}),
    ):
        problem = assert_problem(reply, 409, "results-not-ready")
        assert problem["retryable"] is False
        assert "retry-after" not in reply.headers


def test_quality_report_lists_its_checks(server, run):
    report = server.get(f"/runs/{run}/quality")
    assert (report.status, report.media_type) == (200, "application/json"), report
    assert report.json["status"] in ("passed", "warned", "failed")
    assert len(report.json["checks"]) >= 8
    assert server.get(f"/runs/{run}").json["quality"]["status"] == report.json["status"]


def test_quality_report_as_html_escapes_values(start_server, tmp_path):
    source = write_source(
        tmp_path / "in",
        [f"1,1,c,{DAY}"],
        [f"1,1,1,<script>x</script>,c,{DAY}"],
        ["1,A,x"],
    )
    server = start_server(source)
    run = server.run(DAY)["id"]
    reply = server.get(f"/runs/{run}/quality", Accept="text/html")
    assert reply.media_type == "text/html"
    assert "script" not in {tag for tag, _ in Tags(reply.text).tags}
    assert "<script>x</script>" in server.get(f"/runs/{run}/quality").text


def test_money_beyond_17_digits_has_an_exact_twin(start_server, tmp_path):
    source = write_source(
        tmp_path / "in",
        [f"1,1,c,{DAY}"],
        [f"1,1,1,98765432109876543.21,c,{DAY}"],
        ["1,A,x"],
    )
    server = start_server(source)
    run = server.run(DAY)
    row = results(server, run["id"], "?kpi=orders").json["rows"][0]
    assert row["total_revenue_exact"] == "98765432109876543.21"
    assert run["summary"]["total_revenue_exact"] == "98765432109876543.21"
    assert Decimal(str(row["total_revenue"])) == pytest.approx(
        Decimal("98765432109876543.21"), rel=Decimal("1e-15")
    )
