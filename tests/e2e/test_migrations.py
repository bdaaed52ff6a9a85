"""A database of an earlier version is brought up with what it holds."""

import json
import sqlite3
from contextlib import closing

from support.cli import OK, kpid
from support.paths import REPO

RUN = "01890000-0000-7000-8000-000000000000"


def test_database_of_version_2_keeps_its_runs_and_their_categories(tmp_path):
    path = tmp_path / "kpid.db"
    with closing(sqlite3.connect(path)) as db:
        for name in ("0001_initial.sql", "0002_aws.sql"):
            db.executescript((REPO / "migrations" / name).read_text())
        db.execute("PRAGMA user_version = 2")
        db.execute(
            "INSERT INTO runs (id, date, timezone, engine, state, created_at, updated_at, publish, quality_gate, bad_rows,"
            " max_bad_rows, input_base, service_version, categories_json) VALUES (?, '2024-01-01', 'UTC', 'native', 'failed',"
            " 1, 1, 1, 'warn', 'fail', '1%', 'file:///x', '0.1.0', ?)",
            (RUN, json.dumps(["Books", "Garden"])),
        )
        db.commit()
    assert kpid("migrate", env={"KPI_DB": str(path)}).code == OK
    with closing(sqlite3.connect(path)) as db:
        (names, timeout) = db.execute(
            "SELECT l.names, timeout_seconds FROM runs JOIN category_lists l ON l.key = runs.category_list"
        ).fetchone()
        assert (json.loads(names), timeout) == (["Books", "Garden"], 3600)
        assert db.execute("PRAGMA user_version").fetchone()[0] >= 3
        assert db.execute("PRAGMA foreign_key_check").fetchall() == []
        assert db.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
