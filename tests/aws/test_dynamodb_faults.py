"""Everything that can go wrong with DynamoDB has a named end: all of a date is published, or nothing."""

import pytest

from support.datasets import HEADERS
from support.dynamodb_server import KEYS, create_table
from support.fault_cases import (
    DAY,
    EVER,
    SUCCEEDED,
    Case,
    assert_error,
    assert_recovers,
    by_name,
    end_of,
    once_and_ever,
    prove,
    publish_before,
    row,
    spoil,
)
from support.faults import (
    BadCrc,
    LostReply,
    Redate,
    Reset,
    Status,
    Truncate,
    Unprocessed,
    dynamodb_error,
    transaction_cancelled,
)
from support.tools import free_port

READ, WRITE = "GetItem", "TransactWriteItems"
ALL = "DescribeTable GetItem TransactWriteItems"
BATCH = "BatchWriteItem"
WRITES = (WRITE, BATCH, "PutItem", "UpdateItem", "DeleteItem")
UNAVAILABLE, THROTTLED = "dynamodb_unavailable", "dynamodb_throttled"
HTML = b"<html><body><h1>Welcome to the hotel</h1></body></html>"
FIVE_MB = b'{"x": "' + b"x" * 5_000_000
NESTED = b"[" * 100_000


def page(status: int, body: bytes, title: str) -> Status:
    """A reply that is not of DynamoDB."""
    return Status(status, body, {"Content-Type": "text/html"}, title)


def error(code: str, status: int = 400, **members: str) -> Status:
    return dynamodb_error(status, code, **members)


REFUSALS = [
    *once_and_ever("ThrottlingException", error("ThrottlingException"), ALL, THROTTLED),
    *once_and_ever(
        "ProvisionedThroughputExceeded",
        error("ProvisionedThroughputExceededException"),
        WRITE,
        THROTTLED,
    ),
    *once_and_ever("RequestLimitExceeded", error("RequestLimitExceeded"), READ, THROTTLED),
    *once_and_ever("TransactionInProgress", error("TransactionInProgressException"), WRITE, THROTTLED),
    *once_and_ever("429 without a document", Status(429), READ, THROTTLED),
    *once_and_ever("500 InternalServerError", error("InternalServerError", 500), ALL, UNAVAILABLE),
    *once_and_ever("502 with HTML", page(502, HTML, "HTML"), ALL, UNAVAILABLE),
    *once_and_ever("503 ServiceUnavailable", error("ServiceUnavailable", 503), WRITE, UNAVAILABLE),
    *once_and_ever("504 without a document", Status(504), WRITE, UNAVAILABLE),
    *once_and_ever("500 with 5 MB", page(500, FIVE_MB, "5 MB"), WRITE, UNAVAILABLE),
    *once_and_ever("500 nested deeply", page(500, NESTED, "nested"), WRITE, UNAVAILABLE),
    Case("AccessDeniedException", error("AccessDeniedException"), READ, "dynamodb_access_denied"),
    Case("AccessDeniedException", error("AccessDeniedException"), WRITE, "dynamodb_access_denied"),
    Case("UnrecognizedClient", error("UnrecognizedClientException"), READ, "dynamodb_access_denied"),
    Case("403 with HTML", page(403, HTML, "HTML"), WRITE, "dynamodb_access_denied"),
    Case("ResourceNotFound", error("ResourceNotFoundException"), WRITE, "dynamodb_table_missing"),
    Case("ValidationException", error("ValidationException"), WRITE, "dynamodb_validation"),
    Case("307 without a document", Status(307), READ, UNAVAILABLE),
    Case("412 without a document", Status(412), WRITE, UNAVAILABLE),
    Case("404 with HTML", page(404, HTML, "HTML"), READ, UNAVAILABLE),
]

CANCELLED = [
    case
    for reason, end in {
        "ConditionalCheckFailed": "newer_run_published",
        "TransactionConflict": UNAVAILABLE,
        "ThrottlingError": THROTTLED,
        "ProvisionedThroughputExceeded": THROTTLED,
    }.items()
    for case in once_and_ever(f"cancelled: {reason}", transaction_cancelled("None", reason), WRITE, end)
]

REFUSED_FOR_GOOD = [
    Case(f"cancelled: {reason}", transaction_cancelled("None", reason), WRITE, "dynamodb_validation", times)
    for reason in ("ValidationError", "ItemCollectionSizeLimitExceeded")
    for times in (1, EVER)
]

BROKEN = [
    *once_and_ever("reset before the headers", Reset(), ALL, UNAVAILABLE),
    *once_and_ever("reset after the headers", Reset(0), READ, UNAVAILABLE),
    *once_and_ever("reset in the body", Reset(1), READ, UNAVAILABLE),
    *once_and_ever("truncated", Truncate(1), READ, UNAVAILABLE),
    *once_and_ever("truncated, no length", Truncate(1, "none"), READ, UNAVAILABLE),
    *once_and_ever("truncated, length of the rest", Truncate(1, "short"), READ, UNAVAILABLE),
    *once_and_ever("empty", Truncate(0, "short"), READ, UNAVAILABLE),
    *once_and_ever("wrong checksum", BadCrc(), f"DescribeTable {READ}", UNAVAILABLE),
    *once_and_ever("200 with HTML", page(200, HTML, "HTML"), ALL, UNAVAILABLE),
    *once_and_ever("200 with 5 MB", page(200, FIVE_MB, "5 MB"), f"{READ} {WRITE}", UNAVAILABLE),
    *once_and_ever("200 nested deeply", page(200, NESTED, "nested"), READ, UNAVAILABLE),
    *once_and_ever("200 with broken JSON", page(200, b"{oops}", "JSON"), f"{READ} {WRITE}", UNAVAILABLE),
]

# The write was done, and nobody says so: it is found out, however often the reply is lost.
DONE_UNHEARD = [
    case
    for name, fault in {
        "reply lost": LostReply(),
        "reply lost, 500 heard": LostReply(500),
        "reset after the headers": Reset(0),
        "truncated": Truncate(1),
        "wrong checksum": BadCrc(),
    }.items()
    for case in once_and_ever(name, fault, WRITE, SUCCEEDED)
]

EXPIRED = error("InvalidSignatureException", message="Signature expired: 1 is now earlier than 2")
CLOCK = [
    Case("clock stepped by an hour", Redate(EXPIRED, 3600), READ, SUCCEEDED, 1),
    Case("clock stepped by an hour", Redate(EXPIRED, -3600), WRITE, SUCCEEDED, 1),
    Case("skew without an end", Redate(EXPIRED, 3600), READ, "dynamodb_access_denied"),
    Case("skew without an end", Redate(EXPIRED, 3600), WRITE, "dynamodb_access_denied"),
]

CASES = REFUSALS + CANCELLED + REFUSED_FOR_GOOD + BROKEN + DONE_UNHEARD + CLOCK


@pytest.mark.parametrize(**by_name(CASES))
def test_fault_of_dynamodb_has_a_named_end(site, case, fault_table):
    fault_table.append(prove(site, case))


@pytest.mark.parametrize(**by_name(DONE_UNHEARD))
def test_lost_reply_publishes_once(site, case):
    publish_before(site)
    version = site.tables.control_row(DAY)["ver"]
    spoil(site, case)
    run = site.server().run(DAY)
    control = site.tables.control_row(DAY)
    assert (control["ver"], control["run_id"]) == (version + 1, run["id"])


# --- tables ------------------------------------------------------------------------------------


def end_before_any_write(site, kind: str, code: str) -> str:
    """The run is refused for a table that is named; returns the end."""
    site.upload()
    before = site.tables.snapshot()
    run = site.server().run(DAY)
    details = assert_error(run, code, "dynamodb")
    assert details["aws_operation"] == "DescribeTable"
    assert site.tables.name(kind) in run["error"]["message"]
    assert not site.dynamodb.seen(*WRITES)
    assert site.tables.snapshot() == before
    return end_of(run)


@pytest.mark.parametrize("kind", KEYS)
def test_missing_table_is_refused_before_any_write(site, kind, fault_table):
    site.tables.drop(kind)
    end = end_before_any_write(site, kind, "dynamodb_table_missing")
    fault_table.append(f"{'DescribeTable':<18} {kind + ' table missing':<51} -> {end}")


WRONG_KEYS = {
    "category": ([("category", "HASH")], "S"),
    "order": ([("order_date", "HASH"), ("run_id", "RANGE")], "S"),
    "control": ([("id", "HASH")], "S"),
    "order as a number": ([("order_date", "HASH")], "N"),
}


@pytest.mark.parametrize("what", WRONG_KEYS)
def test_table_with_other_keys_is_refused_before_any_write(site, what, fault_table):
    kind, (keys, of_type) = what.split()[0], WRONG_KEYS[what]
    site.tables.drop(kind)
    create_table(site.tables.client, site.tables.name(kind), keys, of_type)
    end = end_before_any_write(site, kind, "dynamodb_schema_mismatch")
    fault_table.append(f"{'DescribeTable':<18} {'other keys: ' + what:<51} -> {end}")


def test_table_that_vanishes_later_is_named(site, fault_table):
    server = site.upload().server()
    assert server.run(DAY)["state"] == SUCCEEDED
    site.bucket.put("Data/orders/late.csv", f"{HEADERS['orders']}\n901,9,c,{DAY}\n")
    site.tables.drop("order")
    run = server.run(DAY)
    fault_table.append(f"{WRITE:<18} {'order table vanished':<51} -> {end_of(run)}")
    assert_error(run, "dynamodb_table_missing", "dynamodb")
    site.tables.create("order")
    assert_recovers(site, server)


# --- long publications -------------------------------------------------------------------------

CATEGORIES = 250
BEGIN = {"body": "SET pending"}
CHUNK = {"body": "ConditionCheck"}
COMMIT = {"body": "REMOVE pending"}
STEPS = {"begin": ("UpdateItem", BEGIN), "chunk": (WRITE, CHUNK), "commit": (WRITE, COMMIT)}


def in_step(step: str, name: str, fault, end: str, times: int = EVER) -> Case:
    operation, match = STEPS[step]
    return Case(f"{step}: {name}", fault, operation, end, times, match)


LONG = [
    *(
        in_step(step, name, fault, SUCCEEDED, 1)
        for step in STEPS
        for name, fault in {
            "reply lost": LostReply(),
            "reply lost, 500 heard": LostReply(500),
            "wrong checksum": BadCrc(),
            "throttled": error("ThrottlingException"),
            "reset": Reset(),
        }.items()
    ),
    *(in_step(step, "reply lost", LostReply(), SUCCEEDED) for step in ("begin", "commit")),
    *(in_step(step, "500", error("InternalServerError", 500), UNAVAILABLE) for step in STEPS),
    *(in_step(step, "throttled", error("ThrottlingException"), THROTTLED) for step in STEPS),
    in_step("chunk", "reply lost", LostReply(), UNAVAILABLE),
    in_step("chunk", "conflict", transaction_cancelled("None", "TransactionConflict"), SUCCEEDED, 2),
    in_step("chunk", "validation", transaction_cancelled("ValidationError"), "dynamodb_validation"),
]


def upload_categories(site, orders: int) -> None:
    """A day with more categories than a transaction takes."""
    lines = {
        "orders": [f"{n},{n},c,{DAY}" for n in range(orders)],
        "order_items": [f"{n},{n % orders},{n},1,c,{DAY}" for n in range(CATEGORIES)],
        "products": [f"{n},category {n:03},x" for n in range(CATEGORIES)],
    }
    for dataset, rows in lines.items():
        text = "\n".join([HEADERS[dataset], *rows])
        site.bucket.put(f"Data/{dataset}/a.csv", text)


@pytest.mark.parametrize(**by_name(LONG))
def test_fault_in_a_long_publication_has_a_named_end(site, case, fault_table):
    upload_categories(site, orders=2)
    server = site.server()
    assert server.run(DAY)["state"] == SUCCEEDED
    control = site.tables.control_row(DAY)
    upload_categories(site, orders=3)
    rule = spoil(site, case)
    run = server.run(DAY)
    fault_table.append(row(case, run, rule.hits))
    assert rule.hits > 0 and end_of(run) == case.end, run["error"]
    if case.end == SUCCEEDED:
        assert_long_published(site)
        assert site.tables.control_row(DAY)["ver"] == control["ver"] + 1
    else:
        assert_error(run, case.end, "dynamodb")
        assert committed(site.tables.control_row(DAY)) == committed(control)
    assert_recovers(site, server)
    assert_long_published(site)


def committed(control: dict) -> dict:
    """What a careful reader believes: the control row without what is under way."""
    return {name: value for name, value in control.items() if not name.startswith("pending")}


def assert_long_published(site) -> None:
    """All rows are of one publication."""
    control = site.tables.control_row(DAY)
    rows = site.tables.day("order", DAY) + site.tables.day("category", DAY)
    assert len(rows) == 1 + CATEGORIES and "pending" not in control
    assert {item["run_id"] for item in rows} == {control["run_id"]}


# --- plain mode --------------------------------------------------------------------------------

PLAIN = {"settings": {"KPI_PUBLISH_MODE": "plain"}}
PLAIN_CASES = [
    *once_and_ever("all unprocessed", Unprocessed(25), BATCH, THROTTLED, **PLAIN),
    *once_and_ever("throttled", error("ThrottlingException"), BATCH, THROTTLED, **PLAIN),
    *once_and_ever("500", error("InternalServerError", 500), BATCH, UNAVAILABLE, **PLAIN),
    *once_and_ever("reset before the headers", Reset(), BATCH, UNAVAILABLE, **PLAIN),
    *once_and_ever("200 with HTML", page(200, HTML, "HTML"), BATCH, UNAVAILABLE, **PLAIN),
    Case("reply lost", LostReply(), BATCH, SUCCEEDED, 1, **PLAIN),
    Case("reply lost, 500 heard", LostReply(500), BATCH, SUCCEEDED, 1, **PLAIN),
    Case("wrong checksum", BadCrc(), BATCH, SUCCEEDED, 1, **PLAIN),
    Case("one unprocessed, 5 times", Unprocessed(1), BATCH, SUCCEEDED, 5, **PLAIN),
    Case("ResourceNotFound", error("ResourceNotFoundException"), BATCH, "dynamodb_table_missing", **PLAIN),
    Case("AccessDenied", error("AccessDeniedException"), BATCH, "dynamodb_access_denied", **PLAIN),
]


@pytest.mark.parametrize(**by_name(PLAIN_CASES))
def test_fault_in_plain_mode_has_a_named_end(site, case, fault_table):
    fault_table.append(prove(site, case))


# --- places that do not answer -----------------------------------------------------------------


@pytest.mark.parametrize(
    "place", ["http://127.0.0.1:{port}", "http://dynamodb.kpid.invalid"], ids=["refused", "dns"]
)
def test_place_that_does_not_answer(site, place, fault_table):
    before = publish_before(site)
    server = site.server(AWS_ENDPOINT_URL_DYNAMODB=place.format(port=free_port()))
    run = server.run(DAY)
    fault_table.append(f"{'DescribeTable':<18} {place:<51} -> {end_of(run)}")
    assert_error(run, UNAVAILABLE, "dynamodb")
    assert site.tables.snapshot() == before
    assert server.get("/healthz").status == 200
    server.terminate()
    assert_recovers(site, site.server())
