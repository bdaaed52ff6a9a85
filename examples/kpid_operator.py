"""KpidRunOperator: has kpid compute a day and waits for it in one deferred task. For Airflow 3, in one file.

Copy it where workers and the triggerer import from (the folder `plugins`, or any of PYTHONPATH; not the folder of DAGs).
Needs apache-airflow-providers-http, a running triggerer, and a connection:

    airflow connections add kpid --conn-type http --conn-host http://kpid.example.com:8080 \
        --conn-login airflow --conn-password KEY        # of role `run`; the login may be any

In a DAG:

    from kpid_operator import KpidRunOperator

    KpidRunOperator(task_id="kpis")                             # the day that had ended when the DAG run was due
    KpidRunOperator(task_id="kpis", date="{{ params.date }}", options={"quality_gate": "block"})

The trigger waits by long polls: it takes no worker, and hears of the end at once. It bears with a service that restarts.
The task's result is the summary of the run. Its retries meet the run that the first try has started, and one that has
failed is tried again in its place; a task that is cleared computes its day anew.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from typing import Any

import aiohttp
from airflow.providers.common.compat.connection import get_async_connection
from airflow.providers.http.hooks.http import HttpHook
from airflow.sdk import BaseOperator, Context
from airflow.sdk.exceptions import AirflowException, AirflowFailException
from airflow.triggers.base import BaseTrigger, TriggerEvent

LONGEST_WAIT = 50  # seconds of one long poll
OF_INTEREST = ("id", "date", "state", "summary", "error")
LATER = (429, 500, 502, 503, 504)


class KpidRunOperator(BaseOperator):
    """Starts the run of a day and waits until it has ended.

    :param date: the day, as YYYY-MM-DD; by default the last one that was complete when the DAG run was due
    :param http_conn_id: the connection
    :param options: further fields of POST /runs, as publish, quality_gate, timeout_seconds
    :param patience: seconds that the trigger goes on while kpid does not answer
    :param timeout: of the wait; kpid's own `timeout_seconds` of an attempt is shorter
    """

    template_fields: Sequence[str] = ("date", "as_of", "idempotency_key", "options", "http_conn_id")

    def __init__(
        self,
        *,
        date: str | None = None,
        http_conn_id: str = "kpid",
        options: dict[str, Any] | None = None,
        patience: float = 900,
        timeout: timedelta = timedelta(hours=12),
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.date = date
        self.as_of = "{{ dag_run.run_after.isoformat() }}"
        self.idempotency_key = (
            "airflow-{{ dag.dag_id }}-{{ task.task_id }}-{{ run_id }}-{{ ti.map_index }}-{{ dag_run.clear_number }}"
        )
        self.http_conn_id = http_conn_id
        self.options = options or {}
        self.patience = patience
        self.timeout = timeout

    def execute(self, context: Context) -> dict[str, Any]:
        """Starts the run and leaves the wait to the trigger."""
        ti = context["ti"]
        body = {
            **({"date": self.date} if self.date else {"as_of": self.as_of}),
            "labels": {"dag": ti.dag_id, "dag_run": ti.run_id, "task": ti.task_id},
            **self.options,
        }
        run = self._submit(body)
        if run["disposition"] == "replayed" and run["state"] in ("failed", "cancelled"):  # by an earlier try of this task
            run = self._submit({**body, "on_finished": "retry_failed"})
        self.log.info("kpid: run %s of %s: %s", run["id"], run["date"], run["disposition"])
        self.defer(
            trigger=KpidRunTrigger(run["id"], self.http_conn_id, self.patience),
            method_name="execute_complete",
            timeout=self.timeout,
        )

    def _submit(self, body: dict[str, Any]) -> dict[str, Any]:
        headers = {"Idempotency-Key": self.idempotency_key}
        return HttpHook("POST", self.http_conn_id).run("runs", headers=headers, json=body).json()

    def execute_complete(self, context: Context, event: dict[str, Any]) -> dict[str, Any]:
        """Ends the task as the run has ended."""
        if "problem" in event:
            raise AirflowException(event["problem"])
        run = event["run"]
        if run["state"] == "succeeded":
            return run["summary"]
        error = run["error"]
        if run["state"] != "failed" or error is None:
            raise AirflowFailException(f"kpid: run {run['id']} of {run['date']} is {run['state']}")
        message = f"kpid: run {run['id']} of {run['date']}: {error['code']}: {error['message']} Hint: {error['hint']}"
        # The same data will not read better next time: only what may pass is worth the task's retries.
        raise (AirflowException if error["retryable"] else AirflowFailException)(message)


class KpidRunTrigger(BaseTrigger):
    """Waits for the end of a run. Its event has the `run`, or the `problem` that keeps it from being asked about."""

    def __init__(self, run_id: str, http_conn_id: str, patience: float) -> None:
        super().__init__()
        self.run_id = run_id
        self.http_conn_id = http_conn_id
        self.patience = patience

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """What the triggerer makes it of again."""
        path = f"{type(self).__module__}.{type(self).__qualname__}"
        return path, {"run_id": self.run_id, "http_conn_id": self.http_conn_id, "patience": self.patience}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Polls until there is an event."""
        connection = await get_async_connection(self.http_conn_id)
        host = connection.host or ""
        url = host if "://" in host else f"{connection.schema or 'http'}://{host}"
        if connection.port:
            url += f":{connection.port}"
        auth = aiohttp.BasicAuth(connection.login, connection.password or "") if connection.login else None
        limit = aiohttp.ClientTimeout(total=LONGEST_WAIT + 20)
        async with aiohttp.ClientSession(auth=auth, timeout=limit) as session:
            yield await self._wait(session, f"{url}/runs/{self.run_id}")

    async def _wait(self, session: aiohttp.ClientSession, url: str) -> TriggerEvent:
        answered_at, pause = time.monotonic(), 1.0
        while True:
            began = time.monotonic()
            retry_after, problem = None, ""
            try:
                async with session.get(url, params={"wait": LONGEST_WAIT}, allow_redirects=False) as reply:
                    retry_after = reply.headers.get("Retry-After", "")
                    if reply.status == 200:
                        run = await reply.json()
                        if run["terminal"]:
                            return TriggerEvent({"run": {name: run[name] for name in OF_INTEREST}})
                    else:
                        problem = f"kpid: {url}: {reply.status}: {await reply.text()}"
                        if reply.status not in LATER:
                            return TriggerEvent({"problem": problem})
            except (aiohttp.ClientError, asyncio.TimeoutError) as error:
                problem = f"kpid: {url}: {error or type(error).__name__}"
            now = time.monotonic()
            if not problem:
                answered_at, pause = now, 1.0
                if now - began > LONGEST_WAIT / 2:
                    continue  # it has waited; one that is about to stop answers at once
            elif now - answered_at > self.patience:
                return TriggerEvent({"problem": problem})
            await asyncio.sleep(float(retry_after) if retry_after and retry_after.isdigit() else pause)
            pause = min(30.0, pause * 2)
