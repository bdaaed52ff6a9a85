"""examples/cron.sh: one run however often it is started, and an end that cron can tell."""

import hashlib
import os
import shutil
import subprocess
import time
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from support.datasets import BASE_DATES
from support.examples import EXAMPLES, Started, run_example
from support.scripted_server import Scripted, ScriptedServer
from support.tools import free_port

DAY = BASE_DATES[0]
CRON = EXAMPLES / "cron.sh"
ID = "01890000-0000-7000-8000-000000000000"
ACCEPTED = Scripted(202, {"id": ID, "terminal": False})
STILL = Scripted(200, {"id": ID, "terminal": False})
SUCCEEDED = Scripted(200, {"id": ID, "terminal": True})


def cron(server, *args, **env):
    return run_example(CRON, *args, KPID_URL=f"http://127.0.0.1:{server.port}", **env)


def yesterday(zone):
    return (datetime.now(zone) - timedelta(days=1)).date().isoformat()


def test_shellcheck_finds_nothing():
    found = subprocess.run(["shellcheck", CRON], capture_output=True, text=True)
    assert (found.returncode, found.stdout) == (0, "")


@pytest.mark.parametrize("shell", ["dash", "bash"])
def test_day_is_computed_once_however_often_it_is_started(start_server, shell):
    server = start_server()
    for _ in range(2):
        outcome = run_example(shell, CRON, DAY, KPID_URL=f"http://127.0.0.1:{server.port}/")
        assert (outcome.code, outcome.err) == (0, ""), outcome
    [run] = server.all_runs()
    assert outcome.out == f"kpid: {DAY}: published by run {run['id']}\n"
    assert (run["state"], run["date"], run["attempt"]) == ("succeeded", DAY, 1)
    assert run["idempotency_key"] == f"cron-{DAY}"


@pytest.mark.parametrize("zone", ["UTC", "Pacific/Kiritimati", "Pacific/Pago_Pago"])
def test_day_that_is_not_named_is_yesterday_in_the_zone_of_the_service(start_server, zone):
    server = start_server(KPI_TIMEZONE=zone)
    before = yesterday(ZoneInfo(zone))
    outcome = cron(server, KPID_TIMEZONE=zone, TZ="America/New_York")
    assert outcome.code == 0, outcome
    [run] = server.all_runs()
    assert before <= run["date"] <= yesterday(ZoneInfo(zone))


def test_two_at_once_make_one_run(start_server, slow_input):
    server = start_server(slow_input)
    env = {"KPID_URL": f"http://127.0.0.1:{server.port}"}
    with Started([CRON, DAY], env) as first, Started([CRON, DAY], env) as second:
        assert (first.end().code, second.end().code) == (0, 0)
    assert [run["state"] for run in server.all_runs()] == ["succeeded"]


def test_failed_day_says_why_and_is_tried_again_by_the_next_start(broken):
    outcome = cron(broken.server, DAY)
    assert (outcome.code, outcome.out) == (1, "")
    message, hint, log = outcome.err.splitlines()
    assert message == (
        f'kpid: {DAY}: The run is failed: value_unparsable: orders/b.csv:2: created_at: "garbage" is not a date'
    )
    [run] = broken.server.all_runs()
    assert hint == f"hint: {run['error']['hint']}"
    assert log.endswith(run["links"]["logs"])
    assert cron(broken.server, DAY).code == 1
    broken.mend()
    assert cron(broken.server, DAY).code == 0
    [run] = broken.server.all_runs()
    assert (run["state"], run["attempt"]) == ("succeeded", 3)


def test_cancelled_day_is_a_failure(start_server, slow_input):
    server = start_server(slow_input)
    with Started([CRON, DAY], {"KPID_URL": f"http://127.0.0.1:{server.port}"}) as started:
        while not (runs := server.all_runs()):
            time.sleep(0.01)
        server.post(f"/runs/{runs[0]['id']}/cancel")
        outcome = started.end()
    assert outcome.code == 1
    assert "cancelled" in outcome.err


def keyed(start_server, key):
    return start_server(KPI_API_KEYS=f"cron:run:{hashlib.sha256(key.encode()).hexdigest()}")


def test_key_is_sent_but_stands_in_no_list_of_processes(start_server, tmp_path):
    spy = tmp_path / "curl"
    spy.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" >>{tmp_path}/arguments\nexec {shutil.which("curl")} "$@"\n')
    spy.chmod(0o755)
    server = keyed(start_server, "secret-key")
    outcome = cron(server, DAY, KPID_TOKEN="secret-key", PATH=f"{tmp_path}:{os.environ['PATH']}")
    assert outcome.code == 0, outcome
    arguments = (tmp_path / "arguments").read_text()
    assert "/runs" in arguments
    assert "secret" not in arguments


@pytest.mark.parametrize("env", [{}, {"KPID_TOKEN": "wrong"}])
def test_missing_or_wrong_key_is_told(start_server, env):
    outcome = cron(keyed(start_server, "secret-key"), DAY, **env)
    assert outcome.code == 1
    assert "key" in outcome.err and outcome.err.startswith(f"kpid: {DAY}: "), outcome


def test_service_that_starts_late_is_waited_for(start_server):
    port = free_port()
    with Started([CRON, DAY], {"KPID_URL": f"http://127.0.0.1:{port}"}) as started:
        with pytest.raises(subprocess.TimeoutExpired):
            started.end(0.5)
        server = start_server(KPI_LISTEN=f"127.0.0.1:{port}")
        assert started.end().code == 0
    assert [run["date"] for run in server.all_runs()] == [DAY]


def test_service_that_dies_and_comes_back_is_waited_for(start_server, slow_input):
    server = start_server(slow_input)
    server.settings["KPI_LISTEN"] = server.address
    with Started([CRON, DAY], {"KPID_URL": f"http://127.0.0.1:{server.port}"}) as started:
        while not server.all_runs("&state=running"):
            time.sleep(0.01)
        server.kill()
        server.start()
        assert started.end().code == 0
    assert [run["state"] for run in server.all_runs()] == ["succeeded"]


def test_service_that_comes_back_with_an_empty_disk_is_asked_anew():
    lost = Scripted(404, {"detail": "There is no such run."})
    with ScriptedServer(ACCEPTED, lost, ACCEPTED, SUCCEEDED) as stub:
        assert run_example(CRON, DAY, KPID_URL=stub.url).code == 0
    assert [a.method for a in stub.asked] == ["POST", "GET", "POST", "GET"]
    assert {a.headers["idempotency-key"] for a in stub.asked if a.method == "POST"} == {f"cron-{DAY}"}


def test_service_that_forgets_every_run_is_given_up():
    lost = Scripted(404, {"detail": "There is no such run."})
    with ScriptedServer(*[ACCEPTED, lost] * 9) as stub:
        outcome = run_example(CRON, DAY, KPID_URL=stub.url)
    assert [a.method for a in stub.asked].count("POST") == 4
    assert (outcome.code, "no such run" in outcome.err) == (1, True), outcome


@pytest.mark.parametrize("status", [None, 429])
def test_later_is_tried_later(status):
    later = Scripted(status, {"detail": "Later."}, {"Retry-After": "2"})
    with ScriptedServer(later, ACCEPTED, SUCCEEDED) as stub:
        began = time.monotonic()
        assert run_example(CRON, DAY, KPID_URL=stub.url).code == 0
    assert time.monotonic() - began >= (2 if status else 1)
    assert [a.body for a in stub.asked][0] == [a.body for a in stub.asked][1]


def test_service_that_does_not_let_it_wait_is_not_hammered():
    with ScriptedServer(ACCEPTED, STILL, SUCCEEDED) as stub:
        began = time.monotonic()
        assert run_example(CRON, DAY, KPID_URL=stub.url).code == 0
    assert time.monotonic() - began >= 1


@pytest.mark.parametrize("status, said", [(None, "Empty reply"), (503, "503 Draining.")])
def test_service_that_stays_away_is_told_apart(status, said):
    with ScriptedServer(Scripted(status, {"detail": "Draining."})) as stub:
        outcome = run_example(CRON, DAY, KPID_URL=stub.url, KPID_RETRY_SECONDS="0")
    assert outcome.code == 75
    assert said in outcome.err and stub.url in outcome.err


def test_answer_of_something_else_is_an_error():
    with ScriptedServer(Scripted(301, "moved", {"Location": "/"})) as stub:
        outcome = run_example(CRON, DAY, KPID_URL=stub.url)
    assert (outcome.code, outcome.err) == (1, f"kpid: {DAY}: {stub.url} answered with status 301\n")


@pytest.mark.parametrize("arguments", [("2025-3-1",), ("x\nX-Evil: 1",), ("today",), (DAY, DAY)])
def test_wrong_usage_asks_nothing(arguments):
    with ScriptedServer(SUCCEEDED) as stub:
        outcome = run_example(CRON, *arguments, KPID_URL=stub.url)
    assert (outcome.code, outcome.err) == (64, "usage: cron.sh [YYYY-MM-DD]\n")
    assert stub.asked == []


def test_day_that_does_not_exist_is_refused_with_the_reason(server):
    outcome = cron(server, "2025-02-30")
    assert outcome.code == 1
    assert "real date" in outcome.err
