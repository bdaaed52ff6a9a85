"""deploy/spark-emr-serverless.yaml: valid, it can be created, and it allows what is called and nothing else."""

import re

import pytest

from support.cli import CONFIG, OK, kpid
from support.examples import template_findings
from support.paths import REPO
from support.spark_stack import TEMPLATE, create_stack, pairs

RUNS = "arn:aws:s3:::work-bucket/kpid/kpi-runs/*"
JOB = "arn:aws:s3:::work-bucket/kpid/job/kpi_job.py"
WORK_BUCKET = "arn:aws:s3:::work-bucket"
OF_APPLICATION = {"StartJobRun", "ListJobRuns"}  # the others are of its job runs
LISTED = {"ListObjectsV2": "s3:ListBucket"}  # operations whose action has another name


@pytest.fixture(scope="module")
def stack():
    return create_stack(InputBucket="input-bucket", WorkBucket="work-bucket")


def settings(stack) -> dict[str, str]:
    return {name: value for name, value in stack.outputs.items() if name.startswith("KPI_")}


def operations(*names: str) -> set[str]:
    """What these C files call of AWS."""
    text = "".join((REPO / "aws" / name).read_text(encoding="utf-8") for name in names)
    return set(re.findall(r'(?:\.operation = |begin\(&\w+, (?:&?f, )?)"([A-Z]\w+)"', text))


def test_template_is_valid():
    assert template_findings(TEMPLATE.read_text(encoding="utf-8")) == []


def test_wrong_template_is_noticed():
    wrong = TEMPLATE.read_text(encoding="utf-8").replace("      ReleaseLabel: !Ref ReleaseLabel\n", "")
    assert any("'ReleaseLabel' is a required property" in found for found in template_findings(wrong))


def test_application_is_as_the_parameters_say():
    stack = create_stack(
        InputBucket="in", WorkBucket="work", Architecture="X86_64", IdleMinutes="7", MaximumCpus="8", MaximumMemoryGB="64"
    )
    assert stack.application == {
        "Type": "Spark",
        "ReleaseLabel": "emr-7.12.0",
        "Architecture": "X86_64",
        "AutoStartConfiguration": {"Enabled": True},
        "AutoStopConfiguration": {"Enabled": True, "IdleTimeoutMinutes": 7},
        "MaximumCapacity": {"Cpu": "8 vCPU", "Memory": "64 GB", "Disk": "1000 GB"},
    }


def test_outputs_are_the_settings_of_the_service(stack):
    found = settings(stack)
    assert found == {
        "KPI_SPARK_KIND": "emr-serverless",
        "KPI_SPARK_APPLICATION_ID": stack.application_arn.rsplit("/", 1)[1],
        "KPI_SPARK_ROLE_ARN": stack.role_arn,
        "KPI_SPARK_JOB_URI": "s3://" + JOB.removeprefix("arn:aws:s3:::"),
        "KPI_SPARK_WORK_URI": "s3://work-bucket/kpid",
    }
    assert kpid("check-config", env={**found, "KPI_ENGINE": "spark"}).code == OK
    for name in found:
        rest = {other: value for other, value in found.items() if other != name}
        assert kpid("check-config", env={**rest, "KPI_ENGINE": "spark"}).code == CONFIG, name


def test_service_may_do_what_it_calls_and_no_more(stack):
    jobs = operations("emr_serverless.c")
    files = operations("s3_files.c", "s3.c")  # which lists for it
    assert (jobs, files) == (
        {"StartJobRun", "ListJobRuns", "GetJobRun", "CancelJobRun"},
        {"PutObject", "GetObject", "DeleteObject", "ListObjectsV2"},
    )
    called = {
        (f"emr-serverless:{name}", stack.application_arn + ("" if name in OF_APPLICATION else "/jobruns/*")) for name in jobs
    }
    called |= {
        (LISTED.get(name, f"s3:{name}"), WORK_BUCKET if name in LISTED else RUNS) for name in files
    }
    called |= {("s3:PutObject", JOB), ("iam:PassRole", stack.role_arn)}  # by `kpid spark install`; by StartJobRun
    assert pairs(stack.service_policy) == called


def test_role_is_passed_to_nobody_else(stack):
    [passes] = [s for s in stack.service_policy if s["Action"] == "iam:PassRole"]
    assert passes["Condition"] == {"StringEquals": {"iam:PassedToService": "emr-serverless.amazonaws.com"}}
    [trusts] = stack.trust["Statement"]
    assert (trusts["Principal"], trusts["Action"]) == ({"Service": "emr-serverless.amazonaws.com"}, "sts:AssumeRole")
    account = stack.role_arn.split(":")[4]
    assert trusts["Condition"]["StringEquals"] == {"aws:SourceAccount": account}
    applications = trusts["Condition"]["ArnLike"]["aws:SourceArn"]
    assert applications.endswith("/applications/*") and stack.application_arn.startswith(applications[:-1])


def test_jobs_may_only_read_input_and_work_beside_their_spec(stack):
    input_objects = "arn:aws:s3:::input-bucket/Data/*"
    assert pairs(stack.job_policy) == {
        ("s3:ListBucket", "arn:aws:s3:::input-bucket"),
        ("s3:GetObject", input_objects),
        ("s3:ListBucket", WORK_BUCKET),
        ("s3:GetObject", JOB),
        ("s3:GetObject", RUNS),
        ("s3:PutObject", RUNS),
        ("s3:DeleteObject", RUNS),
        ("s3:AbortMultipartUpload", RUNS),
    }


def test_listing_is_of_the_prefixes_only(stack):
    conditions = {
        (s["Resource"], s["Condition"]["StringLikeIfExists"]["s3:prefix"])
        for s in stack.job_policy + stack.service_policy
        if s["Action"] == "s3:ListBucket"
    }
    assert conditions == {
        ("arn:aws:s3:::input-bucket", "Data/*"),
        (WORK_BUCKET, "kpid/*"),
        (WORK_BUCKET, "kpid/kpi-runs/*"),
    }
