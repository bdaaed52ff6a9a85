"""The clusters that stand in for real ones: what tests of the engine rely on."""

import pytest
from botocore.exceptions import ClientError, HTTPClientError

from support.datasets import BASE
from support.emr_emulator import APPLICATION, TERMINAL
from support.processes import processes_of, wait_for
from support.s3_server import boto_client
from support.spark import KPI_JOB
from support.spark_s3 import S3Trial

ROLE = "arn:aws:iam::123456789012:role/kpi-job"


@pytest.fixture
def client(emr):
    return boto_client("emr-serverless", emr.url)


@pytest.fixture(scope="module")
def trial(tmp_path_factory, s3_server):
    bucket = s3_server.bucket()
    bucket.put("kpi_job.py", KPI_JOB.read_bytes())
    return S3Trial(tmp_path_factory.mktemp("trial"), bucket, "r-1", BASE)


def start(client, trial, token, **fields):
    submit = {
        "entryPoint": f"s3://{trial.bucket.name}/kpi_job.py",
        "entryPointArguments": [trial.uri.replace("s3a:", "s3:")],
    }
    request = {"applicationId": APPLICATION, "executionRoleArn": ROLE, "jobDriver": {"sparkSubmit": submit}, **fields}
    return client.start_job_run(clientToken=token, **request)["jobRunId"]


def refused(call, *args, **kwargs):
    with pytest.raises(ClientError) as caught:
        call(*args, **kwargs)
    return caught.value.response["Error"]["Code"]


@pytest.mark.timeout(200)
def test_job_runs_once_for_a_token_also_where_the_reply_is_lost(emr, client, trial):
    emr.lost_replies = 1
    with pytest.raises(HTTPClientError):
        start(client, trial, "kpi-r-1-1")
    job = start(client, trial, "kpi-r-1-1")
    assert [job] == list(emr.jobs) and emr.submissions == 2
    assert refused(start, client, trial, "kpi-r-1-1", name="another") == "ConflictException"
    wait_for(lambda: emr.jobs[job].state in TERMINAL, 150)
    shown = client.get_job_run(applicationId=APPLICATION, jobRunId=job)["jobRun"]
    assert shown["state"] == "SUCCESS", (emr.folder / f"{job}.log").read_text()[-3000:]
    assert emr.jobs[job].states == ["SUBMITTED", "PENDING", "SCHEDULED", "RUNNING", "SUCCESS"]
    assert trial.outcome(0).manifest["inputs"]["orders"]["rows"] == 3
    assert refused(client.cancel_job_run, applicationId=APPLICATION, jobRunId=job) == "ValidationException"


@pytest.mark.timeout(200)
def test_jobs_are_cancelled_and_killed(emr, client, trial):
    job = start(client, trial, "kpi-cancelled-1")
    waiting = start(client, trial, "kpi-waiting-1")
    wait_for(lambda: emr.jobs[job].state == "RUNNING" and emr.jobs[waiting].state == "QUEUED", 30)
    client.cancel_job_run(applicationId=APPLICATION, jobRunId=waiting)
    client.cancel_job_run(applicationId=APPLICATION, jobRunId=job)
    wait_for(lambda: emr.jobs[job].state == emr.jobs[waiting].state == "CANCELLED", 10)
    killed = start(client, trial, "kpi-killed-1", name="kpi-killed-1")
    pages = client.get_paginator("list_job_runs").paginate(
        applicationId=APPLICATION, states=["SUBMITTED", "PENDING", "SCHEDULED", "RUNNING"], PaginationConfig={"PageSize": 1}
    )
    listed = [(one["id"], one["name"]) for page in pages for one in page["jobRuns"]]
    assert listed == [(killed, "kpi-killed-1")]
    wait_for(lambda: emr.jobs[killed].state == "RUNNING", 30)
    emr.jobs[killed].kill()
    wait_for(lambda: emr.jobs[killed].state == "FAILED", 10)
    wait_for(lambda: not processes_of("/kpi-runs/r-1/1/spec.json"), 5)


def test_what_is_not_there_or_not_started_is_refused(emr, client, trial):
    assert refused(client.get_job_run, applicationId=APPLICATION, jobRunId="00none") == "ResourceNotFoundException"
    assert refused(client.get_application, applicationId="00other") == "ResourceNotFoundException"
    emr.is_stopped = True
    try:
        assert client.get_application(applicationId=APPLICATION)["application"]["state"] == "STOPPED"
        assert refused(start, client, trial, "kpi-stopped-1") == "ValidationException"
    finally:
        emr.is_stopped = False


def test_faults_are_those_of_the_service(emr, client):
    emr.throttle()
    emr.fail()
    assert refused(client.get_application, applicationId=APPLICATION) == "ThrottlingException"
    assert refused(client.get_application, applicationId=APPLICATION) == "InternalServerException"
    assert client.get_application(applicationId=APPLICATION)["application"]["state"] == "STARTED"


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        ({"secret_key": "wrong"}, "InvalidSignatureException"),
        ({"access_key": "AKIANOBODY"}, "UnrecognizedClientException"),
    ],
    ids=["secret", "key"],
)
def test_wrong_signature_is_refused(emr, wrong, code):
    assert refused(boto_client("emr-serverless", emr.url, **wrong).get_application, applicationId=APPLICATION) == code


@pytest.mark.timeout(120)
def test_master_and_worker_come_back_after_a_kill(spark_cluster):
    spark_cluster.kill_master()
    assert not spark_cluster.answers()
    spark_cluster.start_master()
    spark_cluster.kill_worker()
    spark_cluster.start_worker()
    assert spark_cluster.answers() and spark_cluster.orphans() == []
