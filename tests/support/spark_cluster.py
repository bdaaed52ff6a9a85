"""A Spark standalone cluster of one master and one worker, each a process that tests may kill."""

import contextlib
import hashlib
import hmac
import json
import os
import signal
import subprocess
import time
import urllib.request
from base64 import urlsafe_b64encode
from pathlib import Path

from support.processes import processes_of, wait_for
from support.spark import RELEASE, spark_env
from support.tools import free_port

START_SECONDS = 60
WORKER_TIMEOUT_SECONDS = 6  # after which the master takes a silent worker for lost
TOKEN_FILTER = "org.apache.spark.ui.JWSFilter"
DIE_WITH_PARENT = ["setpriv", "--pdeathsig", "KILL", "--"]


def base64url(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def web_token(secret: bytes, seconds: int = 3600) -> str:
    """A JSON Web Token (HS256) that is good for so many seconds."""
    parts = ({"alg": "HS256", "typ": "JWT"}, {"sub": "kpid", "exp": int(time.time()) + seconds})
    text = ".".join(base64url(json.dumps(part).encode()) for part in parts)
    return f"{text}.{base64url(hmac.digest(secret, text.encode(), hashlib.sha256))}"


class SparkCluster:
    """Master with REST server, and a worker of 2 cores, which hands `env` on to its drivers and executors; logs are kept in
    `folder`. With a secret (of spark4 only) the REST server wants web tokens."""

    def __init__(
        self,
        folder: Path,
        env: dict[str, str] | None = None,
        memory: str = "2g",
        release: str = RELEASE,
        secret: bytes | None = None,
    ):
        self.folder, self.env, self.memory, self.release, self.secret = folder, env or {}, memory, release, secret
        self.port, self.rest_port = free_port(), free_port()
        self.master: subprocess.Popen | None = None
        self.worker: subprocess.Popen | None = None

    @property
    def url(self) -> str:
        return f"spark://127.0.0.1:{self.port}"

    @property
    def rest_url(self) -> str:
        return f"http://127.0.0.1:{self.rest_port}"

    def start(self) -> "SparkCluster":
        self.folder.mkdir(parents=True, exist_ok=True)
        self.start_master()
        self.start_worker()
        return self

    def start_master(self) -> None:
        """On the same ports as before: the worker finds it again."""
        options = f"-Dspark.master.rest.enabled=true -Dspark.master.rest.port={self.rest_port}"
        options += f" -Dspark.master.rest.host=127.0.0.1 -Dspark.worker.timeout={WORKER_TIMEOUT_SECONDS}"
        if self.secret:
            options += f" -Dspark.master.rest.filters={TOKEN_FILTER}"
            options += f" -Dspark.{TOKEN_FILTER}.param.secretKey={base64url(self.secret)}"
        words = ["--host", "127.0.0.1", "--port", self.port, "--webui-port", 0]
        self.master = self._launch("master", "Master", words, SPARK_MASTER_OPTS=options)
        wait_for(self.answers, START_SECONDS)

    def start_worker(self) -> None:
        log = self.folder / "worker.log"
        seen = log.stat().st_size if log.exists() else 0
        words = ["--host", "127.0.0.1", "--port", 0, "--webui-port", 0, "--cores", 2, "--memory", self.memory]
        words += ["--work-dir", self.folder / "work", self.url]
        options = f"-Dspark.worker.timeout={WORKER_TIMEOUT_SECONDS}"
        self.worker = self._launch("worker", "Worker", words, SPARK_WORKER_OPTS=options)
        wait_for(lambda: b"Successfully registered with master" in log.read_bytes()[seen:], START_SECONDS)

    def _launch(self, name: str, kind: str, words: list, **settings: str) -> subprocess.Popen:
        env = spark_env(self.release)
        conf = self.folder / "conf"
        conf.mkdir(exist_ok=True)
        (self.folder / "work").mkdir(exist_ok=True)
        env.update(SPARK_CONF_DIR=str(conf), SPARK_DAEMON_MEMORY="256m", SPARK_NO_DAEMONIZE="1", **self.env, **settings)
        program = [Path(env["SPARK_HOME"]) / "bin" / "spark-class", f"org.apache.spark.deploy.{name}.{kind}"]
        with (self.folder / f"{name}.log").open("ab") as log:
            return subprocess.Popen(
                [str(word) for word in (*DIE_WITH_PARENT, *program, *words)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self.folder,
                env=env,
            )

    def status(self, submission: str) -> dict[str, object]:
        """What the master says of a driver."""
        headers = {"Authorization": f"Bearer {web_token(self.secret)}"} if self.secret else {}
        request = urllib.request.Request(f"{self.rest_url}/v1/submissions/status/{submission}", headers=headers)
        with urllib.request.urlopen(request, timeout=5) as reply:
            return json.load(reply)

    def answers(self) -> bool:
        """Whether the REST server takes submissions."""
        with contextlib.suppress(OSError):
            self.status("driver-0")
            return True
        return False

    def state(self, submission: str) -> str:
        return self.status(submission).get("driverState", "")

    def drivers(self, spec_uri: str) -> list[int]:
        """The ids of the live processes that work for a spec: Java and Python of the driver."""
        return processes_of(spec_uri)

    def submissions(self) -> list[str]:
        """Every driver that the worker was ever told to start."""
        return sorted(path.name for path in (self.folder / "work").glob("driver-*"))

    def kill_master(self) -> None:
        kill(self.master)

    def kill_worker(self) -> None:
        kill(self.worker)

    def kill_driver(self, spec_uri: str) -> None:
        """The driver's Java process, as where its machine is out of memory."""
        for pid in self.drivers(spec_uri):
            if b"java" in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[0]:
                os.kill(pid, signal.SIGKILL)

    def restart_master(self) -> None:
        self.kill_master()
        self.start_master()

    def orphans(self) -> list[int]:
        """The processes of drivers and executors that this cluster started: all run in its work folder."""
        found = []
        for pid in filter(str.isdigit, os.listdir("/proc")):
            with contextlib.suppress(OSError):
                if os.readlink(f"/proc/{pid}/cwd").startswith(f"{self.folder}/work/"):
                    found.append(int(pid))
        return found

    def stop(self) -> None:
        """Ends the worker, then what it started, then the master."""
        self.kill_worker()
        for pid in self.orphans():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.kill_master()

    def logs(self) -> str:
        """The ends of all logs, for a failed test."""
        paths = [*self.folder.glob("*.log"), *self.folder.glob("work/driver-*/std*")]
        return "\n".join(f"== {path}\n{path.read_text(errors='replace')[-2000:]}" for path in sorted(paths))


def kill(process: subprocess.Popen | None) -> None:
    if process is not None and process.poll() is None:
        process.kill()
        process.wait(10)
