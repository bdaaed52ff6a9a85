"""The test servers that scripts/setup keeps in the cache, and how each is started and stopped."""

import contextlib
import hashlib
import os
import socket
import subprocess
import time
from pathlib import Path

from support.paths import TESTS

PINS = (
    "go.mod",
    "go.sum",
    "dynamodb/pom.xml",
    "dynamodb/LoopbackDynamoDb.java",
)


def tools_folder() -> Path:
    """Where install_aws_tools of scripts/setup put the servers; an error when it did not run."""
    return cached("aws-tools", PINS, "install_aws_tools")


def schemathesis_program() -> Path:
    """The program in the environment that install_python of scripts/setup made for it."""
    return cached("venv", ("schemathesis.txt",), "install_python") / "bin" / "schemathesis"


def template_checker(name: str) -> Path:
    """checkov, parliament or hadolint in the environment that install_python of scripts/setup made for them."""
    return cached("venv", ("templates.txt",), "install_python") / "bin" / name


def openapi_linter() -> list[str]:
    """The command that lints OpenAPI documents; it asks nobody on the network."""
    folder = cached("openapi", ("openapi/package.json", "openapi/package-lock.json"), "install_openapi_linter")
    return [str(folder / "node"), str(folder / "node_modules" / ".bin" / "redocly"), "lint"]


def promtool_program() -> Path:
    """Prometheus' own checker, out of the distribution's package."""
    return ready("promtool", "install_promtool") / "usr" / "bin" / "promtool"


def airflow_programs() -> Path:
    """Where python and airflow are in the environment that install_python of scripts/setup made for them."""
    return cached("venv", ("airflow.txt",), "install_python") / "bin"


def spark_venv(release: str) -> Path:
    """The environment in which install_spark of scripts/setup put a release of Apache Spark."""
    return cached("venv", (f"{release}.txt",), f"install_spark {release}")


def spark_jars(release: str) -> list[Path]:
    """What install_spark of scripts/setup put beside Apache Spark, by which it reads s3a://."""
    return sorted((cached("spark-jars", (f"{release}/pom.xml",), f"install_spark {release}") / "lib").glob("*.jar"))


def cached(kind: str, pins: tuple[str, ...], installer: str) -> Path:
    """A folder of the cache, named by the content of the files in tests/tools that pin what it holds."""
    digest = hashlib.sha256()
    for name in pins:
        digest.update((TESTS / "tools" / name).read_bytes())
    return ready(f"{kind}-{digest.hexdigest()[:12]}", installer)


def cache_folder() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "kpid"


def ready(name: str, installer: str) -> Path:
    folder = cache_folder() / name
    if not (folder / "ready").exists():
        raise RuntimeError(
            f"nothing in {folder}: run `. scripts/setup && {installer}`"
        )
    return folder


def free_port() -> int:
    with contextlib.closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def answers(port: int) -> bool:
    with contextlib.closing(socket.socket()) as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


class ToolServer:
    """A server in a process of its own on a free loopback port; dies with the test run."""

    name = "tool"
    start_seconds = 30

    def __init__(self, folder: Path):
        self.folder = folder
        self.port = 0
        self.process: subprocess.Popen | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> Path:
        return self.folder / f"{self.name}.log"

    def command(self) -> list[str]:
        raise NotImplementedError

    def environment(self) -> dict[str, str]:
        return {}

    def start(self):
        """Starts it and waits until it listens; another port when someone took the first."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for _ in range(3):
            self.port = free_port()
            self.launch()
            if self.await_listening():
                return self
            self.stop()
        raise RuntimeError(f"{self.name} did not start: {self.log.read_text()[-2000:]}")

    def launch(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", "--", *self.command()],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self.folder,
                env={**os.environ, **self.environment()},
            )

    def await_listening(self) -> bool:
        deadline = time.monotonic() + self.start_seconds
        while self.process.poll() is None and time.monotonic() < deadline:
            if answers(self.port):
                return True
            time.sleep(0.02)
        return False

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait(10)
            self.process = None
