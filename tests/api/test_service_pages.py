"""Health, version, the service's own description, and the pages behind problem types."""

import os
import re
import subprocess
from pathlib import Path

import pytest

from support.cli import CONFIG, kpid, source_url
from support.datasets import BASE, BASE_DATES, write_source
from support.openapi import Description
from support.problems import assert_problem
from support.server import Server
from support.tools import openapi_linter

DAY = BASE_DATES[0]
UNKNOWN_ID = "01890000-0000-7000-8000-000000000000"
ROUTES = {
    ("POST", "/runs"),
    ("GET", "/runs"),
    ("GET", "/runs/{}"),
    ("GET", "/runs/{}/events"),
    ("GET", "/runs/{}/logs"),
    ("GET", "/events"),
    ("GET", "/runs/{}/results"),
    ("GET", "/runs/{}/quality"),
    ("GET", "/days"),
    ("GET", "/kpis/orders"),
    ("GET", "/kpis/categories"),
    ("POST", "/runs/{}/cancel"),
    ("POST", "/runs/{}/retry"),
    ("GET", "/backfills"),
    ("POST", "/backfills"),
    ("GET", "/backfills/{}"),
    ("POST", "/backfills/{}/cancel"),
    ("POST", "/backfills/{}/retry"),
    ("GET", "/runs/{}/gate"),
    ("GET", "/livez"),
    ("GET", "/healthz"),
    ("GET", "/readyz"),
    ("GET", "/metrics"),
    ("GET", "/version"),
    ("GET", "/openapi.yaml"),
    ("GET", "/openapi.json"),
    ("GET", "/problems/{}"),
}
PROBLEMS = [
    "malformed-json",
    "malformed-query",
    "malformed-header",
    "unauthenticated",
    "forbidden",
    "run-not-found",
    "backfill-not-found",
    "route-not-found",
    "method-not-allowed",
    "not-acceptable",
    "run-already-active",
    "run-already-finished",
    "results-not-ready",
    "input-changed",
    "precondition-failed",
    "body-too-large",
    "unsupported-media-type",
    "validation-failed",
    "idempotency-key-reused",
    "date-in-future",
    "range-too-long",
    "run-not-succeeded",
    "queue-full",
    "too-many-watchers",
    "quota-exceeded",
    "internal-error",
    "starting",
    "draining",
    "storage-unavailable",
]


@pytest.fixture(scope="module")
def description(server):
    return Description(server)


@pytest.mark.parametrize("path", ["/livez", "/healthz", "/readyz"])
def test_health_is_good(server, path):
    assert server.get(path).status == 200


def test_health_has_a_port_of_its_own(start_server):
    server = start_server(KPI_HEALTH_LISTEN="127.0.0.1:0")
    assert server.get("/livez").status == 200
    addresses = {log["address"] for log in server.logs if "address" in log}
    assert len(addresses) == 2, addresses
    health = Server(server.db)
    health.address = (addresses - {server.address}).pop()
    assert health.get("/healthz").status == 200
    assert health.get("/runs").status == 404


@pytest.mark.parametrize("setting", ["KPI_LISTEN", "KPI_HEALTH_LISTEN"])
@pytest.mark.parametrize(
    "address, why",
    [
        (None, "already in use"),
        ("192.0.2.1:0", "Cannot assign requested address"),
    ],
)
def test_address_that_cannot_be_had_stops_the_start_and_is_named(
    server, tmp_path, setting, address, why
):
    env = {
        "KPI_LISTEN": "127.0.0.1:0",
        "KPI_DB": str(tmp_path / "k.db"),
        "KPI_SOURCE": source_url(BASE),
        setting: address or server.address,
    }
    result = kpid("serve", env=env, timeout=20)
    assert (result.code, result.error_code) == (CONFIG, "config_invalid"), result
    assert f"{setting}={env[setting]}: " in result.message
    assert why in result.message


def test_ready_names_its_checks_and_sees_a_missing_source(start_server, tmp_path):
    server = start_server(tmp_path / "gone")
    assert server.get("/livez").status == 200
    assert server.get("/healthz").status == 200
    assert server.get("/readyz").json


def test_version_names_the_api(server):
    document = server.get("/version").json
    assert document["api_version"] == "1"
    program, libraries, processor = kpid("version").out.splitlines()
    assert program == f"kpid {document['version']} (commit {document['commit']})"
    assert libraries == " ".join(f"{name}/{version}" for name, version in document["libraries"].items())
    assert processor == f"{document['architecture']}, CSV by {document['simd']}"


def lint(path: Path) -> subprocess.CompletedProcess:
    return subprocess.run(
        [*openapi_linter(), "--extends", "recommended-strict", str(path)],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=path.parent,
        env={**os.environ, "REDOCLY_TELEMETRY": "off", "REDOCLY_SUPPRESS_UPDATE_NOTICE": "true"},
    )


def test_the_linter_finds_nothing_in_the_description(server, tmp_path):
    path = tmp_path / "openapi.yaml"
    path.write_bytes(server.get("/openapi.yaml").body)
    clean = lint(path)
    assert clean.returncode == 0, clean.stderr
    path.write_text(path.read_text(encoding="utf-8").replace("operationId: getVersion", "operationId: getReadyz"), encoding="utf-8")
    assert lint(path).returncode == 1


def test_the_description_as_json_says_the_same(server, description):
    reply = server.get("/openapi.json")
    assert (reply.status, reply.media_type) == (200, "application/json")
    assert reply.json == description.document
    # Also in the same order, which readers of generated pages see.
    assert list(reply.json["paths"]) == list(description.document["paths"])


@pytest.mark.parametrize("path", ["/openapi.yaml", "/openapi.json"])
def test_the_description_is_not_sent_twice_to_who_has_it(server, description, path):
    whole = server.get(path)
    description.check("GET", path, whole)
    head = server.request("HEAD", path)
    assert (head.status, head.body) == (200, b"")
    for name in ("etag", "content-type", "content-length"):
        assert head.headers[name] == whole.headers[name]
    again = server.get(path, If_None_Match=whole.headers["etag"])
    assert (again.status, again.body) == (304, b"")
    assert server.get(path, If_None_Match='"another"').body == whole.body


def test_description_lists_exactly_the_routes(description):
    assert description.document["openapi"].startswith("3.1")
    extra = description.routes - ROUTES - {("GET", "/")}
    assert (ROUTES - description.routes, extra) == (set(), set())


def test_each_described_route_exists_and_allows_what_is_described(server, description):
    for path in {path for _, path in description.routes}:
        reply = server.request("OPTIONS", path.replace("{}", UNKNOWN_ID))
        allowed = {name.strip() for name in reply.headers["allow"].split(",")}
        described = {method for method, route in description.routes if route == path}
        assert allowed - {"HEAD", "OPTIONS"} == described, path
        assert ("HEAD" in allowed) is ("GET" in described), path


def test_operations_have_unique_ids_and_summaries(description):
    operations = [
        operation
        for item in description.document["paths"].values()
        for method, operation in item.items()
        if method in ("get", "post")
    ]
    assert len({operation["operationId"] for operation in operations}) == len(
        operations
    )
    assert all(operation["summary"] for operation in operations)


def test_objects_of_the_description_say_all_that_may_stand_in_them(description):
    assert description.vague_objects() == []


def checked_run(server, description, **fields):
    """Starts a run, and holds every answer about it against the description."""
    started = server.post("/runs", {"date": DAY, **fields})
    description.check("POST", "/runs", started)
    run = server.finish(started.json["id"])
    path = f"/runs/{run['id']}"
    for described, replies in {
        "/runs/{id}": [server.get(path), server.get(f"{path}?expect=succeeded")],
        "/runs/{id}/results": [
            server.get(f"{path}/results{query}")
            for query in (
                "",
                "?kpi=categories",
                "?kpi=categories&limit=1",
                "?format=csv",
                "?format=html",
                "?cursor=x",
                "?limit=x",
            )
        ],
        "/runs/{id}/quality": [server.get(f"{path}/quality")],
    }.items():
        for reply in replies:
            description.check("GET", described, reply)
    for verb in ("cancel", "retry"):
        reply = server.post(f"{path}/{verb}")
        description.check("POST", f"/runs/{{id}}/{verb}", reply)
    return run


def test_answers_are_as_described(server, description):
    assert checked_run(server, description)["state"] == "succeeded"
    for method, path, reply in [
        ("GET", "/runs", server.get("/runs")),
        ("GET", "/runs", server.get("/runs?date=x")),
        ("GET", "/runs/{id}", server.get(f"/runs/{UNKNOWN_ID}")),
        ("POST", "/runs", server.post("/runs", {"date": "x"})),
        (
            "POST",
            "/runs",
            server.request("POST", "/runs", "{", {"Content-Type": "application/json"}),
        ),
        ("GET", "/livez", server.get("/livez")),
        ("GET", "/healthz", server.get("/healthz")),
        ("GET", "/readyz", server.get("/readyz")),
        ("GET", "/version", server.get("/version")),
        ("GET", "/problems/{name}", server.get("/problems/validation-failed")),
        ("GET", "/problems/{name}", server.get("/problems/nonsense")),
    ]:
        description.check(method, path, reply)


def long_money(folder):
    return write_source(
        folder, [f"1,,c,{DAY}"], [f"1,1,1,98765432109876543.21,c,{DAY}"], ["1,A,x"]
    )


def text_ids(folder):
    return write_source(folder, [f"a,b,c,{DAY}"], [f"c,a,d,,,{DAY}"], ["d,A,x"])


def no_rows(folder):
    return write_source(folder, [], [], [])


def bad_date(folder):
    return write_source(folder, ["1,1,c,garbage"], [], [])


@pytest.mark.parametrize(
    "make, state",
    [
        (long_money, "succeeded"),
        (text_ids, "succeeded"),
        (no_rows, "succeeded"),
        (bad_date, "failed"),
    ],
)
def test_answers_about_other_data_are_as_described(
    start_server, description, tmp_path, make, state
):
    server = start_server(make(tmp_path / "in"))
    assert checked_run(server, description)["state"] == state


def test_every_path_describes_the_refusal_of_an_unknown_parameter(server, description):
    for method, path in sorted(description.routes):
        described = next(
            known
            for known in description.document["paths"]
            if re.sub(r"\{[^}]*\}", "{}", known) == path
        )
        target = path.replace("{}", UNKNOWN_ID) + "?unknown=1"
        reply = server.request(method, target)
        assert_problem(reply, 400, "malformed-query")
        description.check(method, described, reply)


def test_numbers_in_addresses_are_taken_as_far_as_is_described(server, description):
    run = server.run(DAY)["id"]
    tried = set()
    for path, item in description.document["paths"].items():
        for parameter in map(description.resolve, item.get("get", {}).get("parameters", [])):
            if parameter["in"] != "query" or parameter["schema"].get("type") != "integer":
                continue
            greatest = parameter["schema"].get("maximum")
            values = {10**30: False} if greatest is None else {greatest: False, greatest + 1: True}
            for value, is_refused in values.items():
                reply = server.request("HEAD", f"{path.replace('{id}', run)}?{parameter['name']}={value}")
                assert (reply.status == 400) is is_refused, (path, parameter["name"], value, reply.status)
            tried.add(parameter["name"])
    assert tried == {"after", "attempt", "limit", "wait"}


LIMITS = {
    "max_bad_rows": [
        *(0, 100, -1, 1.5, True, None, 2**63 - 1),
        *("0", "100", "5.5", "-1", "", "%", "x", "9999999999999999999", "1e3"),
        *("0%", "5%", "0.5%", "5.%", "99.99%", "100%", "100.0%"),
        *("101%", "100.1%", "1000%", ".5%", "-1%", "5%%", "5 %", "1.2.3%", " 5%"),
    ],
    "labels": [
        *({}, {"a": ""}, {"": "x"}, {"a": 1}, {"a": None}),
        *({"ü" * 64: "x"}, {"ü" * 65: "x"}, {"x" * 65: "x"}),
        *({"a": "☃" * 255}, {"a": "☃" * 256}, {"a": "x" * 256}),
        *({f"k{n}": "v" for n in range(count)} for count in (32, 33)),
    ],
    "reason": ["", "☃" * 500, "☃" * 501, 1],
}


@pytest.mark.parametrize(
    "field, value", [(field, value) for field in LIMITS for value in LIMITS[field]]
)
def test_description_allows_what_the_service_takes(server, description, field, value):
    body = {"date": "1999-01-01", "publish": False, field: value}
    reply = server.post("/runs", body)
    assert reply.status in (202, 422), reply
    assert description.accepts("RunRequest", body) is (reply.status == 202), reply


def test_description_says_the_states_of_the_state_machine(description):
    text = str(description.document)
    for state in (
        "queued",
        "running",
        "retry_wait",
        "cancelling",
        "succeeded",
        "failed",
        "cancelled",
    ):
        assert f"'{state}'" in text, state


@pytest.mark.parametrize("name", PROBLEMS)
def test_every_problem_has_a_page(server, name):
    reply = server.get(f"/problems/{name}")
    assert reply.status == 200, reply
    assert name in reply.text
    assert len(reply.text) > 80


@pytest.mark.parametrize("name", ["nonsense", "run_not_found", "..", "Run-Not-Found"])
def test_unknown_problem_has_none(server, name):
    assert_problem(server.get(f"/problems/{name}"), 404, "route-not-found")


def test_problem_page_is_the_one_that_the_type_names(server):
    kind = server.get("/nothing").json["type"]
    assert server.get("/problems/" + kind.rsplit("/", 1)[1]).status == 200
