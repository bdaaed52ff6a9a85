"""examples/step_functions_task.asl.json: valid, and executed with the program as the task that deploy/stack.yaml defines."""

import json

import pytest

from support.cli import source_url
from support.datasets import BASE, BASE_DATES
from support.deploy_stack import create_stack
from support.ecs_tasks import TASK_ARN, Tasks, task_machine
from support.examples import EXAMPLES, findings, template_findings

DAY = BASE_DATES[0]
FILE = EXAMPLES / "step_functions_task.asl.json"
DEFINITION = json.loads(FILE.read_text(encoding="utf-8"))
A_KEY = "airflow:run:" + "0" * 64


@pytest.fixture(scope="module")
def stack():
    return create_stack()


@pytest.fixture
def tasks(stack, tmp_path):
    """Tasks with the settings of the stack, but for what is on AWS."""
    local = {"KPI_SOURCE": source_url(BASE), "KPI_PUBLISH": "local", "KPI_INTENTS": "none", "KPI_DB": str(tmp_path / "kpid.db")}
    return Tasks({**stack.environment, "KPI_API_KEYS": A_KEY, **local})


def execute(stack, tasks: Tasks, date: str = DAY):
    """An execution with the outputs of the stack, without its pauses."""
    definition = json.loads(json.dumps(DEFINITION))
    definition["States"]["Pause"]["Seconds"] = 0
    for retrier in definition["States"]["Run"]["Retry"]:
        retrier |= {"IntervalSeconds": 1, "MaxDelaySeconds": 2, "MaxAttempts": min(retrier["MaxAttempts"], 2)}
    given = {
        "date": date,
        "cluster": stack.outputs["ClusterName"],
        "task_definition": stack.outputs["TaskDefinition"],
        "security_group": stack.outputs["SecurityGroup"],
        "subnets": ["subnet-1", "subnet-2"],
        "assign_public_ip": "DISABLED",
    }
    with task_machine(json.dumps(definition), tasks) as machine:
        return machine.end(machine.start(given))


def test_definition_is_valid_by_the_language():
    assert findings("statelint", FILE) == ""


def test_definition_is_valid_by_the_schema_of_its_resource():
    properties = {"RoleArn": "arn:aws:iam::123456789012:role/machine", "Definition": DEFINITION}
    template = {"Resources": {"Machine": {"Type": "AWS::StepFunctions::StateMachine", "Properties": properties}}}
    assert template_findings(json.dumps(template)) == []


def test_day_is_computed_and_the_execution_succeeds(stack, tasks):
    ended = execute(stack, tasks)
    assert (ended.status, ended.output) == ("SUCCEEDED", {"date": DAY, "task": TASK_ARN}), ended
    [request] = tasks.requests
    assert request["taskDefinition"] == stack.outputs["TaskDefinition"]
    [override] = request["overrides"]["containerOverrides"]
    assert override["name"] == stack.container["Name"]
    assert request["networkConfiguration"]["awsvpcConfiguration"]["securityGroups"] == [stack.outputs["SecurityGroup"]]


def test_exit_code_of_a_run_that_fails_is_the_error(stack, tasks, tmp_path):
    tasks.environment["KPI_SOURCE"] = source_url(tmp_path / "nowhere")
    ended = execute(stack, tasks)
    assert (ended.status, ended.error, ended.cause) == ("FAILED", "exit 66", f"The log of {TASK_ARN} says why."), ended
    assert len(tasks.requests) == 1


def test_what_may_succeed_later_is_tried_again(stack, tasks):
    tasks.exit_codes = [75, 75]
    ended = execute(stack, tasks)
    assert (ended.status, len(tasks.requests)) == ("SUCCEEDED", 3), ended


def test_task_that_was_killed_says_so(stack, tasks):
    tasks.exit_codes = [None]
    ended = execute(stack, tasks)
    assert (ended.status, ended.error, ended.cause) == ("FAILED", "stopped", "OutOfMemoryError: container killed"), ended


@pytest.mark.parametrize("error", ["AmazonECS.Unknown", "ECS.AmazonECSException", "ECS.ServerException", "ECS.ThrottlingException"])
def test_task_that_cannot_be_started_now_is_started_later(stack, tasks, error):
    tasks.refusals = [error]
    ended = execute(stack, tasks)
    assert (ended.status, len(tasks.requests)) == ("SUCCEEDED", 1), ended


@pytest.mark.parametrize("error, times", [("ECS.AmazonECSException", 3), ("ECS.AccessDeniedException", 1)])
def test_task_that_cannot_be_started_at_all_says_why(stack, tasks, error, times):
    tasks.refusals = [error] * times
    ended = execute(stack, tasks)
    assert (ended.status, ended.error, ended.cause) == ("FAILED", error, "You've reached the limit on the number of tasks"), ended
    assert not tasks.refusals and not tasks.requests
