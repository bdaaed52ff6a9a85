"""examples/eventbridge.json: valid, and what it sends starts the run of the day that had just ended."""

import hashlib
import json
import re

import pytest

from support.datasets import BASE_DATES
from support.eventbridge import Stack, deliver, matches, scheduler_input, transform
from support.examples import EXAMPLES, template_findings
from support.step_functions import step_functions

DAY = BASE_DATES[0]
TIME = f"{BASE_DATES[1]}T03:10:00Z"
FILE = EXAMPLES / "eventbridge.json"
TEMPLATE = json.loads(FILE.read_text())
KEY = "secret-key"
KEYS = f"eventbridge:run:{hashlib.sha256(KEY.encode()).hexdigest()}"
URL = "https://kpid.example.com"
MACHINE = "arn:aws:states:eu-central-1:123456789012:stateMachine:kpis"
EVENT = {
    "version": "0",
    "id": "53dc4d37-cffa-4f76-80c9-8b7d4a4d2eaa",
    "detail-type": "Scheduled Event",
    "source": "aws.events",
    "account": "123456789012",
    "time": TIME,
    "region": "eu-central-1",
    "resources": ["arn:aws:events:eu-central-1:123456789012:rule/kpid-Nightly"],
    "detail": {},
}
UPLOAD = {
    **EVENT,
    "id": "17793124-05d4-b198-2fde-7ededc63b103",
    "detail-type": "Object Created",
    "source": "aws.s3",
    "resources": ["arn:aws:s3:::shop"],
    "detail": {
        "version": "0",
        "bucket": {"name": "shop"},
        "object": {"key": "Data/_SUCCESS", "size": 0, "etag": "d41d8cd98f00b204e9800998ecf8427e", "sequencer": "00617F08299329D189"},
        "request-id": "N4N7GDK58NMKJ12R",
        "requester": "123456789012",
        "source-ip-address": "1.2.3.4",
        "reason": "PutObject",
    },
}


def test_template_is_valid():
    assert template_findings(FILE.read_text()) == []


def test_wrong_template_is_noticed():
    wrong = json.loads(FILE.read_text())
    wrong["Resources"]["Nightly"]["Properties"]["Targets"][0]["InputTransformer"].pop("InputTemplate")
    [found] = template_findings(json.dumps(wrong))
    assert "'InputTemplate' is a required property" in found


@pytest.mark.parametrize("url, is_allowed", [(URL, True), (URL + "/", False), ("http://kpid.example.com", False)])
def test_address_is_one_that_the_paths_can_follow(url, is_allowed):
    assert bool(re.fullmatch(TEMPLATE["Parameters"]["Url"]["AllowedPattern"], url)) is is_allowed


def test_names_in_a_template_are_replaced_in_and_out_of_quotes():
    transformer = {
        "InputPathsMap": {"time": "$.time", "count": "$.count"},
        "InputTemplate": '{"a": <time>, "b": "at \\"<time>\\"", "c": <count>, "d": "<count> <other>"}',
    }
    assert json.loads(transform(transformer, {"time": "now", "count": 2})) == {
        "a": "now",
        "b": 'at "now"',
        "c": 2,
        "d": "2 <other>",
    }


def test_rule_starts_the_run_of_the_day_before_once(start_server):
    server = start_server(KPI_API_KEYS=KEYS)
    stack = Stack(TEMPLATE, Url=URL, Token=KEY)
    assert stack.resources["Runs"]["InvocationEndpoint"] == f"{URL}/runs"
    first, again = (deliver(stack, "Nightly", EVENT, server) for _ in range(2))
    assert (first.status, again.json["disposition"]) == (202, "replayed"), first
    run = server.get(f"/runs/{first.json['id']}?wait=30", X_API_Key=KEY).json
    assert (run["state"], run["date"], run["id"]) == ("succeeded", DAY, again.json["id"])
    assert run["idempotency_key"] == f"eventbridge-{TIME}"
    assert run["labels"] == {"scheduler": "eventbridge"}
    assert run["trigger"]["principal"] == "eventbridge"
    assert run["trigger"]["user_agent"] == "Amazon/EventBridge/ApiDestinations"


def test_upload_starts_the_run_too_where_a_bucket_is_named(start_server):
    server = start_server(KPI_API_KEYS=KEYS)
    stack = Stack(TEMPLATE, Url=URL, Token=KEY, Bucket="shop")
    rule = stack.resources["Nightly"]
    assert rule["ScheduleExpression"] == TEMPLATE["Parameters"]["Schedule"]["Default"]
    assert matches(rule["EventPattern"], UPLOAD)
    sent = deliver(stack, "Nightly", UPLOAD, server)
    run = server.get(f"/runs/{sent.json['id']}?wait=30", X_API_Key=KEY).json
    assert (run["state"], run["date"]) == ("succeeded", DAY)


@pytest.mark.parametrize(
    "event",
    [
        EVENT,
        {**UPLOAD, "detail-type": "Object Deleted"},
        {**UPLOAD, "detail": {**UPLOAD["detail"], "bucket": {"name": "other"}}},
        {**UPLOAD, "detail": {**UPLOAD["detail"], "object": {"key": "Data/orders/1.csv"}}},
    ],
)
def test_other_events_do_not(event):
    assert not matches(Stack(TEMPLATE, Url=URL, Token=KEY, Bucket="shop").resources["Nightly"]["EventPattern"], event)


def test_without_a_bucket_nothing_is_watched():
    assert "EventPattern" not in Stack(TEMPLATE, Url=URL, Token=KEY).resources["Nightly"]


def test_rule_or_schedule_is_made_never_both():
    sends = set(Stack(TEMPLATE, Url=URL, Token=KEY).resources)
    starts = set(Stack(TEMPLATE, Url=URL, Token=KEY, StateMachineArn=MACHINE).resources)
    assert sends == {"Connection", "Runs", "Nightly", "SenderRole", "Undelivered", "UndeliveredPolicy"}
    assert starts == {"Connection", "NightlyMachine", "StarterRole"}


def test_schedule_starts_the_state_machine_with_the_input_that_it_needs(start_server):
    server = start_server(KPI_API_KEYS=KEYS)
    stack = Stack(TEMPLATE, Url=f"http://127.0.0.1:{server.port}", Token=KEY, StateMachineArn=MACHINE)
    given = scheduler_input(stack, "NightlyMachine", TIME)
    with step_functions(KEY, "arn:Connection.Arn") as new_machine:
        machine = new_machine((EXAMPLES / "step_functions.asl.json").read_text(), "kpis")
        ended = machine.end(machine.start(given))
    assert (ended.status, ended.output["date"]) == ("SUCCEEDED", DAY), ended
