"""Runs that cannot succeed end in a named state with a hint, and the service goes on."""

import os
import threading
import time

import pytest

from support.cli import CONFIG, OK, kpid, source_url
from support.datasets import (
    BASE,
    BASE_DATES,
    copy_base,
    slow_source,
    write_lines,
    write_source,
)
from support.mounts import fill, read_only_file, remount, small_disk
from support.problems import assert_problem, problem_name

DAY = BASE_DATES[0]


def failed(server, code, date=DAY, **fields):
    """A run that failed with `code`; the service still answers and runs other things."""
    run = server.run(date, **fields)
    assert run["state"] == "failed", run
    assert run["error"]["code"] == code, run["error"]
    assert run["error"]["message"] and run["error"]["hint"]
    assert run["error"]["category"] in ("client", "data", "upstream", "internal")
    assert not (run.get("output") or {}).get("published_at")
    assert server.get("/livez").status == 200
    reply = server.get(f"/runs/{run['id']}/results")
    assert reply.status == 409, reply
    problem_name(reply)
    return run["error"]


def test_missing_folder(start_server, tmp_path):
    server = start_server(tmp_path / "later")
    failed(server, "source_not_found")
    copy_base(tmp_path / "later")
    assert server.run(DAY)["state"] == "succeeded"


def test_missing_data_set(start_server, tmp_path):
    source = copy_base(tmp_path / "in")
    (source / "products" / "a.csv").unlink()
    assert "products" in failed(start_server(source), "source_not_found")["message"]


def test_unreadable_file(start_server, tmp_path):
    source = copy_base(tmp_path / "in")
    (source / "orders" / "z.csv").symlink_to(tmp_path / "gone")
    if os.geteuid() != 0:
        (source / "orders" / "z.csv").unlink()
        write_lines(source, "orders", [], "z.csv").chmod(0)
    server = start_server(source)
    run = server.run(DAY)
    assert (run["state"], run["error"]["code"]) in {
        ("failed", "source_unreadable"),
        ("failed", "source_not_found"),
    }
    assert "orders/z.csv" in run["error"]["message"]
    (source / "orders" / "z.csv").unlink()
    assert server.run(DAY)["state"] == "succeeded"


def test_bad_value_names_its_place(start_server, tmp_path):
    source = copy_base(tmp_path / "in")
    write_lines(source, "orders", ["9,9,c,garbage"], "b.csv")
    server = start_server(source)
    error = failed(server, "value_unparsable")
    assert error["category"] == "data"
    assert error["details"]["key"].endswith("orders/b.csv")
    assert (error["details"]["line"], error["details"]["column"]) == (2, "created_at")
    assert error["details"]["value"] == "garbage"
    assert error["retryable"] is False
    assert server.run(DAY, bad_rows="skip", max_bad_rows=1)["state"] == "succeeded"
    assert server.run(DAY, bad_rows="skip", max_bad_rows="50%")["state"] == "succeeded"
    failed(server, "too_many_bad_rows", bad_rows="skip", max_bad_rows=0)


@pytest.mark.parametrize(
    "name, content, code",
    [
        ("orders", b"order_id,user_id\n1,1\n", "csv_header_missing"),
        ("orders", "order_id,user_id,created_at\n".encode("utf-16"), "csv_encoding"),
        ("products", b'id,category\n1,"open\n', "csv_malformed"),
    ],
)
def test_broken_file_names_itself(start_server, tmp_path, name, content, code):
    source = copy_base(tmp_path / "in")
    (source / name / "b.csv").write_bytes(content)
    assert f"{name}/b.csv" in failed(start_server(source), code)["message"]


def test_failed_run_keeps_what_was_published(start_server, tmp_path):
    source = copy_base(tmp_path / "in")
    server = start_server(source)
    good = server.run(DAY)
    write_lines(source, "orders", ["9,9,c,garbage"], "b.csv")
    failed(server, "value_unparsable")
    assert (
        server.get(f"/runs/{good['id']}/results").json["rows"][0]["total_orders"] == 2
    )


def rewrite_while(running, path):
    """Replaces the content of `path` by other content of another size until the run ends."""
    size = path.stat().st_size
    n = 0
    while running.is_set():
        n += 1
        os.truncate(path, size // 2 + n % 100)
        time.sleep(0.01)


def test_file_that_changes_while_it_is_read(start_server, tmp_path):
    source = slow_source(tmp_path / "in")
    changing = source / "order_items" / "zz.csv"
    changing.write_bytes((source / "order_items" / "a.csv").read_bytes())
    server = start_server(source)
    run = server.start_run(DAY)["id"]
    server.await_begin(f"/runs/{run}")
    running = threading.Event()
    running.set()
    writer = threading.Thread(target=rewrite_while, args=(running, changing))
    writer.start()
    try:
        final = server.finish(run)
    finally:
        running.clear()
        writer.join()
    if final["state"] == "succeeded":
        pytest.fail("half a file was taken for a whole one")
    assert final["error"]["code"] in (
        "source_unreadable",
        "s3_object_changed",
        "csv_malformed",
    ), final["error"]
    assert "zz.csv" in final["error"]["message"]
    assert final["error"]["hint"]
    assert server.get("/livez").status == 200


def test_quality_gate_of_the_request(start_server, tmp_path):
    source = write_source(tmp_path / "in", ["1,1,c,2020-01-01"], [], ["1,A,x"])
    server = start_server(source)
    run = server.run(DAY)
    assert run["state"] == "succeeded"
    blocked = server.run(DAY, quality_gate="block")
    if run["quality"]["status"] == "failed":
        assert (blocked["state"], blocked["error"]["code"]) == (
            "failed",
            "quality_blocked",
        )
    else:
        assert blocked["state"] == "succeeded"


def test_full_disk_refuses_new_runs_and_recovers(start_server, tmp_path):
    with small_disk(tmp_path / "disk", "8m") as mounted:
        if not mounted:
            pytest.skip("needs the right to mount a file system")
        server = start_server(db=tmp_path / "disk" / "kpid.db")
        assert server.run(DAY)["state"] == "succeeded"
        filler = fill(tmp_path / "disk")
        refused = None
        for _ in range(2000):
            reply = server.post("/runs", {"date": DAY, "reason": "x" * 500})
            if reply.status == 503:
                refused = reply
                break
        assert refused is not None, "a full disk never refused a run"
        problem = assert_problem(refused, 503, "storage-unavailable")
        assert problem["detail"]
        assert "retry-after" in refused.headers
        assert server.get("/livez").status == 200
        count = len(server.all_runs())
        assert all(
            run["terminal"]
            for run in (server.finish(r["id"]) for r in server.all_runs())
        )
        filler.unlink()
        deadline = time.monotonic() + 20
        while (
            reply := server.post("/runs", {"date": DAY})
        ).status == 503 and time.monotonic() < deadline:
            time.sleep(0.5)
        assert reply.status in (200, 202), reply
        assert server.finish(reply.json["id"])["state"] == "succeeded"
        assert len(server.all_runs()) >= count
        server.kill()


def test_database_on_a_read_only_disk_stops_the_start(tmp_path):
    with small_disk(tmp_path / "disk", "8m") as mounted:
        if not mounted:
            pytest.skip("needs the right to mount a file system")
        env = {
            "KPI_DB": str(tmp_path / "disk" / "kpid.db"),
            "KPI_SOURCE": source_url(BASE),
            "KPI_LISTEN": "127.0.0.1:0",
        }
        assert kpid("migrate", env=env).code == OK
        remount(tmp_path / "disk", "ro")
        result = kpid("serve", env=env, timeout=20)
        assert result.code not in (OK, -11, -6), result
        assert result.code >= 64, result
        assert "kpid.db" in result.err
        assert result.hint
        remount(tmp_path / "disk", "rw")
        assert kpid("migrate", env=env).code == OK


@pytest.mark.parametrize("command", ["serve", "migrate"])
def test_read_only_database_stops_the_start_and_is_called_so(tmp_path, command):
    env = {
        "KPI_DB": str(tmp_path / "kpid.db"),
        "KPI_SOURCE": source_url(BASE),
        "KPI_LISTEN": "127.0.0.1:0",
    }
    assert kpid("migrate", env=env).code == OK
    with read_only_file(tmp_path / "kpid.db") as is_read_only:
        if not is_read_only:
            pytest.skip("needs the right to mount a file system")
        result = kpid(command, env=env, timeout=20)
    assert (result.code, result.error_code) == (71, "storage-unavailable"), result
    assert f"KPI_DB={tmp_path / 'kpid.db'}" in result.message
    assert "read-only" in result.message
    assert kpid("migrate", env=env).code == OK


def test_database_in_a_missing_folder_stops_the_start(tmp_path):
    result = kpid(
        "serve",
        env={
            "KPI_DB": str(tmp_path / "no" / "k.db"),
            "KPI_SOURCE": source_url(BASE),
            "KPI_LISTEN": "127.0.0.1:0",
        },
        timeout=20,
    )
    assert result.code in (CONFIG, 73, 70), result
    assert "k.db" in result.err
    assert result.hint


def test_run_that_waits_for_workers_is_not_stalled(start_server, tmp_path):
    server = start_server(
        slow_source(tmp_path / "in"),
        KPI_THREADS="1",
        KPI_MAX_ACTIVE_RUNS="2",
        KPI_STALL_SECONDS="1",
    )
    runs = [server.start_run(date)["id"] for date in BASE_DATES]
    assert {server.finish(run, 120)["state"] for run in runs} == {"succeeded"}
