"""A task of Amazon ECS: protected from being stopped while a run is under way, and named in the log."""

import json

import pytest

from support.datasets import BASE_DATES, slow_source
from support.scripted_server import Scripted, ScriptedServer

DAY = BASE_DATES[0]
ARN = "arn:aws:ecs:eu-west-1:123456789012:task/kpis/0123456789abcdef0123456789abcdef"
TASK_ID = ARN.rsplit("/", 1)[1]
METADATA = {
    "Cluster": "kpis",
    "TaskARN": ARN,
    "Family": "kpid",
    "Revision": "7",
    "AvailabilityZone": "eu-west-1a",
    "LaunchType": "FARGATE",
    "ServiceName": "kpid",
}


def protection(enabled: bool) -> Scripted:
    return Scripted(200, {"protection": {"ProtectionEnabled": enabled, "TaskArn": ARN}})


def told(agent: ScriptedServer) -> list[tuple[str, str, dict]]:
    return [(asked.method, asked.path, json.loads(asked.body)) for asked in list(agent.asked)]


STATE = "/api/x/task-protection/v1/state"
ON = ("PUT", STATE, {"ProtectionEnabled": True, "ExpiresInMinutes": 120})
OFF = ("PUT", STATE, {"ProtectionEnabled": False})


def test_task_is_protected_while_a_run_is_under_way(start_server, tmp_path):
    with ScriptedServer(protection(True), protection(False)) as agent:
        server = start_server(slow_source(tmp_path / "in", 150), KPI_THREADS="1", ECS_AGENT_URI=f"{agent.url}/api/x")
        run_id = server.start_run(DAY)["id"]
        server.await_log("ecs.protected")
        assert told(agent) == [ON]
        server.finish(run_id)
        server.await_log("ecs.unprotected")
        assert told(agent) == [ON, OFF]


@pytest.mark.parametrize(
    "answer",
    [
        Scripted(400, {"error": {"Code": "AccessDeniedException", "Message": "not authorized"}}),
        Scripted(200, {"failure": {"Arn": ARN, "Reason": "TASK_NOT_VALID"}}),
        Scripted(200, b"not JSON"),
        Scripted(None),
    ],
    ids=["denied", "refused", "no JSON", "away"],
)
def test_agent_that_refuses_is_told_once_and_harms_no_run(start_server, tmp_path, answer):
    with ScriptedServer(answer) as agent:
        server = start_server(slow_source(tmp_path / "in", 150), KPI_THREADS="1", ECS_AGENT_URI=f"{agent.url}/api/x")
        run_id = server.start_run(DAY)["id"]
        line = server.await_log("ecs.protection_refused")
        assert line["level"] == "warn"
        assert "ecs:UpdateTaskProtection" in line["msg"]
        if answer.status and isinstance(answer.document, dict):
            assert json.loads(line["answer"]) == answer.document
        assert server.finish(run_id)["state"] == "succeeded"
        assert told(agent) == [ON], "not asked again at once"
        assert server.terminate() == 0


def test_log_names_the_task(start_server):
    with ScriptedServer(Scripted(200, METADATA)) as metadata:
        server = start_server(ECS_CONTAINER_METADATA_URI_V4=f"{metadata.url}/v4/x")
        line = server.await_log("ecs.task")
        assert [(asked.method, asked.path) for asked in metadata.asked] == [("GET", "/v4/x/task")]
        assert line["task_arn"] == ARN
        assert (line["cluster"], line["service"], line["family"], line["revision"]) == ("kpis", "kpid", "kpid", "7")
        assert (line["zone"], line["launch_type"]) == ("eu-west-1a", "FARGATE")
        server.run(DAY)
        assert server.await_log("run.finished")["task"] == TASK_ID


def test_metadata_that_cannot_be_read_is_told(start_server):
    with ScriptedServer(Scripted(500)) as metadata:
        server = start_server(ECS_CONTAINER_METADATA_URI_V4=f"{metadata.url}/v4/x")
        assert server.await_log("ecs.no_metadata")["status"] == 500
        server.run(DAY)
        assert "task" not in server.await_log("run.finished")


def test_outside_of_ecs_nothing_is_said(start_server):
    server = start_server()
    server.run(DAY)
    server.await_log("run.finished")
    assert not [line for line in server.logs if line["event"].startswith("ecs.")]
