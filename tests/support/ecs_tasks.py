"""Lets a state machine run tasks of ECS, by moto's interpreter: the container is the program under test, in a process."""

import contextlib
import json
from collections.abc import Callable, Iterator
from unittest import mock

from botocore.validate import ParamValidator
from moto import mock_aws
from moto.stepfunctions.parser.api import HistoryEventType, TaskFailedEventDetails
from moto.stepfunctions.parser.asl.component.common.error_name.custom_error_name import CustomErrorName
from moto.stepfunctions.parser.asl.component.common.error_name.error_name import ErrorName
from moto.stepfunctions.parser.asl.component.common.error_name.failure_event import FailureEvent, FailureEventException
from moto.stepfunctions.parser.asl.component.common.error_name.states_error_name import StatesErrorName
from moto.stepfunctions.parser.asl.component.common.error_name.states_error_name_type import StatesErrorNameType
from moto.stepfunctions.parser.asl.component.state.exec.state_task import state_task_factory
from moto.stepfunctions.parser.asl.component.state.exec.state_task.service.state_task_service_ecs import StateTaskServiceEcs
from moto.stepfunctions.parser.asl.eval.event.event_detail import EventDetails

from support.cli import kpid
from support.step_functions import Machine
from support.task_definition import as_request, input_shape

TASK_ARN = "arn:aws:ecs:eu-central-1:123456789012:task/kpis/0123456789abcdef0123456789abcdef"


class Tasks:
    """What the tasks run with, and what they were; an exit code that is set stands for the next one.

    `refusals` are errors by which Step Functions says that the next ones could not be started."""

    def __init__(self, environment: dict[str, str]):
        self.environment = environment
        self.requests: list[dict] = []
        self.exit_codes: list[int | None] = []
        self.refusals: list[str] = []

    def run(self, parameters: dict) -> dict:
        """A task from start to end, described as ECS does."""
        shape, wrong = input_shape("ecs", "RunTask"), []
        request = as_request(parameters, shape, wrong)
        problems = ParamValidator().validate(request, shape)
        assert not wrong and not problems.has_errors(), problems.generate_report()
        self.requests.append(request)
        [override] = request["overrides"]["containerOverrides"]
        container = {"Name": override["name"], "LastStatus": "STOPPED"}
        code = self.exit_codes.pop(0) if self.exit_codes else kpid(*override["command"], env=self.environment).code
        if code is not None:
            container["ExitCode"] = code
        reason = "Essential container in task exited" if code is not None else "OutOfMemoryError: container killed"
        return {"TaskArn": TASK_ARN, "Containers": [container], "LastStatus": "STOPPED", "StoppedReason": reason}


class EcsTask(StateTaskServiceEcs):
    """The resource arn:aws:states:::ecs:runTask.sync."""

    tasks: Tasks

    def _eval_service_task(self, env, resource_runtime_part, normalised_parameters, state_credentials) -> None:
        if self.tasks.refusals:
            self.fail(env, CustomErrorName(self.tasks.refusals.pop(0)), "You've reached the limit on the number of tasks")
        env.stack.append(self.tasks.run(normalised_parameters))

    def fail(self, env, name: ErrorName, cause: str) -> None:
        details = TaskFailedEventDetails(error=name.error_name, cause=cause, resource="runTask.sync", resourceType="ecs")
        event_details = EventDetails(taskFailedEventDetails=details)
        event = FailureEvent(env=env, error_name=name, event_type=HistoryEventType.TaskFailed, event_details=event_details)
        raise FailureEventException(event)

    def _build_sync_resolver(self, env, resource_runtime_part, normalised_parameters, state_credentials) -> Callable[[], dict]:
        task = env.stack.pop()

        def resolve() -> dict:
            if task["Containers"][0].get("ExitCode") == 0:
                return task
            return self.fail(env, StatesErrorName(typ=StatesErrorNameType.StatesTaskFailed), json.dumps(task))

        return resolve


@contextlib.contextmanager
def task_machine(definition: str, tasks: Tasks) -> Iterator[Machine]:
    """A machine whose tasks of ECS are `tasks`."""
    task = type("Task", (EcsTask,), {"tasks": tasks})
    known = state_task_factory.state_task_service_for

    def service(service_name: str):
        return task() if service_name == "ecs" else known(service_name)

    with (
        mock.patch.object(state_task_factory, "state_task_service_for", service),
        mock_aws(config={"stepfunctions": {"execute_state_machine": True}}),
    ):
        yield Machine(definition, "task")
