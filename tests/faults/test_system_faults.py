"""What the system does to the service: a failing disk, an input that hangs."""

import contextlib
import http.client
import os
import subprocess
import time

import pytest

from support.datasets import BASE_DATES
from support.paths import TESTS
from support.problems import assert_problem

DAY, NEXT_DAY = BASE_DATES
EXIT_TRY_AGAIN = 75


@pytest.fixture
def preload(tmp_path):
    """A function that compiles a shim and gives the settings that load it."""

    def settings(name: str) -> dict[str, str]:
        library = tmp_path / f"{name}.so"
        source = TESTS / "faults" / "shim" / f"{name}.c"
        subprocess.run(
            ["gcc", "-shared", "-fPIC", "-o", library, source], check=True, timeout=60
        )
        options = os.environ.get("ASAN_OPTIONS", "")
        return {
            "LD_PRELOAD": str(library),
            "ASAN_OPTIONS": f"{options}:verify_asan_link_order=0",
        }

    return settings


def test_failed_sync_is_no_success_and_ends_the_process(
    preload, start_server, tmp_path
):
    flag = tmp_path / "fail"
    server = start_server(FAIL_SYNC_FLAG=str(flag), **preload("fail_sync"))
    before = server.run(DAY)
    flag.touch()
    with contextlib.suppress(OSError, http.client.HTTPException):
        assert_problem(
            server.post("/runs", {"date": NEXT_DAY}), 503, "storage-unavailable"
        )
    assert server.process.wait(30) == EXIT_TRY_AGAIN, server.errors
    flag.unlink()
    server.start()
    assert server.get(f"/runs/{before['id']}").json["state"] == "succeeded"
    assert server.run(NEXT_DAY)["state"] == "succeeded"


def eventually(server, path: str, status: int, timeout: float = 30) -> None:
    deadline = time.monotonic() + timeout
    while server.get(path).status != status:
        assert time.monotonic() < deadline, f"{path} never answered {status}"
        time.sleep(0.1)


def test_hanging_input_fails_the_run_as_stalled(preload, start_server, tmp_path):
    flag = tmp_path / "hang"
    server = start_server(
        HANG_READ_FLAG=str(flag), KPI_STALL_SECONDS="1", **preload("hang_read")
    )
    flag.touch()
    run = server.start_run(DAY)["id"]
    eventually(server, "/livez", 503)  # a restart would help now
    assert server.get("/healthz").status == 200
    assert server.get("/readyz").status == 503
    flag.unlink()
    final = server.finish(run)
    assert (final["state"], final["error"]["code"]) == ("failed", "stalled"), final
    assert final["error"]["retryable"] is True
    eventually(server, "/livez", 200)
    assert server.run(DAY)["state"] == "succeeded"
