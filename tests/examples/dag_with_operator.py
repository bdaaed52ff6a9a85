"""A DAG of examples/kpid_operator.py, for test_airflow.py."""

from datetime import timedelta

from airflow.sdk import DAG
from kpid_operator import KpidRunOperator

with DAG(dag_id="with_operator", schedule=None, params={"date": ""}):
    KpidRunOperator(
        task_id="kpis",
        date="{{ params.date }}",
        options={"reason": "{{ dag.dag_id }}"},
        retries=1,
        retry_delay=timedelta(0),
    )
