"""Cases of one fault each: what is spoiled, how often, and how the run must end; and the proof of it."""

from dataclasses import dataclass, field

from support.aws_site import Site
from support.datasets import BASE_DATES, HEADERS
from support.faults import REQUEST_ID, Fault, Status
from support.fault_proxy import MAX_RULE_TIMES, Rule
from support.server import Server

DAY = BASE_DATES[0]
NUMBER_OF_ORDERS = 3
LATE = f"{HEADERS['orders']}\n901,9,c,{DAY}\n"

# The closed list, as far as AWS can end a run: who has to act, and whether the same again may succeed.
CODES = {
    "s3_access_denied": ("client", False),
    "s3_no_such_bucket": ("client", False),
    "s3_no_objects": ("data", False),
    "s3_throttled": ("upstream", True),
    "s3_unavailable": ("upstream", True),
    "s3_object_changed": ("data", True),
    "s3_timeout": ("upstream", True),
    "source_unreadable": ("upstream", True),
    "dynamodb_access_denied": ("client", False),
    "dynamodb_table_missing": ("client", False),
    "dynamodb_schema_mismatch": ("client", False),
    "dynamodb_throttled": ("upstream", True),
    "dynamodb_validation": ("data", False),
    "dynamodb_unavailable": ("upstream", True),
    "newer_run_published": ("client", False),
    "credentials_missing": ("client", False),
    "credentials_expired": ("client", True),
}
SUCCEEDED = "succeeded"
EVER = MAX_RULE_TIMES


@dataclass(frozen=True)
class Case:
    """A fault of an operation, so many times, and the end: succeeded, or the code of the error."""

    name: str
    fault: Fault
    operation: str
    end: str
    times: int = EVER
    match: dict[str, str] = field(default_factory=dict)
    settings: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        often = "ever" if self.times == EVER else f"{self.times}x"
        return f"{self.operation} {self.name} {often}"

    @property
    def service(self) -> str:
        return "s3" if "Object" in self.operation else "dynamodb"


def once_and_ever(name: str, fault: Fault, operations: str, end: str, **more) -> list[Case]:
    """One fault is survived; one without an end ends the run with a code."""
    return [
        case
        for operation in operations.split()
        for case in (
            Case(name, fault, operation, SUCCEEDED, 1, **more),
            Case(name, fault, operation, end, **more),
        )
    ]


def by_name(cases: list[Case]) -> dict:
    """What parametrize takes."""
    return {"argnames": "case", "argvalues": cases, "ids": str}


def end_of(run: dict) -> str:
    return run["error"]["code"] if run["state"] == "failed" else run["state"]


def assert_error(run: dict, code: str, service: str | None = None) -> dict:
    """A failed run that tells all that an operator needs; returns the details."""
    error = run["error"]
    category, retryable = CODES[code]
    assert (run["state"], error["code"]) == ("failed", code), error
    assert (error["category"], error["retryable"]) == (category, retryable), error
    assert error["hint"] and error["message"] and error["phase"], error
    if service:
        assert error["details"]["aws_service"] == service, error
    return error["details"]


def assert_details(run: dict, case: Case) -> None:
    """The details name the call, and what the service said of it."""
    if case.end == "newer_run_published":  # found out by comparing control rows, not by a call
        assert_error(run, case.end)
        return
    details = assert_error(run, case.end, case.service)
    assert details["aws_operation"] == case.operation, details
    if case.service == "s3":
        assert details["bucket"] and (case.operation != "GetObject" or details["key"]), details
    if isinstance(case.fault, Status):
        assert details["http_status"] == case.fault.status, details
        assert details["aws_request_id"] == REQUEST_ID, details


def publish_before(site: Site) -> dict:
    """Something is published, and the inputs have changed since: the next run has something to write."""
    site.upload()
    first = site.kpid("run", "--date", DAY)
    assert first.code == 0, first
    site.bucket.put("Data/orders/late.csv", LATE)
    site.s3.clear()
    site.dynamodb.clear()
    return site.tables.snapshot()


def assert_recovers(site: Site, server: Server) -> None:
    """Healthy, and a clean run publishes everything."""
    site.s3.heal()
    site.dynamodb.heal()
    assert server.get("/healthz").status == 200
    run = server.run(DAY)
    assert run["state"] == SUCCEEDED, run["error"]
    assert_published(site)


def assert_published(site: Site) -> None:
    assert site.tables.day("order", DAY)[0]["total_orders"] == NUMBER_OF_ORDERS
    assert "pending" not in (site.tables.control_row(DAY) or {})


def spoil(site: Site, case: Case) -> Rule:
    proxy = site.s3 if case.service == "s3" else site.dynamodb
    return proxy.spoil(case.fault, case.operation, times=case.times, **case.match)


def prove(site: Site, case: Case, *others: Case) -> str:
    """The run ends as the case says, nothing wrong is published, and the next run is good. Returns a line.

    `others` are faults that are there as well.
    """
    before = publish_before(site)
    server = site.server(**case.settings)
    rule, *_ = [spoil(site, each) for each in (case, *others)]
    run = server.run(DAY)
    line = row(case, run, rule.hits)
    assert rule.hits > 0, "the fault never happened"
    assert end_of(run) == case.end, (line, run["error"])
    if case.end == SUCCEEDED:
        assert_published(site)
    else:
        assert_details(run, case)
        assert site.tables.snapshot() == before
    assert_recovers(site, server)
    return line


def row(case: Case, run: dict, hits: int) -> str:
    details = (run["error"] or {}).get("details", {})
    told = [str(details[key]) for key in ("aws_error", "http_status") if key in details]
    often = "ever" if case.times == EVER else f"{case.times}x"
    return f"{case.operation:<18} {case.name:<42} {often:<4} {hits:>3} -> {end_of(run):<24} {' '.join(told)}"
