"""deploy/spark-emr-serverless.yaml, created in moto: what its resources, policies and outputs come to."""

import ast
from dataclasses import dataclass
from typing import Any, ClassVar

import boto3
from moto import mock_aws
from moto.core import DEFAULT_ACCOUNT_ID
from moto.core.common_models import CloudFormationModel
from moto.emrserverless.models import emrserverless_backends

from support.paths import REPO

TEMPLATE = REPO / "deploy" / "spark-emr-serverless.yaml"
REGION = "eu-central-1"


class Application(CloudFormationModel):
    """Lets moto's CloudFormation create what its EMR Serverless has."""

    by_id: ClassVar[dict[str, "Application"]] = {}

    @staticmethod
    def cloudformation_name_type() -> str:
        return "Name"

    @staticmethod
    def cloudformation_type() -> str:
        return "AWS::EMRServerless::Application"

    @classmethod
    def has_cfn_attr(cls, attr: str) -> bool:
        return attr in ("Arn", "ApplicationId")

    @classmethod
    def create_from_cloudformation_json(cls, resource_name, cloudformation_json, account_id, region_name, **_: Any):
        wanted = cloudformation_json["Properties"]
        return cls(
            emrserverless_backends[account_id][region_name].create_application(
                name=resource_name,
                release_label=wanted["ReleaseLabel"],
                application_type=wanted["Type"].upper(),
                client_token=resource_name,
                initial_capacity=wanted.get("InitialCapacity", {}),
                maximum_capacity=wanted["MaximumCapacity"],
                tags={},
                auto_start_configuration=wanted["AutoStartConfiguration"],
                auto_stop_configuration=wanted["AutoStopConfiguration"],
                network_configuration=None,
            ),
            wanted,
        )

    def __init__(self, made: Any, wanted: dict[str, Any]):
        self.made, self.wanted = made, wanted
        self.by_id[made.id] = self

    @property
    def physical_resource_id(self) -> str:
        return self.made.id

    def get_cfn_attribute(self, attribute_name: str) -> str:
        return self.made.arn if attribute_name == "Arn" else self.made.id


@dataclass(frozen=True)
class SparkStack:
    """What was created."""

    outputs: dict[str, str]  # by description
    application: dict[str, Any]  # its properties, as the template has made them
    application_arn: str
    trust: dict[str, Any]
    job_policy: list[dict[str, Any]]  # statements
    service_policy: list[dict[str, Any]]

    @property
    def role_arn(self) -> str:
        return self.outputs["KPI_SPARK_ROLE_ARN"]


def client(service: str):
    return boto3.client(service, region_name=REGION, aws_access_key_id="a", aws_secret_access_key="b")


def create_stack(**parameters: str) -> SparkStack:
    """Creates the template in a moto of its own, which is gone afterwards."""
    given = [{"ParameterKey": name, "ParameterValue": value} for name, value in parameters.items()]
    with mock_aws():
        client("cloudformation").create_stack(
            StackName="spark",
            TemplateBody=TEMPLATE.read_text(encoding="utf-8"),
            Parameters=given,
            Capabilities=["CAPABILITY_IAM"],
        )
        [stack] = client("cloudformation").describe_stacks(StackName="spark")["Stacks"]
        outputs = {output["Description"]: output["OutputValue"] for output in stack["Outputs"]}
        [role] = client("iam").list_roles()["Roles"]
        [policy] = client("iam").list_policies(Scope="Local")["Policies"]
        version = client("iam").get_policy_version(PolicyArn=policy["Arn"], VersionId=policy["DefaultVersionId"])
        [name] = client("iam").list_role_policies(RoleName=role["RoleName"])["PolicyNames"]
        inline = client("iam").get_role_policy(RoleName=role["RoleName"], PolicyName=name)
        application = Application.by_id[outputs["KPI_SPARK_APPLICATION_ID"]]
        return SparkStack(
            outputs=outputs,
            application=application.wanted,
            application_arn=application.made.arn,
            trust=role["AssumeRolePolicyDocument"],
            job_policy=ast.literal_eval(inline["PolicyDocument"])["Statement"],  # moto writes it as Python does
            service_policy=version["PolicyVersion"]["Document"]["Statement"],
        )


def pairs(statements: list[dict[str, Any]]) -> set[tuple[str, str]]:
    """(action, resource) of all that is allowed."""
    assert all(statement["Effect"] == "Allow" for statement in statements), statements
    return {
        (action, resource)
        for statement in statements
        for action in as_list(statement["Action"])
        for resource in as_list(statement["Resource"])
    }


def as_list(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value
