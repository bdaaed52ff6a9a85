"""The alarms of deploy/stack.yaml: they look at metrics that exist, which count the lines that the service really writes."""

import threading
from datetime import UTC, datetime, timedelta

import pytest
from botocore.validate import ParamValidator

from support.datasets import BASE_DATES, write_source
from support.deploy_stack import NAME, TOPIC, create_stack
from support.faults import Hold, s3_error
from support.log_filter import Pattern
from support.processes import wait_for
from support.task_definition import as_request, input_shape

DAY = BASE_DATES[0]
OF_THE_BALANCER = ("UnHealthyHostCount", "HealthyHostCount")
DAY_SECONDS = 86400


@pytest.fixture(scope="module")
def stack():
    return create_stack(AlarmTopicArn=TOPIC)


@pytest.fixture(scope="module")
def filters(stack) -> dict[str, Pattern]:
    """The patterns by the name of what they count."""
    found = stack.of_type("AWS::Logs::MetricFilter").values()
    return {one["MetricTransformations"][0]["MetricName"]: Pattern(one["FilterPattern"]) for one in found}


def failed_runs(stack, filters: dict[str, Pattern], lines: list[dict]) -> int:
    """What the alarm on failed runs comes to, by its expression."""
    expression = stack.properties("RunFailed")["Metrics"][0]["Expression"]
    found = counted(filters, lines)
    named = {m["Id"]: m["MetricStat"]["Metric"]["MetricName"] for m in stack.properties("RunFailed")["Metrics"][1:]}
    values = {name: len(found[metric]) for name, metric in named.items()}
    return eval(expression, {"FILL": lambda value, _: value}, values)


def metric_names(alarm: dict) -> set[tuple[str, str]]:
    """(namespace, name) of all that an alarm looks at."""
    parts = [alarm, *(metric["MetricStat"]["Metric"] for metric in alarm.get("Metrics", []) if "MetricStat" in metric)]
    return {(part["Namespace"], part["MetricName"]) for part in parts if "MetricName" in part}


def counted(filters: dict[str, Pattern], lines: list[dict]) -> dict[str, list[str]]:
    """What each filter counts of some lines: their dates."""
    return {name: [line.get("date") for line in lines if pattern.matches(line)] for name, pattern in filters.items()}


# --- patterns -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "pattern, line, does",
    [
        ('{ $.eventType = "UpdateTrail" }', {"eventType": "UpdateTrail"}, True),
        ('{ $.eventType = "UpdateTrail" }', {"eventType": "UpdateTrails"}, False),
        ('{ $.eventType = "Update*" }', {"eventType": "UpdateTrail"}, True),
        ('{ $.eventType != "Update*" }', {"eventType": "UpdateTrail"}, False),
        ('{ $.user.name = "a.b" }', {"user": {"name": "a.b"}}, True),
        ('{ $.user.name = "a" }', {"user": "a"}, False),
        ("{ $.n >= 2 }", {"n": 2}, True),
        ("{ $.n >= 2 }", {"n": "2"}, False),
        ('{ ($.a = "1") && ($.b = "2" || $.c = "3") }', {"a": "1", "c": "3"}, True),
        ('{ ($.a = "1") && ($.b = "2" || $.c = "3") }', {"c": "3"}, False),
        ('{ $.a = "1" || $.b = "2" && $.c = "3" }', {"a": "1"}, True),
    ],
)
def test_patterns_are_understood(pattern, line, does):
    assert Pattern(pattern).matches(line) is does


@pytest.mark.parametrize("pattern", ['$.a = "1"', '{ $.a = "1" && }', '{ ($.a = "1" }', "{ $.a = b }", '{ $.a > "1" }', "{ a = 1 }"])
def test_wrong_patterns_are_refused(pattern):
    with pytest.raises(ValueError):
        Pattern(pattern)


# --- lines ----------------------------------------------------------------------------------------


def day_before(days: int) -> str:
    return (datetime.now(UTC) - timedelta(days=days)).strftime("%Y-%m-%d")


@pytest.fixture
def recent(tmp_path):
    """Input of today, of yesterday and of the day before."""
    days = [day_before(n) for n in range(3)]
    orders = [f"{n},{n},c,{date} 10:00:00" for n, date in enumerate(days)]
    items = [f"{n},{n},1,1,c,{date} 10:00:00" for n, date in enumerate(days)]
    return write_source(tmp_path / "recent", orders, items, ["1,Books,x"])


def test_yesterday_is_counted_when_it_is_published_and_no_other_day(filters, start_server, recent):
    server = start_server(source=recent)
    published = [day_before(n) for n in (2, 1, 0)]
    for date in published:
        assert server.run(date)["state"] == "succeeded"
    server.run(published[1], publish=False)
    none = {name: [] for name in filters}
    assert counted(filters, server.logs) == {**none, "TablesPublished": [published[1]] * 2}


def test_what_is_published_already_counts_as_published(filters, site, recent):
    server = site.upload(recent).server()
    for _ in range(2):
        assert server.run(day_before(1))["state"] == "succeeded"
    assert len(counted(filters, server.logs)["TablesPublished"]) == 4


def test_failed_runs_are_counted(stack, filters, start_server, tmp_path):
    server = start_server(source=tmp_path / "nowhere")
    assert server.run(DAY)["state"] == "failed"
    assert counted(filters, server.logs)["AttemptsFailed"] == [DAY]
    assert failed_runs(stack, filters, server.logs) == 1


def test_how_long_runs_wait_is_told_by_a_number(stack, filters, site):
    gate = threading.Event()
    site.upload().s3.spoil(Hold(gate), "GetObject")
    server = site.server()
    runs = [server.start_run(DAY)]
    wait_for(lambda: server.get(f"/runs/{runs[0]['id']}").json["phase"] == "scanning", 30)
    runs.append(server.start_run(BASE_DATES[1]))
    lines: list[dict] = []
    wait_for(lambda: lines.extend(line for line in server.logs if filters["OldestQueued"].matches(line)) or lines, 30)
    gate.set()
    for run in runs:
        server.finish(run["id"])
    [transformation] = stack.properties("WaitingLines")["MetricTransformations"]
    assert lines[0][transformation["MetricValue"].removeprefix("$.")] >= 5
    assert lines[0]["queued"] == 1


def test_throttled_attempts_are_counted_and_their_run_fails_once(stack, filters, site):
    server = site.upload().server()
    site.s3.spoil(s3_error(503, "SlowDown"), "ListObjectsV2")
    assert server.run(DAY, max_attempts=2)["error"]["code"] == "s3_throttled"
    assert counted(filters, server.logs)["AttemptsThrottled"] == [DAY, DAY]
    assert failed_runs(stack, filters, server.logs) == 1


# --- alarms ---------------------------------------------------------------------------------------


def request_findings(service: str, operation: str, properties: dict) -> list[str]:
    shape = input_shape(service, operation)
    found: list[str] = []
    request = as_request(properties, shape, found)
    return found + [line for line in ParamValidator().validate(request, shape).generate_report().splitlines() if line]


def test_cloudwatch_accepts_filters_and_alarms(stack):
    for name, found in stack.of_type("AWS::Logs::MetricFilter").items():
        assert request_findings("logs", "PutMetricFilter", {**found, "FilterName": name}) == []
    for name, found in stack.of_type("AWS::CloudWatch::Alarm").items():
        assert request_findings("cloudwatch", "PutMetricAlarm", {**found, "AlarmName": name}) == []
        assert request_findings("cloudwatch", "PutMetricAlarm", {**found, "AlarmName": name, "TreatMissingDate": "x"})


def test_alarms_look_at_what_is_counted(stack, filters):
    namespaces = {one["MetricTransformations"][0]["MetricNamespace"] for one in stack.of_type("AWS::Logs::MetricFilter").values()}
    assert namespaces == {f"kpid/{NAME}"}
    alarms = stack.of_type("AWS::CloudWatch::Alarm").values()
    looked_at = {name for alarm in alarms for name in metric_names(alarm)}
    assert looked_at == {(f"kpid/{NAME}", name) for name in filters} | {("AWS/ApplicationELB", n) for n in OF_THE_BALANCER}
    for alarm in (alarm for alarm in alarms if alarm.get("Namespace") == "AWS/ApplicationELB"):
        dimensions = {item["Name"]: item["Value"] for item in alarm["Dimensions"]}
        assert dimensions["TargetGroup"].startswith("targetgroup/") and dimensions["LoadBalancer"].startswith("app/")


def test_silence_is_an_alarm_where_something_has_to_be_heard(stack):
    alarms = stack.of_type("AWS::CloudWatch::Alarm")
    silent = {name for name, alarm in alarms.items() if alarm["TreatMissingData"] == "breaching"}
    assert silent == {name for name, alarm in alarms.items() if alarm["ComparisonOperator"] == "LessThanThreshold"}
    assert silent == {"YesterdayMissing", "Down"}
    assert alarms["YesterdayMissing"]["Period"] == DAY_SECONDS


def test_alarms_go_to_the_topic_where_there_is_one(stack):
    def told(made) -> list[list[str]]:
        return [alarm["AlarmActions"] for alarm in made.of_type("AWS::CloudWatch::Alarm").values()]

    assert told(stack) == [[TOPIC]] * 6
    assert told(create_stack()) == [[]] * 6
