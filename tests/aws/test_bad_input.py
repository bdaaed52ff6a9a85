"""Sources that cannot be read: what is wrong is named, nothing is published, and the service stays healthy."""

import datetime
import time

import pytest

from support.cli import CONFIG, SOURCE
from support.datasets import HEADERS
from support.fault_cases import DAY, assert_error, assert_recovers
from support.faults import Status, dynamodb_error, s3_error
from support.server import TERMINAL

LIST, GET = "ListObjectsV2", "GetObject"
DATASETS = list(HEADERS)
FIRST_DAY = datetime.date(2020, 1, 1)
CALLS = 400
AMPLIFICATION_MAX = 1.3


def failed_run(site, **settings) -> dict:
    """A run that fails, without a trace in the tables, at a service that is healthy all the same."""
    before = site.tables.snapshot()
    server = site.server(**settings)
    run = server.run(DAY)
    assert run["state"] == "failed", run
    assert server.get("/healthz").status == 200
    assert site.tables.snapshot() == before
    return run


# --- places ------------------------------------------------------------------------------------


def test_missing_bucket(site):
    run = failed_run(site, KPI_SOURCE="s3://kpid-nowhere/Data")
    details = assert_error(run, "s3_no_such_bucket", "s3")
    assert (details["bucket"], details["http_status"]) == ("kpid-nowhere", 404)
    assert details["aws_error"] == "NoSuchBucket"


def test_missing_prefix(site):
    site.upload()
    run = failed_run(site, KPI_SOURCE=site.bucket.url("Nowhere"))
    details = assert_error(run, "s3_no_objects")
    assert (details["bucket"], details["key"]) == (site.bucket.name, "Nowhere/orders/")


@pytest.mark.parametrize("dataset", DATASETS)
def test_data_set_without_objects(site, dataset):
    site.upload()
    site.bucket.delete(*site.bucket.keys(f"Data/{dataset}/"))
    site.bucket.put_all({f"Data/{dataset}/notes.txt": b"x", f"Data/{dataset}/_a.csv": b"x"})
    run = failed_run(site)
    details = assert_error(run, "s3_no_objects")
    assert details["key"] == f"Data/{dataset}/" and dataset in run["error"]["message"]
    assert site.s3.seen(GET) == []


@pytest.mark.parametrize("url", ["s3://", "s3:///Data", "s4://bucket/Data"])
def test_source_that_is_no_address_stops_the_start(site, url):
    result = site.kpid("run", "--date", DAY, "--no-publish", KPI_SOURCE=url)
    assert (result.code, result.error_code) == (CONFIG, "config_invalid"), result
    assert url in result.message


def test_command_line_says_what_is_wrong_and_what_to_do(site):
    result = site.kpid("run", "--date", DAY, KPI_SOURCE="s3://kpid-nowhere/Data")
    assert (result.code, result.error_code) == (SOURCE, "s3_no_such_bucket"), result
    assert "NoSuchBucket" in result.message and "KPI_SOURCE" in result.hint


# --- regions -----------------------------------------------------------------------------------

REDIRECTS = {
    "301": s3_error(301, "PermanentRedirect", x_amz_bucket_region="eu-central-1"),
    "301 without a document": Status(301, b"", {"x-amz-bucket-region": "eu-central-1"}),
    "307": s3_error(307, "TemporaryRedirect", x_amz_bucket_region="eu-central-1"),
    "400": s3_error(400, "AuthorizationHeaderMalformed", "<Region>eu-central-1</Region>"),
}


@pytest.mark.parametrize("operation", [LIST, GET])
@pytest.mark.parametrize("redirect", REDIRECTS.values(), ids=REDIRECTS)
def test_bucket_in_another_region_names_the_region(site, redirect, operation):
    site.upload().s3.spoil(redirect, operation)
    run = failed_run(site)
    details = assert_error(run, "s3_no_such_bucket", "s3")
    assert "eu-central-1" in run["error"]["message"] and "AWS_REGION" in run["error"]["hint"]
    assert details["http_status"] == redirect.status
    asked = [request.target for request in site.s3.seen(operation)]
    assert len(asked) == len(set(asked)), "it was tried again"


def test_server_of_another_region_refuses_the_signature(site):
    site.upload()
    run = failed_run(site, AWS_REGION="eu-west-1")
    assert_error(run, "s3_no_such_bucket", "s3")
    assert "us-east-1" in run["error"]["message"]


def test_region_that_is_not_set_stops_the_start(site):
    result = site.kpid("run", "--date", DAY, "--no-publish", AWS_REGION="")
    assert result.code == CONFIG, result
    assert "AWS_REGION" in result.err


# --- permissions -------------------------------------------------------------------------------


def moto_settings(moto, actions: list[str]) -> dict[str, str]:
    """A bucket in moto with the base data set, and the keys of one who may do `actions`."""
    access_key, secret_key = moto.user("reader", actions)
    return {
        "AWS_ENDPOINT_URL_S3": moto.url,
        "KPI_SOURCE": "s3://kpid-denied/Data",
        "AWS_ACCESS_KEY_ID": access_key,
        "AWS_SECRET_ACCESS_KEY": secret_key,
    }


@pytest.mark.parametrize(
    "actions, operation", [(["s3:GetObject"], LIST), (["s3:ListBucket"], GET)], ids=["list", "get"]
)
def test_denied_call_is_named(site, moto, actions, operation):
    client = moto.client("s3")
    client.create_bucket(Bucket="kpid-denied")
    for dataset, header in HEADERS.items():
        client.put_object(Bucket="kpid-denied", Key=f"Data/{dataset}/a.csv", Body=header.encode())
    settings = moto_settings(moto, actions)
    moto.check_signatures()
    run = failed_run(site, KPI_PUBLISH="local", **settings)
    details = assert_error(run, "s3_access_denied", "s3")
    assert (details["aws_operation"], details["http_status"]) == (operation, 403)
    assert "s3:ListBucket" in run["error"]["hint"]


# --- throttling --------------------------------------------------------------------------------


def post_days(server, count: int, **fields) -> None:
    """One run a day, each by a rule of its own, so that none is computed together with another."""
    for n in range(count):
        server.start_run(str(FIRST_DAY + datetime.timedelta(days=n)), max_bad_rows=1000 + n, **fields)


def await_ends(server, count: int, timeout: float = 100) -> list[dict]:
    """All runs once none is active."""
    deadline = time.monotonic() + timeout
    while server.get("/runs?active=true&limit=1").json["runs"]:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    runs = server.all_runs()
    assert len(runs) == count and {run["state"] for run in runs} <= set(TERMINAL)
    return runs


@pytest.mark.parametrize(
    "service, operation, fault, publish",
    [
        ("s3", LIST, s3_error(503, "SlowDown"), False),
        ("dynamodb", "DescribeTable", dynamodb_error(400, "ThrottlingException"), True),
    ],
    ids=["s3", "dynamodb"],
)
def test_service_that_throttles_everything_is_not_sent_much_more(
    site, service, operation, fault, publish, tell
):
    """Every run asks once and fails; the retries of all of them share one budget."""
    proxy = getattr(site.upload(), service)
    proxy.spoil(fault, operation)
    server = site.server(KPI_MAX_ACTIVE_RUNS=32)
    post_days(server, CALLS, publish=publish)
    runs = await_ends(server, CALLS)
    amplification = len(proxy.seen(operation)) / CALLS
    tell(f"{service}: {CALLS} calls, all throttled: {amplification:.2f} requests a call")
    assert {run["error"]["code"] for run in runs} == {f"{service}_throttled"}
    assert all(run["error"]["retryable"] for run in runs)
    assert 1 < amplification <= AMPLIFICATION_MAX
    site.bucket.put("Data/orders/late.csv", f"{HEADERS['orders']}\n901,9,c,{DAY}\n")
    assert_recovers(site, server)
