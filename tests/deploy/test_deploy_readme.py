"""deploy/README.md: what it tells to type is there."""

import re

import cfnlint.decode

from support.deploy_stack import TEMPLATE
from support.paths import REPO, project_version

TEXT = (REPO / "deploy" / "README.md").read_text(encoding="utf-8")
STACK, _ = cfnlint.decode.decode(str(TEMPLATE))
COMMANDS = [
    command.replace("\\\n", " ")
    for command in re.findall(r"^    (aws cloudformation deploy (?:.*\\\n)*.*)$", TEXT, re.MULTILINE)
]


def given(text: str) -> set[str]:
    """Names of parameters that get a value."""
    return set(re.findall(r"\b([A-Z][a-z][a-zA-Z]+)=", text))


def test_parameters_are_those_of_the_stack():
    code = " ".join(re.findall(r"`([^`]+)`", TEXT)) + " ".join(COMMANDS)
    names = given(code)
    assert len(names) >= 15
    assert names - set(STACK["Parameters"]) == set()


def test_first_deployment_says_all_that_has_no_default():
    needed = {name for name, parameter in STACK["Parameters"].items() if "Default" not in parameter}
    assert needed == {"VpcId", "LoadBalancerSubnets", "TaskSubnets", "ClientCidr", "KeysSecretArn", "SourceBucket"}
    assert needed <= given(COMMANDS[0])


def test_it_speaks_of_this_version():
    first, upgrade = TEXT.split("\n## Upgrade", 1)
    version = re.compile(r"(?:kpid:|ImageTag=)(\d[\d.]*\d)")
    assert set(version.findall(first)) == {project_version()}
    assert project_version() not in version.findall(upgrade)


def test_outputs_resources_and_files_that_it_names_exist():
    assert set(re.findall(r"OutputKey=='(\w+)'", TEXT)) == {"Url"} <= set(STACK["Outputs"])
    alarms = {name for name, found in STACK["Resources"].items() if found["Type"] == "AWS::CloudWatch::Alarm"}
    assert set(re.findall(r"alarm ([A-Z]\w+)", TEXT)) == {"Down", "YesterdayMissing"} <= alarms
    missing = [path for path in re.findall(r"\]\(([^)#]+)\)", TEXT) if not (REPO / "deploy" / path).exists()]
    assert missing == []
