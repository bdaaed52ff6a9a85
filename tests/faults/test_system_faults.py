"""What the system does to the service: a failing disk, an input that hangs."""

import contextlib
import http.client
import os
import subprocess
import time

import pytest

from support.datasets import BASE_DATES
from support.mounts import fill, small_disk
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


def exhaust(server, folder):
    """Fills the disk until a run is refused, with nothing left that could free space; returns what fills it.

    A run that is active may yet use the space that is kept free for its end.
    """
    for _ in range(2000):
        filler = fill(folder)
        reply = server.post("/runs", {"date": DAY, "publish": False, "reason": "x" * 500})
        kept_free = (folder / "kpid.db.ballast").stat().st_size
        if reply.status == 503 and not (kept_free and server.all_runs("&active=true")):
            return filler
        time.sleep(0.02)
    raise AssertionError("a full disk never refused a run")


def test_full_disk_is_not_ready_until_space_is_back(start_server, tmp_path):
    disk = tmp_path / "disk"
    with small_disk(disk, "8m") as mounted:
        if not mounted:
            pytest.skip("needs the right to mount a file system")
        server = start_server(db=disk / "kpid.db")
        assert server.run(DAY)["state"] == "succeeded"
        filler = exhaust(server, disk)
        eventually(server, "/readyz", 503, timeout=5)
        checks = {check["name"]: check for check in server.get("/readyz").json["checks"]}
        assert checks["database"]["ok"] is False
        assert "full" in checks["database"]["error"]
        assert server.get("/healthz").status == 200
        time.sleep(6)  # it looks again, and it is still full
        assert server.get("/readyz").status == 503
        runs = len(server.all_runs())
        filler.unlink()
        eventually(server, "/readyz", 200)
        assert len(server.all_runs()) == runs  # what it tried with is no run
        assert server.run(DAY)["state"] == "succeeded"
        server.kill()
