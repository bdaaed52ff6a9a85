"""Health, version, the service's own description, and the pages behind problem types."""

import re

import pytest

from support.datasets import BASE_DATES
from support.openapi import Description
from support.problems import assert_problem
from support.server import Server

DAY = BASE_DATES[0]
UNKNOWN_ID = "01890000-0000-7000-8000-000000000000"
ROUTES = {
    ("POST", "/runs"),
    ("GET", "/runs"),
    ("GET", "/runs/{}"),
    ("GET", "/runs/{}/results"),
    ("GET", "/runs/{}/quality"),
    ("POST", "/runs/{}/cancel"),
    ("POST", "/runs/{}/retry"),
    ("GET", "/livez"),
    ("GET", "/healthz"),
    ("GET", "/readyz"),
    ("GET", "/version"),
    ("GET", "/openapi.yaml"),
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


def test_ready_names_its_checks_and_sees_a_missing_source(start_server, tmp_path):
    server = start_server(tmp_path / "gone")
    assert server.get("/livez").status == 200
    assert server.get("/healthz").status == 200
    assert server.get("/readyz").json


def test_version_names_the_api(server):
    document = server.get("/version").json
    assert document["api_version"]
    assert re.match(
        r"\d+\.\d+", str(document.get("version", document.get("service_version", "")))
    )


def test_description_lists_exactly_the_routes(description):
    assert description.document["openapi"].startswith("3.1")
    extra = description.routes - ROUTES - {("GET", "/openapi.json"), ("GET", "/")}
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


def test_answers_are_as_described(server, description):
    started = server.post("/runs", {"date": DAY})
    description.check("POST", "/runs", started)
    run = server.finish(started.json["id"])["id"]
    parameter = {
        path.split("{")[0]: path
        for path in description.document["paths"]
        if path.endswith("}")
    }
    run_path = parameter["/runs/"]
    answers = [
        ("GET", "/runs", server.get("/runs")),
        ("GET", run_path, server.get(f"/runs/{run}")),
        ("GET", run_path, server.get(f"/runs/{UNKNOWN_ID}")),
        ("GET", f"{run_path}/results", server.get(f"/runs/{run}/results")),
        (
            "GET",
            f"{run_path}/results",
            server.get(f"/runs/{run}/results?kpi=categories"),
        ),
        ("GET", f"{run_path}/results", server.get(f"/runs/{run}/results?format=csv")),
        ("GET", f"{run_path}/results", server.get(f"/runs/{run}/results?format=html")),
        ("GET", f"{run_path}/quality", server.get(f"/runs/{run}/quality")),
        ("POST", f"{run_path}/cancel", server.post(f"/runs/{run}/cancel")),
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
    ]
    for method, path, reply in answers:
        description.check(method, path, reply)


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
