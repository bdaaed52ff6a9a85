"""Airflow in an environment of its own, which runs DAGs one at a time."""

import json
import shutil
import subprocess
from pathlib import Path

from support.examples import EXAMPLES
from support.paths import TESTS, clean_env
from support.tools import airflow_programs


class Airflow:
    """A new Airflow with a SQLite database and some DAGs in `folder`; tests/tools/airflow_worker.py runs them. Used with `with`.

    What stands in examples/ can be imported, as if it had been copied into `plugins`.
    """

    def __init__(self, folder: Path, *dags: Path):
        self.folder = folder
        self.dags = folder / "dags"
        self.dags.mkdir()
        for dag in dags:
            shutil.copy(dag, self.dags)
        inherited = {k: v for k, v in clean_env().items() if not k.startswith("AIRFLOW")}
        self.env = {
            **inherited,
            "AIRFLOW_HOME": str(folder / "home"),
            "AIRFLOW__CORE__DAGS_FOLDER": str(self.dags),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
            "PYTHONPATH": str(EXAMPLES),
            "PYTHONDONTWRITEBYTECODE": "1",
        }

    def __enter__(self) -> "Airflow":
        with self.log.open("ab") as log:
            worker = [airflow_programs() / "python", TESTS / "tools" / "airflow_worker.py"]
            self.process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", "--", *worker],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env=self.env,
            )
        return self

    def __exit__(self, *_) -> None:
        self.process.kill()
        self.process.communicate()

    @property
    def log(self) -> Path:
        return self.folder / "airflow.log"

    def ask(self, **job: object) -> dict:
        """Has the worker do a job; the answer has also what was logged meanwhile."""
        before = self.log.stat().st_size
        self.process.stdin.write(json.dumps(job) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        log = self.log.read_bytes()[before:].decode(errors="replace")
        assert answer, log[-4000:]
        return {**json.loads(answer), "log": log}
