"""Bad requests get the right problem document and change nothing."""

import json

import pytest

from support.datasets import BASE_DATES
from support.problems import assert_problem, problem_name

DAY = BASE_DATES[0]
JSON = {"Content-Type": "application/json"}
MALFORMED = (400, "malformed-json")
INVALID = (422, "validation-failed")


@pytest.fixture(autouse=True)
def nothing_changes(server):
    """No request of this module may leave a run behind."""
    yield
    assert server.all_runs() == []
    assert server.get("/livez").status == 200


def refused(reply, *allowed):
    """The answer is one of the allowed (status, problem) pairs."""
    assert (reply.status, problem_name(reply)) in allowed, reply
    return reply.json


def post_text(server, text, headers=JSON):
    return server.request("POST", "/runs", text, dict(headers))


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "{",
        '{"date":',
        f'{{"date":"{DAY}"',
        f'{{"date":"{DAY}"}}x',
        f"{{'date':'{DAY}'}}",
        "nul",
        f'{{"date":"{DAY}",}}',
        '{"date":"\t"}',
        "[" * 100,
        '{"a":' * 5000,
        f'\ufeff{{"date":"{DAY}"}} {{}}',
    ],
    ids=lambda text: repr(text[:20]),
)
def test_malformed_json(server, text):
    refused(post_text(server, text), MALFORMED, INVALID)


@pytest.mark.parametrize("text", ["[]", '"2023-01-15"', "null", "15", "true"])
def test_json_that_is_no_object(server, text):
    refused(post_text(server, text), MALFORMED, INVALID)


@pytest.mark.parametrize(
    "body",
    [
        b'{"date":"2023-01-1\xff"}',
        b'{"da\xc3te":"2023-01-15"}',
        b"\xff\xfe{\x00}\x00",
        b'{"reason":"\xed\xa0\x80","date":"2023-01-15"}',
        b'{"date":"2023-01-15","reason":"\xc0\x80"}',
    ],
)
def test_json_that_is_no_utf8(server, body):
    refused(post_text(server, body), MALFORMED, INVALID)


@pytest.mark.parametrize(
    "text",
    [
        f'{{"date":"{DAY}","date":"{DAY}"}}',
        f'{{"date":"{DAY}","labels":{{"a":"1","a":"2"}}}}',
        f'{{"date":"{DAY}\\u0000"}}',
        f'{{"date":"{DAY}","reason":"\\ud800"}}',
        f'{{"date":"{DAY}","reason":"a\\u0000b"}}',
        f'{{"date":"{DAY}","labels":' + '{"a":' * 40 + "1" + "}" * 41,
        f'{{"date":"{DAY}","timeout_seconds":1e999}}',
        f'{{"date":"{DAY}","max_bad_rows":{"9" * 400}}}',
    ],
    ids=[
        "twice",
        "label twice",
        "NUL in date",
        "lone surrogate",
        "NUL in reason",
        "deep",
        "infinite",
        "huge number",
    ],
)
def test_hostile_json(server, text):
    refused(post_text(server, text), MALFORMED, INVALID)


@pytest.mark.parametrize(
    "name", ["dat", "Date", "datee", "pubish", "__proto__", "", "date ", "DATE"]
)
def test_unknown_field_is_named(server, name):
    problem = assert_problem(server.post("/runs", {"date": DAY, name: "x"}), *INVALID)
    assert f"/{name}" in [error["pointer"] for error in problem["errors"]]


@pytest.mark.parametrize(
    "date",
    [
        "2023-02-29",
        "2023-02-30",
        "2023-13-01",
        "2023-00-10",
        "2023-1-5",
        "20230115",
        "15.01.2023",
        "2023-01-15T00:00:00Z",
        " 2023-01-15",
        "2023-01-15 ",
        "",
        "tomorrow",
        "Yesterday",
        "0000-01-01",
        "10000-01-01",
        "-023-01-15",
        "2023-01-15\n",
        "２０２３-01-15",
        20230115,
        None,
        True,
        ["2023-01-15"],
        {"y": 2023},
    ],
)
def test_impossible_date(server, date):
    problem = assert_problem(server.post("/runs", {"date": date}), *INVALID)
    assert [error["pointer"] for error in problem["errors"]] == ["/date"]
    assert all(error["detail"] for error in problem["errors"])


def test_missing_date(server):
    problem = assert_problem(server.post("/runs", {}), *INVALID)
    assert "/date" in [error["pointer"] for error in problem["errors"]]


@pytest.mark.parametrize("date", ["2999-01-01", "9999-12-31"])
def test_date_in_the_future(server, date):
    assert_problem(server.post("/runs", {"date": date}), 422, "date-in-future")


@pytest.mark.parametrize(
    "field, value",
    [
        ("publish", "true"),
        ("publish", 1),
        ("publish", None),
        ("quality_gate", "sometimes"),
        ("quality_gate", 1),
        ("bad_rows", "ignore"),
        ("bad_rows", True),
        ("max_bad_rows", -1),
        ("max_bad_rows", "-1"),
        ("max_bad_rows", "101%"),
        ("max_bad_rows", "x"),
        ("max_bad_rows", 1.5),
        ("max_bad_rows", True),
        ("labels", []),
        ("labels", "x"),
        ("labels", {"a": 1}),
        ("labels", {"a": None}),
        ("labels", {f"k{n}": "v" for n in range(33)}),
        ("reason", 5),
        ("reason", "x" * 501),
    ],
)
def test_wrong_value_of_a_field(server, field, value):
    problem = assert_problem(
        server.post("/runs", {"date": DAY, field: value}), *INVALID
    )
    assert any(
        error["pointer"].startswith(f"/{field}") for error in problem["errors"]
    ), problem


def test_all_wrong_fields_are_reported_together(server):
    problem = assert_problem(
        server.post("/runs", {"date": "x", "publish": "x", "nonsense": 1}), *INVALID
    )
    assert {error["pointer"] for error in problem["errors"]} == {
        "/date",
        "/publish",
        "/nonsense",
    }


def test_body_of_64_kib_is_read_and_one_byte_more_is_not(server):
    def body(size):
        frame = len('{"date":"x","reason":""}')
        return json.dumps(
            {"date": "x", "reason": "r" * (size - frame)}, separators=(",", ":")
        )

    assert len(body(65536)) == 65536
    refused(post_text(server, body(65536)), INVALID)
    assert_problem(post_text(server, body(65537)), 413, "body-too-large")


@pytest.mark.parametrize(
    "media_type",
    [
        "text/plain",
        "application/xml",
        "multipart/form-data; boundary=x",
        "application/jsonx",
        "nonsense",
        "application/json-patch+json",
    ],
)
def test_unsupported_media_type(server, media_type):
    reply = post_text(server, f'{{"date":"{DAY}"}}', {"Content-Type": media_type})
    assert_problem(reply, 415, "unsupported-media-type")


@pytest.mark.parametrize(
    "body",
    [
        "",
        "date=",
        "date=2023-02-30",
        "nonsense=1",
        "date=2023-01-15&date=2023-01-16",
        "date=2023-01-15&x=1",
        "date=%zz",
        "date=2023-01-15%00",
    ],
)
def test_bad_form(server, body):
    reply = post_text(
        server, body, {"Content-Type": "application/x-www-form-urlencoded"}
    )
    assert reply.status in (400, 422), reply
    problem_name(reply)


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/run",
        "/runs/",
        "/Runs",
        "/runs/a/b/c",
        "//runs",
        "/runs/../runs",
        "/favicon.ico",
        "/problems",
        "/problems/",
        "/runs/x/nonsense",
    ],
)
def test_unknown_path(server, path):
    assert_problem(
        server.post(path, {"date": DAY}), 404, "route-not-found", "run-not-found"
    )


@pytest.mark.parametrize(
    "path", ["/runs%00", "/%72uns", "/runs/%2e%2e/livez", "/livez%00x"]
)
def test_percent_in_a_path(server, path):
    assert server.request("GET", path).status in (400, 404)


@pytest.mark.parametrize(
    "method, path, allowed",
    [
        ("DELETE", "/runs", "POST"),
        ("PUT", "/runs", "POST"),
        ("PATCH", "/runs/x", "GET"),
        ("POST", "/runs/x", "GET"),
        ("DELETE", "/runs/x", "GET"),
        ("GET", "/runs/x/cancel", "POST"),
        ("POST", "/livez", "GET"),
        ("POST", "/version", "GET"),
        ("TRACE", "/runs", "POST"),
        ("CONNECT", "/runs", "POST"),
        ("PROPFIND", "/runs", "GET"),
        ("get", "/runs", "GET"),
    ],
)
def test_wrong_method_names_the_right_ones(server, method, path, allowed):
    reply = server.request(method, path)
    if reply.status != 501 and not (method == "CONNECT" and reply.status == 400):
        assert_problem(reply, 405, "method-not-allowed")
        assert allowed in [name.strip() for name in reply.headers["allow"].split(",")]


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=201",
        "limit=-1",
        "limit=x",
        "limit=1.5",
        "limit=",
        "cursor=x",
        "cursor=%27%3B--",
        "state=nonsense",
        "date=2023-02-30",
        "limit=99999999999999999999",
    ],
)
def test_bad_query_of_the_list(server, query):
    reply = server.get(f"/runs?{query}")
    refused(reply, (400, "malformed-query"), INVALID)


@pytest.mark.parametrize("wait", ["x", "-1", "1e9", "", "1;2", "0x10"])
def test_bad_wait(server, wait):
    refused(
        server.post(f"/runs?wait={wait}", {"date": DAY}),
        (400, "malformed-query"),
        INVALID,
    )


def test_problem_carries_the_request_id(server):
    reply = server.get("/nothing", X_Request_Id="test-4711")
    assert reply.headers["x-request-id"] == "test-4711"
    assert assert_problem(reply, 404, "route-not-found")["request_id"] == "test-4711"


def test_hostile_request_id_is_replaced(server):
    reply = server.get("/nothing", X_Request_Id="a" * 5000)
    assert len(reply.headers.get("x-request-id", "")) < 300


def test_very_long_target_is_refused(server):
    reply = server.get("/runs?cursor=" + "x" * 5000)
    assert 400 <= reply.status < 500, reply
