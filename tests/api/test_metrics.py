"""GET /metrics: clean for Prometheus, and counting what has happened."""

import re
import subprocess
import time
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from support.datasets import BASE, BASE_DATES, slow_source
from support.metrics import OPEN_METRICS, Metrics, is_unbounded, scrape
from support.paths import REPO, TESTS
from support.problems import assert_problem
from support.processes import wait_for
from support.series import day, write_shop
from support.server import Server
from support.tools import promtool_program

DAY = BASE_DATES[0]
ALERTS = REPO / "deploy" / "prometheus-alerts.yaml"
SHOP_DAYS = 5
CENSUS_SECONDS = 15  # gauges of the database are a few seconds old
ACCEPT_OF_PROMETHEUS = (
    "application/openmetrics-text;version=1.0.0;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,"
    "text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)


def promtool(*args: str, text: str = "") -> str:
    """What promtool complains of; empty: nothing."""
    done = subprocess.run([promtool_program(), *args], input=text, capture_output=True, text=True, timeout=60)
    return done.stdout + done.stderr if done.returncode else ""


def await_value(server: Server, expected: float, name: str, **labels: str) -> None:
    """Requests are counted a moment after their replies have arrived, runs once a second."""
    deadline = time.monotonic() + CENSUS_SECONDS
    while (found := scrape(server).value(name, **labels)) != expected:
        assert time.monotonic() < deadline, f"{name} {labels} is {found}, not {expected}"
        time.sleep(0.2)


@pytest.fixture(scope="module")
def busy(tmp_path_factory):
    """A server that has done a little of everything: success, failure, backfill, refusals."""
    folder = tmp_path_factory.mktemp("metrics")
    source = write_shop(folder / "in", SHOP_DAYS)
    server = Server(folder / "kpid.db", source, KPI_LISTEN="127.0.0.1:0").start()
    server.run(day(0))
    server.run(day(0), force=True)
    made = server.post("/backfills", {"start_date": day(0), "end_date": day(4), "reprocess": "all", "max_attempts": 1})
    server.await_end(f"/backfills/{made.json['id']}?wait=5")
    path = source / "order_items" / "a.csv"
    whole = path.read_text(encoding="utf-8")
    path.write_text(whole + f"999999,0,1,NaN,complete,{day(0)}\n", encoding="utf-8")
    assert server.run(day(0), bad_rows="fail")["state"] == "failed"
    server.get("/runs/01890000-0000-7000-8000-000000000000")
    server.get("/nowhere")
    server.request("DELETE", "/runs")
    yield server
    server.kill()


# --- format ------------------------------------------------------------------------------------


def test_promtool_finds_nothing_to_complain_of(busy):
    reply = busy.get("/metrics")
    assert reply.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert promtool("check", "metrics", text=reply.text) == ""


def test_promtool_would_complain():
    assert "_total" in promtool("check", "metrics", text="# TYPE a counter\na 1\n")


@pytest.mark.parametrize("accept", [OPEN_METRICS, ACCEPT_OF_PROMETHEUS])
def test_openmetrics_is_sent_where_it_is_preferred(busy, accept):
    reply = busy.get("/metrics", Accept=accept)
    assert reply.headers["content-type"] == "application/openmetrics-text; version=1.0.0; charset=utf-8"
    assert reply.text.endswith("# EOF\n")
    found, plain = Metrics(reply.text, open_metrics=True), scrape(busy)
    assert {s.name for s in found.samples} == {s.name for s in plain.samples}
    assert found.value("kpid_scans_total") == plain.value("kpid_scans_total") > 0


def test_other_types_are_not_acceptable(busy):
    assert_problem(busy.get("/metrics", Accept="application/json"), 406, "not-acceptable")
    assert busy.get("/metrics", Accept="*/*").media_type == "text/plain"


def test_series_are_unique_and_of_closed_sets(busy):
    found = scrape(busy)
    assert found.repeated() == []
    assert [s for s in found.samples if any(is_unbounded(v) for v in s.labels.values())] == []
    names = {family.name for family in found.families}
    assert all(name.startswith(("kpid_", "process_")) for name in names)
    assert len(names) >= 35


def test_histograms_add_up(busy):
    found = scrape(busy)
    histograms = [f for f in found.families if f.type == "histogram"]
    assert len(histograms) >= 6
    for family in histograms:
        for total in found.all(f"{family.name}_count"):
            buckets = found.all(f"{family.name}_bucket", **total.labels)
            counts = [s.value for s in sorted(buckets, key=lambda s: float(s.labels["le"]))]
            assert counts == sorted(counts)
            assert counts[-1] == total.value > 0
            assert found.value(f"{family.name}_sum", **total.labels) >= 0


def test_asking_is_not_logged_among_the_requests(busy):
    busy.get("/metrics")
    busy.get("/version")
    assert "/metrics" not in [line.get("path") for line in busy.logs]


# --- runs ---------------------------------------------------------------------------------------


def test_runs_are_counted_by_state_and_trigger(busy):
    found = scrape(busy)
    name = "kpid_run_state_changes_total"
    assert found.value(name, state="succeeded", trigger="day") == 2
    assert found.value(name, state="failed", trigger="day") == 1
    assert found.value(name, state="succeeded", trigger="backfill") == SHOP_DAYS
    assert found.value(name, state="cancelled", trigger="day") == 0
    assert found.value("kpid_run_duration_seconds_count", state="succeeded", trigger="backfill") == SHOP_DAYS
    assert found.value("kpid_run_queue_seconds_count", trigger="day") == 3
    attempts = "kpid_run_attempts_total"
    assert found.value(attempts, state="succeeded", code="none") == 2 + SHOP_DAYS
    assert found.value(attempts, state="failed", code="value_unparsable") == 1


def test_what_was_read_and_written_is_counted(busy):
    found = scrape(busy)
    runs = [r for r in busy.all_runs() if not r["backfill_ids"]]
    backfill = next(r for r in busy.all_runs() if r["backfill_ids"])
    scans = [*runs, backfill]  # the days of the backfill were read in one pass
    assert found.value("kpid_scans_total") == len(scans) == 4
    assert found.value("kpid_input_bytes_total") == sum(r["progress"]["bytes_read"] for r in scans)
    for table in ("orders", "order_items", "products"):
        expected = sum(r["progress"]["rows_read"][table] for r in scans)
        assert found.value("kpid_input_rows_total", table=table) == expected > 0
    tables = [t for r in busy.all_runs() if r["output"] for t in r["output"]["tables"]]
    for label, name in (("orders", "order_kpis_table"), ("categories", "category_kpis_table")):
        for change in ("put", "unchanged", "deleted"):
            expected = sum(t[change] for t in tables if t["name"] == name)
            assert found.value("kpid_published_items_total", table=label, change=change) == expected
    passed = sum(r["quality"]["passed"] for r in busy.all_runs() if r["quality"])
    assert found.value("kpid_quality_checks_total", result="passed") == passed > 0


def test_phases_that_are_shared_count_once(busy):
    found = scrape(busy)
    assert found.value("kpid_run_phase_seconds_count", phase="scanning") == 4
    assert found.value("kpid_run_phase_seconds_count", phase="publishing") == 2 + SHOP_DAYS


def test_what_is_stored_now_is_shown(start_server, tmp_path):
    # The run is cancelled; until then, gauges of both must have been seen.
    server = start_server(slow_source(tmp_path / "in", 4000), KPI_MAX_ACTIVE_RUNS="1")
    first = server.start_run(BASE_DATES[0])["id"]
    await_value(server, 1, "kpid_runs", state="running", trigger="day")
    second = server.start_run(BASE_DATES[1])["id"]
    await_value(server, 1, "kpid_runs", state="queued", trigger="day")
    found = scrape(server)
    assert 0 < found.value("kpid_queue_oldest_age_seconds") < CENSUS_SECONDS
    for run in (second, first):
        server.post(f"/runs/{run}/cancel")
    assert server.finish(first)["state"] == "cancelled"
    await_value(server, 0, "kpid_runs", state="queued", trigger="day")
    found = scrape(server)
    assert found.value("kpid_queue_oldest_age_seconds") == 0
    assert found.value("kpid_run_cancel_seconds_count") == 2
    assert found.value("kpid_run_attempts_total", state="cancelled", code="cancelled") == 1


def test_the_last_published_day_begins_in_the_zone(start_server):
    zone = "America/New_York"
    server = start_server(BASE, KPI_TIMEZONE=zone)
    assert scrape(server).value("kpid_last_published_day_timestamp_seconds") == 0
    for date in BASE_DATES:
        assert server.run(date)["state"] == "succeeded"
    begins = datetime.fromisoformat(BASE_DATES[-1]).replace(tzinfo=ZoneInfo(zone))
    await_value(server, begins.timestamp(), "kpid_last_published_day_timestamp_seconds")


def test_a_failing_check_is_shown(start_server, tmp_path):
    server = start_server(tmp_path / "gone")
    assert scrape(server).value("kpid_check_ok", check="source") == 1
    assert server.run(DAY)["state"] == "failed"
    wait_for(lambda: scrape(server).value("kpid_check_ok", check="source") == 0, 5)  # noted once the run has ended
    assert scrape(server).value("kpid_check_ok", check="database") == 1


# --- HTTP, database, process -------------------------------------------------------------------


def test_requests_are_counted_by_route_and_status(busy):
    before = scrape(busy)
    for _ in range(3):
        busy.get("/version")
    busy.request("HEAD", "/version")
    busy.get("/version?typo=1")
    name = "kpid_http_requests_total"
    for method, status, count in (("GET", "200", 3), ("HEAD", "200", 1), ("GET", "400", 1)):
        labels = {"method": method, "route": "/version", "status": status}
        await_value(busy, before.value(name, **labels) + count, name, **labels)
    found = scrape(busy)
    assert found.value(name, method="GET", route="/runs/{id}", status="404") == 1
    assert found.value(name, method="GET", route="none", status="404") == 1
    assert found.value(name, method="other", route="none", status="405") == 1
    assert found.value("kpid_http_request_duration_seconds_count", method="GET", route="/version") >= 4


def test_requests_that_wait_are_shown_and_not_timed(start_server, tmp_path):
    server = start_server(slow_source(tmp_path / "in"))
    run = server.start_run(DAY)["id"]
    reply = server.get(f"/runs/{run}?wait=1")
    assert not reply.json["terminal"]
    await_value(server, 1, "kpid_http_requests_total", method="GET", route="/runs/{id}", status="200")
    await_value(server, 1, "kpid_http_requests_in_flight")  # this one
    found = scrape(server)
    assert found.value("kpid_http_request_duration_seconds_count", method="GET", route="/runs/{id}") == 0
    assert found.value("kpid_http_requests_waiting") == 0
    assert found.value("kpid_http_connections") >= 1
    server.post(f"/runs/{run}/cancel")
    server.finish(run)


def test_database_and_process_are_measured(busy):
    found = scrape(busy)
    assert found.value("kpid_sqlite_write_seconds_count") > 0
    assert found.value("kpid_sqlite_size_bytes", file="wal") == busy.db.with_name("kpid.db-wal").stat().st_size
    assert found.value("process_resident_memory_bytes") > 1e6
    assert found.value("process_open_fds") > 3
    started = datetime.fromtimestamp(found.value("process_start_time_seconds"), UTC)
    assert 0 <= (datetime.now(UTC) - started).total_seconds() < 600
    assert found.value("kpid_build_info", version=busy.get("/version").json["version"]) == 1


# --- alerts -------------------------------------------------------------------------------------


def test_the_alerts_fire_when_they_should():
    assert promtool("check", "rules", str(ALERTS)) == ""
    assert promtool("test", "rules", str(TESTS / "data" / "prometheus" / "alerts_test.yaml")) == ""


def test_the_alerts_ask_for_metrics_that_exist(busy):
    asked = set(re.findall(r"kpid_\w+", ALERTS.read_text(encoding="utf-8")))
    assert len(asked) >= 6
    families = {f.name for f in scrape(busy).families}
    counters = {f"{name}_total" for name in families}
    assert asked - families - counters == set()
