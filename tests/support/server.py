"""A real server in a process of its own, and the small HTTP client of the tests."""

import contextlib
import functools
import http.client
import json
import queue
import signal
import subprocess
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from support.cli import source_url
from support.datasets import BASE
from support.paths import SLOWDOWN, clean_env, kpid_binary

TERMINAL = ("succeeded", "failed", "cancelled")
END_SECONDS = 60 if SLOWDOWN == 1 else 180


@dataclass(frozen=True)
class Reply:
    """One HTTP answer."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode("utf-8")

    @property
    def json(self):
        return json.loads(self.body)

    @property
    def media_type(self) -> str:
        return self.headers.get("content-type", "").split(";")[0].strip()

    def __str__(self) -> str:
        return f"{self.status} {self.headers}\n{self.body[:1000]!r}"


class Server:
    """`kpid serve` on a free port of the loopback interface."""

    def __init__(self, db: Path, source: Path | str | None = None, **settings: str):
        source = source or BASE
        url = source if isinstance(source, str) else source_url(source)
        self.db = db
        self.settings = {
            "KPI_LISTEN": "127.0.0.1:0",
            "KPI_DB": str(db),
            "KPI_SOURCE": url,
            "KPI_HEALTH_LISTEN": "",
            **{k: str(v) for k, v in settings.items()},
        }
        if not self.settings["KPI_HEALTH_LISTEN"]:
            del self.settings["KPI_HEALTH_LISTEN"]
        self.process: subprocess.Popen | None = None
        self.logs: list[dict] = []
        self.errors: list[str] = []
        self.address = ""
        self._lines: queue.Queue[str | None] = queue.Queue()

    def start(self, timeout: float = 30) -> "Server":
        self.launch()
        self.await_listening(timeout)
        return self

    def command(self) -> list[str]:
        return [str(kpid_binary()), "serve"]

    def environment(self) -> dict[str, str]:
        return clean_env(**self.settings)

    def launch(self) -> None:
        """Starts the process without waiting for it to listen."""
        self.address = ""
        self._lines = queue.Queue()
        self.process = subprocess.Popen(
            self.command(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=self.environment(),
        )
        # The readers of a killed process may still be at work: each has the queue of its own process.
        for stream, keep in (
            (self.process.stdout, functools.partial(self._keep_log, self._lines)),
            (self.process.stderr, self._keep_error),
        ):
            threading.Thread(
                target=self._drain, args=(stream, keep), daemon=True
            ).start()

    @staticmethod
    def _drain(stream, keep) -> None:
        for line in stream:
            keep(line)
        keep(None)
        stream.close()

    def _keep_log(self, lines: queue.Queue, line: str | None) -> None:
        if line is not None and line.startswith("{"):
            with contextlib.suppress(ValueError):  # a killed process may leave half a line
                self.logs.append(json.loads(line))
        lines.put(line)

    def _keep_error(self, line: str | None) -> None:
        if line is not None:
            self.errors.append(line)

    def await_log(self, event: str, timeout: float = 20) -> dict:
        """The first log line of an event, which comes within so many seconds."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            for line in list(self.logs):
                if line["event"] == event:
                    return line
            time.sleep(0.02)
        raise AssertionError(f"no {event} in the log")

    def await_listening(self, timeout: float = 30) -> None:
        deadline = time.monotonic() + timeout
        while not self.address:
            line = self._lines.get(timeout=max(0.01, deadline - time.monotonic()))
            if line is None:
                self.process.wait(10)
                raise RuntimeError(
                    f"server exited {self.process.returncode}: {''.join(self.errors)}"
                )
            if '"server.listening"' in line:
                self.address = json.loads(line)["address"]

    def await_ready(self, timeout: float = 30) -> "Server":
        """Waits until /readyz says that runs are taken."""
        deadline = time.monotonic() + timeout
        while (reply := self.get("/readyz")).status != 200:
            assert time.monotonic() < deadline, reply
            time.sleep(0.02)
        return self

    @property
    def port(self) -> int:
        return int(self.address.rsplit(":", 1)[1])

    def terminate(self, timeout: float = 40) -> int:
        """SIGTERM, and the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout)

    def kill(self) -> None:
        """SIGKILL where it still runs; always reaped."""
        if self.process is not None:
            if self.process.poll() is None:
                self.process.kill()
            self.process.wait(10)

    def request(
        self,
        method: str,
        path: str,
        body: bytes | str | None = None,
        headers: dict[str, str] | None = None,
        timeout: float = 70,
    ) -> Reply:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            data = body.encode() if isinstance(body, str) else body
            connection.request(method, path, body=data, headers=headers or {})
            answer = connection.getresponse()
            return Reply(
                answer.status,
                {k.lower(): v for k, v in answer.getheaders()},
                answer.read(),
            )
        finally:
            connection.close()

    def get(self, path: str, **headers: str) -> Reply:
        return self.request(
            "GET", path, headers={k.replace("_", "-"): v for k, v in headers.items()}
        )

    def post(self, path: str, document: object = None, **headers: str) -> Reply:
        """POSTs a JSON document, or nothing."""
        names = {k.replace("_", "-"): v for k, v in headers.items()}
        if document is None:
            return self.request("POST", path, headers=names)
        return self.request(
            "POST",
            path,
            json.dumps(document),
            {"Content-Type": "application/json", **names},
        )

    def start_run(self, date: str, **fields: object) -> dict:
        """An accepted run, as it was answered. One attempt unless the test asks for more: what fails is then
        seen at once."""
        reply = self.post("/runs", {"date": date, "max_attempts": 1, **fields})
        assert reply.status in (200, 202), reply
        return reply.json

    def finish(self, run_id: str, timeout: float = END_SECONDS) -> dict:
        """The run once it is terminal."""
        return self.await_end(f"/runs/{run_id}?wait=5", timeout)

    def await_end(self, path: str, timeout: float = END_SECONDS) -> dict:
        """The run or backfill at `path`, which says how long one look waits, once it is terminal."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            reply = self.get(path)
            assert reply.status == 200, reply
            if reply.json["terminal"]:
                return reply.json
        raise AssertionError(f"{path} is still {reply.json['state']} in phase {reply.json.get('phase')}")

    def await_begin(self, path: str) -> None:
        """Return once the run or backfill at `path` is no longer queued: what is posted from now on is not computed
        together with it."""
        deadline = time.monotonic() + END_SECONDS
        while time.monotonic() < deadline:
            if self.get(path).json["state"] != "queued":
                return
            time.sleep(0.01)
        raise AssertionError(f"{path} is still queued")

    def scans(self) -> int:
        """How often the inputs were read for runs: by several together, and by one alone."""
        return sum(line["event"] in ("scan.finished", "run.listed") for line in self.logs)

    def run(self, date: str, **fields: object) -> dict:
        """A run from POST to its terminal state."""
        return self.finish(self.start_run(date, **fields)["id"])

    def all_runs(self, query: str = "") -> list[dict]:
        """Every run of GET /runs, over all pages."""
        runs, cursor = [], None
        while True:
            page = f"/runs?limit=200{query}" + (f"&cursor={cursor}" if cursor else "")
            reply = self.get(page)
            assert reply.status == 200, reply
            runs += reply.json["runs"]
            cursor = reply.json["next_cursor"]
            if cursor is None:
                return runs
