"""A DAG that has kpid compute each day and waits until it is published, made of stock operators. For Airflow 3.

Needs apache-airflow-providers-http, a running triggerer, and the connection `kpid`:

    airflow connections add kpid --conn-type http --conn-host http://kpid.example.com:8080 \
        --conn-login airflow --conn-password KEY        # of role `run`; the login may be any

Copy this file into the folder of DAGs. Each DAG run computes the day that had ended when it was due, in the KPI_TIMEZONE of
kpid; trigger it with {"date": "2025-03-15"} for another one. Task retries meet the run that the first try has started. To have
a day computed anew, clear the task `start` with what follows it.

The sensor waits for any end (`on=finished`) and takes no worker meanwhile; `published` then fails unless the run has
succeeded, and says why. Do not let the sensor wait for success: deferred, the stock one pauses after a 404 only, and would
ask about a run that has failed without pause. It does so about a run that a service with a new, empty disk does not know
(410); where that can happen use kpid_operator.py, which does all this in one task, by long polls.
"""

from __future__ import annotations

from datetime import timedelta

import pendulum
from airflow.providers.http.operators.http import HttpOperator
from airflow.providers.http.sensors.http import HttpSensor
from airflow.sdk import DAG, Param
from airflow.sdk.exceptions import AirflowFailException

RUN = "runs/{{ ti.xcom_pull(task_ids='start') }}"


def check_succeeded(response) -> bool:
    """Fails the task for good, with what kpid says, when the run has ended otherwise."""
    run = response.json()
    if run["state"] != "succeeded":
        error = run["error"] or {"code": run["state"], "message": "stopped by hand.", "hint": "trigger the DAG again."}
        raise AirflowFailException(f"kpid: run {run['id']}: {error['code']}: {error['message']} Hint: {error['hint']}")
    return True


with DAG(
    dag_id="kpid_daily",
    schedule="10 3 * * *",
    start_date=pendulum.datetime(2023, 1, 1, tz="UTC"),
    catchup=False,
    params={"date": Param(None, type=["null", "string"], format="date", description="Instead of the day that was due")},
    default_args={"http_conn_id": "kpid", "retries": 5, "retry_delay": timedelta(minutes=1)},
    tags=["kpid"],
    doc_md=__doc__,
):
    start = HttpOperator(
        task_id="start",
        method="POST",
        endpoint="runs",
        headers={
            "Content-Type": "application/json",
            "Idempotency-Key": "airflow-{{ dag.dag_id }}-{{ run_id }}-{{ dag_run.clear_number }}",
        },
        data="""{{ dict(
            {"date": params.date} if params.date else {"as_of": dag_run.run_after.isoformat()},
            labels={"dag": dag.dag_id, "dag_run": run_id},
        ) | tojson }}""",
        response_filter=lambda response: response.json()["id"],
    )
    wait = HttpSensor(
        task_id="wait",
        endpoint=RUN + "/gate",
        request_params={"on": "finished"},
        deferrable=True,
        poke_interval=5,
        timeout=timedelta(hours=12).total_seconds(),
    )
    published = HttpOperator(
        task_id="published",
        method="GET",
        endpoint=RUN,
        response_check=check_succeeded,
        response_filter=lambda response: response.json()["summary"],
    )
    start >> wait >> published
