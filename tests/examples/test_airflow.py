"""examples/airflow_dag.py and kpid_operator.py, run by Airflow against a real service."""

import hashlib
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from support.airflow import Airflow
from support.datasets import BASE_DATES
from support.examples import EXAMPLES
from support.scripted_server import Scripted, ScriptedServer

DAY, NEXT_DAY = BASE_DATES
DUE = f"{NEXT_DAY}T03:10:00+00:00"
KEY = "secret-key"
KEYS = f"airflow:run:{hashlib.sha256(KEY.encode()).hexdigest()}"
ID = "01890000-0000-7000-8000-000000000000"
JSON = {"Content-Type": "application/json"}
RUN = {"id": ID, "date": DAY, "state": "succeeded", "terminal": True, "summary": {"total_orders": 2}, "error": None}


@pytest.fixture(scope="module")
def airflow(tmp_path_factory):
    dags = EXAMPLES / "airflow_dag.py", Path(__file__).parent / "dag_with_operator.py"
    with Airflow(tmp_path_factory.mktemp("airflow"), *dags) as running:
        yield running


def run(airflow, server, dag, run_after=DUE, cleared=0, **conf):
    kpid = f"http://airflow:{KEY}@{server.address}"
    return airflow.ask(do="run", dag=dag, kpid=kpid, run_after=run_after, cleared=cleared, conf=conf)


def test_files_are_imported_without_an_error(airflow):
    found = airflow.ask(do="import")
    assert found["errors"] == {}
    assert found["dags"] == {"kpid_daily": ["published", "start", "wait"], "with_operator": ["kpis"]}


# --- stock operators ----------------------------------------------------------------------------


def test_dag_computes_the_day_before_it_was_due_once_and_anew_when_it_is_cleared(airflow, start_server):
    server = start_server(KPI_API_KEYS=KEYS)
    ended = {cleared: run(airflow, server, "kpid_daily", cleared=cleared) for cleared in (0, 0, 1)}
    second, first = server.get("/runs", X_API_Key=KEY).json["runs"]
    for cleared, found in ((0, first), (1, second)):
        log = ended[cleared]["log"]
        assert ended[cleared]["state"] == "success", log
        assert ended[cleared]["tasks"] == {task: ["success", 1] for task in ("start", "wait", "published")}, log
        assert ended[cleared]["returned"] == {"start": found["id"], "published": found["summary"]}, log
        assert (found["date"], found["state"]) == (DAY, "succeeded")
        assert found["idempotency_key"] == f"airflow-kpid_daily-{ended[0]['run_id']}-{cleared}"
        assert found["labels"] == {"dag": "kpid_daily", "dag_run": ended[0]["run_id"]}
        assert found["trigger"]["principal"] == "airflow"


def test_dag_that_waits_takes_no_worker(airflow, start_server, slow_input):
    server = start_server(slow_input)
    ended = run(airflow, server, "kpid_daily", "2024-05-01T03:10:00Z", date=DAY)
    assert (ended["state"], "Pausing task as DEFERRED" in ended["log"]) == ("success", True), ended["log"]
    [found] = server.all_runs()
    assert (found["date"], found["state"]) == (DAY, "succeeded")


def test_dag_of_a_failed_day_fails_and_says_why(airflow, broken):
    ended = run(airflow, broken.server, "kpid_daily", "2024-05-02T03:10:00Z", date=DAY)
    assert ended["state"] == "failed"
    assert ended["tasks"] == {"start": ["success", 1], "wait": ["success", 1], "published": ["failed", 1]}
    [found] = broken.server.all_runs()
    assert "value_unparsable: orders/b.csv:2:" in ended["log"]
    assert f"Hint: {found['error']['hint']}" in ended["log"]


# --- the operator -------------------------------------------------------------------------------


def test_operator_computes_its_day_while_the_service_restarts(airflow, start_server, slow_input):
    server = start_server(slow_input, KPI_API_KEYS=KEYS)
    server.settings["KPI_LISTEN"] = server.address
    with ThreadPoolExecutor(1) as pool:
        job = pool.submit(run, airflow, server, "with_operator", date=DAY)
        while not server.get("/runs?state=running", X_API_Key=KEY).json["runs"]:
            time.sleep(0.01)
        server.kill()
        server.start()
        ended = job.result()
    assert (ended["state"], ended["tasks"]) == ("success", {"kpis": ["success", 1]}), ended["log"]
    [found] = server.get("/runs", X_API_Key=KEY).json["runs"]
    assert ended["returned"]["kpis"] == found["summary"]
    assert (found["date"], found["reason"]) == (DAY, "with_operator")
    assert found["labels"] == {"dag": "with_operator", "dag_run": ended["run_id"], "task": "kpis"}
    assert found["idempotency_key"] == f"airflow-with_operator-kpis-{ended['run_id']}--1-0"


def test_operator_of_a_failed_day_fails_for_good_and_says_why(airflow, broken):
    def attempts(cleared):
        ended = run(airflow, broken.server, "with_operator", f"{DAY}T03:10:00Z", cleared=cleared, date=DAY)
        return ended, [(found["state"], found["attempt"]) for found in broken.server.all_runs()]

    ended, found = attempts(cleared=0)
    assert (ended["state"], ended["tasks"], found) == ("failed", {"kpis": ["failed", 1]}, [("failed", 1)])
    assert "value_unparsable: orders/b.csv:2:" in ended["log"]
    assert f"Hint: {broken.server.all_runs()[0]['error']['hint']}" in ended["log"]
    broken.mend()
    ended, found = attempts(cleared=0)  # as a retry of the task
    assert (ended["state"], found) == ("success", [("succeeded", 2)])
    ended, found = attempts(cleared=1)
    assert (ended["state"], found) == ("success", [("succeeded", 1), ("succeeded", 2)])


def test_operator_without_a_date_takes_the_day_before_it_was_due(airflow, start_server):
    server = start_server()
    ended = run(airflow, server, "with_operator", "2023-01-17T00:00:01Z", date="")
    assert ended["state"] == "success", ended["log"]
    assert [found["date"] for found in server.all_runs()] == [NEXT_DAY]


def test_operator_whose_run_is_lost_starts_it_anew_by_its_retry(airflow):
    accepted = Scripted(202, {**RUN, "disposition": "created", "state": "queued"}, JSON)
    with ScriptedServer(accepted, Scripted(404, {}), accepted, Scripted(200, RUN, JSON)) as stub:
        ended = run(airflow, stub, "with_operator", "2023-01-18T03:10:00Z", date=DAY)
    assert (ended["state"], ended["tasks"]) == ("success", {"kpis": ["success", 2]}), ended["log"]
    assert f"AirflowException: kpid: {stub.url}/runs/{ID}: 404: " in ended["log"]
    assert [a.method for a in stub.asked] == ["POST", "GET", "POST", "GET"]
    assert stub.asked[0].headers["idempotency-key"] == stub.asked[2].headers["idempotency-key"]


def event(airflow, *answers, patience=10):
    with ScriptedServer(*answers) as stub:
        kpid = f"http://airflow:{KEY}@{stub.address}"
        arguments = {"run_id": ID, "http_conn_id": "kpid", "patience": patience}
        told = airflow.ask(do="trigger", kpid=kpid, arguments=arguments)
    return told["event"], stub.asked


@pytest.mark.parametrize(
    "first",
    [
        [Scripted(None), Scripted(None)],  # aiohttp itself asks again once
        [Scripted(503, {}, {"Retry-After": "1"})],
        [Scripted(200, {**RUN, "terminal": False}, {**JSON, "Retry-After": "1"})],
    ],
)
def test_trigger_asks_again_after_a_pause(airflow, first):
    began = time.monotonic()
    told, asked = event(airflow, *first, Scripted(200, RUN, JSON))
    assert told == {"run": {name: RUN[name] for name in ("id", "date", "state", "summary", "error")}}
    assert [a.path for a in asked] == [f"/runs/{ID}?wait=50"] * (len(first) + 1)
    assert time.monotonic() - began >= 1


@pytest.mark.parametrize("status, patience", [(404, 10), (503, 0.5)])
def test_trigger_tells_what_keeps_it_from_the_run(airflow, status, patience):
    told, _ = event(airflow, Scripted(status, {"detail": "Told by kpid."}), patience=patience)
    assert f": {status}: " in told["problem"] and "Told by kpid." in told["problem"]
