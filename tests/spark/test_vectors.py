"""The cells and CSV texts of tests/vectors as the Spark job reads them; tests/unit/test_vectors.c reads the same."""

import json
from zoneinfo import ZoneInfo

import pytest

from support.paths import TESTS
from support.spark import kpi_job

PRICE_RESULTS = {
    kpi_job.PRICE_OK: "ok",
    kpi_job.PRICE_ROUNDED: "rounded",
    kpi_job.PRICE_NOT_A_NUMBER: "not_a_number",
    kpi_job.PRICE_NOT_FINITE: "not_finite",
    kpi_job.PRICE_TOO_LARGE: "too_large",
    kpi_job.PRICE_MISSING: "not_a_number",
}


def load(name):
    cases = json.loads((TESTS / "vectors" / f"{name}.json").read_text(encoding="utf-8"))["cases"]
    assert len(cases) > 20
    return cases


def test_prices_are_what_the_vectors_say():
    for case in load("price"):
        result, units = kpi_job.parse_price(case["text"].encode())
        is_number = result in (kpi_job.PRICE_OK, kpi_job.PRICE_ROUNDED)
        seen = {"text": case["text"], "result": PRICE_RESULTS[result]}
        assert case == {**seen, "value": kpi_job.money_text(units)} if is_number else seen


def test_dates_are_what_the_vectors_say():
    for case in load("date"):
        zone = None if case["zone"] == "UTC" else ZoneInfo(case["zone"])
        day = kpi_job.parse_day(case["text"].encode(), zone)
        assert case["day"] == (None if day is None else kpi_job.day_text(day)), case


def form_of(text, number):
    if text is None:
        return "null"
    if number is None:
        return "text"
    return "plain" if kpi_job.is_plain_id(text.encode()) else "number"


def test_ids_are_what_the_vectors_say():
    for case in load("id"):
        text, number = kpi_job.parse_id(case["text"].encode())
        assert case == {"text": case["text"], "form": form_of(text, number), "number": number}
        assert text in (None, case["text"])


def text_of(case):
    parts = case.get("before", ""), case["text"] * case.get("repeat", 1), case.get("after", "")
    return "".join(parts).encode("latin-1")


def pieces_of(text):
    """What stands between the LFs, as Spark reads it."""
    pieces = text.split(b"\n")
    return pieces[:-1] if pieces[-1] == b"" else pieces


def shown(cell):
    return cell.decode("utf-8", "replace") if len(cell) <= 100 else f"{len(cell)} bytes"


def reading(parts):
    """What the job makes of the parts of a file: those at its start, then the others."""
    report = kpi_job.new_report()
    seen = {"rows": "", "error": "", "message": "", "line": 0}
    try:
        for number, (pieces, part) in enumerate(parts):
            pieces = pieces if number else kpi_job.start_of_file(pieces, "products/a.csv")
            for line, cells in kpi_job.rows_of_file(pieces, kpi_job.PRODUCTS, "products/a.csv", 0, report, part):
                seen["rows"] += f"{line}: {'|'.join(map(shown, cells))};"
    except kpi_job.Refusal as why:
        seen |= {"error": why.code, "message": why.message, "line": why.line, "rows": ""}
    for check in ("repeated_header", "ragged", "undecodable"):
        seen[check] = report[check]["count"]
    return seen


def parts_of(text):
    """The file cut into parts of one line each, as blocks are; None: its rows are not whole lines."""
    pieces = pieces_of(text)
    if not all(kpi_job.is_whole_rows(piece) for piece in pieces):
        return None
    bare = [piece.removeprefix(kpi_job.BOM) if n == 0 else piece for n, piece in enumerate(pieces)]
    header = next((n for n, piece in enumerate(bare) if piece.strip(kpi_job.IS_BLANK)), len(pieces))
    parts, line = [], 1
    for n, piece in enumerate(pieces):
        parts.append(([piece], kpi_job.FilePart(line, bare[header] if n > header else None)))
        line += kpi_job.count_line_ends(piece + b"\n")
    return parts


@pytest.mark.parametrize("case", load("csv"), ids=lambda case: case["name"])
def test_csv_texts_are_what_the_vectors_say(case):
    text = text_of(case)
    assert reading([(pieces_of(text), kpi_job.WHOLE_FILE)]) == case["expected"]
    parts = parts_of(text)
    if parts:
        assert reading(parts) == case["expected"]
