"""Every data case: all dates at once, then each date alone, or the refusal that the case names."""

import pytest

from support.cases import ANY_DATE, Case, load_cases, refusal_faults
from support.cli import OK, backfill, dates_of, only_date, read_tables, run_date
from support.numbers import is_plain, tables_difference

CASES = load_cases()
WITH_ROWS = [case for case in CASES if case.expected and not case.refusal]
BY_DATE = [case for case in CASES if case.expected]
REFUSED = [case for case in CASES if case.refusal]
NOTHING_WRITTEN = ("order_kpis.csv", "category_kpis.csv")


def all_plain(case: Case) -> bool:
    return all(
        is_plain(value)
        for rows in case.expected.values()
        for row in rows
        for column, value in row.items()
        if column != "category"
    )


@pytest.mark.parametrize("case", WITH_ROWS, ids=str)
def test_all_dates_give_the_expected_rows(case, tmp_path):
    result = backfill(case.input, tmp_path, *case.options, env=case.env)
    assert result.code == OK, result
    assert tables_difference(read_tables(tmp_path), case.expected) == []


@pytest.mark.parametrize("case", [c for c in WITH_ROWS if all_plain(c)], ids=str)
@pytest.mark.parametrize("threads", [1, 8])
def test_output_files_are_the_expected_bytes_for_any_thread_count(
    case, threads, tmp_path
):
    result = backfill(
        case.input, tmp_path, "--threads", threads, *case.options, env=case.env
    )
    assert result.code == OK, result
    for name in NOTHING_WRITTEN:
        assert (tmp_path / name).read_bytes() == (
            case.folder / "expected" / name
        ).read_bytes()


@pytest.mark.parametrize("case", BY_DATE, ids=str)
def test_each_date_alone_gives_its_rows(case, tmp_path):
    for date in dates_of(case.expected):
        result = run_date(
            case.input, date, tmp_path / date, *case.options, env=case.env
        )
        assert result.code == OK, result
        wanted = only_date(case.expected, date)
        assert tables_difference(read_tables(tmp_path / date), wanted) == [], date


@pytest.mark.parametrize("case", REFUSED, ids=str)
def test_all_dates_are_refused_before_anything_is_written(case, tmp_path):
    result = backfill(case.input, tmp_path / "out", *case.options, env=case.env)
    assert refusal_faults(result, case.refusal) == [], result
    assert not [name for name in NOTHING_WRITTEN if (tmp_path / "out" / name).exists()]


@pytest.mark.parametrize("case", REFUSED, ids=str)
def test_the_dates_of_the_refusal_are_refused(case, tmp_path):
    for date in case.refusal.dates or [ANY_DATE, "2001-07-01"]:
        result = run_date(
            case.input, date, tmp_path / "out", *case.options, env=case.env
        )
        assert refusal_faults(result, case.refusal) == [], result
