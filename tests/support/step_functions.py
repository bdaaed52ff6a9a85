"""Executes a state machine: moto interprets the Amazon States Language, and HTTP tasks really send their request.

moto has no HTTP task; this one does what the Step Functions Developer Guide ("Call HTTPS APIs") says of it: the connection
adds the key, some headers are its own, an answer other than 2xx is an error that keeps its status text only.
"""

import contextlib
import http.client
import json
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from unittest import mock
from urllib.parse import urlencode, urlsplit

import boto3
from moto import mock_aws
from moto.stepfunctions.parser.api import HistoryEventType, TaskFailedEventDetails
from moto.stepfunctions.parser.asl.component.common.error_name.custom_error_name import CustomErrorName
from moto.stepfunctions.parser.asl.component.common.error_name.error_name import ErrorName
from moto.stepfunctions.parser.asl.component.common.error_name.failure_event import (
    FailureEvent,
    FailureEventException,
)
from moto.stepfunctions.parser.asl.component.state.exec.state_task import state_task_factory
from moto.stepfunctions.parser.asl.component.state.exec.state_task.service.state_task_service import (
    StateTaskService,
)
from moto.stepfunctions.parser.asl.eval.event.event_detail import EventDetails

CONNECTION = "arn:aws:events:eu-central-1:123456789012:connection/kpid/81210c42-8af1-456b-9c4a-6ff02fc664ac"
OWN_HEADERS = {
    "User-Agent": "Amazon|StepFunctions|HttpInvoke|eu-central-1",
    "Range": "bytes=0-262144",
}
NOT_ALLOWED = ("authorization", "connection", "content-md5", "date", "expect", "host", "max-forwards", "proxy-authenticate",
               "server", "te", "transfer-encoding", "trailer", "upgrade", "via", "www-authenticate")  # fmt: skip
LONGEST_SECONDS = 60


class HttpTask(StateTaskService):
    """The resource arn:aws:states:::http:invoke."""

    connections: dict[str, str] = {}

    def _get_supported_parameters(self) -> set[str]:
        return {"ApiEndpoint", "Method", "Authentication", "Headers", "QueryParameters", "RequestBody"}

    def _eval_service_task(self, env, resource_runtime_part, normalised_parameters, *_, **__) -> None:
        try:
            env.stack.append(self.ask(normalised_parameters))
        except OSError as error:
            self.fail(env, "States.Http.Socket", str(error))
        except http.client.HTTPException as error:
            self.fail(env, f"States.Http.StatusCode.{error.args[0]}", error.args[1])

    def ask(self, parameters: dict) -> dict:
        headers = {name: str(value) for name, value in parameters.get("Headers", {}).items()}
        assert not [name for name in headers if name.lower() in NOT_ALLOWED], headers
        headers["X-API-Key"] = self.connections[parameters["Authentication"]["ConnectionArn"]]
        body = parameters.get("RequestBody")
        url = urlsplit(parameters["ApiEndpoint"])
        query = urlencode(parameters.get("QueryParameters", {}), doseq=True)
        connection = http.client.HTTPConnection(url.netloc, timeout=LONGEST_SECONDS)
        with contextlib.closing(connection):
            connection.request(
                parameters["Method"],
                url.path + (f"?{query}" if query else ""),
                None if body is None else json.dumps(body),
                {**headers, **OWN_HEADERS},
            )
            reply = connection.getresponse()
            text = reply.read()
        if not 200 <= reply.status < 300:
            raise http.client.HTTPException(reply.status, reply.reason)
        assert len(text) <= 262_144, "a longer result ends an execution"
        return {
            "StatusCode": reply.status,
            "StatusText": reply.reason,
            "Headers": {name: [value] for name, value in reply.getheaders()},
            "ResponseBody": json.loads(text) if "json" in reply.headers["Content-Type"] else text.decode(),
        }

    def fail(self, env, name: str, cause: str) -> None:
        details = TaskFailedEventDetails(error=name, cause=cause, resource="invoke", resourceType="http")
        raise FailureEventException(
            FailureEvent(
                env=env,
                error_name=CustomErrorName(name),
                event_type=HistoryEventType.TaskFailed,
                event_details=EventDetails(taskFailedEventDetails=details),
            )
        )


@dataclass(frozen=True)
class Execution:
    """How an execution has ended, and the states that it went through."""

    status: str
    output: object
    error: str | None
    cause: str | None
    states: list[str]


class Machine:
    """A state machine of its own, which executions are started of."""

    def __init__(self, definition: str, name: str):
        self.client = boto3.client("stepfunctions", "eu-central-1")
        role = "arn:aws:iam::123456789012:role/machine"
        made = self.client.create_state_machine(name=name, definition=definition, roleArn=role)
        self.arn = made["stateMachineArn"]

    def start(self, document: object) -> str:
        name = str(uuid.uuid4())
        made = self.client.start_execution(stateMachineArn=self.arn, name=name, input=json.dumps(document))
        return made["executionArn"]

    def end(self, execution: str, timeout: float = 60) -> Execution:
        """Waits until an execution has ended."""
        deadline = time.monotonic() + timeout
        while (found := self.client.describe_execution(executionArn=execution))["status"] == "RUNNING":
            assert time.monotonic() < deadline, self.states(execution)
            time.sleep(0.05)
        output = json.loads(found["output"]) if "output" in found else None
        return Execution(found["status"], output, found.get("error"), found.get("cause"), self.states(execution))

    def states(self, execution: str) -> list[str]:
        history = self.client.get_execution_history(executionArn=execution, maxResults=1000)
        return [e["stateEnteredEventDetails"]["name"] for e in history["events"] if "stateEnteredEventDetails" in e]


@contextlib.contextmanager
def step_functions(api_key: str, connection: str = CONNECTION) -> Iterator[type[Machine]]:
    """Lets moto stand for Step Functions in this process; the connection holds `api_key`."""

    class Task(HttpTask):
        connections = {connection: api_key}

    known = state_task_factory.state_task_service_for

    def service(service_name: str):
        return Task() if service_name == "http" else known(service_name)

    # The errors of HTTP tasks are the only ones of this prefix that moto's language does not know.
    with (
        mock.patch.object(state_task_factory, "state_task_service_for", service),
        mock.patch.object(CustomErrorName, "__init__", ErrorName.__init__),
        mock_aws(config={"stepfunctions": {"execute_state_machine": True}}),
    ):
        yield Machine
