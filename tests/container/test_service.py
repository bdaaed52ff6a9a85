"""The service in its container, run as a task of ECS would and stricter: read-only, without capabilities, in 256 MB.

KPID_CONTAINER_DRAINS says how often it is stopped under load (3; deep: 50), KPID_LOAD_SEED repeats a series.
"""

import json
import os
import subprocess
import threading
import time
from pathlib import Path

import pytest

from support.cli import OK, backfill, kpid, read_tables
from support.container import DATA, UID, one_shot, run
from support.datasets import BASE, BASE_DATES, phased_source, write_source
from support.drains import DrainSeries
from support.faults import Hold, dynamodb_error, s3_error
from support.mounts import fill, small_disk
from support.problems import assert_problem
from support.published import as_items, disagreements, original

DAY, NEXT_DAY = BASE_DATES
DRAINS = int(os.environ.get("KPID_CONTAINER_DRAINS", "3"))
MEBIBYTE = 1 << 20


def status_of(server) -> dict[str, str]:
    """What the kernel says of the process in the container."""
    text = Path(f"/proc/{server.state()['Pid']}/status").read_text(encoding="ascii")
    return dict(line.split(":\t", 1) for line in text.splitlines() if ":\t" in line)


def health(server) -> subprocess.CompletedProcess:
    return run("podman", "exec", server.name, "/usr/local/bin/kpid", "healthcheck", check=False)


# ---- as it should be ----


def test_process_has_no_rights(start_container):
    server = start_container()
    status = status_of(server)
    assert {status["Uid"].split("\t")[0], status["Gid"].split("\t")[0]} == {str(UID)}
    assert {int(status[name], 16) for name in ("CapEff", "CapPrm", "CapBnd", "CapInh", "CapAmb")} == {0}
    assert status["NoNewPrivs"].strip() == "1"
    document = json.loads(run("podman", "inspect", server.name).stdout)[0]
    assert document["HostConfig"]["ReadonlyRootfs"]
    assert run("podman", "exec", server.name, "/bin/sh", "-c", "true", check=False).returncode != 0
    assert server.run(DAY)["state"] == "succeeded", "all that is written is on the volume"


def test_health_check_is_the_program(start_container):
    server = start_container()
    assert health(server).stdout == "ok\n"
    assert run("podman", "healthcheck", "run", server.name, check=False).returncode == 0, "as the image says it"


@pytest.fixture
def sample(tmp_path) -> Path:
    """A data set of the shape of the original one."""
    made = kpid("sample", "--out", tmp_path / "sample", "--orders", "9000", "--days", "30")
    assert made.code == OK, made
    return tmp_path / "sample"


def test_sample_from_s3_to_dynamodb(container_site, sample, tmp_path):
    container_site.upload(sample)
    server = container_site.server().await_ready()
    posted = server.post("/backfills", {"all": True})
    done = server.await_end(f"/backfills/{posted.json['id']}")
    assert done["state"] == "succeeded", server.all_runs()[0]["error"]["message"]
    assert backfill(sample, tmp_path / "expected").code == OK
    expected = read_tables(tmp_path / "expected")
    assert len(expected["order_kpis"]) == 30
    for kind in ("order", "category"):
        keys = ("category", "order_date") if kind == "category" else ("order_date",)
        items = sorted(original(container_site.tables.items(kind), kind), key=lambda item: [item[key] for key in keys])
        assert items == as_items(expected, kind)
    assert not [fault for row in expected["order_kpis"] for fault in disagreements(container_site.tables, row["order_date"])]
    assert int(status_of(server)["VmHWM"].split()[0]) * 1024 < 256 * MEBIBYTE


def test_one_shot_runs_tell_by_their_exit_codes(image):
    mounts = [f"{BASE}:{BASE}:ro"]
    source = {"KPI_SOURCE": f"file://{BASE}"}
    done = one_shot(image, "run", "--date", DAY, "--no-publish", "--format", "json", mounts=mounts, **source)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)
    assert one_shot(image, "run", "--date", "yesterday-ish", mounts=mounts, **source).returncode == 64
    assert one_shot(image, "run", "--date", DAY, "--no-publish", KPI_SOURCE="file:///nowhere").returncode == 66


# ---- stopped and started again ----


def test_stop_hands_back_what_is_at_work_and_a_restart_goes_on(start_container, volume, tmp_path):
    source, data = phased_source(tmp_path / "in"), volume("kept")
    server = start_container(source, data=data, KPI_DRAIN_SECONDS="1")
    run_id = server.start_run("2023-01-15")["id"]
    server.await_begin(f"/runs/{run_id}")
    begun = time.monotonic()
    assert server.stop() == 0
    assert time.monotonic() - begun < 15, "far inside the 120 s that ECS gives"
    assert not [line for line in server.logs if line["level"] == "error"]
    again = start_container(source, data=data)
    done = again.finish(run_id)
    assert (done["state"], done["attempt"]) == ("succeeded", 1), "a drain is no attempt"


def test_accepted_run_survives_the_loss_of_the_disk(container_site):
    container_site.extra["KPI_INTENTS"] = "dynamodb"
    container_site.upload()
    gate = threading.Event()
    container_site.s3.spoil(Hold(gate), "GetObject")
    server = container_site.server().await_ready()
    run_id = server.start_run(DAY)["id"]
    server.kill()
    gate.set()
    fresh = container_site.server().await_ready()
    assert fresh.finish(run_id)["state"] == "succeeded"
    assert disagreements(container_site.tables, DAY) == []


@pytest.mark.timeout(180 + 60 * DRAINS)
def test_signals_under_load_lose_no_accepted_run(start_container, tmp_path, tell):
    source = phased_source(tmp_path / "in", orders=300_000, files=2000)
    DrainSeries(DRAINS).run(start_container(source, KPI_MAX_ACTIVE_RUNS="2"), lambda text: tell(f"container, {text}"))


# ---- what can be wrong ----


def refused(start_container, *args, **settings):
    """A container that does not start: the error of its log, and its exit code."""
    with pytest.raises(RuntimeError) as failed:
        start_container(*args, **settings)
    return failed.value


def test_volume_that_may_not_be_written(start_container, tmp_path):
    folder = tmp_path / "of-root"
    folder.mkdir(mode=0o755)
    failure = str(refused(start_container, data=folder))
    assert "exited 78" in failure
    assert f"config_invalid: KPI_DB={DATA}/kpid.db: user {UID} cannot create" in failure
    assert "Permission denied" in failure


def test_volume_that_is_not_there(image):
    done = one_shot(image, "serve", KPI_SOURCE="file:///", KPI_DB="/data/kpid.db")
    assert done.returncode == 78
    assert "KPI_DB=/data/kpid.db" in done.stderr and "No such file or directory" in done.stderr


def test_volume_that_is_full(start_container, tmp_path):
    with small_disk(tmp_path / "small", "3m") as is_mounted:
        assert is_mounted, "this needs the right to mount"
        data = tmp_path / "small"
        os.chown(data, UID, UID)
        server = start_container(data=data)
        run_id = server.run(DAY)["id"]
        fill(data)
        assert_problem(server.post("/runs", {"date": NEXT_DAY}), 503, "storage-unavailable")
        assert server.get(f"/runs/{run_id}").status == 200
        assert health(server).stdout == "ok\n", "a new task would find the same disk"
        assert server.stop() == 0
        again = start_container(data=data)
        assert again.get(f"/runs/{run_id}").json["state"] == "succeeded", "what is there can be read"
        assert_problem(again.post("/runs", {"date": NEXT_DAY}), 503, "storage-unavailable")
        (data / "filler").unlink()
        assert again.run(NEXT_DAY)["state"] == "succeeded"


def test_second_container_on_the_same_volume(start_container, volume):
    data = volume("shared")
    start_container(data=data)
    failure = str(refused(start_container, data=data))
    assert "exited 73" in failure
    assert "db_locked" in failure and "kpid serve" in failure


def test_two_tasks_at_the_same_time_leave_one_result(container_site):
    container_site.upload()
    tasks = [container_site.server().await_ready() for _ in range(2)]
    runs = [task.start_run(DAY, force=True) for task in tasks]
    for task, begun in zip(tasks, runs, strict=True):
        assert task.finish(begun["id"])["state"] == "succeeded"
    assert disagreements(container_site.tables, DAY) == []


@pytest.mark.parametrize("denied", ["bucket", "table"])
def test_access_that_is_denied(container_site, denied):
    container_site.upload()
    if denied == "bucket":
        container_site.s3.spoil(s3_error(403, "AccessDenied"))
    else:
        container_site.dynamodb.spoil(dynamodb_error(400, "AccessDeniedException"))
    server = container_site.server()
    done = server.run(DAY)
    assert (done["state"], done["error"]["code"]) == (
        "failed",
        "s3_access_denied" if denied == "bucket" else "dynamodb_access_denied",
    )
    assert health(server).stdout == "ok\n", "a restart would not help"


def test_memory_limit_ends_the_run_and_not_the_task(start_container, tmp_path):
    orders = (f"o{n:032},{n},c,{DAY}" for n in range(500_000))
    source = write_source(tmp_path / "in", orders, [], ["1,A,x"])
    server = start_container(source, memory="128m")
    (ready,) = [line for line in server.logs if line["event"] == "server.listening"]
    assert ready["run_memory_limit_bytes"] == 16 * MEBIBYTE
    done = server.run(DAY)
    assert (done["state"], done["error"]["code"]) == ("failed", "out_of_memory"), done
    assert not server.state()["OOMKilled"]
    assert health(server).stdout == "ok\n"
    write_source(source, [f"1,1,c,{DAY}"], [], ["1,A,x"])
    assert server.run(DAY)["state"] == "succeeded"
