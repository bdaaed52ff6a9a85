"""`kpid query` and `kpid backup`, under a running service and without one."""

import contextlib
import csv
import io
import json
import os
import shutil
import signal
import socket
import sqlite3
import stat
import subprocess
import threading
import time

import pytest

from support.cli import BUSY, CONFIG, INTERRUPTED, OK, USAGE, kpid
from support.datasets import slow_source
from support.paths import clean_env, kpid_binary
from support.series import CATEGORIES, day, publish_days, published_server, write_shop
from support.server import END_SECONDS, Server
from support.walk import walk

DAYS = 3
ALL = "SELECT * FROM category_kpis_table ORDER BY order_date, category"


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """A database that nobody has open."""
    folder = tmp_path_factory.mktemp("closed")
    publish_days(folder / "k.db", write_shop(folder / "in", DAYS), 0, DAYS - 1)
    return folder / "k.db"


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """A database that a service has open."""
    running = published_server(tmp_path_factory.mktemp("served"), DAYS)
    yield running.db
    running.kill()


@pytest.fixture(params=["published", "served"])
def db(request):
    return request.getfixturevalue(request.param)


def query(db, sql, *options, **env):
    return kpid("query", *options, sql, env={"KPI_DB": str(db), **env})


def backup(db, to):
    return kpid("backup", "--to", to, env={"KPI_DB": str(db)})


def rows(db, sql):
    with contextlib.closing(sqlite3.connect(db)) as connection:
        return connection.execute(sql).fetchall()


# --- query -------------------------------------------------------------------------------------


def test_json_has_typed_values(db):
    result = query(db, ALL, "--format", "json")
    assert result.code == OK, result
    names = sorted(CATEGORIES, key=str.encode)
    found = json.loads(result.out)
    assert [(row["order_date"], row["category"]) for row in found] == [
        (day(n), name) for n in range(DAYS) for name in names
    ]
    assert {row["daily_revenue"] for row in found} == {7.5, 5}
    odd = query(db, "SELECT 1 a, 1.5 b, NULL c, 'q\"' d, x'00ff' e, 1e999 f, 9223372036854775807 g", "--format", "json")
    assert json.loads(odd.out) == [
        {"a": 1, "b": 1.5, "c": None, "d": 'q"', "e": "00ff", "f": None, "g": 2**63 - 1}
    ]


def test_csv_is_rfc_4180(db):
    result = query(db, "SELECT 'a,b' x, 'q\"' y, '' e, NULL n, 2 z UNION ALL SELECT 'l\nf', 1.5, '', 3, 4", "--format", "csv")
    assert result.code == OK, result
    assert list(csv.reader(io.StringIO(result.out, newline=""))) == [
        ["x", "y", "e", "n", "z"],
        ["a,b", 'q"', "", "", "2"],
        ["l\nf", "1.5", "", "3", "4"],
    ]
    assert '"",,2' in result.out


def test_table_is_aligned_and_shows_no_control_bytes(db):
    result = query(db, "SELECT 'Ünique' name, 1 n UNION ALL SELECT char(27) || 'x', 1000")
    assert result.out == "name       n\nÜnique     1\n x      1000\n(2 rows)\n", result.out


def test_no_rows_are_no_fault(db):
    assert query(db, "SELECT 1 a WHERE 0", "--format", "json").out == "[]\n"
    assert query(db, "SELECT 1 a WHERE 0", "--format", "csv").out == "a\n"
    assert query(db, "SELECT 1 a WHERE 0").out == "a\n(0 rows)\n"


@pytest.mark.parametrize(
    "sql",
    [
        "DELETE FROM published",
        "INSERT INTO manifests VALUES ('a', 'b')",
        "UPDATE runs SET reason = 'x'",
        "DROP VIEW order_kpis_table",
        "CREATE TEMP TABLE t (x)",
        "ATTACH '/etc/passwd' AS p",
        "PRAGMA journal_mode=WAL",
        "PRAGMA table_info(runs)",
        "VACUUM INTO '/tmp/never'",
        "BEGIN",
        "SELECT load_extension('x')",
        "SELECT 1; SELECT 2",
        "SELECT 1; DELETE FROM published",
        "SELECT nonsense FROM runs",
        "SELEC",
        "",
        "-- nothing",
        "EXPLAIN DELETE FROM runs",
    ],
)
def test_only_one_statement_that_reads_is_run(db, sql):
    result = kpid("query", "--", sql, env={"KPI_DB": str(db)})
    assert (result.code, result.out) == (USAGE, ""), result
    assert result.error_code == "usage"
    assert query(db, "SELECT count(*) n FROM published", "--format", "csv").out == f"n\n{DAYS}\n"


def test_a_semicolon_and_a_comment_may_follow(db):
    assert query(db, "SELECT 1 a; -- done\n", "--format", "csv").out == "a\n1\n"


@pytest.mark.parametrize("options", [[], ["SELECT 1", "SELECT 2"], ["--format", "xml", "SELECT 1"], ["--what"], ["--format"]])
def test_wrong_arguments_are_told(options, published):
    assert kpid("query", *options, env={"KPI_DB": str(published)}).code == USAGE
    assert kpid("backup", *options, env={"KPI_DB": str(published)}).code == USAGE


def test_a_query_leaves_nothing_behind(db, tmp_path):
    before = sorted(path.name for path in db.parent.iterdir())
    assert query(db, "SELECT 1", TMPDIR=str(tmp_path)).code == OK
    assert list(tmp_path.iterdir()) == []
    assert sorted(path.name for path in db.parent.iterdir()) == before


def test_a_query_sees_what_was_just_accepted(start_server, tmp_path):
    server = start_server(write_shop(tmp_path / "in", 1))
    for _ in range(5):
        run = server.run(day(0))["id"]
        found = query(server.db, "SELECT run_id FROM published", "--format", "csv").out
        assert found == f"run_id\n{run}\n"


def test_query_and_series_agree(start_server, tmp_path):
    server = start_server(write_shop(tmp_path / "in", 2))
    server.run(day(0))
    (row,) = walk(server, f"/kpis/orders?from={day(0)}&to={day(0)}")
    found = json.loads(query(server.db, "SELECT * FROM order_kpis_table", "--format", "json").out)
    assert found == [{name: pytest.approx(float(row[name])) if name != "order_date" else day(0) for name in found[0]}]


def test_long_results_are_whole(db):
    sql = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 200000) SELECT i FROM n"
    assert query(db, sql, "--format", "csv").out == "i\n" + "".join(f"{i}\n" for i in range(1, 200001))


# --- backup ------------------------------------------------------------------------------------


def test_backup_is_a_file_that_any_tool_opens(db, tmp_path):
    target = tmp_path / "copy.db"
    result = backup(db, target)
    assert (result.code, result.out) == (OK, f"{target}\n"), result
    assert sorted(path.name for path in tmp_path.iterdir()) == ["copy.db"]
    assert rows(target, "PRAGMA integrity_check") == [("ok",)]
    assert rows(target, "PRAGMA journal_mode") == [("delete",)]
    assert len(rows(target, ALL)) == DAYS * len(CATEGORIES)
    assert stat.S_IMODE(target.stat().st_mode) == 0o600


def test_backup_can_be_served(db, tmp_path, start_server):
    assert backup(db, tmp_path / "copy.db").code == OK
    server = start_server(write_shop(tmp_path / "in", DAYS), db=tmp_path / "copy.db")
    assert len(walk(server, f"/kpis/orders?from={day(0)}&to={day(9)}")) == DAYS
    assert server.run(day(0))["state"] == "succeeded"


def test_nothing_is_overwritten(db, tmp_path):
    target = tmp_path / "copy.db"
    target.write_text("mine")
    assert backup(db, target).code == USAGE
    assert target.read_text() == "mine"
    target.unlink()
    draft = tmp_path / "copy.db.tmp"
    draft.write_text("of another backup")
    assert backup(db, target).code == USAGE
    assert draft.read_text() == "of another backup"
    target.symlink_to(tmp_path / "elsewhere")
    assert backup(db, target).code == USAGE


@pytest.mark.parametrize("target", ["no/such/folder/copy.db", ".", "/proc/copy.db"])
def test_a_target_that_cannot_be_made_is_told(db, tmp_path, target):
    result = backup(db, tmp_path / target)
    assert result.code == USAGE, result


def test_relative_names_are_of_the_caller(served, tmp_path):
    done = subprocess.run(
        [kpid_binary(), "backup", "--to", "copy.db"], cwd=tmp_path, env=clean_env(KPI_DB=str(served)), check=False
    )
    assert done.returncode == OK
    assert rows(tmp_path / "copy.db", "SELECT count(*) FROM published") == [(DAYS,)]


# --- who has the database ----------------------------------------------------------------------


def test_socket_is_for_the_user_of_the_service_only_and_goes_with_it(start_server, tmp_path):
    server = start_server(write_shop(tmp_path / "in", 1))
    path = tmp_path / "kpid.db.sock"
    assert stat.S_ISSOCK(path.stat().st_mode) and stat.S_IMODE(path.stat().st_mode) == 0o600
    assert server.terminate() == 0
    assert not path.exists()


def test_socket_of_a_killed_service_is_in_nobodys_way(start_server, tmp_path):
    source = write_shop(tmp_path / "in", 1)
    server = start_server(source)
    server.run(day(0))
    server.kill()
    assert (tmp_path / "kpid.db.sock").exists()
    assert query(server.db, "SELECT count(*) n FROM published", "--format", "csv").out == "n\n1\n"
    again = start_server(source)
    assert query(again.db, "SELECT count(*) n FROM published", "--format", "csv").out == "n\n1\n"


def test_a_copy_of_a_killed_service_changes_nothing_of_its_files(start_server, tmp_path):
    server = start_server(write_shop(tmp_path / "in", 1))
    server.run(day(0))
    server.kill()
    files = [server.db, tmp_path / "kpid.db-wal"]
    before = [path.read_bytes() for path in files]
    assert query(server.db, "SELECT count(*) n FROM published", "--format", "csv").out == "n\n1\n"
    assert [path.read_bytes() for path in files] == before


def test_who_holds_it_without_a_service_is_named(tmp_path):
    source = slow_source(tmp_path / "in")
    command = [kpid_binary(), "run", "--date", "2023-01-15", "--source", f"file://{source}"]
    holder = subprocess.Popen(
        command, env=clean_env(KPI_DB=str(tmp_path / "k.db")), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        deadline = time.monotonic() + 10
        while not (tmp_path / "k.db").exists():
            assert time.monotonic() < deadline
            time.sleep(0.02)
        os.kill(holder.pid, signal.SIGSTOP)
        result = query(tmp_path / "k.db", "SELECT 1")
        assert (result.code, result.error_code) == (BUSY, "db_locked"), result
        assert f"process {holder.pid} (kpid run)" in result.err
    finally:
        holder.kill()
        holder.wait(10)


def test_a_database_that_is_not_there_is_not_made(tmp_path):
    assert query(tmp_path / "no.db", "SELECT 1").code == CONFIG
    assert backup(tmp_path / "no.db", tmp_path / "copy.db").code == CONFIG
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_database_is_told_and_left_alone(published, tmp_path):
    copy = tmp_path / "k.db"
    shutil.copy(published, copy)
    data = bytearray(copy.read_bytes())
    data[8192:16384] = b"\xa5" * 8192
    copy.write_bytes(data)
    result = backup(copy, tmp_path / "copy.db")
    assert result.code not in (OK, USAGE), result
    assert not (tmp_path / "copy.db").exists() and not (tmp_path / "copy.db.tmp").exists()
    assert copy.read_bytes() == bytes(data)


def test_links_lead_to_the_service(served, tmp_path):
    (tmp_path / "link.db").symlink_to(served)
    assert query(tmp_path / "link.db", "SELECT count(*) n FROM published", "--format", "csv").out == f"n\n{DAYS}\n"


def test_long_paths_have_a_socket_too(tmp_path, start_server):
    folder = tmp_path / ("x" * 100) / ("y" * 100)
    folder.mkdir(parents=True)
    server = start_server(write_shop(tmp_path / "in", 1), db=folder / "k.db")
    server.run(day(0))
    assert query(server.db, "SELECT count(*) n FROM published", "--format", "csv").out == "n\n1\n"


def test_backups_of_a_busy_service_are_each_of_one_moment(start_server, tmp_path):
    """Runs are published all the while; in every copy each published run has its rows and its digest."""
    server = start_server(write_shop(tmp_path / "in", 20), KPI_MAX_ACTIVE_RUNS="2")
    over, many = threading.Event(), threading.Event()

    def publish() -> None:
        for n in range(20 * 100):
            if over.is_set():
                return
            if n == 60:
                many.set()
            server.run(day(n % 20))

    thread = threading.Thread(target=publish)
    thread.start()
    try:
        assert many.wait(END_SECONDS)
        for n in range(8):
            target = tmp_path / f"copy{n}.db"
            result = backup(server.db, target)
            assert result.code == OK, result
            assert rows(target, "PRAGMA foreign_key_check") == []
            assert (
                rows(
                    target,
                    "SELECT p.order_date FROM published p LEFT JOIN order_results o USING (run_id, order_date)"
                    " JOIN runs r ON r.id = p.run_id WHERE o.orders IS NOT 10 OR r.results_sha256 IS NULL"
                    " OR (SELECT count(*) FROM category_results c WHERE c.run_id = p.run_id) <> 4",
                )
                == []
            )
    finally:
        over.set()
        thread.join(60)
    assert target.stat().st_size > 64 * 4096  # more than one step of the copy


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_query_leaves_nothing_behind(published, tmp_path, number):
    sql = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"
    process = subprocess.Popen([kpid_binary(), "query", sql], env=clean_env(KPI_DB=str(published), TMPDIR=str(tmp_path)))
    try:
        time.sleep(0.7)
        assert process.poll() is None
        process.send_signal(number)
        assert process.wait(10) == INTERRUPTED
    finally:
        process.kill()
        process.wait(10)
    assert list(tmp_path.iterdir()) == []


def test_a_service_that_stops_does_not_wait_for_a_client_that_stalls(start_server, tmp_path):
    server = start_server(write_shop(tmp_path / "in", 1))
    with socket.socket(socket.AF_UNIX) as stalled:
        stalled.connect(str(tmp_path / "kpid.db.sock"))
        started = time.monotonic()
        assert server.terminate() == 0
        assert time.monotonic() - started < 10


def test_only_an_empty_file_of_the_client_is_filled(start_server, tmp_path):
    server = start_server(write_shop(tmp_path / "in", 1))
    full = tmp_path / "full"
    full.write_text("mine")
    (tmp_path / "empty").touch()
    (tmp_path / "link").symlink_to(tmp_path / "empty")
    for name in ("full", "link", "missing", ".", "kpid.db"):
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(tmp_path / "kpid.db.sock"))
            client.sendall(str(tmp_path / name).encode() + b"\0")
            assert client.recv(1000).startswith(b"usage "), name
    assert full.read_text() == "mine" and (tmp_path / "empty").stat().st_size == 0
    assert server.get("/livez").status == 200
