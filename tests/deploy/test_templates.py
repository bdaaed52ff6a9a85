"""What linters and policy checkers say of the templates of deploy/ and of the policies in them."""

import json
import re

import pytest

from support.deploy_stack import SPARK, TEMPLATE, TRIGGERED, create_stack
from support.paths import REPO
from support.templates import TEMPLATES, broken, checkov, lint, parliament

POLICIES = json.loads((REPO / "deploy" / "iam-policy.json").read_text(encoding="utf-8"))


def test_cfn_lint_finds_nothing():
    assert lint(TEMPLATE) == []


@pytest.mark.parametrize(
    "old, new, said",
    [
        ("AvailabilityZoneRebalancing: DISABLED", "AvailabilityZoneRebalancing: NEVER", "'NEVER' is not one of"),
        ("        WorkBucket: !Ref SparkWorkBucket\n", "", "WorkBucket"),
        ("        Token: !Sub", "        Key: !Sub", '"Key" doesn\'t exist in nested stack'),
        ("KeyType: RANGE", "KeyType: SORT", "'RANGE' was expected"),
    ],
)
def test_cfn_lint_would_find_something(tmp_path, old, new, said):
    assert any(said in found for found in lint(broken(tmp_path, old, new)))


def test_checkov_finds_nothing_but_what_is_explained_in_the_templates():
    failed, skipped = checkov(*TEMPLATES)
    assert failed == []
    explained = [
        line for path in TEMPLATES for line in re.findall(r'"?id"?: "?(CKV_\w+)"?, "?comment"?: "\w', path.read_text())
    ]
    assert sorted(line.split()[0] for line in skipped) == sorted(explained)


def test_checkov_would_find_something(tmp_path):
    wrong = broken(tmp_path, "PointInTimeRecoveryEnabled: true", "PointInTimeRecoveryEnabled: false")
    failed, _ = checkov(wrong)
    assert failed == [f"CKV_AWS_28 AWS::DynamoDB::Table.{name}" for name in ("CategoryKpis", "OrderKpis", "Control")]


def test_parliament_finds_nothing_in_the_policies():
    stack = create_stack(**TRIGGERED, **SPARK)
    # The others of the file are those of the role of the task.
    written = [statement for name in ("plain", "tables") for statement in POLICIES[name]["Statement"]]
    assert stack.granted
    for statements in (stack.roles["TaskRole"] + stack.granted, stack.roles["ExecutionRole"], written):
        assert parliament([{**statement, "Sid": f"S{n}"} for n, statement in enumerate(statements)]) == []


@pytest.mark.parametrize(
    "changed, said",
    [
        ({"Action": "s3:GetObjects"}, "UNKNOWN_ACTION"),
        ({"Resource": "arn:aws:s3:::bucket"}, "RESOURCE_MISMATCH"),
        ({"Effect": "Permit"}, "MALFORMED"),
        ({"Condition": {"StringLike": {"s3:prefx": "Data/*"}}}, "UNKNOWN_CONDITION"),
    ],
)
def test_parliament_would_find_something(changed, said):
    statement = {"Effect": "Allow", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::bucket/*"}
    assert parliament([statement]) == []
    assert [found for found in parliament([{**statement, **changed}]) if said in found]
