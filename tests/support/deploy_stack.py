"""deploy/stack.yaml, packaged by the AWS CLI and created in moto: what its resources, roles and outputs come to."""

import ast
import contextlib
import io
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import boto3
from awscli.clidriver import create_clidriver
from moto import mock_aws
from moto.cloudformation import models, parsing
from moto.core import DEFAULT_ACCOUNT_ID
from moto.core.common_models import CloudFormationModel
from moto.elbv2.models import FakeLoadBalancer, FakeTargetGroup

from support.dockerfile import IMAGE
from support.paths import REPO
from support.spark_stack import REGION, Application  # which lets moto create the stack of Spark  # noqa: F401

TEMPLATE = REPO / "deploy" / "stack.yaml"
NAME = "kpis"
KEYS_SECRET = f"arn:aws:secretsmanager:{REGION}:{DEFAULT_ACCOUNT_ID}:secret:kpid/keys-AbCdEf"
TRIGGER_SECRET = f"arn:aws:secretsmanager:{REGION}:{DEFAULT_ACCOUNT_ID}:secret:kpid/eventbridge-AbCdEf"
TOPIC = f"arn:aws:sns:{REGION}:{DEFAULT_ACCOUNT_ID}:oncall"
DOMAIN = "kpid.example.com"
TO_BE_MADE = "to be made"  # a certificate, which moto wants to know
NEEDS_WHAT_IS_RECORDED = ("AWS::Events::Rule", "AWS::Route53::RecordSet")
SECURE = {
    "CertificateArn": TO_BE_MADE,
    "HostedZoneId": "Z0123456789ABC",
    "DomainName": DOMAIN,
    "Scheme": "internet-facing",
}
TRIGGERED = {**SECURE, "TriggerKeySecretArn": TRIGGER_SECRET}
SPARK = {"SparkWorkBucket": "work-bucket"}
ARTIFACTS = "artifacts"


class Recorded(CloudFormationModel):
    """Stands for a resource of which moto knows nothing but what the template says."""

    numbers = itertools.count()

    @staticmethod
    def cloudformation_name_type() -> str:
        return ""

    @staticmethod
    def cloudformation_type() -> str:
        return "Recorded"

    @classmethod
    def has_cfn_attr(cls, attr: str) -> bool:
        return True

    @classmethod
    def create_from_cloudformation_json(cls, resource_name, cloudformation_json, account_id, region_name, **_: Any):
        return cls(resource_name)

    def __init__(self, name: str):
        self.name = name

    @property
    def physical_resource_id(self) -> str:
        return self.name

    def get_cfn_attribute(self, attribute_name: str) -> str:
        return f"{self.name}.{attribute_name}"


@dataclass(frozen=True)
class Made:
    """What was created."""

    resources: dict[str, dict[str, Any]]  # by name in the template, with functions and conditions resolved
    nested: dict[str, dict[str, dict[str, Any]]]  # those of nested stacks, by the name of the stack
    outputs: dict[str, str]
    tables: dict[str, dict[str, Any]]  # as DynamoDB describes them
    task: dict[str, Any]  # as ECS describes its definition
    service: dict[str, Any]
    roles: dict[str, list[dict[str, Any]]]  # statements in line, by name in the template
    granted: list[dict[str, Any]]  # statements of the policies that are attached to the role of the task

    def properties(self, name: str) -> dict[str, Any]:
        return self.resources[name]["Properties"]

    def of_type(self, kind: str) -> dict[str, dict[str, Any]]:
        return {name: found["Properties"] for name, found in self.resources.items() if found["Type"] == kind}

    @property
    def container(self) -> dict[str, Any]:
        [container] = self.properties("Task")["ContainerDefinitions"]
        return container

    @property
    def environment(self) -> dict[str, str]:
        """What the program gets, but for the secret: from the image, and from the task."""
        return {**IMAGE.env, **{item["Name"]: str(item["Value"]) for item in self.container["Environment"]}}


SESSION = boto3.Session("a", "b", region_name=REGION)  # one for all stacks: it reads each service's model once


def client(service: str):
    return SESSION.client(service)


@contextlib.contextmanager
def recorded() -> Iterator[dict[str, dict[str, dict[str, Any]]]]:
    """The resources of each stack that moto makes, with everything resolved, also where moto leaves most of it out."""
    found: dict[str, dict[str, dict[str, Any]]] = {}
    parse, class_of, clean = parsing.parse_resource_and_generate_name, parsing.resource_class_from_type, parsing.clean_json

    def record(logical_id, resource_json, resources_map):
        made = parse(logical_id, resource_json, resources_map)
        found.setdefault(resources_map["AWS::StackName"], {})[logical_id] = made[1]
        return made

    def known_or_recorded(kind: str):
        return class_of(kind) if kind in parsing.get_model_map() and kind not in NEEDS_WHAT_IS_RECORDED else Recorded

    def clean_lists(value, resources_map):
        made = clean(value, resources_map)  # which leaves None in a list where AWS::NoValue was
        return [item for item in made if item is not None] if isinstance(made, list) else made

    def output(stack: models.Stack, name: str) -> str:
        return stack.output_map[name.removeprefix("Outputs.")].value

    def full_name(targets: FakeTargetGroup, name: str) -> str:
        assert name == "TargetGroupFullName", name
        return targets.arn.rsplit(":", 1)[1]

    def balancer_attribute(balancer: FakeLoadBalancer, name: str) -> str:
        own = {"LoadBalancerFullName": balancer.arn.split("loadbalancer/")[1], "CanonicalHostedZoneID": "Z215JYRZR1TBD5"}
        return own.get(name) or known_attribute(balancer, name)

    known_attribute = FakeLoadBalancer.get_cfn_attribute
    with (
        mock.patch.object(FakeLoadBalancer, "get_cfn_attribute", balancer_attribute),
        mock.patch.object(parsing, "clean_json", clean_lists),
        mock.patch.object(parsing, "parse_resource_and_generate_name", record),
        mock.patch.object(parsing, "resource_class_from_type", known_or_recorded),
        mock.patch.object(models.Stack, "get_cfn_attribute", output, create=True),
        mock.patch.object(FakeTargetGroup, "get_cfn_attribute", full_name, create=True),
    ):
        yield found


def packaged(template: Path) -> str:
    """What `aws cloudformation package` makes of a template; nested ones are in moto's S3 then."""
    client("s3").create_bucket(Bucket=ARTIFACTS, CreateBucketConfiguration={"LocationConstraint": REGION})
    driver, said = create_clidriver(), io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(io.StringIO()):
        code = driver.main(
            ["cloudformation", "package", "--template-file", str(template), "--s3-bucket", ARTIFACTS, "--region", REGION]
        )
    assert code == 0, said.getvalue()
    return said.getvalue()


def statements(document: str | dict[str, Any]) -> list[dict[str, Any]]:
    """Of a policy, which moto writes as Python does."""
    return (ast.literal_eval(document) if isinstance(document, str) else document)["Statement"]


def inline_statements(iam, role: str) -> list[dict[str, Any]]:
    names = iam.list_role_policies(RoleName=role)["PolicyNames"]
    documents = [iam.get_role_policy(RoleName=role, PolicyName=name)["PolicyDocument"] for name in names]
    return [statement for document in documents for statement in statements(document)]


def create_stack(template: Path = TEMPLATE, **parameters: str) -> Made:
    """Creates the template in a moto of its own, which is gone afterwards."""
    with mock_aws(), recorded() as found:
        if parameters.get("CertificateArn") == TO_BE_MADE:
            parameters["CertificateArn"] = client("acm").request_certificate(DomainName=DOMAIN)["CertificateArn"]
        vpc = client("ec2").create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
        subnets = [
            client("ec2").create_subnet(VpcId=vpc, CidrBlock=f"10.0.{n}.0/24", AvailabilityZone=f"{REGION}{zone}")["Subnet"]
            for n, zone in enumerate("ab")
        ]
        names = ",".join(subnet["SubnetId"] for subnet in subnets)
        given = {
            "VpcId": vpc,
            "LoadBalancerSubnets": names,
            "TaskSubnets": names,
            "ClientCidr": "10.0.0.0/8",
            "KeysSecretArn": KEYS_SECRET,
            "SourceBucket": "input-bucket",
            **parameters,
        }
        client("cloudformation").create_stack(
            StackName=NAME,
            TemplateBody=packaged(template),
            Parameters=[{"ParameterKey": name, "ParameterValue": value} for name, value in given.items()],
            Capabilities=["CAPABILITY_IAM"],
        )
        return looked_at(found)


def looked_at(found: dict[str, dict[str, dict[str, Any]]]) -> Made:
    """Asks the services of moto what there is now."""
    cloudformation, ecs, iam, dynamodb = (client(name) for name in ("cloudformation", "ecs", "iam", "dynamodb"))
    [stack] = [s for s in cloudformation.describe_stacks()["Stacks"] if s["StackName"] == NAME]
    physical = {
        resource["LogicalResourceId"]: resource["PhysicalResourceId"]
        for resource in cloudformation.describe_stack_resources(StackName=NAME)["StackResources"]
        if "PhysicalResourceId" in resource  # what a condition has left out is there, empty
    }
    cluster = physical["Cluster"]
    [service] = ecs.list_services(cluster=cluster)["serviceArns"]
    roles = {name: physical[name] for name in found[NAME] if found[NAME][name]["Type"] == "AWS::IAM::Role"}
    granted = [
        statement
        for arn in found[NAME]["TaskRole"]["Properties"].get("ManagedPolicyArns", [])
        for statement in iam.get_policy_version(PolicyArn=arn, VersionId="v1")["PolicyVersion"]["Document"]["Statement"]
    ]
    return Made(
        resources=found[NAME],
        nested={name.split("-")[1]: resources for name, resources in found.items() if name != NAME},
        outputs={output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]},
        tables={
            name: dynamodb.describe_table(TableName=name)["Table"] for name in dynamodb.list_tables()["TableNames"]
        },
        task=ecs.describe_task_definition(taskDefinition=NAME)["taskDefinition"],
        service=ecs.describe_services(cluster=cluster, services=[service])["services"][0],
        roles={name: inline_statements(iam, role) for name, role in roles.items()},
        granted=granted,
    )
