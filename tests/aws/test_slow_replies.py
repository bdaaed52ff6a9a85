"""Replies that do not end are given up. That takes long, so the cases wait side by side, each at its own site."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from support.aws_site import Site
from support.fault_cases import SUCCEEDED, Case, prove
from support.faults import Drip

SLOW = [
    Case("one byte a second", Drip(), "ListObjectsV2", SUCCEEDED, 1),
    Case("one byte a second", Drip(), "GetObject", SUCCEEDED, 1),
    Case("one byte a second", Drip(), "GetObject", "s3_timeout", match={"path": "products"}),
    Case("one byte a second", Drip(), "GetItem", SUCCEEDED, 1),
    Case("one byte a second", Drip(), "GetItem", "dynamodb_unavailable"),
]


@pytest.fixture
def sites(s3_server, dynamodb_server, start_proxy, start_server, tmp_path):
    """As many sites as there are cases."""

    def make(n: int) -> Site:
        def start(*args, **settings):
            return start_server(*args, db=tmp_path / f"{n}.db", **settings)

        folder = tmp_path / str(n)
        folder.mkdir()
        tables = dynamodb_server.tables().create()
        proxies = [start_proxy(server.port) for server in (s3_server, dynamodb_server)]
        return Site(s3_server.bucket(), tables, *proxies, start, folder)

    return [make(n) for n in range(len(SLOW))]


@pytest.mark.timeout(240)
def test_reply_that_drips_is_given_up(sites, fault_table):
    with ThreadPoolExecutor(len(SLOW)) as pool:
        fault_table.extend(pool.map(prove, sites, SLOW))
