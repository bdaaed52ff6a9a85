"""Days that are computed in one pass over the data: each is what it is when it is computed alone."""

import contextlib
import json
import random
import sqlite3
from datetime import date, timedelta
from pathlib import Path

import pytest

from support.cases import ANY_DATE, Case, load_cases
from support.cli import Result, dates_of, kpid, source_url
from support.datasets import write_source
from support.oracle_sql import expected_tables
from support.random_data import Maker

CASES = load_cases()
SEEDS = range(20260101, 20260113)
ALONE_MAX = 6
MORE_DAYS = timedelta(days=4)  # on both sides: many days are computed by another way than few

OUTCOMES = """
SELECT r.date, r.state, json_extract(r.error_json, '$.code'), json_extract(r.error_json, '$.message'),
       json_extract(r.error_json, '$.details'), r.results_sha256, q.report
FROM runs r LEFT JOIN quality_reports q ON q.run_id = r.id
"""


def outcomes(db: Path) -> dict[str, tuple]:
    """By date: state, error, digest of the rows, quality report."""
    with contextlib.closing(sqlite3.connect(db)) as connection:
        rows = connection.execute(OUTCOMES).fetchall()
    return {day: (*rest, json.loads(report) if report else None) for day, *rest, report in rows}


def differences(source: Path, dates: list[str], options: list[str], env: dict[str, str], folder: Path) -> list[str]:
    """Where days of a range say something else than the same days alone."""

    def outcome_of(command: list[str], name: str) -> tuple[Result, dict[str, tuple]]:
        db = folder / f"{name}.db"
        result = kpid(*command, "--source", source_url(source), *options, env={**env, "KPI_DB": str(db)})
        return result, outcomes(db)

    first, last = date.fromisoformat(dates[0]) - MORE_DAYS, date.fromisoformat(dates[-1]) + MORE_DAYS
    result, together = outcome_of(["backfill", "--from", str(first), "--to", str(last)], "together")
    found = []
    for day in dates:
        lone_result, alone = outcome_of(["run", "--date", day], day)
        if together:
            is_same = together.get(day) == alone[day]
        else:  # no day escapes what is wrong: none has a run
            is_same = (result.error_code, result.message) == (lone_result.error_code, lone_result.message)
        if not is_same:
            found.append(f"{day}: together {together.get(day, result)}, alone {alone[day]}")
    return found


def some_days(around: list[str]) -> list[str]:
    """The first of these days with its neighbours, and the days up to the next ones."""
    first = date.fromisoformat(around[0]) - timedelta(days=1)
    last = min(date.fromisoformat(around[-1]), first + timedelta(days=ALONE_MAX - 2)) + timedelta(days=1)
    return [str(first + timedelta(days=n)) for n in range((last - first).days + 1)]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_days_of_a_case_are_what_they_are_alone(case: Case, tmp_path):
    refused = (case.refusal.dates or []) if case.refusal else []
    dates = sorted({*(dates_of(case.expected) if case.expected else []), *refused}) or [ANY_DATE]
    if "0001-01-09" < dates[0] < "9999-12-20":
        assert differences(case.input, some_days(dates), case.options, case.env, tmp_path) == []


@pytest.mark.parametrize("seed", SEEDS)
def test_days_of_random_data_are_what_they_are_alone(seed, tmp_path):
    scenario = Maker(seed).scenario(tmp_path / "in")
    dates = dates_of(expected_tables(scenario.truth, scenario.order_status))
    start = random.Random(seed).randrange(len(dates))
    options = [*scenario.options, "--threads", str(scenario.threads)]
    assert differences(scenario.source, some_days(dates[start:]), options, scenario.env, tmp_path) == []


def test_a_bad_price_refuses_its_own_day_only(tmp_path):
    source = tmp_path / "in"
    for name, text in {
        "orders/o.csv": "order_id,user_id,created_at\n1,1,2024-01-01\n2,1,2024-01-02\n",
        "order_items/i.csv": "id,order_id,product_id,sale_price,status,created_at\n"
        "1,1,1,5,x,2024-01-01\n2,2,1,nan,x,2024-01-02\n",
        "products/p.csv": "id,category\n1,A\n",
    }.items():
        path = source / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    db = tmp_path / "k.db"
    command = ["backfill", "--from", "2024-01-01", "--to", "2024-01-03", "--source", source_url(source)]
    result = kpid(*command, env={"KPI_DB": str(db)})
    assert result.error_code == "value_unparsable"
    assert {day: found[:2] for day, found in outcomes(db).items()} == {
        "2024-01-01": ("succeeded", None),
        "2024-01-02": ("failed", "value_unparsable"),
        "2024-01-03": ("succeeded", None),
    }
    shown = kpid(*command, "--no-publish", "--bad-rows", "skip", "--max-bad-rows", "50%", "--format", "json")
    quality = json.loads(shown.out)["quality"]
    assert [q["status"] for q in quality.values()] == ["warned", "warned", "failed"]


USUAL_STATUSES = ["complete", "returned", "shipped", "Cancelled", "RETURNED"]
ODD_STATUSES = ["", "  returned ", "retur", "refunded", "lost", "a status that is long enough", "complete,"]
ODD_PRICES = ["", "5", ".5", "7.", "0", "-3.5", "N/A", ".", "1.2.3", "1e2", "123456.75", "12345678", "123456789.5", "0.1234567891"]


def write_orders_in_turn(folder: Path, categories: int, seed: int) -> list[str]:
    """Orders and items numbered in turn, which are counted without sets; most items follow those of the same order, some are of
    another day than it, of no order, of two product rows, or come long after the others. Most cells are written as usual, some are
    not. Returns the days."""
    rng = random.Random(seed)
    days = [str(date(2024, 2, 25) + timedelta(days=n)) for n in range(10)]
    quote, line_end = rng.choice(["", '"']), rng.choice(["", "\r"])

    def now_and_then(odd: list[str], usual: str) -> str:
        return rng.choice(odd) if rng.random() < 0.03 else usual

    def number(n: int) -> str:
        return now_and_then([f"0{n}", f"{n}.0", f" {n}", f'"{n}"'], str(n))

    def status() -> str:
        text = now_and_then(ODD_STATUSES, rng.choice(USUAL_STATUSES))
        return f'"{text}"' if "," in text else f"{quote}{text}{quote}"

    def time(day: str) -> str:
        text = f"{day}{rng.choice(' T')}{rng.randrange(24):02}:{rng.randrange(60):02}:{rng.randrange(60):02}"
        return now_and_then([day, f"{text}.5", f"{text} ", f"{text}Z"], f"{quote}{text}{quote}")

    orders = [(n, rng.choice(days)) for n in range(1, 400)]
    items = []
    for n, day in orders:
        for _ in range(rng.randrange(4)):
            items.append((n, rng.choice(days) if rng.random() < 0.1 else day))
    items += [(n, rng.choice(days)) for n in (1000, 1000, 1001)]
    items += rng.choices(items, k=60)
    products = [f"{n},Category {n % categories},x" for n in range(3 * categories)]
    products += [f"{n},Category {(n + 1) % categories},x" for n in range(0, categories, 5)]
    write_source(
        folder,
        (f"{number(n)},{now_and_then([''], number(n % 50))},{status()},{time(day)}{line_end}" for n, day in orders),
        (
            f"{number(n)},{now_and_then([''], number(order))},{number(rng.randrange(3 * categories + 2))},"
            f"{now_and_then(ODD_PRICES, str(rng.randrange(9000) / 100))},{status()},{time(day)}{line_end}"
            for n, (order, day) in enumerate(items, 1)
        ),
        products,
    )
    return days


@pytest.mark.parametrize("categories", [1, 7, 32, 33, 64, 65, 200])
@pytest.mark.parametrize("seed", range(4))
def test_orders_counted_by_marks_are_those_counted_by_sets(categories, seed, tmp_path):
    days = write_orders_in_turn(tmp_path / "in", categories, seed)
    assert differences(tmp_path / "in", days[2:6], [], {}, tmp_path) == []
