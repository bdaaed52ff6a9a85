"""examples/step_functions.asl.json: valid, and executed against a real service for every way a run can end."""

import hashlib
import json
import time

import pytest

from support.datasets import BASE_DATES
from support.examples import EXAMPLES, findings, template_findings
from support.scripted_server import Scripted, ScriptedServer
from support.step_functions import CONNECTION, step_functions

DAY = BASE_DATES[0]
AS_OF = f"{BASE_DATES[1]}T03:10:00Z"
FILE = EXAMPLES / "step_functions.asl.json"
DEFINITION = FILE.read_text()
KEY = "secret-key"
KEYS = f"sfn:run:{hashlib.sha256(KEY.encode()).hexdigest()}"
ID = "01890000-0000-7000-8000-000000000000"
ACCEPTED = Scripted(202, {"id": ID}, {"Content-Type": "application/json"})


def run(**fields):
    document = {"id": ID, "date": DAY, "terminal": True, "state": "succeeded", "summary": {}, "quality": None, "error": None}
    return Scripted(200, {**document, **fields}, {"Content-Type": "application/json"})


@pytest.fixture
def machine():
    with step_functions(KEY) as new_machine:
        yield new_machine(DEFINITION, "kpis")


def given(server):
    return {"url": f"http://127.0.0.1:{server.port}", "connection_arn": CONNECTION, "as_of": AS_OF}


def execute(machine, server):
    return machine.end(machine.start(given(server)))


def test_definition_is_valid_by_the_language():
    assert findings("statelint", FILE) == ""


def test_definition_is_valid_by_the_schema_of_its_resource():
    properties = {"RoleArn": "arn:aws:iam::123456789012:role/machine", "Definition": json.loads(DEFINITION)}
    template = {"Resources": {"Machine": {"Type": "AWS::StepFunctions::StateMachine", "Properties": properties}}}
    assert template_findings(json.dumps(template)) == []


@pytest.mark.parametrize("state, field, value", [("Look", "Next", "Nowhere"), ("Pause", "Seconds", "one")])
def test_wrong_definition_is_noticed(tmp_path, state, field, value):
    wrong = json.loads(DEFINITION)
    wrong["States"][state][field] = value
    (tmp_path / "wrong.json").write_text(json.dumps(wrong))
    assert f"{state}.{field}" in findings("statelint", tmp_path / "wrong.json")


def test_day_is_computed_and_its_kpis_are_the_output(machine, start_server):
    server = start_server(KPI_API_KEYS=KEYS)
    execution = machine.start(given(server))
    ended = machine.end(execution)
    assert ended.status == "SUCCEEDED", ended
    assert (ended.output["date"], ended.output["summary"]["total_orders"]) == (DAY, 2)
    listed = server.get("/runs", X_API_Key=KEY).json["runs"]
    assert [found["id"] for found in listed] == [ended.output["id"]]
    assert listed[0]["idempotency_key"] == f"kpis-{AS_OF}"
    assert listed[0]["labels"] == {"execution": execution.rsplit(":", 1)[1]}
    assert ended.states[:2] == ["Start", "Look"] and ended.states[-1] == "Published"


def test_two_executions_of_one_moment_wait_for_one_run(machine, start_server, slow_input):
    server = start_server(slow_input)
    first, second = (machine.start(given(server)) for _ in range(2))
    assert [machine.end(execution).status for execution in (first, second)] == ["SUCCEEDED"] * 2
    assert len(server.all_runs()) == 1


def test_failed_day_fails_the_execution_with_its_error_and_is_tried_again(machine, broken):
    ended = execute(machine, broken.server)
    assert (ended.status, ended.error) == ("FAILED", "value_unparsable")
    [found] = broken.server.all_runs()
    assert ended.cause == f"{found['error']['message']} Hint: {found['error']['hint']}"
    broken.mend()
    assert execute(machine, broken.server).status == "SUCCEEDED"
    [found] = broken.server.all_runs()
    assert (found["state"], found["attempt"]) == ("succeeded", 2)


def test_cancelled_day_fails_the_execution(machine, start_server, slow_input):
    server = start_server(slow_input)
    execution = machine.start(given(server))
    while not (runs := server.all_runs()):
        time.sleep(0.01)
    server.post(f"/runs/{runs[0]['id']}/cancel")
    ended = machine.end(execution)
    assert (ended.status, ended.error, ended.states[-1]) == ("FAILED", "cancelled", "Stopped")


@pytest.mark.parametrize("settings, error", [({"KPI_API_KEYS": KEYS.replace("a", "b")}, 401), ({}, 422)])
def test_refused_request_fails_the_execution_at_once(machine, start_server, settings, error):
    server = start_server(**settings)
    if error == 422:
        server.post("/runs?wait=30", {"date": DAY}, Idempotency_Key=f"kpis-{AS_OF}")
    ended = execute(machine, server)
    assert (ended.status, ended.error, ended.states) == ("FAILED", f"States.Http.StatusCode.{error}", ["Start"])


def scripted(machine, *answers):
    with ScriptedServer(*answers) as stub:
        ended = machine.end(machine.start({"url": stub.url, "connection_arn": CONNECTION, "as_of": AS_OF}))
    return ended, stub.asked


def test_start_that_is_not_answered_is_repeated_with_the_same_key(machine):
    ended, asked = scripted(machine, Scripted(None), ACCEPTED, run())
    assert ended.status == "SUCCEEDED", ended
    assert [a.method for a in asked] == ["POST", "POST", "GET"]
    assert asked[0] == asked[1]
    assert asked[0].headers["x-api-key"] == KEY


def test_look_that_is_answered_with_later_is_repeated(machine):
    ended, asked = scripted(machine, ACCEPTED, Scripted(503, {"detail": "Later."}), run())
    assert ended.status == "SUCCEEDED", ended
    assert [a.method for a in asked] == ["POST", "GET", "GET"]


def test_run_that_has_not_ended_is_looked_at_again(machine):
    ended, asked = scripted(machine, ACCEPTED, run(terminal=False, state="running"), run())
    assert ended.states == ["Start", "Look", "Has it ended?", "Pause", "Look", "Has it ended?", "Published"]
    assert [a.path for a in asked[1:]] == [f"/runs/{ID}?wait=45&expect=succeeded"] * 2


def test_service_that_comes_back_with_an_empty_disk_is_asked_anew(machine):
    ended, asked = scripted(machine, ACCEPTED, Scripted(404, {}), ACCEPTED, run())
    assert ended.status == "SUCCEEDED", ended
    assert [a.method for a in asked] == ["POST", "GET", "POST", "GET"]
