"""What the command line records in the database: interrupted runs, left-over ones, the days of a backfill."""

import contextlib
import json
import signal
import sqlite3
import subprocess
import time
from pathlib import Path

import pytest

from support.cli import DATA, INTERRUPTED, OK, SOURCE, interrupted, kpid, source_url
from support.datasets import BASE, BASE_DATES, copy_base, slow_source, write_lines
from support.paths import clean_env, kpid_binary

DAY, NEXT_DAY = BASE_DATES
TRY_AGAIN = 75


def start_run(source: Path, db: Path, *options: str) -> subprocess.Popen:
    """`kpid run` of the day, publishing to `db`."""
    command = [str(kpid_binary()), "run", "--date", DAY, "--source", source_url(source), *options]
    return subprocess.Popen(command, env=clean_env(KPI_DB=str(db)), stderr=subprocess.PIPE)


def rows(db: Path, sql: str) -> list[tuple]:
    with contextlib.closing(sqlite3.connect(db)) as connection:
        return connection.execute(sql).fetchall()


def leave_running(source: Path, db: Path) -> None:
    """A run whose process was killed."""
    assert interrupted(start_run(source, db), signal.SIGKILL) == -signal.SIGKILL


def backfill(db: Path, source: Path, *options: str):
    return kpid("backfill", "--source", source_url(source), *options, env={"KPI_DB": str(db)})


@pytest.fixture(scope="module")
def slow(tmp_path_factory):
    return slow_source(tmp_path_factory.mktemp("slow"))


@pytest.mark.parametrize("signal_number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_run_ends_cancelled_and_the_database_is_free(signal_number, slow, tmp_path):
    assert interrupted(start_run(slow, tmp_path / "k.db"), signal_number) == INTERRUPTED
    assert rows(tmp_path / "k.db", "SELECT state FROM runs") == [("cancelled",)]
    assert rows(tmp_path / "k.db", "SELECT outcome FROM attempts") == [("cancelled",)]
    assert kpid("run", "--date", DAY, "--source", source_url(BASE), env={"KPI_DB": str(tmp_path / "k.db")}).code == OK


def test_second_signal_ends_the_process_at_once(slow, tmp_path):
    process = start_run(slow, tmp_path / "k.db")
    assert interrupted(process, signal.SIGINT, signal.SIGINT, within=5) in (INTERRUPTED, -signal.SIGINT)


def test_left_over_run_of_a_killed_command_gives_way_to_the_next_one(slow, tmp_path):
    db = tmp_path / "k.db"
    leave_running(slow, db)
    source = copy_base(tmp_path / "in")
    write_lines(source, "orders", ["9,9,x,garbage"], "bad.csv")
    options = ["--bad-rows", "skip", "--max-bad-rows", "5"]
    result = kpid("run", "--date", DAY, "--source", source_url(source), *options, env={"KPI_DB": str(db)})
    assert result.code == OK, result
    assert rows(db, "SELECT state, input_base, bad_rows, max_bad_rows FROM runs ORDER BY id") == [
        ("cancelled", source_url(slow), "fail", "1%"),
        ("succeeded", source_url(source), "skip", "5"),
    ]


def test_run_that_the_service_has_accepted_is_not_taken_over(start_server, slow, tmp_path):
    db = tmp_path / "k.db"
    server = start_server(slow, db=db)
    run = server.start_run(DAY)
    server.kill()
    result = kpid("run", "--date", DAY, "--source", source_url(BASE), env={"KPI_DB": str(db)})
    assert result.code == TRY_AGAIN, result
    for words in ("run-already-active", run["id"], "kpid serve"):
        assert words in result.err
    assert rows(db, "SELECT state FROM runs") == [("queued",)]


def test_run_says_with_what_it_was_computed_not_with_what_it_was_accepted(start_server, slow, tmp_path):
    db = tmp_path / "k.db"
    leave_running(slow, db)
    server = start_server(BASE, db=db, KPI_TIMEZONE="Europe/Berlin")
    (run,) = server.all_runs()
    run = server.finish(run["id"])
    assert run["state"] == "succeeded", run["error"]
    assert (run["input"]["base"], run["timezone"]) == (source_url(BASE), "Europe/Berlin")
    assert run["summary"]["total_orders"] == 2


# --- backfills ---------------------------------------------------------------------------------


def check(report: str, name: str) -> dict:
    return next(found for found in json.loads(report)["checks"] if found["id"] == name)


def test_each_day_of_a_backfill_is_judged_by_its_own_rows(tmp_path):
    db = tmp_path / "k.db"
    result = backfill(db, BASE, "--from", DAY, "--to", "2023-01-18", "--quality-gate", "block")
    assert (result.code, result.error_code) == (DATA, "quality_blocked"), result
    found = rows(db, "SELECT date, state, report FROM runs JOIN quality_reports ON run_id = id ORDER BY date")
    assert [(date, state) for date, state, _ in found] == [
        (DAY, "succeeded"),
        (NEXT_DAY, "succeeded"),
        ("2023-01-17", "failed"),
        ("2023-01-18", "failed"),
    ]
    verdicts = [check(report, "day_has_rows")["status"] for _, _, report in found]
    assert verdicts == ["passed", "passed", "failed", "failed"]
    assert [date for (date,) in rows(db, "SELECT order_date FROM published ORDER BY 1")] == [DAY, NEXT_DAY]


def test_days_of_a_backfill_say_what_was_read(tmp_path):
    db = tmp_path / "k.db"
    assert backfill(db, BASE, "--all").code == OK
    size = sum(path.stat().st_size for path in BASE.glob("*/*.csv"))
    columns = "bytes_read, bytes_total, files_done, rows_orders, rows_order_items, rows_products"
    assert rows(db, f"SELECT {columns} FROM runs") == [(size, size, 3, 3, 4, 3)] * 2


def test_files_that_change_under_a_backfill_are_told_in_words_of_files(tmp_path):
    """The inputs are listed again after they were read; by then one is another."""
    source = slow_source(tmp_path / "in")
    command = [str(kpid_binary()), "backfill", "--all", "--source", source_url(source)]
    process = subprocess.Popen(command, env=clean_env(KPI_DB=str(tmp_path / "k.db")), stderr=subprocess.PIPE, text=True)
    time.sleep(0.3)
    write_lines(source, "products", ["1000,Late,x"], "late.csv")
    _, errors = process.communicate(timeout=60)
    assert process.returncode == SOURCE, errors
    assert "source_unreadable" in errors and "changed" in errors
