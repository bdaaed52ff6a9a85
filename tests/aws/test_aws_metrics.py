"""GET /metrics: requests to AWS."""

from support.datasets import BASE_DATES
from support.faults import Status
from support.metrics import Metrics, scrape

DAY = BASE_DATES[0]


def requests(found: Metrics, **labels: str) -> float:
    return sum(s.value for s in found.all("kpid_aws_requests_total", **labels))


def test_requests_are_counted_by_operation(site):
    server = site.upload().server()
    assert server.run(DAY)["state"] == "succeeded"
    found = scrape(server)
    for proxy, service in ((site.s3, "s3"), (site.dynamodb, "dynamodb")):
        for operation in {s.labels["operation"] for s in found.all("kpid_aws_requests_total", service=service)}:
            sent = len(proxy.seen(operation))
            assert requests(found, service=service, operation=operation, status="200") + requests(
                found, service=service, operation=operation, status="206"
            ) == sent > 0
            timed = found.value("kpid_aws_request_duration_seconds_count", service=service, operation=operation)
            assert timed == sent
    assert requests(found, service="s3", operation="GetObject") == 3
    assert found.all("kpid_aws_retries_total") == []


def test_refusals_and_retries_are_counted(site):
    server = site.upload().server()
    site.s3.spoil(Status(503), "ListObjectsV2", times=1)
    assert server.run(DAY)["state"] == "succeeded"
    found = scrape(server)
    assert requests(found, operation="ListObjectsV2", status="503") == 1
    assert found.value("kpid_aws_retries_total", service="s3", operation="ListObjectsV2") == 1


def test_servers_that_do_not_answer_are_counted(site):
    server = site.upload().server(AWS_ENDPOINT_URL_S3="http://127.0.0.1:9")
    assert server.run(DAY)["error"]["code"] == "s3_unavailable"
    assert requests(scrape(server), service="s3", status="unreachable") == 3


def test_objects_that_the_cache_has_are_not_downloaded(site):
    server = site.upload().server(KPI_CACHE_DIR=str(site.folder / "cache"))
    first, second = (server.run(DAY, force=True) for _ in range(2))
    assert (first["state"], second["state"]) == ("succeeded", "succeeded")
    assert len(site.s3.seen("GetObject")) == 3
    assert second["progress"]["bytes_read"] == second["progress"]["bytes_total"] > 0
    found = scrape(server)
    assert found.value("kpid_cache_objects_total", result="missing") == 3
    assert found.value("kpid_cache_objects_total", result="found") == 3
    assert found.value("kpid_cache_bytes") == sum(f.stat().st_size for f in (site.folder / "cache").iterdir())
