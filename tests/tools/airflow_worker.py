"""Runs DAGs inside the Python that has Airflow: a job a line on stdin, its result a line on stdout; logs go to stderr.

Jobs: {"do": "import"}: what kept a file of the folder of DAGs from being imported, and the tasks of each DAG.
{"do": "run", "dag": ID, "kpid": URI, "run_after": TIME, "conf": {...}, "cleared": N}: one DAG run, with the connection `kpid`,
as it is after N times that someone has cleared it.
{"do": "trigger", "kpid": URI, "arguments": {...}}: the first event of a KpidRunTrigger that was sent to a triggerer.
"""

import asyncio
import json
import os
import sys
from unittest import mock

results = os.fdopen(os.dup(1), "w", buffering=1)
os.dup2(2, 1)

import pendulum  # noqa: E402
from airflow.dag_processing.dagbag import DagBag  # noqa: E402
from airflow.models import dagrun  # noqa: E402
from airflow.models.xcom import XComModel  # noqa: E402
from airflow.sdk._shared.module_loading import import_string  # noqa: E402
from airflow.utils.db import upgradedb  # noqa: E402
from airflow.utils.session import create_session  # noqa: E402

create_dag_run = dagrun.get_or_create_dagrun


def read_dags() -> DagBag:
    """The DAGs anew: running one in this process renders the templates of its tasks in their place."""
    return DagBag(os.environ["AIRFLOW__CORE__DAGS_FOLDER"])


def imported() -> dict:
    """Errors by file, tasks by DAG."""
    bag = read_dags()
    return {"errors": bag.import_errors, "dags": {dag.dag_id: sorted(dag.task_ids) for dag in bag.dags.values()}}


def run(job: dict) -> dict:
    """How a DAG run and its tasks have ended, and what they have returned."""
    moment = pendulum.parse(job["run_after"])

    def created(**arguments):
        dag_run = create_dag_run(**arguments)
        dag_run.clear_number = job["cleared"]
        arguments["session"].commit()
        return dag_run

    # DAG.test makes a new DAG run of the same name each time.
    with mock.patch.object(dagrun, "get_or_create_dagrun", created):
        dag_run = read_dags().dags[job["dag"]].test(run_after=moment, logical_date=moment, run_conf=job["conf"])
    with create_session() as session:
        found = dag_run.get_task_instances(session=session)
        tasks = {ti.task_id: [ti.state, ti.try_number] for ti in found}
        rows = session.query(XComModel).filter_by(dag_id=dag_run.dag_id, run_id=dag_run.run_id, key="return_value")
        returned = {row.task_id: XComModel.deserialize_value(row) for row in rows}
    return {"run_id": dag_run.run_id, "state": dag_run.state, "tasks": tasks, "returned": returned}


def trigger(job: dict) -> dict:
    """What a trigger tells, made anew from what it was serialized to."""
    path, arguments = import_string("kpid_operator.KpidRunTrigger")(**job["arguments"]).serialize()
    events = import_string(path)(**arguments).run()
    return {"event": asyncio.run(anext(events)).payload}


upgradedb()
for line in sys.stdin:
    job = json.loads(line)
    os.environ["AIRFLOW_CONN_KPID"] = job.get("kpid", "")
    result = {"import": lambda _: imported(), "run": run, "trigger": trigger}[job["do"]](job)
    results.write(json.dumps(result, default=str) + "\n")
