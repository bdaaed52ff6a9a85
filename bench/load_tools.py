"""What the benchmark of the HTTP side is made of: wrk, the servers it is let loose on, and figures of a process."""

import getpass
import grp
import json
import os
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from support.paths import clean_env, kpid_binary
from support.server import Server
from support.tools import ToolServer, free_port

CONNECTIONS = 64
DATES_A_YEAR = 12 * 28  # days 1 to 28 of each month

DONE = """
function done(summary, latency, requests)
  local e = summary.errors
  io.write(string.format('{"requests":%d,"us":%d,"p50":%f,"p99":%f,"max":%f,"refused":%d,"broken":%d}\\n',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99), latency.max,
    e.status, e.connect + e.read + e.write + e.timeout))
end
"""
PACED = "function delay() return 5 end\n"  # milliseconds between the requests of a connection
POSTS = f"""
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
local n = 0
function request()
  n = n + 1
  return wrk.format(nil, nil, nil, string.format('{{"date":"%04d-%02d-%02d","publish":false}}',
    1970 + math.floor(n / {DATES_A_YEAR}) % 50, 1 + math.floor(n / 28) % 12, 1 + n % 28))
end
"""


@dataclass(frozen=True)
class Load:
    """What wrk has measured."""

    requests: int
    seconds: float
    p50_ms: float
    p99_ms: float
    max_ms: float

    @property
    def rate(self) -> float:
        return self.requests / self.seconds


def wrk(url: str, seconds: float, script: str = "", connections: int = CONNECTIONS) -> Load:
    """One run of wrk with one thread; every answer must be good."""
    file = Path(os.environ["TMPDIR"]) / "load.lua"
    file.write_text(script + DONE, encoding="ascii")
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "-s", str(file), url]
    told = subprocess.run(command, capture_output=True, text=True, check=True, timeout=seconds + 60).stdout
    found = json.loads(told.splitlines()[-1])
    assert found["broken"] == found["refused"] == 0, (url, found)
    times_ms = [found[name] / 1000 for name in ("p50", "p99", "max")]
    load = Load(found["requests"], found["us"] / 1e6, *times_ms)
    assert load.requests > 0, url
    return load


class LoadedServer(Server):
    """kpid as the tests start it, but nobody reads its log meanwhile: this machine has few cores."""

    def __init__(self, db: Path, source: Path | None = None, **settings: str):
        super().__init__(db, source, **settings)
        self.log = db.with_suffix(".log")

    def launch(self) -> None:
        self.address = f"127.0.0.1:{free_port()}"
        self.settings["KPI_LISTEN"] = self.address
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [str(kpid_binary()), "serve"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                env=clean_env(**self.settings),
            )

    def await_listening(self, timeout: float = 30) -> None:
        deadline = time.monotonic() + timeout
        while True:
            try:
                self.get("/livez")
                return
            except OSError:
                assert self.process.poll() is None and time.monotonic() < deadline, self.log.read_text()
                time.sleep(0.02)

    def url(self, path: str) -> str:
        return f"http://{self.address}{path}"


class Nginx(ToolServer):
    """nginx with two workers and no access log, over a folder of files."""

    name = "nginx"

    def __init__(self, folder: Path, program: str):
        super().__init__(folder)
        self.program = program

    def command(self) -> list[str]:
        temp = "\n".join(f"{kind}_temp_path {self.folder}/{kind};"
                         for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))  # fmt: skip
        (self.folder / "nginx.conf").write_text(
            f"""
            daemon off; user {getpass.getuser()} {grp.getgrgid(os.getgid()).gr_name}; worker_processes 2; pid {self.folder}/nginx.pid; error_log {self.folder}/error.log;
            events {{ worker_connections 2048; }}
            http {{
              access_log off; sendfile on; tcp_nopush on; keepalive_requests 1000000000; keepalive_timeout 75s;
              open_file_cache max=100; default_type application/json; {temp}
              server {{ listen 127.0.0.1:{self.port}; root {self.folder}/html; }}
            }}""",
            encoding="ascii",
        )
        return [self.program, "-p", str(self.folder), "-e", f"{self.folder}/error.log", "-c",
                f"{self.folder}/nginx.conf"]  # fmt: skip

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()  # its workers with it
            self.process.wait(10)
            self.process = None

    def serve(self, name: str, body: bytes) -> str:
        """The address of a file with that content."""
        (self.folder / "html").mkdir(parents=True, exist_ok=True)
        (self.folder / "html" / name).write_bytes(body)
        return f"{self.url}/{name}"


class SyncEach:
    """bench_sync_each, which syncs each request: `one` after the other, or `shared` by the kernel."""

    def __init__(self, program: Path, file: Path, how: str, **settings: str):
        self.process = subprocess.Popen(
            [str(program), str(file), how], stdout=subprocess.PIPE, text=True, env=clean_env(**settings)
        )
        self.url = f"http://127.0.0.1:{int(self.process.stdout.readline())}/"

    def __enter__(self) -> "SyncEach":
        return self

    def __exit__(self, *_) -> None:
        self.process.kill()
        self.process.wait(10)
        self.process.stdout.close()


def status_of(process: subprocess.Popen, key: str) -> int:
    """A number of /proc/PID/status: Threads, or VmRSS in KiB."""
    text = Path(f"/proc/{process.pid}/status").read_text(encoding="ascii")
    return next(int(line.split()[1]) for line in text.splitlines() if line.startswith(key + ":"))
