"""deploy/stack.yaml, created in moto: what there is then, for all that may be asked of it."""

import copy
import json

import pytest

from support.cli import CONFIG, OK, kpid
from support.deploy_stack import (
    DOMAIN,
    KEYS_SECRET,
    NAME,
    REGION,
    SECURE,
    SPARK,
    TOPIC,
    TRIGGER_SECRET,
    TRIGGERED,
    create_stack,
)
from support.dockerfile import IMAGE
from support.dynamodb_server import KEYS
from support.paths import REPO, project_version
from support.spark_stack import pairs
from support.task_definition import findings_of

POLICIES = json.loads((REPO / "deploy" / "iam-policy.json").read_text(encoding="utf-8"))
KPI_TABLES = {"category_kpis_table": "category", "order_kpis_table": "order", "kpi_control": "control"}
A_KEY = "airflow:run:" + "0" * 64


@pytest.fixture(scope="module")
def plain():
    """With nothing asked for but what must be said."""
    return create_stack()


@pytest.fixture(scope="module")
def full():
    """With all that can be asked for."""
    return create_stack(
        **TRIGGERED, **SPARK, TriggerObject="Data/_SUCCESS", AlarmTopicArn=TOPIC, AccessLogBucket="log-bucket"
    )


# --- the task -----------------------------------------------------------------------------------


@pytest.mark.parametrize("stack", ["plain", "full"])
def test_ecs_accepts_the_task(stack, request):
    assert findings_of(request.getfixturevalue(stack).properties("Task")) == []


def spoiled(properties: dict, path: tuple, value: object) -> dict:
    """The properties of a task with another value at a place of it, or of its container."""
    spoilt = copy.deepcopy(properties)
    place = spoilt["ContainerDefinitions"][0] if path[0] in spoilt["ContainerDefinitions"][0] else spoilt
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    return spoilt


@pytest.mark.parametrize(
    "path, value, said",
    [
        (("StopTimeout",), 121, "stopTimeout of 121"),
        (("StopTimeout",), "2m", "Invalid type for parameter containerDefinitions[0].stopTimeout"),
        (("MountPoints", 0, "SourceVolume"), "disk", "no volume disk"),
        (("MountPoints", 0, "Source"), "data", 'Unknown parameter in containerDefinitions[0].mountPoints[0]: "Source"'),
        (("HealthCheck", "Command"), ["CMD-SHELL", "kpid healthcheck"], "needs a shell"),
        (("HealthCheck", "Command"), "kpid healthcheck", "Invalid type for parameter containerDefinitions[0].healthCheck.command"),
        (("HealthCheck", "Interval"), 1, "health check with interval 1"),
        (("LogConfiguration", "LogDriver"), "stdout", "LogDriver is stdout"),
        (("Cpu",), 512.5, "Invalid type for parameter cpu"),
        (("Cpu",), 4096, "no 4096 CPU units with 1024 MiB"),
        (("Memory",), 2048, "containers of 2048 MiB in a task of 1024"),
        (("NetworkMode",), "bridge", "needs awsvpc"),
        (("EphemeralStorage", "SizeInGiB"), 10, "disk of 10 GiB"),
        (("ContainerDefinitions",), None, "Invalid type for parameter containerDefinitions"),
    ],
)
def test_a_wrong_task_would_be_noticed(plain, path, value, said):
    found = findings_of(spoiled(plain.properties("Task"), path, value))
    assert any(said in line for line in found), found


@pytest.mark.parametrize("cpu, memory", [("256", "512"), ("16384", "122880")])
def test_size_is_what_the_parameters_say(cpu, memory):
    task = create_stack(Cpu=cpu, Memory=memory, Architecture="X86_64", DiskGiB="30").properties("Task")
    assert findings_of(task) == []
    assert (task["Cpu"], task["Memory"]) == (int(cpu), int(memory))
    assert task["RuntimePlatform"]["CpuArchitecture"] == "X86_64"
    assert task["EphemeralStorage"] == {"SizeInGiB": 30}
    assert task["ContainerDefinitions"][0]["Memory"] == int(memory), "else the program knows of no limit, and is killed at it"


def test_task_is_locked_down_and_stops_in_its_time(plain):
    container = plain.container
    assert container["ReadonlyRootFilesystem"] is True and container["Privileged"] is False
    assert container["LinuxParameters"] == {"InitProcessEnabled": True, "Capabilities": {"Drop": ["ALL"]}}
    assert container["StopTimeout"] == 120
    assert int(plain.environment["KPI_DRAIN_SECONDS"]) < container["StopTimeout"]
    options = container["LogConfiguration"]["Options"]
    assert (options["mode"], options["max-buffer-size"], options["awslogs-group"]) == ("non-blocking", "4m", f"/ecs/{NAME}")


def test_task_fits_the_image(plain):
    [mount] = plain.container["MountPoints"]
    [volume] = plain.properties("Task")["Volumes"]
    assert volume == {"Name": mount["SourceVolume"]}  # of the task's own disk
    assert IMAGE.volumes == [mount["ContainerPath"]]  # else Fargate mounts it as root's
    assert plain.environment["KPI_DB"].startswith(mount["ContainerPath"] + "/")
    assert plain.container["HealthCheck"]["Command"] == ["CMD", *IMAGE.health_check]
    assert (IMAGE.command, "Command" in plain.container, "EntryPoint" in plain.container) == (["serve"], False, False)


@pytest.mark.parametrize("stack", ["plain", "full"])
def test_program_accepts_its_settings(stack, request):
    environment = request.getfixturevalue(stack).environment
    assert kpid("check-config", env={**environment, "KPI_API_KEYS": A_KEY}).code == OK
    assert kpid("check-config", env={**environment, "KPI_API_KEYS": A_KEY, "KPI_LISTENS": "x"}).code == CONFIG


def test_accepted_runs_outlive_the_task(plain):
    wanted = {"KPI_PUBLISH": "dynamodb", "KPI_INTENTS": "dynamodb", "KPI_SOURCE": "s3://input-bucket/Data"}
    assert wanted.items() <= plain.environment.items()


def test_keys_come_from_the_secret_only(full):
    assert full.container["Secrets"] == [{"Name": "KPI_API_KEYS", "ValueFrom": KEYS_SECRET}]
    assert not [name for name in full.environment if "KEY" in name]


def test_ecs_has_registered_it(plain):
    [container] = plain.task["containerDefinitions"]
    assert container["image"] == f"123456789012.dkr.ecr.{REGION}.amazonaws.com/kpid:{project_version()}"
    assert plain.service["taskDefinition"] == plain.outputs["TaskDefinition"]
    assert plain.service["desiredCount"] == 1


# --- the service --------------------------------------------------------------------------------


def test_old_task_stops_before_the_new_one_starts(plain):
    service = plain.properties("Service")
    assert service["DesiredCount"] == 1
    assert service["DeploymentConfiguration"] == {
        "MinimumHealthyPercent": 0,
        "MaximumPercent": 100,
        "DeploymentCircuitBreaker": {"Enable": True, "Rollback": True},
    }
    assert service["AvailabilityZoneRebalancing"] == "DISABLED"
    assert service["HealthCheckGracePeriodSeconds"] == 60


def test_balancer_asks_the_health_port(plain):
    targets = plain.properties("Targets")
    listening = {name: plain.environment[name].removeprefix(":") for name in ("KPI_LISTEN", "KPI_HEALTH_LISTEN")}
    assert {str(port["ContainerPort"]) for port in plain.container["PortMappings"]} == set(listening.values())
    assert str(targets["Port"]) == listening["KPI_LISTEN"]
    assert str(plain.properties("Service")["LoadBalancers"][0]["ContainerPort"]) == listening["KPI_LISTEN"]
    assert targets["HealthCheckPort"] == listening["KPI_HEALTH_LISTEN"]
    assert {name: value for name, value in targets.items() if name.startswith("Health") or name == "UnhealthyThresholdCount"} == {
        "HealthCheckProtocol": "HTTP",
        "HealthCheckPort": "8081",
        "HealthCheckPath": "/healthz",
        "HealthCheckIntervalSeconds": 10,
        "HealthCheckTimeoutSeconds": 5,
        "HealthyThresholdCount": 2,
        "UnhealthyThresholdCount": 3,
    }
    assert targets["Matcher"] == {"HttpCode": "200"}
    assert targets["TargetGroupAttributes"] == [{"Key": "deregistration_delay.timeout_seconds", "Value": "30"}]


def attributes(stack) -> dict[str, str]:
    return {item["Key"]: item["Value"] for item in stack.properties("Balancer")["LoadBalancerAttributes"]}


def test_balancer_lets_through_what_is_unambiguous(plain, full):
    wanted = {
        "idle_timeout.timeout_seconds": "60",
        "routing.http.desync_mitigation_mode": "strictest",
        "routing.http.drop_invalid_header_fields.enabled": "true",
    }
    assert attributes(plain) == {**wanted, "access_logs.s3.enabled": "false"}
    assert attributes(full) == {**wanted, "access_logs.s3.enabled": "true", "access_logs.s3.bucket": "log-bucket"}


def listeners(stack) -> dict[int, tuple[str, str]]:
    """What each port speaks and does."""
    found = stack.of_type("AWS::ElasticLoadBalancingV2::Listener").values()
    return {listener["Port"]: (listener["Protocol"], listener["DefaultActions"][0]["Type"]) for listener in found}


def test_without_a_certificate_it_is_http_within_the_network(plain):
    assert listeners(plain) == {80: ("HTTP", "forward")}
    assert plain.properties("Balancer")["Scheme"] == "internal"
    assert plain.outputs["Url"] == f"http://{plain.outputs['BalancerName']}"


def test_with_a_certificate_it_is_https(full):
    assert listeners(full) == {443: ("HTTPS", "forward"), 80: ("HTTP", "redirect")}
    assert full.properties("Listener")["SslPolicy"].startswith("ELBSecurityPolicy-TLS13-1-2-")
    assert full.outputs["Url"] == f"https://{DOMAIN}"
    assert full.properties("Name")["AliasTarget"]["DNSName"] == full.outputs["BalancerName"]


def test_name_without_a_zone_is_left_to_others():
    stack = create_stack(**{**SECURE, "HostedZoneId": ""})
    assert "Name" not in stack.resources
    assert stack.outputs["Url"] == f"https://{DOMAIN}"


def ports(rules: list[dict]) -> list[tuple[int, int, str]]:
    return [(rule["FromPort"], rule["ToPort"], rule.get("CidrIp", "a group")) for rule in rules]


def test_only_the_balancer_reaches_the_task(plain, full):
    for stack, port in ((plain, 80), (full, 443)):
        balancer, task = stack.properties("BalancerGroup"), stack.properties("TaskGroup")
        assert ports(balancer["SecurityGroupIngress"]) == [(port, port, "10.0.0.0/8")]
        assert ports(balancer["SecurityGroupEgress"]) == [(8080, 8081, "a group")]
        assert "SecurityGroupIngress" not in task
        assert ports([stack.properties("TaskFromBalancer")]) == [(8080, 8081, "a group")]
        assert ports(task["SecurityGroupEgress"]) == [(443, 443, "0.0.0.0/0")]
    assert ports([full.properties("ClientsToRedirect")]) == [(80, 80, "10.0.0.0/8")]
    assert "ClientsToRedirect" not in plain.resources


# --- roles --------------------------------------------------------------------------------------


def placeholders_filled(statement: dict, cluster: str) -> dict:
    """A statement of deploy/iam-policy.json for the account, region, bucket and cluster of the stack."""
    text = json.dumps(statement).replace("arn:aws:dynamodb:*:*:", f"arn:aws:dynamodb:{REGION}:123456789012:")
    text = text.replace("arn:aws:ecs:*:*:task/YOUR-CLUSTER/", f"arn:aws:ecs:{REGION}:123456789012:task/{cluster}/")
    return json.loads(text.replace("YOUR-BUCKET", "input-bucket"))


def test_role_of_the_task_has_the_policies_of_the_file(plain):
    """Of which tests/aws/test_iam.py shows that they are what is called, and nothing beyond."""
    wanted = [
        placeholders_filled(statement, plain.outputs["ClusterName"])
        for name in ("atomic", "intents", "ecs")
        for statement in POLICIES[name]["Statement"]
    ]
    assert plain.roles["TaskRole"] == wanted
    assert plain.granted == []


def test_task_protection_is_what_the_agent_asks_the_role_for(plain):
    """The service asks the agent, and no API: both actions are what the developer guide of ECS wants for that."""
    task = f"arn:aws:ecs:{REGION}:123456789012:task/{plain.outputs['ClusterName']}/*"
    of_ecs = {pair for pair in pairs(plain.roles["TaskRole"]) if pair[0].startswith("ecs:")}
    assert of_ecs == {("ecs:GetTaskProtection", task), ("ecs:UpdateTaskProtection", task)}


def test_role_of_the_task_may_use_spark_where_there_is_one(plain, full):
    assert {statement["Sid"] for statement in full.granted} >= {"StartJobs", "FollowJobs", "GiveRole"}
    assert len(full.roles["TaskRole"]) == len(plain.roles["TaskRole"])


def test_starting_the_task_needs_image_keys_and_logs(full):
    account = f"{REGION}:123456789012"
    logs = f"arn:aws:logs:{account}:log-group:/ecs/{NAME}:log-stream:kpid/*"
    image = f"arn:aws:ecr:{account}:repository/kpid"
    assert pairs(full.roles["ExecutionRole"]) == {
        ("ecr:GetAuthorizationToken", "*"),
        ("ecr:BatchCheckLayerAvailability", image),
        ("ecr:BatchGetImage", image),
        ("ecr:GetDownloadUrlForLayer", image),
        ("secretsmanager:GetSecretValue", KEYS_SECRET),
        ("logs:CreateLogStream", logs),
        ("logs:PutLogEvents", logs),
    }


def test_tasks_of_this_account_take_the_roles_and_nobody_else(plain):
    for role in plain.of_type("AWS::IAM::Role").values():
        [trust] = role["AssumeRolePolicyDocument"]["Statement"]
        assert trust["Principal"] == {"Service": "ecs-tasks.amazonaws.com"}
        assert trust["Condition"] == {
            "StringEquals": {"aws:SourceAccount": "123456789012"},
            "ArnLike": {"aws:SourceArn": f"arn:aws:ecs:{REGION}:123456789012:*"},
        }


# --- tables and logs ----------------------------------------------------------------------------


def test_tables_have_the_keys_that_the_program_asks_for(plain):
    assert set(plain.tables) == set(KPI_TABLES)
    for name, kind in KPI_TABLES.items():
        table = plain.tables[name]
        assert [(key["AttributeName"], key["KeyType"]) for key in table["KeySchema"]] == KEYS[kind]
        assert {item["AttributeName"]: item["AttributeType"] for item in table["AttributeDefinitions"]} == {
            name: "S" for name, _ in KEYS[kind]
        }
        assert table["BillingModeSummary"]["BillingMode"] == "PAY_PER_REQUEST"


def test_what_was_published_outlives_the_stack(plain):
    kept = [name for name, found in plain.resources.items() if found.get("DeletionPolicy") == "RetainExceptOnCreate"]
    assert set(kept) == {"CategoryKpis", "OrderKpis", "Control", "Logs"}
    assert all(plain.resources[name]["UpdateReplacePolicy"] == "Retain" for name in kept)
    for table in plain.of_type("AWS::DynamoDB::Table").values():
        assert table["PointInTimeRecoverySpecification"] == {"PointInTimeRecoveryEnabled": True}
        assert table["DeletionProtectionEnabled"] is True
    assert plain.properties("Logs")["RetentionInDays"] == 30


@pytest.mark.parametrize("existing, made", [("kpis", {"kpi_control"}), ("all", set())])
def test_tables_that_exist_are_taken_as_they_are(plain, existing, made):
    stack = create_stack(ExistingTables=existing)
    assert set(stack.tables) == made
    assert stack.environment == plain.environment
    assert pairs(stack.roles["TaskRole"]) - pairs(plain.roles["TaskRole"]) == {
        pair for pair in pairs(stack.roles["TaskRole"]) if pair[0].startswith("ecs:")  # the cluster has another name
    }


# --- what is asked for beside it ------------------------------------------------------------------


def test_nothing_beside_it_unless_asked_for(plain):
    assert plain.of_type("AWS::CloudFormation::Stack") == plain.nested == {}
    assert not [name for name in plain.environment if name.startswith("KPI_SPARK")]


def test_eventbridge_sends_the_key_of_its_secret_to_the_address(full):
    trigger = full.nested["Trigger"]
    assert trigger["Runs"]["Properties"]["InvocationEndpoint"] == f"{full.outputs['Url']}/runs"
    connection = trigger["Connection"]["Properties"]["AuthParameters"]["ApiKeyAuthParameters"]
    assert connection["ApiKeyValue"] == f"{{{{resolve:secretsmanager:{TRIGGER_SECRET}}}}}"
    pattern = trigger["Nightly"]["Properties"]["EventPattern"]
    assert pattern["detail"] == {"bucket": {"name": ["input-bucket"]}, "object": {"key": ["Data/_SUCCESS"]}}


def test_clock_alone_starts_runs_where_no_object_is_named():
    nightly = create_stack(**TRIGGERED, Schedule="cron(0 5 * * ? *)").nested["Trigger"]["Nightly"]["Properties"]
    assert (nightly["ScheduleExpression"], "EventPattern" in nightly) == ("cron(0 5 * * ? *)", False)


def test_spark_is_what_its_own_template_makes(full):
    job = [name for name, found in full.nested["Spark"].items() if found["Type"] == "AWS::EMRServerless::Application"]
    assert job == ["Application"]
    assert full.environment["KPI_ENGINE"] == "auto"
    assert full.environment["KPI_SPARK_WORK_URI"] == "s3://work-bucket/kpid"
