"""The number forms of the output files."""

import re
from decimal import Decimal
from fractions import Fraction

from support.cli import Row, Tables

RATES = {"avg_order_value", "avg_return_rate", "return_rate", "orders_returned_rate"}
MONEY = {"daily_revenue", "total_revenue"}
MONEY_FORM = re.compile(r"-?(0|[1-9]\d*)(\.\d*[1-9])?")


def money_text(value: Decimal) -> str:
    """Exact decimal text: no exponent, no trailing zeros, no negative zero."""
    text = format(value, "f")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text in ("-0", "") else text


def quotient_text(numerator: Fraction | int, denominator: int) -> str:
    """The nearest double of the exact quotient as shortest text; 0 over nothing."""
    if denominator == 0:
        return "0"
    return repr(float(Fraction(numerator) / denominator)).removesuffix(".0")


def significant_digits(text: str) -> str:
    mantissa = re.split("[eE]", text.lstrip("-"))[0].replace(".", "")
    return mantissa.strip("0")


def is_plain(text: str) -> bool:
    return "e" not in text.lower()


def same_rate(actual: str, expected: str) -> bool:
    """Equal text; where the expected text has an exponent only the double and its digits count."""
    if is_plain(expected):
        return actual == expected
    return float(actual) == float(expected) and significant_digits(
        actual
    ) == significant_digits(expected)


def row_difference(actual: Row, expected: Row) -> list[str]:
    """One line for each column that differs."""
    return [
        f"{column}: expected {wanted!r}, got {actual.get(column)!r}"
        for column, wanted in expected.items()
        if not (
            same_rate(actual[column], wanted)
            if column in RATES and wanted
            else actual[column] == wanted
        )
    ]


def table_difference(actual: list[Row], expected: list[Row]) -> list[str]:
    """What differs between two tables, order included; empty when nothing does."""
    keys = [
        [(r.get("order_date"), r.get("category")) for r in rows]
        for rows in (actual, expected)
    ]
    if keys[0] != keys[1]:
        return [f"expected rows {keys[1]}", f"got rows {keys[0]}"]
    return [
        f"{key}: {line}"
        for key, got, wanted in zip(keys[0], actual, expected, strict=True)
        for line in row_difference(got, wanted)
    ]


def tables_difference(actual: Tables, expected: Tables) -> list[str]:
    return [
        f"{name} {line}"
        for name, rows in expected.items()
        for line in table_difference(actual[name], rows)
    ]
