"""Everything that can go wrong with S3 ends in a named state, and nothing wrong is published."""

import asyncio
import itertools
import re
import time
from dataclasses import dataclass

import pytest

from support.datasets import HEADERS
from support.fault_cases import (
    DAY,
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
)
from support.faults import (
    Answer,
    Exchange,
    Fault,
    Redate,
    Reset,
    Rewrite,
    Status,
    Truncate,
    s3_error,
)
from support.tools import free_port

LIST, GET, BOTH = "ListObjectsV2", "GetObject", "ListObjectsV2 GetObject"
HTML = b"<html><body><h1>Welcome to the hotel</h1><p>Please log in.<br></body></html>"
GARBAGE = bytes(range(256)) * 4
FIVE_MB = b"<p>" + b"x" * 5_000_000
NESTED = b"<a>" * 5000 + b"</a>" * 5000
ENTITIES = (
    b'<?xml version="1.0"?><!DOCTYPE z [<!ENTITY a "aaaaaaaaaa">'
    + b"".join(b'<!ENTITY %c "%s">' % (98 + n, b"&%c;" % (97 + n) * 10) for n in range(9))
    + b"]><ListBucketResult><Prefix>&j;</Prefix></ListBucketResult>"
)
HTML_HEADERS = {"Content-Type": "text/html"}


def page(status: int, body: bytes, title: str) -> Status:
    """A reply that is not of S3."""
    return Status(status, body, HTML_HEADERS, title)


ENCODED = ("</ListBucketResult>", "<EncodingType>url</EncodingType></ListBucketResult>")

NUL = ("<Key>(Data[^<]*/)[^<]*<", r"<Key>\1%00.csv<")


def in_body(pattern: str, by: str, *more: tuple[str, str]) -> Rewrite:
    """A listing in which every match is replaced."""

    def change(answer: Answer) -> Answer:
        body = answer.body
        for old, new in ((pattern, by), *more):
            body, count = re.subn(old.encode(), new.encode(), body)
            assert count > 0, answer.body
        return answer.with_body(body)

    return Rewrite(change)


def header(name: str, value: str | None) -> Rewrite:
    return Rewrite(lambda answer: answer.with_header(name, value))


def more_pages(token: str) -> Rewrite:
    """A page that says that there are more."""
    tag = f"<NextContinuationToken>{token}</NextContinuationToken>" if token else ""
    return in_body("<IsTruncated>false</IsTruncated>", f"<IsTruncated>true</IsTruncated>{tag}")


@dataclass(frozen=True)
class Clock(Fault):
    """A server whose clock is `seconds` ahead, and that refuses, after a pause, what is signed by another."""

    seconds: int
    pause: float = 0

    async def answer(self, exchange: Exchange) -> Answer:
        signed = time.strptime(exchange.headers["x-amz-date"] + " UTC", "%Y%m%dT%H%M%SZ %Z")
        ahead = time.mktime(signed) - time.timezone - time.time()
        if abs(ahead - self.seconds) < 60:
            return await exchange.forward()
        await asyncio.sleep(self.pause)
        return await Redate(SKEWED, self.seconds).answer(exchange)


SKEWED = s3_error(403, "RequestTimeTooSkewed")

REFUSALS = [
    *once_and_ever("503 SlowDown", s3_error(503, "SlowDown"), BOTH, "s3_throttled"),
    *once_and_ever("400 Throttling", s3_error(400, "ThrottlingException"), LIST, "s3_throttled"),
    *once_and_ever("503 RequestLimitExceeded", s3_error(503, "RequestLimitExceeded"), GET, "s3_throttled"),
    *once_and_ever("429 without a document", Status(429), LIST, "s3_throttled"),
    *once_and_ever("500 InternalError", s3_error(500, "InternalError"), BOTH, "s3_unavailable"),
    *once_and_ever("502 with HTML", page(502, HTML, "HTML"), BOTH, "s3_unavailable"),
    *once_and_ever("503 ServiceUnavailable", s3_error(503, "ServiceUnavailable"), BOTH, "s3_unavailable"),
    *once_and_ever("504 without a document", Status(504), BOTH, "s3_unavailable"),
    *once_and_ever("400 RequestTimeout", s3_error(400, "RequestTimeout"), GET, "s3_timeout"),
    *once_and_ever("409 OperationAborted", s3_error(409, "OperationAborted"), LIST, "s3_unavailable"),
    *once_and_ever("404 NoSuchKey", s3_error(404, "NoSuchKey"), GET, "s3_object_changed"),
    *once_and_ever("412 PreconditionFailed", s3_error(412, "PreconditionFailed"), GET, "s3_object_changed"),
    *once_and_ever("416 InvalidRange", s3_error(416, "InvalidRange"), GET, "s3_object_changed"),
    Case("403 AccessDenied", s3_error(403, "AccessDenied"), GET, "s3_access_denied"),
    Case("403 with HTML", page(403, HTML, "HTML"), LIST, "s3_access_denied"),
    Case("404 with HTML", page(404, HTML, "HTML"), LIST, "s3_unavailable"),
    Case("404 with HTML", page(404, HTML, "HTML"), GET, "s3_unavailable"),
    Case("400 InvalidToken", s3_error(400, "InvalidToken"), LIST, "s3_access_denied"),
    Case("403 InvalidObjectState", s3_error(403, "InvalidObjectState"), GET, "source_unreadable"),
]

BROKEN = [
    *once_and_ever("reset before the headers", Reset(), BOTH, "s3_unavailable"),
    *once_and_ever("reset after the headers", Reset(0), BOTH, "s3_unavailable"),
    *once_and_ever("reset in the body", Reset(20), BOTH, "s3_unavailable"),
    *once_and_ever("truncated", Truncate(20), BOTH, "s3_unavailable"),
    *once_and_ever("truncated, no length", Truncate(20, "none"), LIST, "s3_unavailable"),
    *once_and_ever("truncated, no length", Truncate(20, "none"), GET, "s3_object_changed"),
    *once_and_ever("truncated, length of the rest", Truncate(20, "short"), LIST, "s3_unavailable"),
    *once_and_ever("truncated, length of the rest", Truncate(20, "short"), GET, "s3_object_changed"),
    *once_and_ever("empty", Truncate(0, "short"), LIST, "s3_unavailable"),
    *once_and_ever("empty", Truncate(0, "short"), GET, "s3_unavailable"),
]

WRONG_OBJECTS = [
    *once_and_ever("another ETag", header("ETag", '"another"'), GET, "s3_object_changed"),
    *once_and_ever("another Content-Range", header("Content-Range", "bytes 1-2/3"), GET, "s3_object_changed"),
    *once_and_ever("no Content-Range", header("Content-Range", None), GET, "s3_object_changed"),
    *once_and_ever("200 with HTML", page(200, HTML, "HTML"), GET, "s3_object_changed"),
    *once_and_ever("200 with 5 MB", page(200, FIVE_MB, "5 MB"), GET, "s3_object_changed"),
]

WRONG_LISTINGS = [
    *once_and_ever("200 with HTML", page(200, HTML, "HTML"), LIST, "s3_unavailable"),
    *once_and_ever("200 with garbage", page(200, GARBAGE, "garbage"), LIST, "s3_unavailable"),
    *once_and_ever("200 with 5 MB", page(200, FIVE_MB, "5 MB"), LIST, "s3_unavailable"),
    *once_and_ever("500 with 5 MB", page(500, FIVE_MB, "5 MB"), BOTH, "s3_unavailable"),
    *once_and_ever("500 with garbage", page(500, GARBAGE, "garbage"), LIST, "s3_unavailable"),
    *once_and_ever("200 nested deeply", page(200, NESTED, "nested"), LIST, "s3_unavailable"),
    *once_and_ever("500 nested deeply", page(500, NESTED, "nested"), LIST, "s3_unavailable"),
    *once_and_ever("200 with entities", page(200, ENTITIES, "entities"), LIST, "s3_unavailable"),
    *once_and_ever("500 with entities", page(500, ENTITIES, "entities"), GET, "s3_unavailable"),
    *once_and_ever("another document", page(200, b"<Error/>", "document"), LIST, "s3_unavailable"),
    Case("key outside the prefix", in_body("<Key>[^<]*<", "<Key>x<"), LIST, "s3_unavailable"),
    Case("key with a NUL", in_body(*NUL, ENCODED), LIST, "s3_unavailable"),
    Case("size that is no number", in_body("<Size>[^<]*<", "<Size>-1<"), LIST, "s3_unavailable"),
    Case("more pages, no token", more_pages(""), LIST, "s3_unavailable"),
    Case("token that comes back", more_pages("t"), LIST, "s3_unavailable"),
]

CLOCK = [
    Case("clock stepped by 10 minutes", Redate(SKEWED, 600), LIST, SUCCEEDED, 1),
    Case("clock stepped by 10 minutes", Redate(SKEWED, 600), GET, SUCCEEDED, 1),
    Case("clock off by 10 minutes", Clock(600), BOTH.replace(" ", "|"), SUCCEEDED),
    Case("clock off during the run", Clock(600), GET, SUCCEEDED),
    Case("skew without an end", Redate(SKEWED, 600), LIST, "s3_access_denied"),
    Case("skew without an end", Redate(SKEWED, 600), GET, "s3_access_denied"),
    Case("skew that is none", Redate(SKEWED, 0), LIST, "s3_access_denied"),
]


@pytest.mark.parametrize(**by_name(REFUSALS + BROKEN + WRONG_OBJECTS + WRONG_LISTINGS + CLOCK))
def test_fault_of_s3_has_a_named_end(site, case, fault_table):
    fault_table.append(prove(site, case))


# --- pages -------------------------------------------------------------------------------------

PAGE_2 = {"query": "continuation-token=Data"}
PAGE_2_FAULTS = {
    "500 on page 2": s3_error(500, "InternalError"),
    "reset on page 2": Reset(20),
    "HTML on page 2": page(200, HTML, "HTML"),
}


@pytest.mark.parametrize(
    **by_name(
        [
            case
            for name, fault in PAGE_2_FAULTS.items()
            for case in once_and_ever(name, fault, LIST, "s3_unavailable", match=PAGE_2)
        ]
    )
)
def test_fault_of_a_second_page_has_a_named_end(site, case, fault_table):
    first_page = {"query": r"^encoding-type=.*prefix=Data%2Forders%2F$"}
    more = Case("more pages", more_pages("Data/orders/zzz"), LIST, SUCCEEDED, match=first_page)
    fault_table.append(prove(site, case, more))


def test_tokens_that_go_in_circles_end_the_listing(site, fault_table):
    publish_before(site)
    tokens = itertools.cycle(["a", "b", "c"])
    site.s3.spoil(Rewrite(lambda answer: more_pages(next(tokens)).change_fn(answer)), LIST)
    server = site.server()
    run = server.run(DAY)
    assert_error(run, "s3_unavailable")
    assert len(site.s3.seen(LIST)) < 20
    assert_recovers(site, server)


# --- ranges ------------------------------------------------------------------------------------

RESUMED = {"headers": {"range": "bytes=[1-9]"}}
OTHER_RANGE = header("Content-Range", "bytes 0-9/10")


def whole(answer: Answer) -> Answer:
    """The reply of a server that does not know ranges."""
    return Answer(200, answer.headers, answer.body).with_body(b"x" * 500)


@pytest.mark.parametrize(
    **by_name(
        [
            Case("rest in another range", OTHER_RANGE, GET, SUCCEEDED, 1, RESUMED),
            Case("whole object for the rest", Rewrite(whole), GET, SUCCEEDED, 1, RESUMED),
            Case("whole object for the rest", Rewrite(whole), GET, "s3_object_changed", match=RESUMED),
            Case("rest reset as well", Reset(5), GET, SUCCEEDED, 1, RESUMED),
        ]
    )
)
def test_body_that_broke_off_is_resumed_by_the_rest_only(site, case, fault_table):
    first = Case("reset", Reset(40), GET, SUCCEEDED, match={"headers": {"range": "bytes=0-"}})
    fault_table.append(prove(site, case, first))


def test_clock_that_steps_while_many_requests_are_under_way(site, fault_table):
    before = publish_before(site)
    lines = {n: f"{HEADERS['orders']}\n{n},1,c,{DAY}\n" for n in range(1000, 1020)}
    site.bucket.put_all({f"Data/orders/{n}.csv": line for n, line in lines.items()})
    case = Case("clock off, 20 requests at once", Clock(600, pause=0.3), GET, SUCCEEDED)
    site.s3.spoil(case.fault, GET, path="/orders/")
    run = site.server().run(DAY)
    refused = [get for get in site.s3.seen(GET) if get.status == 403]
    fault_table.append(row(case, run, len(refused)))
    assert end_of(run) == SUCCEEDED, run["error"]
    assert len(refused) > 1 and site.tables.snapshot() != before


# --- places that do not answer -----------------------------------------------------------------


@pytest.mark.parametrize(
    "place", ["http://127.0.0.1:{port}", "http://s3.kpid.invalid"], ids=["refused", "dns"]
)
def test_place_that_does_not_answer(site, place, fault_table):
    before = publish_before(site)
    server = site.server(AWS_ENDPOINT_URL_S3=place.format(port=free_port()))
    run = server.run(DAY)
    fault_table.append(f"{LIST:<18} {place:<51} -> {end_of(run)}")
    assert_error(run, "s3_unavailable", "s3")
    assert site.tables.snapshot() == before
    assert server.get("/healthz").status == 200
    server.terminate()
    assert_recovers(site, site.server())
