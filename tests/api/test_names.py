"""Words of the contract are the same wherever they stand: the tables in C, the checks in SQL, openapi.yaml."""

import re
import sqlite3
from contextlib import closing

import pytest
import yaml

from support.cli import OK, kpid
from support.paths import REPO


def in_c(file: str, table: str) -> list[str]:
    """The strings of a table of names."""
    text = (REPO / file).read_text(encoding="utf-8")
    body = re.search(rf"\b{table}\[\w+\] = \{{(.*?)\}};", text, re.DOTALL)
    assert body, f"{file} has no table {table}"
    return re.findall(r'"([a-z_]+)"', body.group(1))


def in_openapi(*path: str) -> list[list[str]]:
    """Every enum of that name: of a schema, or of all properties that are named so."""
    document = yaml.safe_load((REPO / "openapi.yaml").read_text(encoding="utf-8"))
    if path[0] == "schema":
        return [[word for word in document["components"]["schemas"][path[1]]["enum"] if word]]
    found = []

    def walk(node) -> None:
        if isinstance(node, dict):
            for key, child in node.items():
                if key == path[1] and isinstance(child, dict) and "enum" in child:
                    found.append(child["enum"])
                walk(child)
        elif isinstance(node, list):
            for child in node:
                walk(child)

    walk(document["components"]["schemas"])
    return found


@pytest.fixture(scope="module")
def schema(tmp_path_factory):
    """The statements that made the tables of a database, and the moves that one of them holds."""
    path = tmp_path_factory.mktemp("schema") / "k.db"
    assert kpid("migrate", env={"KPI_DB": str(path)}).code == OK
    with closing(sqlite3.connect(path)) as db:
        statements = " ".join(sql for (sql,) in db.execute("SELECT sql FROM sqlite_master WHERE type = 'table'"))
        moves = set(db.execute("SELECT from_state, to_state FROM run_moves"))
    return statements, moves


def in_sql(statements: str, column: str) -> list[list[str]]:
    """Every list that a column of that name is checked against."""
    lists = re.findall(rf"\b{column} IN \(([^)]*)\)", statements)
    return [re.findall(r"'([a-z_]+)'", words) for words in lists]


WORDS = {
    # name: table in C, columns in SQL, enums in openapi.yaml
    "state": (("server/run.c", "state_names"), ["state"], ("schema", "State")),
    "phase": (("pipeline/job.c", "phase_names"), ["phase"], ("schema", "Phase")),
    "disposition": (("server/run.c", "disposition_names"), [], ("schema", "Disposition")),
    "on_active": (("server/run.c", "on_active_names"), [], ("property", "on_active")),
    "on_finished": (("server/run.c", "on_finished_names"), [], ("property", "on_finished")),
    "quality_gate": (("pipeline/job.c", "gate_names"), ["quality_gate"], ("property", "quality_gate")),
    "bad_rows": (("pipeline/job.c", "bad_rows_names"), ["bad_rows"], ("property", "bad_rows")),
    "engine": (("pipeline/job.c", "engine_names"), ["engine", "engine_asked"], ("schema", "Engine")),
    "reprocess": (("server/backfill.c", "reprocess_names"), ["reprocess"], ("property", "reprocess")),
    "action": (("server/backfill.c", "action_names"), ["action"], ("property", "action")),
}


@pytest.mark.parametrize("word", WORDS)
def test_names_are_the_same_in_c_sql_and_openapi(schema, word):
    table, columns, place = WORDS[word]
    names = set(in_c(*table))
    checks = [words for column in columns for words in in_sql(schema[0], column)]
    enums = in_openapi(*place)
    assert names
    assert bool(checks) is bool(columns), f"no check of {columns}"
    assert enums, f"no enum of {place}"
    for words in checks + enums:
        assert set(words) == names, (word, words)


def test_moves_are_the_same_in_c_and_sql(schema):
    text = (REPO / "server/run.c").read_text(encoding="utf-8")
    table = re.search(r"moves\[RUN_STATE_COUNT\] = \{(.*?)\};", text, re.DOTALL).group(1)
    moves = {
        (source.lower(), target.lower())
        for source, targets in re.findall(r"\[RUN_(\w+)\] =\s*([^\[]*)", table)
        for target in re.findall(r"TO\(RUN_(\w+)\)", targets)
    }
    assert len(moves) > 10
    assert moves == schema[1]
