"""examples/kpid_client.py: what each method does to a real service, and how it bears with one that does not answer."""

import hashlib
import importlib.util
import json
import re
import sys
import threading
from decimal import Decimal

import pytest

from support.datasets import BASE_DATES, write_source
from support.examples import EXAMPLES, findings, run_example
from support.scripted_server import Scripted, ScriptedServer
from support.tools import free_port

FILE = EXAMPLES / "kpid_client.py"
DAY, NEXT_DAY = BASE_DATES
ID = "01890000-0000-7000-8000-000000000000"
RUN = Scripted(200, {"id": ID, "state": "succeeded", "terminal": True})


def load():
    spec = importlib.util.spec_from_file_location("kpid_client", FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


kpid_client = load()
Client, KpidError = kpid_client.Client, kpid_client.KpidError


@pytest.fixture
def kpid(server):
    return Client(f"http://127.0.0.1:{server.port}/")


def of(server, **settings):
    return Client(f"http://127.0.0.1:{server.port}", **settings)


def command(url, *args, **env):
    return run_example(sys.executable, FILE, *args, KPID_URL=url, **env)


def test_types_hold_on_the_oldest_python_that_it_is_for(tmp_path):
    said = findings("mypy", "--strict", "--python-version=3.9", "--no-error-summary", f"--cache-dir={tmp_path}", FILE)
    assert said == ""


def test_public_methods_say_what_they_do():
    public = {name: value for name, value in vars(Client).items() if not name.startswith("_")}
    assert {"start_run", "wait", "results", "backfill", "wait_backfill", "cancel", "retry", "days"} <= set(public)
    assert [name for name, value in public.items() if not value.__doc__] == []


# --- runs ---------------------------------------------------------------------------------------


def test_run_from_start_to_rows(kpid):
    run = kpid.start_run(DAY, labels={"by": "client"})
    assert (run["disposition"], run["labels"]) == ("created", {"by": "client"})
    run = kpid.wait(run["id"])
    assert (run["state"], run["date"]) == ("succeeded", DAY)
    assert kpid.get_run(run["id"])["state"] == "succeeded"
    [row] = kpid.results(run["id"])
    assert (row["total_orders"], str(row["total_revenue"])) == (2, "46.5")
    assert isinstance(row["total_revenue"], Decimal)
    rows = list(kpid.results(run["id"], kpi="categories", sort="-daily_revenue"))
    assert [row["daily_revenue"] for row in rows] == sorted((row["daily_revenue"] for row in rows), reverse=True)
    assert len(rows) == 2


def test_run_may_be_waited_for_by_its_start_and_named_by_an_instant(kpid):
    run = kpid.start_run(as_of=f"{NEXT_DAY}T03:00:00Z", wait=30)
    assert (run["state"], run["date"]) == ("succeeded", DAY)


def test_key_stands_for_one_run_and_no_key_for_a_new_one(kpid):
    first, again = (kpid.start_run(DAY, idempotency_key="client-1") for _ in range(2))
    assert (first["id"], again["disposition"]) == (again["id"], "replayed")
    kpid.wait(first["id"])
    ids = {kpid.start_run(DAY, wait=30)["id"] for _ in range(2)}
    assert len(ids | {first["id"]}) == 3


def test_rows_are_read_over_all_pages(start_server, tmp_path):
    items = [f"{n},1,{n},1.25,shipped,{DAY}" for n in range(450)]
    source = write_source(tmp_path / "in", [f"1,1,c,{DAY}"], items, [f"{n},Category {n:03},x" for n in range(450)])
    kpid = of(start_server(source))
    run = kpid.wait(kpid.start_run(DAY)["id"])
    assert [row["category"] for row in kpid.results(run["id"], kpi="categories")] == [
        f"Category {n:03}" for n in range(450)
    ]


def test_failed_run_raises_its_own_error(broken):
    kpid = of(broken.server)
    run = kpid.start_run(DAY)
    with pytest.raises(KpidError) as raised:
        kpid.wait(run["id"])
    error = raised.value
    assert (error.code, error.run_id, error.retryable) == ("value_unparsable", run["id"], False)
    assert 'orders/b.csv:2: created_at: "garbage"' in error.detail
    assert "bad_rows" in error.hint
    assert kpid.wait(run["id"], check=False)["state"] == "failed"
    broken.mend()
    assert kpid.retry(run["id"])["attempt"] == 1
    run = kpid.wait(run["id"])
    assert (run["state"], run["attempt"]) == ("succeeded", 2)


def test_run_is_cancelled(start_server, slow_input):
    kpid = of(start_server(slow_input))
    run = kpid.start_run(DAY)
    assert kpid.cancel(run["id"])["state"] in ("cancelled", "cancelling")
    with pytest.raises(KpidError, match="the run is cancelled") as raised:
        kpid.wait(run["id"])
    assert (raised.value.code, raised.value.run_id) == ("run-not-succeeded", run["id"])


def test_wait_has_an_end_if_it_is_told_so(start_server, slow_input):
    kpid = of(start_server(slow_input))
    run = kpid.start_run(DAY)
    with pytest.raises(TimeoutError, match="still"):
        kpid.wait(run["id"], timeout=0)


def test_refused_request_raises_its_problem(kpid):
    with pytest.raises(KpidError) as raised:
        kpid.start_run(DAY, publsh=True)
    error = raised.value
    assert (error.code, error.status, error.retryable) == ("validation-failed", 422, False)
    assert error.errors == [{"pointer": "/publsh", "detail": "This field is not known here."}]
    assert "/publsh" in str(error)
    with pytest.raises(KpidError) as raised:
        kpid.get_run(ID)
    assert (raised.value.code, raised.value.status) == ("run-not-found", 404)


def test_retry_of_a_run_that_has_succeeded_is_refused(kpid):
    run = kpid.start_run(DAY, wait=30)
    with pytest.raises(KpidError) as raised:
        kpid.retry(run["id"])
    assert (raised.value.status, raised.value.repeated) == (409, False)


# --- many days ----------------------------------------------------------------------------------


def test_backfill_and_calendar(start_server):
    kpid = of(start_server())
    plan = kpid.backfill(DAY, NEXT_DAY, dry_run=True)
    assert [day["date"] for day in plan["days"]] == [DAY, NEXT_DAY]
    backfill = kpid.backfill(DAY, NEXT_DAY, idempotency_key="all-1")
    assert kpid.backfill(DAY, NEXT_DAY, idempotency_key="all-1")["id"] == backfill["id"]
    assert kpid.wait_backfill(backfill["id"])["counts"]["succeeded"] == 2
    assert [day["state"] for day in kpid.backfill_days(backfill["id"])] == ["succeeded"] * 2
    days = {day["date"]: day["total_orders"] for day in kpid.days("2022-06-01", NEXT_DAY)}
    assert len(days) == 230
    assert days[DAY] == 2 and days["2022-06-01"] is None


def test_failed_backfill_names_the_days(broken):
    kpid = of(broken.server)
    backfill = kpid.backfill(dates=[DAY, NEXT_DAY])
    with pytest.raises(KpidError, match=f"2 of 2 days have not succeeded: {DAY} value_unparsable") as raised:
        kpid.wait_backfill(backfill["id"])
    assert kpid.get_run(raised.value.run_id)["date"] == DAY
    assert kpid.wait_backfill(backfill["id"], check=False)["state"] == "failed"


def test_backfill_of_which_a_day_was_cancelled_has_not_succeeded(start_server, slow_input):
    kpid = of(start_server(slow_input))
    backfill = kpid.backfill(DAY, NEXT_DAY)
    [_, second] = kpid.backfill_days(backfill["id"])
    kpid.cancel(second["run_id"])
    with pytest.raises(KpidError, match=f"1 of 2 days have not succeeded: {NEXT_DAY} cancelled"):
        kpid.wait_backfill(backfill["id"])


# --- services that do not answer ----------------------------------------------------------------


class Clock:
    """Time that passes only where the client sleeps."""

    def __init__(self):
        self.slept = []

    def monotonic(self):
        return sum(self.slept)

    def sleep(self, seconds):
        self.slept.append(seconds)


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(kpid_client, "time", clock)
    return clock


@pytest.mark.parametrize(
    "status, headers, pauses",
    [
        (None, {}, [1, 2]),
        (429, {"Retry-After": "9"}, [9, 9]),
        (503, {"Retry-After": "0"}, [1, 2]),
        (503, {}, [1, 2]),
    ],
)
def test_later_is_tried_later_with_the_same_key(clock, status, headers, pauses):
    later = Scripted(status, {"code": "draining", "detail": "Later.", "retryable": True}, headers)
    with ScriptedServer(later, later, RUN) as stub:
        assert Client(stub.url).start_run(DAY)["id"] == ID
    assert clock.slept == pauses
    first, second, third = stub.asked
    assert first == second == third
    assert re.fullmatch(r"[0-9a-f-]{36}", first.headers["idempotency-key"])


def test_patience_ends_with_the_last_error(clock):
    draining = Scripted(503, {"code": "draining", "detail": "The service stops.", "retryable": True})
    with ScriptedServer(draining) as stub, pytest.raises(KpidError) as raised:
        Client(stub.url, patience=100).get_run(ID)
    assert clock.slept == [1, 2, 4, 8, 16, 30, 30]
    assert (raised.value.code, raised.value.status, raised.value.retryable) == ("draining", 503, True)
    with pytest.raises(KpidError) as raised:
        Client(f"http://127.0.0.1:{free_port()}", patience=0).get_run(ID)
    assert (raised.value.code, raised.value.retryable) == ("unreachable", True)
    assert "refused" in raised.value.detail


def test_service_that_starts_late_is_waited_for(start_server):
    port = free_port()
    runs = []
    kpid = Client(f"http://127.0.0.1:{port}")
    starter = threading.Thread(target=lambda: runs.append(kpid.start_run(DAY, wait=30)))
    starter.start()
    start_server(KPI_LISTEN=f"127.0.0.1:{port}")
    starter.join(30)
    assert [run["state"] for run in runs] == ["succeeded"]


def test_service_that_does_not_let_it_wait_is_not_hammered(clock):
    still = Scripted(200, {"state": "running", "terminal": False}, {"Retry-After": "2"})
    with ScriptedServer(still, RUN) as stub:
        Client(stub.url).wait(ID)
    assert clock.slept == [2]
    assert [a.path for a in stub.asked] == [f"/runs/{ID}?wait=50"] * 2


def test_retry_whose_first_answer_was_lost_is_no_error(clock):
    refused = Scripted(409, {"code": "run-already-active", "detail": "It runs.", "retryable": False})
    with ScriptedServer(Scripted(None), refused, RUN) as stub:
        assert Client(stub.url).retry(ID)["id"] == ID
    assert [a.method for a in stub.asked] == ["POST", "POST", "GET"]


def test_redirect_is_not_followed_with_the_token():
    with ScriptedServer(RUN) as elsewhere:
        moved = Scripted(302, "moved", {"Location": elsewhere.url})
        with ScriptedServer(moved) as stub, pytest.raises(KpidError, match="302"):
            Client(stub.url, "secret").get_run(ID)
        assert elsewhere.asked == []
    assert stub.asked[0].headers["authorization"] == "Bearer secret"


@pytest.mark.parametrize("body", [b"<html>", b'"text"', b""])
@pytest.mark.parametrize("status", [200, 404])
def test_answer_of_something_else_is_an_error(status, body):
    with ScriptedServer(Scripted(status, body)) as stub, pytest.raises(KpidError) as raised:
        Client(stub.url).get_run(ID)
    assert raised.value.code == "unexpected-answer"


# --- command line -------------------------------------------------------------------------------


def test_command_line_runs_a_day_and_shows_it(start_server):
    key = "secret-key"
    server = start_server(KPI_API_KEYS=f"cli:run:{hashlib.sha256(key.encode()).hexdigest()}")
    url = f"http://127.0.0.1:{server.port}"
    told = command(url, "run", DAY, "--key", "night", KPID_TOKEN=key)
    assert (told.code, told.err) == (0, ""), told
    run = json.loads(told.out)
    assert (run["state"], run["idempotency_key"]) == ("succeeded", "night")
    assert json.loads(command(url, "show", run["id"], KPID_TOKEN=key).out) == run
    rows = command(url, "results", run["id"], "--kpi", "categories", KPID_TOKEN=key).out.splitlines()
    assert [json.loads(row)["order_date"] for row in rows] == [DAY, DAY]
    days = command(url, "days", DAY, NEXT_DAY, KPID_TOKEN=key).out.splitlines()
    assert [json.loads(day)["published_run_id"] for day in days] == [run["id"], None]
    done = command(url, "backfill", DAY, NEXT_DAY, KPID_TOKEN=key)
    assert json.loads(done.out)["counts"]["skipped"] == 1, done
    assert command(url, "show", run["id"], KPID_TOKEN="wrong").code == 1


def test_command_line_tells_why_a_run_failed_and_retries_it(broken):
    url = f"http://127.0.0.1:{broken.server.port}"
    told = command(url, "run", DAY, "--key", "night")
    assert (told.code, told.out) == (1, "")
    message, hint = told.err.splitlines()
    assert message.startswith("kpid: value_unparsable: orders/b.csv:2:")
    assert hint.startswith("hint: ")
    [run] = broken.server.all_runs()
    assert command(url, "retry", run["id"]).code == 1
    broken.mend()
    told = json.loads(command(url, "run", DAY, "--key", "night").out)
    assert (told["id"], told["state"], told["attempt"]) == (run["id"], "succeeded", 3)


def test_command_line_leaves_a_run_alone_or_stops_it(start_server, slow_input):
    url = f"http://127.0.0.1:{start_server(slow_input).port}"
    told = command(url, "run", DAY, "--no-wait")
    run = json.loads(told.out)
    assert (told.code, run["terminal"]) == (0, False)
    assert command(url, "run", DAY, "--timeout", "0").code == 75
    assert json.loads(command(url, "cancel", run["id"]).out)["state"] == "cancelled"


def test_command_line_without_a_service_says_so():
    told = command(f"http://127.0.0.1:{free_port()}", "run", KPID_RETRY_SECONDS="0")
    assert (told.code, told.out) == (75, "")
    assert told.err.startswith("kpid: unreachable: ")
