# SPDX-License-Identifier: MIT
"""The Spark engine's job: reads orders, order items and products, and writes what the service needs to publish them.

Called as `spark-submit kpi_job.py SPEC_URI`. It computes exact sums and counts and never divides: formulas, rounding, quality
rules and publishing are the service's (pipeline/kpi.c, pipeline/quality.c). README.md beside this file is the contract.
What a cell means is said here once more for Python; tests/vectors holds the cases that both engines read.

One file, for PySpark 3.5 and 4.0 and Python 3.9, with nothing but pyspark and the standard library. Importable without pyspark.
"""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
import re
import signal
import sys
import threading
import time
import traceback
from collections import defaultdict
from datetime import date, datetime, timedelta
from itertools import groupby, zip_longest
from typing import Any, Iterable, Iterator, NamedTuple, Optional
from zoneinfo import ZoneInfo

BLANKS = b" \t\r\n\v\f"  # what is trimmed around a cell

# ---- prices ----

PRICE_OK, PRICE_ROUNDED, PRICE_NOT_A_NUMBER, PRICE_NOT_FINITE, PRICE_TOO_LARGE, PRICE_MISSING = range(6)
SCALE = 18  # decimals that are kept
INT_DIGITS_MAX = 126  # before the point
UNIT = 10**SCALE
NUMBER = re.compile(rb"([+-]?)(\d*)(?:\.(\d*))?(?:[eE]([+-]?\d+))?")
NOT_FINITE = re.compile(rb"[+-]?(?:nan|inf|infinity)", re.IGNORECASE)
EXPONENT_DIGITS = 8  # of more, all exponents are the same: zero or too large


def parse_price(cell: bytes) -> tuple[int, int]:
    """Returns (PRICE_*, units of 10^-18); the units count for PRICE_OK and PRICE_ROUNDED only."""
    if not cell:
        return PRICE_MISSING, 0
    text = cell.strip(BLANKS)
    found = NUMBER.fullmatch(text)
    if not found or not (found[2] or found[3]):
        return (PRICE_NOT_FINITE if NOT_FINITE.fullmatch(text) else PRICE_NOT_A_NUMBER), 0
    whole, fraction = found[2], found[3] or b""
    significant = (whole + fraction).lstrip(b"0")
    if not significant:
        return PRICE_OK, 0
    weight = (
        len(significant) - len(fraction) + (small_exponent(found[4]) if found[4] else 0)
    )  # of the first digit: 10^(weight-1)
    if weight > INT_DIGITS_MAX:
        return PRICE_TOO_LARGE, 0
    kept_digits = max(weight + SCALE, 0)
    kept, lost = significant[:kept_digits].ljust(kept_digits, b"0"), significant[kept_digits:]
    units = int(kept or b"0")
    if weight + SCALE >= 0 and (lost[:1] > b"5" or (lost[:1] == b"5" and (lost[1:].strip(b"0") or units % 2))):
        units += 1
    if units >= 10 ** (INT_DIGITS_MAX + SCALE):  # it was only nines
        return PRICE_TOO_LARGE, 0
    return (PRICE_ROUNDED if lost.strip(b"0") else PRICE_OK), (-units if found[1] == b"-" else units)


def small_exponent(text: bytes) -> int:
    """An exponent that may have thousands of digits, cut to what still makes a difference."""
    negative, digits = text.startswith(b"-"), text.lstrip(b"+-").lstrip(b"0") or b"0"
    value = int(digits) if len(digits) <= EXPONENT_DIGITS else 10**EXPONENT_DIGITS
    return -value if negative else value


def money_text(units: int) -> str:
    """Units of 10^-18 as an exact decimal text: "21.5", "-0.25", "0"."""
    whole, fraction = divmod(abs(units), UNIT)
    text = f"{whole}.{fraction:0{SCALE}}".rstrip("0").rstrip(".")
    return "-" + text if units < 0 else text


# ---- identifiers ----

ID_NUMBER = re.compile(rb"([+-]?)(\d*)(?:\.(\d*))?(?:[eE]([+-]?\d{1,9}))?")
PLAIN_DIGITS_MAX = 18


def is_plain_id(cell: bytes) -> bool:
    """A whole number in its shortest form, of at most 18 digits."""
    return cell.isdigit() and len(cell) <= PLAIN_DIGITS_MAX and (cell[0] != 0x30 or len(cell) == 1)


def parse_id(cell: bytes) -> tuple[Optional[str], Optional[str]]:
    """Returns (text, number): the text, None for null; the number in one spelling for all equal ones, None if it is none.

    A plain id is its own number, and no other id is without an "e" in one of the two.
    """
    if is_plain_id(cell):
        text = cell.decode("ascii")
        return text, text
    if not cell:
        return None, None
    return cell.decode("utf-8", "replace"), number_of_id(cell)


def number_of_id(cell: bytes) -> Optional[str]:
    """The one spelling of a number: small whole ones as digits, others as significant digits and power of ten."""
    found = ID_NUMBER.fullmatch(cell.strip(BLANKS))
    if not found or not (found[2] or found[3]):
        return None
    fraction = found[3] or b""
    digits = (found[2] + fraction).lstrip(b"0")
    significant = digits.rstrip(b"0").decode("ascii")
    power = int(found[4] or b"0") - len(fraction) + len(digits) - len(significant)
    if not significant:
        return "0"
    negative = found[1] == b"-"
    if not negative and power >= 0 and len(significant) + power <= PLAIN_DIGITS_MAX:
        return significant + "0" * power
    return f"{significant}e{power}{'-' if negative else ''}"


# ---- dates ----

DAY_MIN, DAY_MAX = -719162, 2932896  # 0001-01-01 and 9999-12-31, as days since 1970-01-01
SECONDS_PER_DAY = 86400
OFFSET_MAX_SECONDS = 18 * 3600
EPOCH = date(1970, 1, 1)
EPOCH_TIME = datetime(1970, 1, 1)
ZONE_CYCLE_DAYS = 146097  # 400 years: after them weekdays, and so the rules of zones, repeat
TIMESTAMP = re.compile(
    rb"(\d{4})-(\d{1,2})(?:-(\d{1,2})(?:[ T](\d{1,2})(?::(\d{1,2})(?::(\d{1,2})(?:\.\d{1,9})?)?)?(.*))?)?", re.DOTALL
)
OFFSET = re.compile(rb"([+-])(?:(\d\d)(\d\d)|(\d\d?)(?::(\d\d)(?::(\d\d))?)?)")
ZONE_NAME = re.compile(rb"[A-Za-z](?:[A-Za-z0-9_+-]|/(?=[^/]))*")
ZONE_NAME_BYTES_MAX = 64
ZONES_MAX = 4096  # that are remembered; there are some 600, the others are names of none
ZONES: dict[str, Optional[ZoneInfo]] = {}
SYSTEM_ZONES = re.compile(r"localtime|posixrules|(?:posix|right)/.*")


def parse_day(cell: bytes, business_zone: Optional[ZoneInfo]) -> Optional[int]:
    """Days since 1970-01-01: as written without a zone, else in the business zone (None: UTC). None: no date."""
    found = TIMESTAMP.fullmatch(cell.strip(BLANKS))
    if not found:
        return None
    day = civil_day(int(found[1]), int(found[2]), int(found[3] or 1))
    if day is None or found[4] is None:
        return day
    hour, minute, second = int(found[4]), int(found[5] or 0), int(found[6] or 0)
    if hour > 23 or minute > 59 or second > 59:
        return None
    zone = found[7].strip(BLANKS)
    if not zone:
        return day
    local = day * SECONDS_PER_DAY + hour * 3600 + minute * 60 + second
    offset = offset_of(zone, local)
    if offset is None:
        return None
    utc = local - offset
    day = (utc + offset_at_utc(business_zone, utc)) // SECONDS_PER_DAY
    return day if DAY_MIN <= day <= DAY_MAX else None


def civil_day(year: int, month: int, day: int) -> Optional[int]:
    """The day of a real date; None for any other."""
    try:
        return (date(year, month, day) - EPOCH).days
    except ValueError:
        return None


def day_text(day: int) -> str:
    """YYYY-MM-DD."""
    return (EPOCH + timedelta(days=day)).isoformat()


def offset_of(zone: bytes, local: int) -> Optional[int]:
    """Seconds east of UTC of a zone text at a local time; None: there is no such zone."""
    if zone in (b"Z", b"UTC"):
        return 0
    found = OFFSET.fullmatch(zone)
    if found:
        hours, minutes, seconds = int(found[2] or found[4]), int(found[3] or found[5] or 0), int(found[6] or 0)
        offset = hours * 3600 + minutes * 60 + seconds
        if minutes > 59 or seconds > 59 or offset > OFFSET_MAX_SECONDS:
            return None
        return -offset if found[1] == b"-" else offset
    if len(zone) > ZONE_NAME_BYTES_MAX or not ZONE_NAME.fullmatch(zone):
        return None
    named = load_zone(zone.decode("ascii"))
    # fold=0: of a time that happens twice the earlier instant, of a skipped one the offset before the gap.
    return None if named is None else seconds_of(time_of(local).replace(tzinfo=named).utcoffset())


def load_zone(name: str) -> Optional[ZoneInfo]:
    """An IANA zone; None: there is none of that name. (A functools cache could not be sent to executors.)"""
    if name in ZONES:
        return ZONES[name]
    try:
        zone = None if SYSTEM_ZONES.fullmatch(name) else ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        zone = None
    if zone or len(ZONES) < ZONES_MAX:  # so many wrong names do not crowd out the real ones
        ZONES[name] = zone
    return zone


def offset_at_utc(zone: Optional[ZoneInfo], utc: int) -> int:
    """Seconds east of UTC of a zone (None: UTC) at an instant."""
    if zone is None:
        return 0
    return seconds_of(zone.fromutc(time_of(utc).replace(tzinfo=zone)).utcoffset())


def time_of(seconds: int) -> datetime:
    """Seconds since 1970 as a datetime, moved by 400 years where a day more or less would leave its range."""
    days = seconds // SECONDS_PER_DAY
    if days <= DAY_MIN + 1:
        seconds += ZONE_CYCLE_DAYS * SECONDS_PER_DAY
    elif days >= DAY_MAX - 1:
        seconds -= ZONE_CYCLE_DAYS * SECONDS_PER_DAY
    return EPOCH_TIME + timedelta(seconds=seconds)


def seconds_of(offset: Optional[timedelta]) -> int:
    return 0 if offset is None else int(offset.total_seconds())


# ---- data sets ----


class Dataset(NamedTuple):
    """A data set: its public name, its columns, and which of these a file may lack."""

    name: str
    columns: tuple[str, ...]
    optional: tuple[str, ...] = ()


ORDERS = Dataset("orders", ("order_id", "user_id", "created_at", "status"), ("status",))
ITEMS = Dataset("order_items", ("id", "order_id", "product_id", "status", "created_at", "sale_price"))
PRODUCTS = Dataset("products", ("id", "category"))
DATASETS = (ORDERS, ITEMS, PRODUCTS)


# ---- findings ----

EXAMPLES_MAX = 5
VALUE_BYTES_MAX = 63


def as_text(value: bytes, size: int = VALUE_BYTES_MAX) -> str:
    """A value as it is kept and shown: cut, and each byte as the character of its number, as it may be no UTF-8."""
    return value[:size].split(b"\0", 1)[0].decode("latin-1")


def no_finding() -> dict[str, Any]:
    """What a check has found: how often, and [object, line, value] of the first places in the input."""
    return {"count": 0, "examples": []}


def add_finding(f: dict[str, Any], obj: int, line: int, value: str) -> None:
    f["count"] += 1
    examples = f["examples"]
    if len(examples) < EXAMPLES_MAX or (obj, line) < (examples[-1][0], examples[-1][1]):
        keep_examples(f, [[obj, line, value]], False)


def keep_examples(f: dict[str, Any], more: list[list[Any]], is_distinct: bool) -> None:
    """Keeps the first, or of different values the first each."""
    kept: list[list[Any]] = []
    for example in sorted(f["examples"] + more, key=lambda e: (e[0], e[1])):
        if len(kept) < EXAMPLES_MAX and not (is_distinct and any(k[2] == example[2] for k in kept)):
            kept.append(example)
    f["examples"] = kept


def add_distinct_finding(f: dict[str, Any], obj: int, line: int, value: str) -> None:
    f["count"] += 1
    examples = f["examples"]
    if len(examples) < EXAMPLES_MAX or (obj, line) < (examples[-1][0], examples[-1][1]):
        keep_examples(f, [[obj, line, value]], True)


# ---- CSV: RFC 4180, also \" and \\ inside quotes ----

LINE_BYTES_MAX = 1024 * 1024
FIELD_BYTES_MAX = 64 * 1024
COLUMNS_MAX = 256
PENDING_BYTES_MAX = LINE_BYTES_MAX + 256 * 1024  # of a row whose end is looked for
BOM = b"\xef\xbb\xbf"

FIELD_TOO_LONG = "a cell is longer than 64 KiB (is a quote missing?)"
LINE_TOO_LONG = "a row is longer than 1 MiB (is a quote missing?)"
TOO_MANY_COLUMNS = "a row has more than 256 columns"
OPEN_QUOTE = "a quoted cell is never closed"
STRAY_QUOTE = "a quoted cell goes on into the next line, and text follows its closing quote (is a quote missing?)"

DELIMITER = re.compile(rb"[,\r\n]")
QUOTE_OR_BACKSLASH = re.compile(rb'["\\]')
ESCAPED = re.compile(rb'["\\]"|\\\\')
BLANK_LINE = re.compile(rb"[\x00-\x09\x0b\x0c\x0e-\x20]*(?:\r\n|\r|\n|\Z)")
IS_BLANK = bytes(range(0x21))  # all that a blank line may hold


REFUSED_BYTES_MAX = 127


class Refusal(Exception):
    """Input that cannot be used: a public error code, and the place and value at fault."""

    def __init__(self, code: str, message: str, obj: str = "", line: int = 0, column: str = "", value: bytes = b""):
        super().__init__(message)
        self.code, self.message, self.object, self.line, self.column = code, message, obj, line, column
        self.value = as_text(value, REFUSED_BYTES_MAX)


class OpenQuote(Exception):
    """A quoted cell is not closed where the text ends."""


class Malformed(Exception):
    """A row that no reader can take; says why."""


def find_close(text: bytes, at: int) -> tuple[int, bool]:
    """Returns (where the closing quote is, whether something is escaped before it). Raises OpenQuote."""
    escaped = False
    while True:
        found = QUOTE_OR_BACKSLASH.search(text, at)
        if not found:
            raise OpenQuote
        at = found.start()
        following = text[at + 1 : at + 2]
        if text[at] == 0x22 and following != b'"':
            return at, escaped
        is_pair = following == b'"' or (text[at] == 0x5C and following == b"\\")
        escaped |= is_pair
        at += 2 if is_pair else 1


def take_cell(text: bytes, at: int) -> tuple[bytes, int, int]:
    """Returns (cell, where its delimiter or the end is, its length as written). Raises OpenQuote, Malformed."""
    if text[at : at + 1] != b'"':
        found = DELIMITER.search(text, at)
        end = found.start() if found else len(text)
        return text[at:end], end, end - at
    close, escaped = find_close(text, at + 1)
    behind = close + 1
    while text[behind : behind + 1] in (b" ", b"\t"):
        behind += 1
    if behind == len(text) or text[behind] in b",\r\n":
        inner = text[at + 1 : close]
        return (ESCAPED.sub(lambda pair: pair[0][1:], inner) if escaped else inner), behind, len(inner)
    # Text behind the closing quote: the cell is taken as written, quotes included.
    if b"\n" in text[at:close] or b"\r" in text[at:close]:
        raise Malformed(STRAY_QUOTE)
    found = DELIMITER.search(text, behind)
    end = found.start() if found else len(text)
    return text[at:end], end, end - at


def take_row(text: bytes, start: int = 0) -> tuple[list[bytes], int]:
    """Returns (cells, where the row's line end or the end of the text is). Raises OpenQuote, Malformed."""
    cells: list[bytes] = []
    at = start
    while True:
        cell, end, length = take_cell(text, at)
        if length > FIELD_BYTES_MAX:
            raise Malformed(FIELD_TOO_LONG)
        if len(cells) == COLUMNS_MAX:
            raise Malformed(TOO_MANY_COLUMNS)
        cells.append(cell)
        if end == len(text) or text[end] != 0x2C:
            break
        at = end + 1
    if end - start > LINE_BYTES_MAX:
        raise Malformed(LINE_TOO_LONG)
    return cells, end


class MalformedAt(Exception):
    """A Malformed row, and the line where it begins."""

    def __init__(self, line: int, what: str):
        super().__init__(what)
        self.line, self.what = line, what


def count_line_ends(text: bytes) -> int:
    return text.count(b"\n") + text.count(b"\r") - text.count(b"\r\n")


def rows_of_text(pieces: Iterable[bytes], line: int = 1) -> Iterator[tuple[int, bytes, list[bytes]]]:
    """Yields (physical line where it starts, bytes without line end, cells) of each row that is not blank.

    `pieces` are what stands between the LFs of a text, in order, `line` is that of the first: so a text of any size passes.
    Raises MalformedAt.
    """
    pending = b""  # from the start of a row on, of which the end has not come yet
    for piece in pieces:
        if not pending and b'"' not in piece:
            raw = piece[:-1] if piece.endswith(b"\r") else piece
            if b"\r" not in raw and len(raw) <= FIELD_BYTES_MAX:
                if raw.strip(IS_BLANK):
                    cells = raw.split(b",")
                    if len(cells) > COLUMNS_MAX:
                        raise MalformedAt(line, TOO_MANY_COLUMNS)
                    yield line, raw, cells
                line += 1
                continue
        is_inside = bool(pending) and b'"' not in piece
        pending += piece + b"\n"
        at = 0
        while at < len(pending) and not is_inside:
            blank = BLANK_LINE.match(pending, at)
            if blank:
                line += 1
                at = blank.end()
                continue
            try:
                cells, end = take_row(pending, at)
            except Malformed as why:
                raise MalformedAt(line, str(why)) from None
            except OpenQuote:
                break
            raw = pending[at:end]
            yield line, raw, cells
            at = end + (2 if pending[end : end + 2] == b"\r\n" else 1)
            line += count_line_ends(raw) + 1
        pending = pending[at:]
        if len(pending) > PENDING_BYTES_MAX:
            raise MalformedAt(line, OPEN_QUOTE)
    if pending:
        raise MalformedAt(line, OPEN_QUOTE)


def is_whole_rows(piece: bytes) -> bool:
    """True when a line of a file, read from the start of a row, ends where a row does: then the next begins one."""
    try:
        for _ in rows_of_text([piece]):
            pass
    except MalformedAt as why:
        return why.what != OPEN_QUOTE
    return True


# ---- headers ----


class FilePart(NamedTuple):
    """Rows of a file that stand together."""

    line: int  # of the first
    header: Optional[bytes]  # the file's first line that is not blank; None: it is in this part


WHOLE_FILE = FilePart(1, None)


class Header(NamedTuple):
    """How a file's cells are bound to the columns of its data set, by name."""

    raw: bytes  # the line, without line end and BOM
    cells: int  # how many it has
    positions: tuple[int, ...]  # of each column of the data set: which cell; -1: the file has none


def refuse_other_kinds(head: bytes, obj: str) -> None:
    """Refuses a file that is no comma-separated UTF-8 text at all, by its first line, with words that name it."""
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise at_line("csv_encoding", obj, 1, "the file is UTF-16, not UTF-8")
    if head.startswith(b"\x1f\x8b"):
        raise at_line("csv_encoding", obj, 1, "the file is gzip data; name it .csv.gz")
    first = head[:FIELD_BYTES_MAX].strip(BLANKS)
    if b"\0" in first:
        raise at_line("csv_encoding", obj, 1, "the first line holds NUL bytes: not UTF-8 text")
    if first.startswith(b"<"):
        raise at_line("csv_malformed", obj, 1, "the file is HTML or XML, not CSV")


def bind(raw: bytes, cells: list[bytes], dataset: Dataset, obj: str, line: int) -> Header:
    """Binds the columns of a data set to the cells of a header line. Raises Refusal."""
    names = [cell.strip(BLANKS).lower().decode("utf-8", "replace") for cell in cells]
    seen: set[str] = set()
    for name in names:
        if name in dataset.columns and name in seen:
            raise at_line("csv_header_missing", obj, line, f'the header names the column "{name}" twice', name)
        seen.add(name)
    for name in dataset.columns:
        if name not in seen and name not in dataset.optional:
            what = f'the header has no column "{name}"{other_delimiter(raw, cells)}'
            raise at_line("csv_header_missing", obj, line, what, name)
    positions = tuple(names.index(name) if name in seen else -1 for name in dataset.columns)
    return Header(raw, len(cells), positions)


def other_delimiter(raw: bytes, cells: list[bytes]) -> str:
    for character, name in ((b";", "semicolons"), (b"\t", "tabs")):
        if len(cells) == 1 and character in raw:
            return f" (the columns look separated by {name}; commas are needed)"
    return ""


def new_report() -> dict[str, Any]:
    """What is told of the rows of a data set, apart from their meaning."""
    return {"rows": 0, "has_column": [], "ragged": no_finding(), "undecodable": no_finding(), "repeated_header": no_finding()}


def rows_of_file(
    pieces: Iterable[bytes], dataset: Dataset, obj: str, index: int, report: dict[str, Any], part: FilePart = WHOLE_FILE
) -> Iterator[tuple[int, list[Optional[bytes]]]]:
    """Yields (line, cells by column of the data set; None: the file has no such column) of each row of data of a file, or of
    a part of it that begins and ends with rows. Raises Refusal."""
    header = None
    try:
        if part.header is not None:
            header = bind_elsewhere(part.header, dataset)
            if header is None:
                return
        for line, raw, cells in rows_of_text(pieces, part.line):
            if header is None:
                header = bind(raw, cells, dataset, obj, line)
                note_columns(report, header)
                continue
            if raw == header.raw:
                add_finding(report["repeated_header"], index, line, as_text(raw))
                continue
            report["rows"] += 1
            count = len(cells)
            if count != header.cells:
                add_finding(report["ragged"], index, line, as_text(raw))
            if not raw.isascii() and not is_utf8(raw):
                add_finding(report["undecodable"], index, line, as_text(raw))
            yield line, [None if p < 0 else cells[p] if p < count else b"" for p in header.positions]
    except MalformedAt as why:
        raise malformed(obj, why.line, why.what) from None


def bind_elsewhere(first_line: bytes, dataset: Dataset) -> Optional[Header]:
    """The header of a file by its line in another part, which refuses it if it must: then None."""
    try:
        _, raw, cells = next(rows_of_text([first_line]))
        return bind(raw, cells, dataset, "", 0)
    except (Refusal, MalformedAt):
        return None


def note_columns(report: dict[str, Any], header: Header) -> None:
    has = [p >= 0 for p in header.positions]
    report["has_column"] = [a or b for a, b in zip(report["has_column"] or has, has)]


def is_utf8(text: bytes) -> bool:
    try:
        text.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def start_of_file(pieces: Iterable[bytes], obj: str) -> Iterator[bytes]:
    """The pieces of a file (see rows_of_text) from its very start, without a BOM. Raises Refusal for what is no CSV at all."""
    for number, piece in enumerate(pieces):
        if number == 0:
            refuse_other_kinds(piece, obj)
            piece = piece[len(BOM) :] if piece.startswith(BOM) else piece
        yield piece


def at_line(code: str, obj: str, line: int, what: str, column: str = "") -> Refusal:
    return Refusal(code, f"{obj}:{line}: {what}", obj, line, column)


def malformed(obj: str, line: int, what: str) -> Refusal:
    return at_line("csv_malformed", obj, line, what)


# ---- tallies: what quality checks note (pipeline/quality.h) ----

ORDERS_DATE, ITEMS_DATE = "orders_created_at_parses", "order_items_created_at_parses"
DISTINCT_CHECKS = ("orders_status_domain", "order_items_status_domain", "order_items_status_near_miss")
KNOWN_STATUSES = frozenset(
    b"complete completed pending processing shipped delivered cancelled canceled returned refunded".split()
)
STATUS_UNKNOWN, STATUS_NEAR_MISS = 1, 2


def new_tally() -> dict[str, Any]:
    """Notes of a day, or of the inputs as a whole. Plain data, as executors send it to each other: numbers are added,
    `found` is a finding by check, `columns` [nulls, least, greatest] by "data set.column", money is units of 10^-18."""
    return {
        "found": {},
        "relevant": {d.name: 0 for d in DATASETS},
        "bad_rows": {d.name: 0 for d in DATASETS},
        "columns": {},
        "item_revenue": 0,
        "dropped_revenue": 0,
        "orphan_revenue": 0,
    }


def note(tally: dict[str, Any], check: str, obj: int, line: int, value: str = "") -> None:
    finding = tally["found"].get(check)
    if finding is None:
        finding = tally["found"][check] = no_finding()
    (add_distinct_finding if check in DISTINCT_CHECKS else add_finding)(finding, obj, line, value)


def column_of(tally: dict[str, Any], column: str) -> list[Any]:
    found = tally["columns"].get(column)
    if found is None:
        found = tally["columns"][column] = [0, None, None]
    return found


def widen(tally: dict[str, Any], column: str, value: Any) -> None:
    stats = column_of(tally, column)
    if stats[1] is None or value < stats[1]:
        stats[1] = value
    if stats[2] is None or value > stats[2]:
        stats[2] = value


def merge_findings(to: dict[str, Any], check: str, finding: dict[str, Any]) -> None:
    """Adds a finding to those by check."""
    own = to.setdefault(check, no_finding())
    own["count"] += finding["count"]
    keep_examples(own, finding["examples"], check in DISTINCT_CHECKS)


def merge_tally(to: dict[str, Any], other: dict[str, Any]) -> None:
    for check, finding in other["found"].items():
        merge_findings(to["found"], check, finding)
    for counts in ("relevant", "bad_rows"):
        for name, count in other[counts].items():
            to[counts][name] += count
    for column, (nulls, least, greatest) in other["columns"].items():
        column_of(to, column)[0] += nulls
        if least is not None:
            widen(to, column, least)
            widen(to, column, greatest)
    for sum_of in ("item_revenue", "dropped_revenue", "orphan_revenue"):
        to[sum_of] += other[sum_of]


def judge_status(status: bytes, is_exact: bool) -> int:
    """STATUS_* bits of what is worth a warning; 0 for a word that shops use."""
    word = status.strip(BLANKS).lower()
    bits = 0 if word in KNOWN_STATUSES else STATUS_UNKNOWN
    is_near = is_exact and status != b"returned" if word == b"returned" else word[:5] == b"retur" or word == b"refunded"
    return bits | STATUS_NEAR_MISS if is_near else bits


def is_returned(status: bytes, is_exact: bool) -> bool:
    return status == b"returned" if is_exact else status.strip(BLANKS).lower() == b"returned"


def note_id(
    tally: dict[str, Any], column: str, check: str, place: tuple[int, int], text: Optional[str], number: Optional[str]
) -> None:
    """Counts a null, or widens the range by an id that is plain: no other is its own number without an "e"."""
    if text is None:
        column_of(tally, column)[0] += 1
        note(tally, check, *place)
    elif text == number and "e" not in number:
        widen(tally, column, int(number))


def note_status(tally: dict[str, Any], dataset: str, place: tuple[int, int], status: str, bits: int) -> None:
    if not status:
        column_of(tally, dataset + ".status")[0] += 1
        return
    widen(tally, dataset + ".status", status)
    if bits & STATUS_UNKNOWN:
        note(tally, dataset + "_status_domain", *place, status)
    if bits & STATUS_NEAR_MISS and dataset == ITEMS.name:
        note(tally, "order_items_status_near_miss", *place, status)


# ---- from cells to rows ----

CATEGORY_BYTES_MAX = 2048
CATEGORY_FINE, CATEGORY_NULL, CATEGORY_TOO_LONG = range(3)
ID_COLUMNS = (
    "orders.order_id",
    "orders.user_id",
    "order_items.id",
    "order_items.order_id",
    "order_items.product_id",
    "products.id",
)

# The columns of the rows that are joined, in the order of the tuples that the functions below make. An id is its text and
# its number (parse_id); `object` is its position among those of the data set; `report` is set in the last row of a
# partition only, which has nothing else: what there is to say of the partition, as JSON.
PLACE = "report string, object int, line bigint, "
SCHEMAS = {
    ORDERS.name: PLACE + "day int, is_wanted boolean, id string, id_n string, customer string, customer_n string, "
    "is_returned boolean, status string, status_bits int",
    ITEMS.name: PLACE + "day int, is_wanted boolean, id string, id_n string, ord string, ord_n string, prod string, "
    "prod_n string, is_returned boolean, status string, status_bits int, price_is int, units string, price string, dated string",
    PRODUCTS.name: PLACE + "id string, id_n string, category string, category_is int",
}


class Rules(NamedTuple):
    """What a run asks for."""

    zone: Optional[ZoneInfo]  # None: UTC
    days: Optional[frozenset[int]]  # None: all
    skips_bad_rows: bool
    is_status_exact: bool
    unknown_category: Optional[str]


def bad_value(obj: str, line: int, column: str, value: bytes, what: str) -> Refusal:
    """orders/a.csv:4: created_at: "x" is not a date"""
    seen = value[:REFUSED_BYTES_MAX].split(b"\0", 1)[0].decode("utf-8", "replace")
    name = f'"{seen}"' if value else "the cell"
    return Refusal("value_unparsable", f"{obj}:{line}: {column}: {name} {what}", obj, line, column, value)


def read_day(
    cell: bytes, dataset: Dataset, place: tuple[int, int], obj: str, rules: Rules, report: dict[str, Any]
) -> Optional[int]:
    """The day of a row; None: the row is left out. Raises Refusal where that is not allowed."""
    day = parse_day(cell, rules.zone)
    if day is None and not rules.skips_bad_rows:
        what = "is not a date" if cell else "is empty, a date is needed"
        raise bad_value(obj, place[1], "created_at", cell, what)
    if day is None:
        note(report["tally"], ORDERS_DATE if dataset is ORDERS else ITEMS_DATE, *place, as_text(cell))
        report["tally"]["bad_rows"][dataset.name] += 1
    return day


def read_id(cell: bytes, column: str, report: dict[str, Any]) -> tuple[Optional[str], Optional[str]]:
    """As parse_id; notes a column that holds a text."""
    text, number = parse_id(cell)
    if number is None and text is not None:
        report["text_ids"][column] = True
    return text, number


Cells = Iterator[tuple[int, list[Any]]]  # (line, cells by column) of rows_of_file


def order_rows(rows: Cells, index: int, obj: str, rules: Rules, report: dict[str, Any]) -> Iterator[tuple[Any, ...]]:
    for line, (order_id, user_id, created_at, status) in rows:
        day = read_day(created_at, ORDERS, (index, line), obj, rules, report)
        if day is None:
            continue
        order = read_id(order_id, "orders.order_id", report)
        user = read_id(user_id, "orders.user_id", report)
        known = status or b""
        yield (
            None, index, line, day, rules.days is None or day in rules.days, *order, *user,
            is_returned(known, rules.is_status_exact), None if status is None else as_text(status),
            judge_status(known, rules.is_status_exact),
        )  # fmt: skip


def item_rows(rows: Cells, index: int, obj: str, rules: Rules, report: dict[str, Any]) -> Iterator[tuple[Any, ...]]:
    for line, (item_id, order_id, product_id, status, created_at, sale_price) in rows:
        day = read_day(created_at, ITEMS, (index, line), obj, rules, report)
        if day is None:
            continue
        item = read_id(item_id, "order_items.id", report)
        order = read_id(order_id, "order_items.order_id", report)
        product = read_id(product_id, "order_items.product_id", report)
        price_is, units = parse_price(sale_price)
        yield (
            None, index, line, day, rules.days is None or day in rules.days, *item, *order, *product,
            is_returned(status, rules.is_status_exact), as_text(status), judge_status(status, rules.is_status_exact),
            price_is, str(units), as_text(sale_price, REFUSED_BYTES_MAX), as_text(created_at),
        )  # fmt: skip


def product_rows(rows: Cells, index: int, obj: str, rules: Rules, report: dict[str, Any]) -> Iterator[tuple[Any, ...]]:
    tally = report["tally"]
    for line, (product_id, category) in rows:
        product = read_id(product_id, "products.id", report)
        tally["relevant"][PRODUCTS.name] += 1
        note_id(tally, "products.id", "products_id_not_null", (index, line), *product)
        if category:
            widen(tally, "products.category", as_text(category))
        else:
            column_of(tally, "products.category")[0] += 1
            note(tally, "products_category_not_null", index, line)
        if product[0] is None:
            continue
        name = category.decode("utf-8", "replace") or rules.unknown_category or ""
        size = len(name.encode("utf-8"))
        category_is = CATEGORY_NULL if not size else CATEGORY_TOO_LONG if size > CATEGORY_BYTES_MAX else CATEGORY_FINE
        yield None, index, line, *product, name if category_is == CATEGORY_FINE else None, category_is


ROWS_OF = {ORDERS.name: order_rows, ITEMS.name: item_rows, PRODUCTS.name: product_rows}


class Input(NamedTuple):
    """What is needed to read rows of a data set; sent to executors, so it holds plain data."""

    dataset: str
    names: list[str]  # of its objects
    sizes: list[int]
    files: dict[int, int]  # hash of a file's path -> its position among the objects
    parts: dict[
        tuple[int, int], tuple[int, Optional[bytes], bool]
    ]  # (file, where a block of it starts) -> its FilePart, is last


def rows_of_partition(
    lines: Iterable[tuple[bytes, int, int]], what: Any, rules: Rules, counters: Any
) -> Iterator[tuple[Any, ...]]:
    """From (what stands between two LFs, hash of the file's path, where its block starts), in order, to rows of SCHEMAS."""
    source = Input(*what.value)
    dataset = next(d for d in DATASETS if d.name == source.dataset)
    report = {**new_report(), "tally": new_tally(), "text_ids": {}, "refusal": None}
    for (file, start), group in groupby(lines, key=lambda l: (l[1], l[2])):
        index = source.files[file]
        obj = source.names[index]
        line, header, is_last = source.parts.get((index, start), (1, None, True))
        pieces: Iterator[bytes] = (bytes(piece) for piece, _, _ in group)
        rows_before = report["rows"]
        try:
            if start == 0:
                pieces = start_of_file(pieces, obj)
            rows = rows_of_file(pieces, dataset, obj, index, report, FilePart(line, header))
            yield from ROWS_OF[dataset.name](rows, index, obj, rules, report)
        except Refusal as why:
            keep_refusal(report, why, index)
        counters[0].add(report["rows"] - rows_before)
        counters[1].add(source.sizes[index] if is_last else 0)
        counters[2].add(1 if is_last else 0)
    yield (json.dumps(report), *[None] * SCHEMAS[dataset.name].count(","))


def keep_refusal(report: dict[str, Any], why: Refusal, index: int) -> None:
    """Keeps the one that stands first in the input."""
    first = report["refusal"]
    if first is None or (index, why.line) < (first[0], first[1]["line"]):
        report["refusal"] = [index, error_of(why)]


def error_of(why: Refusal) -> dict[str, Any]:
    return {
        "code": why.code,
        "message": why.message,
        "object": why.object,
        "line": why.line,
        "column": why.column,
        "value": why.value,
    }


def merge_reports(reports: Iterable[str]) -> dict[str, Any]:
    whole = {**new_report(), "tally": new_tally(), "text_ids": {}, "refusal": None}
    for report in map(json.loads, reports):
        whole["rows"] += report["rows"]
        for check in ("ragged", "undecodable", "repeated_header"):
            merge_findings(whole, check, report[check])
        whole["has_column"] = [a or b for a, b in zip_longest(whole["has_column"], report["has_column"], fillvalue=False)]
        whole["text_ids"].update(report["text_ids"])
        merge_tally(whole["tally"], report["tally"])
        if report["refusal"] and (not whole["refusal"] or place_of(report) < place_of(whole)):
            whole["refusal"] = report["refusal"]
    return whole


def place_of(report: dict[str, Any]) -> tuple[int, int]:
    return report["refusal"][0], report["refusal"][1]["line"]


# ---- what joined rows add to ----

PRICE_REFUSED = (PRICE_NOT_FINITE, PRICE_TOO_LARGE)


class Order(NamedTuple):
    """Columns of the view `orders`."""

    object: int
    line: int
    day: int
    id: Optional[str]
    id_n: Optional[str]
    customer: Optional[str]
    customer_n: Optional[str]
    status: Optional[str]
    status_bits: int
    key: Optional[str]


class Item(NamedTuple):
    """Columns of the view `joined`."""

    object: int
    line: int
    day: int
    is_wanted: bool
    id: Optional[str]
    id_n: Optional[str]
    ord: Optional[str]
    ord_n: Optional[str]
    prod: Optional[str]
    prod_n: Optional[str]
    is_returned: bool
    status: str
    status_bits: int
    price_is: int
    units: str
    price: str
    dated: str
    order_days: Optional[list[str]]  # "day:times", of its order's rows on days that are asked for
    has_order: bool
    sold_times: Optional[int]  # product rows with its product id
    categories: Optional[list[str]]  # "times:category"
    bad_product: Optional[str]  # "object:line:CATEGORY_*" of the first of them without a usable category


DATASET_ORDER = {d.name: number for number, d in enumerate(DATASETS)}


def note_day(days: dict[Any, Any], day: int) -> dict[str, Any]:
    """What is known of a day; the numbers are added up over all executors."""
    noted = days.get((day, None))
    if noted is None:
        noted = days[(day, None)] = {"tally": new_tally(), "has_rows": False, "refusal": None, "counts": {}}
    return noted


def count(noted: dict[str, Any], name: str, by: int = 1) -> None:
    noted["counts"][name] = noted["counts"].get(name, 0) + by


def refuse_day(noted: dict[str, Any], dataset: Dataset, index: int, why: Refusal) -> None:
    """Keeps why a day must fail, unless what stands before it in the input is kept."""
    refusal = [DATASET_ORDER[dataset.name], index, why.line, error_of(why)]
    if noted["refusal"] is None or refusal[:3] < noted["refusal"][:3]:
        noted["refusal"] = refusal


def orders_of_days(rows: Iterable[Any]) -> Iterator[tuple[Any, Any]]:
    """From orders of the days asked for to ((day, None), what they add to it)."""
    days: dict[Any, Any] = {}
    for r in map(Order._make, rows):
        noted, place = note_day(days, r.day), (r.object, r.line)
        tally = noted["tally"]
        noted["has_rows"] = True
        tally["relevant"][ORDERS.name] += 1
        note_id(tally, "orders.order_id", "orders_order_id_not_null", place, r.id, r.id_n)
        note_id(tally, "orders.user_id", "orders_user_id_not_null", place, r.customer, r.customer_n)
        widen(tally, "orders.created_at", r.day)
        if r.status is not None:
            note_status(tally, ORDERS.name, place, r.status, r.status_bits)
        count(noted, "order_rows")
        if r.id is not None:
            count(noted, "order_id_rows")
    return iter(days.items())


def items_of_days(rows: Iterable[Any], names: Any, skips_bad_rows: bool) -> Iterator[tuple[Any, Any]]:
    """From items, each with its order's days and its product's categories, to ((day, None), what they add to it) and to
    ((day, category), [revenue, item rows, returned item rows, 0, 0, 0])."""
    totals: dict[Any, Any] = {}
    for r in map(Item._make, rows):
        is_added = not r.is_wanted
        for text in r.order_days or ():
            day, times = map(int, text.split(":"))
            is_added |= day == r.day
            add_item(totals, r, day, times, names.value, skips_bad_rows)
        if not is_added:
            add_item(totals, r, r.day, 0, names.value, skips_bad_rows)
    return iter(totals.items())


def add_item(
    totals: dict[Any, Any], r: Item, day: int, order_times: int, names: dict[str, list[str]], skips_bad_rows: bool
) -> None:
    """Adds an item to a day: its own or that of its order, which has `order_times` rows on it."""
    noted = note_day(totals, day)
    is_sold = day == r.day and bool(r.sold_times)
    units = int(r.units)
    if (order_times or is_sold) and r.price_is in PRICE_REFUSED:
        refuse_price(noted, r, names, skips_bad_rows)
        return
    noted["has_rows"] |= bool(order_times) or is_sold
    note_item(noted["tally"], r, day, units)
    if order_times:
        count(noted, "revenue", units * order_times)
        count(noted, "item_rows", order_times)
        count(noted, "returned_item_rows", r.is_returned * order_times)
        count(noted, "item_id_rows", r.id is not None)
    if is_sold and r.bad_product:
        index, line, category_is = map(int, r.bad_product.split(":"))
        what = (
            "is empty, but the product was sold"
            if category_is == CATEGORY_NULL
            else "is longer than 2048 bytes, and the product was sold"
        )
        refuse_day(noted, PRODUCTS, index, bad_value(names[PRODUCTS.name][index], line, "category", b"", what))
    if is_sold:
        for text in r.categories:
            times_text, category = text.split(":", 1)
            times = int(times_text)
            group = totals.get((day, category))
            if group is None:
                group = totals[(day, category)] = [0, 0, 0, 0, 0, 0]
            group[0] += units * times
            group[1] += times
            group[2] += r.is_returned * times


def refuse_price(noted: dict[str, Any], r: Item, names: dict[str, list[str]], skips_bad_rows: bool) -> None:
    """A price that no sum can take: its row is left out, or its day fails."""
    value = r.price.encode("latin-1")
    if skips_bad_rows:
        note(noted["tally"], "sale_price_finite", r.object, r.line, as_text(value))
        noted["tally"]["relevant"][ITEMS.name] += 1
        noted["tally"]["bad_rows"][ITEMS.name] += 1
        return
    what = "is not a finite number" if r.price_is == PRICE_NOT_FINITE else "is out of range (10^126 or more)"
    refuse_day(noted, ITEMS, r.object, bad_value(names[ITEMS.name][r.object], r.line, "sale_price", value, what))


def note_item(tally: dict[str, Any], r: Item, day: int, units: int) -> None:
    place = (r.object, r.line)
    tally["relevant"][ITEMS.name] += 1
    note_id(tally, "order_items.id", "order_items_id_not_null", place, r.id, r.id_n)
    note_id(tally, "order_items.order_id", "order_items_order_id_not_null", place, r.ord, r.ord_n)
    note_id(tally, "order_items.product_id", "order_items_product_id_not_null", place, r.prod, r.prod_n)
    widen(tally, "order_items.created_at", r.day)
    note_status(tally, ITEMS.name, place, r.status, r.status_bits)
    note_price(tally, r, units)
    if r.day != day:
        note(tally, "item_day_differs", *place, r.dated)
        return
    tally["item_revenue"] += units * (r.sold_times or 1)
    if not r.sold_times:
        note(tally, "items_without_product", *place, as_text((r.prod or "").encode("utf-8")))
        tally["dropped_revenue"] += units
    if r.ord is not None and not r.has_order:
        note(tally, "items_without_order", *place, as_text(r.ord.encode("utf-8")))
        tally["orphan_revenue"] += units


def note_price(tally: dict[str, Any], r: Item, units: int) -> None:
    place, value = (r.object, r.line), r.price[:VALUE_BYTES_MAX]
    if r.price_is == PRICE_MISSING:
        column_of(tally, "order_items.sale_price")[0] += 1
        note(tally, "sale_price_present", *place)
    elif r.price_is in PRICE_REFUSED:  # of a row that does not count
        note(tally, "sale_price_finite", *place, value)
    elif r.price_is == PRICE_NOT_A_NUMBER:
        note(tally, "sale_price_parses", *place, value)
    else:
        if r.price_is == PRICE_ROUNDED:
            note(tally, "sale_price_precision", *place, value)
        if units < 0:
            note(tally, "sale_price_not_negative", *place, value)
        widen(tally, "order_items.sale_price", units)


def merge_totals(a: Any, b: Any) -> Any:
    """Adds what belongs to one key of orders_of_days, items_of_days and counts_of_days."""
    if isinstance(a, list):
        return [x + y for x, y in zip(a, b)]
    merge_tally(a["tally"], b["tally"])
    a["has_rows"] |= b["has_rows"]
    if b["refusal"] and (not a["refusal"] or b["refusal"][:3] < a["refusal"][:3]):
        a["refusal"] = b["refusal"]
    for name, number in b["counts"].items():
        a["counts"][name] = a["counts"].get(name, 0) + number
    return a


def counts_of_days(rows: Iterable[Any]) -> Iterator[tuple[Any, Any]]:
    """From rows of COUNTS to keys and what they add to each."""
    for what, day, category, counts in rows:
        days: dict[Any, Any] = {}
        if what in COUNTED:
            for name, number in zip(COUNTED[what], counts):
                count(note_day(days, day), name, number)
        else:
            yield (day, category), [0, 0, 0, *counts]
            if what == "first category":
                count(note_day(days, day), "categories", counts[2])
        yield from days.items()


# ---- lines of the results ----

CATEGORIES_A_DAY_MAX = 5000


def line_of(key_and_totals: tuple[Any, Any]) -> Optional[str]:
    """A line of the results; None: a category of a day that has too many, which its own line tells."""
    (day, category), totals = key_and_totals
    if category is None:
        return json.dumps(day_line(day, totals))
    revenue, rows, returned_rows, orders, returned_orders, categories = totals
    if categories > CATEGORIES_A_DAY_MAX:
        return None
    return json.dumps(
        {
            "day": day_text(day),
            "category": category,
            "revenue": money_text(revenue),
            "orders": orders,
            "item_rows": rows,
            "returned_item_rows": returned_rows,
            "returned_orders": returned_orders,
        }
    )


def day_line(day: int, noted: dict[str, Any]) -> dict[str, Any]:
    counts, tally = defaultdict(int, noted["counts"]), noted["tally"]
    for check, repeats in (
        ("orders_order_id_unique", counts["order_id_rows"] - counts["orders"]),
        ("order_items_id_unique", counts["item_id_rows"] - counts["distinct_items"]),
        ("orders_without_items", counts["unjoinable_orders"] + counts["order_pairs"] - counts["met_pairs"]),
    ):
        if repeats:
            tally["found"][check] = {**no_finding(), "count": repeats}
    totals = None
    if counts["order_rows"]:
        names = ("orders", "item_rows", "distinct_items", "customers", "returned_item_rows", "returned_orders")
        totals = {"revenue": money_text(counts["revenue"]), **{name: counts[name] for name in names}}
    return {
        "day": day_text(day),
        "category": None,
        "has_rows": noted["has_rows"],
        "refusal": noted["refusal"] and noted["refusal"][3],
        "categories": counts["categories"],
        "totals": totals,
        "tally": shown_tally(tally),
    }


SHOWN_AS: dict[str, Any] = {"created_at": day_text, "sale_price": money_text}


def shown_tally(tally: dict[str, Any]) -> dict[str, Any]:
    """A tally as it is written: money as text, days as dates."""
    shown = {**tally, "columns": {}}
    for sum_of in ("item_revenue", "dropped_revenue", "orphan_revenue"):
        shown[sum_of] = money_text(tally[sum_of])
    for column, (nulls, least, greatest) in tally["columns"].items():
        show = SHOWN_AS.get(column.split(".")[1])
        shown["columns"][column] = [nulls, *(show(v) if show and v is not None else v for v in (least, greatest))]
    return shown


# ---- files of the run ----


class Storage:
    """The file systems that Hadoop knows, by URI: those of the input and of the run's own files."""

    def __init__(self, spark: Any):
        self.jvm = spark.sparkContext._jvm
        self.conf = spark.sparkContext._jsc.hadoopConfiguration()
        self.path_class = self.jvm.org.apache.hadoop.fs.Path  # each dot is a question to Java
        self.looked = 0  # at so many objects of the input; of a hundred thousand that takes minutes

    def path(self, uri: str) -> tuple[Any, Any]:
        path = self.path_class(uri)
        return path, path.getFileSystem(self.conf)

    def read(self, uri: str) -> bytes:
        path, fs = self.path(uri)
        stream = fs.open(path)
        try:
            return bytes(self.jvm.org.apache.commons.io.IOUtils.toByteArray(stream))
        finally:
            stream.close()

    def write(self, uri: str, data: bytes) -> None:
        """Puts a file there as a whole, so that nobody reads a part of it: object stores show complete objects only."""
        path, fs = self.path(uri)
        if fs.getUri().getScheme() == "file":
            name = path.toUri().getPath()
            with open(name + ".tmp", "wb") as file:
                file.write(data)
            os.replace(name + ".tmp", name)
            return
        stream = fs.create(path, True)
        try:
            stream.write(bytearray(data))
        finally:
            stream.close()

    def is_gone(self, uri: str) -> bool:
        """Whether there is no such file for sure: a file system that does not answer raises."""
        path, fs = self.path(uri)
        return not fs.exists(path)

    def remove(self, folder: str, names: Iterable[str]) -> None:
        """Removes files and folders of a folder, and then that one where it is empty."""
        path, fs = self.path(folder)
        for name in names:
            fs.delete(self.path_class(path, name), True)
        if not fs.exists(path) or len(fs.listStatus(path)):
            return
        fs.delete(path, False)
        if fs.getUri().getScheme().startswith("s3"):  # its client has now made an empty object that stands for the folder above
            fs.delete(path.getParent(), False)

    def states(self, uris: list[str]) -> dict[str, tuple[int, int, Optional[str]]]:
        """(size, time of the last change in ms, ETag if it has one) of each of these files that is there."""
        folders: dict[str, Any] = {}
        names: dict[str, str] = {}
        for uri in uris:
            path, fs = self.path(uri)
            path = fs.makeQualified(path)
            self.looked += 1
            names[path.toString()] = uri
            folders[path.getParent().toString()] = (path.getParent(), fs)
        found = {}
        for folder, fs in folders.values():
            is_s3 = fs.getUri().getScheme().startswith("s3")
            for status in statuses_of(fs, folder):
                uri = names.get(status.getPath().toString(), "")
                self.looked += 1
                if uri:
                    found[uri] = (status.getLen(), status.getModificationTime(), etag_of(status) if is_s3 else None)
        return found


def statuses_of(fs: Any, folder: Any) -> Any:
    """What Java knows of the files in a folder; an object store has no folder whose last object is gone."""
    try:
        return fs.listStatus(folder)
    except Exception as why:
        if "FileNotFoundException" not in str(why):
            raise
        return []


def etag_of(status: Any) -> Optional[str]:
    """The ETag in what Java knows of a file; None where the file system has none to give."""
    try:
        return status.getEtag()
    except Exception:  # py4j: there is no such method
        return None


class Attempt:
    """Whose spec it is, from where it lies: .../RUN/ATTEMPT/spec.json; `text` None: it cannot be read."""

    def __init__(self, uri: str, text: Optional[bytes] = None):
        self.uri = uri
        self.sha256 = None if text is None else hashlib.sha256(text).hexdigest()
        self.folder = uri.rsplit("/", 1)[0]
        self.run_id, number = ["", *self.folder.split("/")][-2:]
        self.attempt = int(number) if number.isdecimal() else 0

    def of_attempt(self) -> dict[str, Any]:
        return {"run_id": self.run_id, "attempt": self.attempt, "spec_sha256": self.sha256}


class Spec(Attempt):
    """What the service asks for; README.md says what each field means."""

    FORMAT = 1

    def __init__(self, uri: str, text: bytes):
        super().__init__(uri, text)
        fields = json.loads(text)
        if fields["format"] != self.FORMAT:
            raise ValueError(f"the spec has format {fields['format']}, this job reads {self.FORMAT}")
        self.run_id, self.attempt = fields["run_id"], fields["attempt"]
        self.input_fingerprint: str = fields["input_fingerprint"]
        self.job_sha256: Optional[str] = fields.get("job_sha256")
        self.datasets: dict[str, list[dict[str, Any]]] = fields["datasets"]
        self.days: Any = fields["days"]
        self.rules = Rules(
            None if fields["timezone"] == "UTC" else ZoneInfo(fields["timezone"]),
            None if self.days == "all" else frozenset(day_number(text) for text in self.days),
            choice(fields["bad_rows"], "fail", "skip"),
            choice(fields["status_match"], "folded", "exact"),
            fields["unknown_category"],
        )
        self.progress_seconds: float = fields.get("progress_seconds", 5)
        self.part_bytes: int = fields.get("part_bytes", 64 * 1024 * 1024)

    def all_objects(self) -> list[dict[str, Any]]:
        return [o for d in DATASETS for o in self.datasets[d.name]]


def choice(word: str, off: str, on: str) -> bool:
    if word not in (off, on):
        raise ValueError(f'the spec says "{word}" where "{off}" or "{on}" is needed')
    return word == on


def day_number(text: str) -> int:
    return (date.fromisoformat(text) - EPOCH).days


def check_pinned(storage: Storage, spec: Spec) -> None:
    """Refuses input that is not what the service listed."""
    objects = spec.all_objects()
    states = storage.states([o["uri"] for o in objects])
    for o in objects:
        code = "source_unreadable" if o["uri"].startswith("file:") else "s3_object_changed"
        if o["uri"] not in states:
            raise Refusal(code, f"{o['name']}: it is gone since it was listed", o["name"])
        if not is_as_listed(o, *states[o["uri"]]):
            raise Refusal(code, f"{o['name']}: it has changed since it was listed", o["name"])


def is_as_listed(o: dict[str, Any], size: int, modified_ms: int, etag: Optional[str]) -> bool:
    """By the ETag where both sides know it, else by the time: of objects in seconds, as not all clients of S3 tell parts of them."""
    if size != o["size"]:
        return False
    if o.get("etag") is not None and etag is not None:
        return bare_etag(etag) == bare_etag(o["etag"])
    unit = 1 if o["uri"].startswith("file:") else 1000
    return not o.get("modified_ms") or not modified_ms or modified_ms // unit == o["modified_ms"] // unit


def bare_etag(etag: str) -> str:
    return etag.strip('"')


class Unlicensed(Exception):
    """The spec is gone: nobody wants the work any more."""


def write_last(storage: Storage, spec: Attempt, name: str, document: dict[str, Any]) -> None:
    """Writes the file that ends the attempt. Raises Unlicensed where the spec is gone, even if it goes meanwhile: whoever
    removed it may have looked for files to remove before this one was there."""
    check_license(storage, spec)
    storage.write(f"{spec.folder}/{name}", json.dumps(document).encode())
    check_license(storage, spec)


def check_license(storage: Storage, spec: Attempt) -> None:
    try:
        is_gone = storage.is_gone(spec.uri)
    except Exception as why:  # not to know is no reason to end
        print(f"kpi_job: the spec cannot be looked for: {why}", file=sys.stderr)
        return
    if is_gone:
        raise Unlicensed


class Progress:
    """Tells from time to time how far the job is, in progress.json. Of tasks that are run again, all attempts count.

    Ends the work when the spec is gone: what Spark does fails then, and so does leaving the context, by Unlicensed.
    """

    END_SECONDS = 20  # for the work to end by itself

    def __init__(self, spark: Any, storage: Storage, spec: Spec):
        self.context, self.storage, self.spec = spark.sparkContext, storage, spec
        self.counters = {d.name: [self.context.accumulator(0) for _ in range(3)] for d in DATASETS}  # rows, bytes, files
        self.phase, self.said, self.beats, self.looked = "scanning", "", 0, 0
        self.is_over, self.is_unlicensed = threading.Event(), False
        self.thread = threading.Thread(target=self.tell_at_times, daemon=True)

    def __enter__(self) -> Progress:
        self.tell()
        self.thread.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self.is_over.set()
        self.thread.join()
        if self.is_unlicensed:
            raise Unlicensed

    def tell_at_times(self) -> None:
        is_over = False
        while not is_over:
            is_over = self.is_over.wait(self.spec.progress_seconds)
            try:
                check_license(self.storage, self.spec)
                self.tell()
            except Unlicensed:
                self.is_unlicensed = True
                self.end_work()
                return
            except Exception as why:  # the next one may succeed, and the job does not depend on it
                print(f"kpi_job: progress cannot be written: {why}", file=sys.stderr)

    def end_work(self) -> None:
        """Lets everything fail that Spark is doing or begins."""
        deadline = time.monotonic() + self.END_SECONDS
        while not self.is_over.wait(0.1):
            if time.monotonic() > deadline:
                os._exit(EXIT_UNLICENSED)
            self.context.cancelAllJobs()

    def tell(self) -> None:
        objects = self.spec.all_objects()
        stages = [self.context.statusTracker().getStageInfo(s) for s in self.context.statusTracker().getActiveStageIds()]
        is_at_work = any(s and s.numActiveTasks for s in stages)  # a task may take long, and counts at its end only
        has_more_tasks = any(s and s.numCompletedTasks < s.numTasks for s in stages)
        is_waiting = has_more_tasks and not is_at_work  # no executor has room for one: there are none
        self.beats += is_at_work or is_waiting or self.storage.looked != self.looked
        self.looked = self.storage.looked
        text = json.dumps(
            {
                **self.spec.of_attempt(),
                "phase": self.phase,
                "application_id": self.context.applicationId,
                "rows": {name: c[0].value for name, c in self.counters.items()},
                "bytes_read": sum(c[1].value for c in self.counters.values()),
                "bytes_total": sum(o["size"] for o in objects),
                "files_done": sum(c[2].value for c in self.counters.values()) + sum(o["size"] == 0 for o in objects),
                "files_total": len(objects),
                "tasks": [[s.stageId, s.numCompletedTasks, s.numTasks] for s in stages if s],
                "waiting": is_waiting,
                "beats": self.beats,
            }
        )
        if text != self.said:
            self.storage.write(self.spec.folder + "/progress.json", text.encode())
            self.said = text


# ---- reading, by Spark ----


def read_lines(spark: Any, uris: list[str], part_bytes: int, is_packed: bool) -> Any:
    """The lines of files as a DataFrame `value, file, start`: larger ones than part_bytes cut at LFs into blocks, one a
    task, or (is_packed) several small ones a task. Plan it (by .rdd or an action) before the next call: Spark reads these
    settings then."""
    spark.conf.set("spark.sql.files.maxPartitionBytes", part_bytes)
    spark.conf.set("spark.sql.files.openCostInBytes", min(part_bytes, 1024 * 1024) if is_packed else part_bytes)
    spark.conf.set("spark.sql.files.minPartitionNum", 1)
    reader = spark.read.option("lineSep", "\n").option("recursiveFileLookup", "true").option("__globPaths__", "false")
    return reader.text(uris).selectExpr("value", "xxhash64(_metadata.file_path) file", "_metadata.file_block_start start")


def hash_paths(spark: Any, storage: Storage, uris: list[str]) -> dict[int, str]:
    """The hashes by which read_lines tells files, and the URI of each."""
    spellings = []
    for uri in uris:
        path, fs = storage.path(uri)
        storage.looked += 1
        text = storage.path(fs.makeQualified(path).toString())[0].toUri().toString()
        forms = (
            {text}
            if not text.startswith("file:")
            else {"file:" + path.toUri().getRawPath(), "file://" + path.toUri().getRawPath()}
        )
        spellings += [(uri, form) for form in forms]
    rows = spark.createDataFrame(spellings, "uri string, path string").selectExpr("uri", "xxhash64(path) hash").collect()
    hashes = {r.hash: r.uri for r in rows}
    if len(hashes) != len(spellings):
        raise RuntimeError("two paths have the same hash")
    return hashes


def survey(
    spark: Any, uris: dict[int, str], hashes: dict[int, int], part_bytes: int
) -> tuple[set[int], dict[tuple[int, int], Any]]:
    """Looks through files that are to be cut. Returns those with a quoted cell that goes over a line end, which cannot be,
    and the parts of the others as Input has them."""
    lines = read_lines(spark, list(uris.values()), part_bytes, is_packed=False)
    not_blank = "value >= '!' or value rlike '[^\\\\x00-\\\\x20]'"
    lone_crs = "octet_length(value) - octet_length(replace(value, '\\r', '')) - cast(endswith(value, '\\r') as int)"
    lines.selectExpr("*", "monotonically_increasing_id() id").createOrReplaceTempView("lines")
    blocks = spark.sql(f"""select file, start, sum(1 + {lone_crs}) line_ends, max(contains(value, '"')) has_quotes,
                   min_by(substring(cast(value as binary), 1, {PENDING_BYTES_MAX}), id) filter (where {not_blank}) head
            from lines group by file, start""").collect()
    quoted = {r.file for r in blocks if r.has_quotes}
    open_files: set[int] = set()
    if quoted:
        positions = {hashes[file] for file in quoted}
        lines = read_lines(spark, [uri for p, uri in uris.items() if p in positions], part_bytes, is_packed=False)
        found = (
            lines.where("contains(value, '\"')")
            .selectExpr("file", "cast(value as binary) value")
            .rdd.mapPartitions(files_with_open_lines)
        )
        open_files = {hashes[f] for f in found.distinct().collect()}
    return open_files, parts_of_blocks([(hashes[r.file], r.start, r.line_ends, r.head) for r in blocks])


def files_with_open_lines(rows: Iterable[Any]) -> Iterator[int]:
    seen: set[int] = set()
    for file, value in rows:
        if file not in seen and not is_whole_rows(bytes(value)):
            seen.add(file)
    return iter(seen)


def parts_of_blocks(blocks: list[tuple[int, int, int, Optional[bytearray]]]) -> dict[tuple[int, int], Any]:
    """From (file, start, line ends, first line that is not blank) of blocks to what Input holds of them."""
    parts: dict[tuple[int, int], Any] = {}
    line, header, last = 1, None, None
    for file, start, line_ends, head in sorted(blocks, key=lambda b: b[:2]):
        if last is None or last[0] != file:
            line, header = 1, None
        elif last is not None:
            parts[last] = (*parts[last][:2], False)
        last = (file, start)
        parts[last] = (line, header, True)
        if header is None and head is not None:
            header = bytes(head)[len(BOM) :] if start == 0 and head.startswith(BOM) else bytes(head)
        line += line_ends
    return parts


def read_rows(
    spark: Any, spec: Spec, dataset: Dataset, uri_of: dict[int, str], progress: Progress
) -> tuple[Any, dict[str, Any]]:
    """The rows of a data set as a DataFrame of SCHEMAS, kept, and what the reports say. Raises Refusal."""
    objects = spec.datasets[dataset.name]
    uris = {n: o["uri"] for n, o in enumerate(objects) if o["size"] > 0}
    large = {n for n in uris if objects[n]["size"] > spec.part_bytes}
    cut = {n: uris[n] for n in large if not objects[n]["gzip"]}
    position = {o["uri"]: n for n, o in enumerate(objects)}
    hashes = {file: position[uri] for file, uri in uri_of.items() if uri in position}
    parts: dict[tuple[int, int], Any] = {}
    if cut:
        open_files, parts = survey(spark, cut, hashes, spec.part_bytes)
        cut = {n: uri for n, uri in cut.items() if n not in open_files}
        parts = {block: part for block, part in parts.items() if block[0] in cut}
    whole = {n: uris[n] for n in large - set(cut)}
    small = {n: uris[n] for n in set(uris) - large}
    plans = [(small, spec.part_bytes, True), (cut, spec.part_bytes, False)]
    plans.append((whole, max((objects[n]["size"] for n in whole), default=0), False))
    context = spark.sparkContext
    what = context.broadcast((dataset.name, [o["name"] for o in objects], [o["size"] for o in objects], hashes, parts))
    rules, counters = spec.rules, progress.counters[dataset.name]
    lines = [
        read_lines(spark, list(files.values()), size, is_packed).selectExpr("cast(value as binary) value", "file", "start").rdd
        for files, size, is_packed in plans
        if files
    ]
    rows = context.union(lines or [context.emptyRDD()]).mapPartitions(
        lambda some: rows_of_partition(some, what, rules, counters)
    )
    frame = spark.createDataFrame(rows, SCHEMAS[dataset.name], verifySchema=False).persist()
    report = merge_reports(r.report for r in frame.where("report is not null").select("report").collect())
    if report["refusal"]:
        raise Refused(report["refusal"][1])
    if not report["has_column"]:
        name = objects[0]["name"]
        raise at_line("csv_header_missing", name, 1, f"no file of {dataset.name} has a header line: all are empty")
    return frame, report


class Refused(Exception):
    """A Refusal that was met on an executor: what error_of made of it."""


# ---- joining and counting, by Spark ----


def own_id(column: str, is_text: bool) -> str:
    """What tells an id from others of its column."""
    return column if is_text else column + "_n"


def join_key(column: str, is_text: bool, partner_is_text: bool) -> str:
    """What an id meets the other column by: where only that one holds numbers, the text is read as one, without exponent."""
    if is_text and not partner_is_text:
        return f"if(contains(lower({column}), 'e'), null, {column}_n)"
    return own_id(column, is_text)


JOINS = {
    # Rows that an order has on each day that is asked for; of the other days together, with day null.
    "order_pairs": "select key, if(is_wanted, day, null) day, count(*) times from orders where key is not null group by 1, 2",
    # The same as ["day:times"], one row a key: that there is one says that the order exists.
    "order_days": "select key, collect_list(if(day is null, null, concat(day, ':', times))) order_days from order_pairs group by key",
    "product_categories": """
        select key, sum(times) sold_times, collect_list(if(category_is = 0, concat(times, ':', category), null)) categories,
               min(if(category_is = 0, null, place)) bad
        from (select key, category, category_is, count(*) times, min(struct(object, line, category_is)) place
              from products where key is not null group by key, category, category_is)
        group by key""",
    # Items that bear on a day that is asked for, with all that they are joined with.
    "joined": """
        select items.*, order_days, order_days.key is not null has_order, sold_times, categories,
               concat(bad.object, ':', bad.line, ':', bad.category_is) bad_product
        from items left join order_days on items.order_key = order_days.key
                   left join product_categories on items.product_key = product_categories.key
        where is_wanted or size(order_days) > 0""",
    "with_order": """
        select order_key, own_item, cast(substring_index(pair, ':', 1) as int) day
        from joined lateral view explode(order_days) as pair where is_counted""",
    "sold": """
        select day, substring(sold_as, instr(sold_as, ':') + 1) category, own_order, is_returned
        from joined lateral view explode(categories) as sold_as where is_wanted and is_counted""",
    "category_counts": """
        select day, category, count(distinct own_order) orders, count(distinct if(is_returned, own_order, null)) returned_orders
        from sold group by day, category""",
}

# Rows (what, day, category, counts) of what must be counted once, whatever rows it is in; ORDER_COUNTS and so on say what
# the counts are. The number of categories of a day is in the row of each, of which one is the first.
COUNTS = """
    select 'orders' what, day, cast(null as string) category,
           array(count(distinct own), count(distinct if(is_returned, own, null)), count(distinct own_customer), count(distinct key),
                 count(distinct if(key is null, own, null))) counts
    from orders where is_wanted group by day
    union all select 'items', day, null, array(count(distinct order_key), count(distinct own_item)) from with_order group by day
    union all select if(category = min(category) over (partition by day), 'first category', 'category'), day, category,
                     array(orders, returned_orders, count(*) over (partition by day)) from category_counts
"""
COUNTED = {
    "orders": ("orders", "returned_orders", "customers", "order_pairs", "unjoinable_orders"),
    "items": ("met_pairs", "distinct_items"),
}
RESULT_FILES_MAX, ROWS_OF_A_RESULT_FILE = 64, 10_000_000  # of input: there are never more lines than these


def make_views(spark: Any, frames: dict[str, Any], is_text: dict[str, bool]) -> None:
    """Names the data sets, with the keys by which they are joined and counted, and the joins of them."""

    def of(column: str) -> bool:
        return is_text.get(column, False)

    orders, items = of("orders.order_id"), of("order_items.order_id")
    columns = {
        "orders": [
            join_key("id", orders, items) + " key",
            own_id("id", orders) + " own",
            own_id("customer", of("orders.user_id")) + " own_customer",
        ],
        "products": [join_key("id", of("products.id"), of("order_items.product_id")) + " key"],
        "items": [
            join_key("ord", items, orders) + " order_key",
            own_id("ord", items) + " own_order",
            join_key("prod", of("order_items.product_id"), of("products.id")) + " product_key",
            own_id("id", of("order_items.id")) + " own_item",
            "price_is not in (%d, %d) is_counted" % PRICE_REFUSED,
        ],
    }
    for view, frame in (("orders", frames["orders"]), ("products", frames["products"]), ("items", frames["order_items"])):
        frame.where("report is null").drop("report").selectExpr("*", *columns[view]).createOrReplaceTempView(view)
    for view, text in JOINS.items():
        frame = spark.sql(text)
        if view == "joined":  # it is used by what counts rows and by what counts ids
            frame = frame.persist()
            frames[view] = frame
        frame.createOrReplaceTempView(view)


def result_lines(spark: Any, spec: Spec, input_rows: int) -> Any:
    """The lines of the results as an RDD of texts: one of each day of which there is anything, one of each category on a day."""
    files = min(1 + input_rows // ROWS_OF_A_RESULT_FILE, RESULT_FILES_MAX)
    context = spark.sparkContext
    names = context.broadcast({d.name: [o["name"] for o in spec.datasets[d.name]] for d in DATASETS})
    skips_bad_rows = spec.rules.skips_bad_rows
    totals = context.union(
        [
            spark.table("orders").where("is_wanted").select(*Order._fields).rdd.mapPartitions(orders_of_days),
            spark.table("joined")
            .select(*Item._fields)
            .rdd.mapPartitions(lambda rows: items_of_days(rows, names, skips_bad_rows)),
            spark.sql(COUNTS).rdd.mapPartitions(counts_of_days),
        ]
    )
    return totals.reduceByKey(merge_totals, files, lambda key: key[0]).map(line_of).filter(lambda line: line is not None)


# ---- writing ----


RESULT_FOLDERS = ("results", "categories")


def write_lines(spark: Any, spec: Spec, folder: str, lines: Any) -> None:
    """Writes an RDD of texts into the files of a folder."""
    frame = spark.createDataFrame(lines.map(lambda line: (line,)), "value string", verifySchema=False)
    frame.write.text(f"{spec.folder}/{folder}", compression="none", lineSep="\n")


def written_files(spark: Any, spec: Spec) -> list[dict[str, Any]]:
    """What the manifest says of each file of the results, as it can be read now."""
    folders = [f"{spec.folder}/{folder}" for folder in RESULT_FOLDERS]
    stored = spark.read.format("binaryFile").option("pathGlobFilter", "part-*").load(folders)
    files = stored.selectExpr(
        "substring_index(path, '/', -2) name",
        "length bytes",
        "length - octet_length(replace(cast(content as string), '\n', '')) rows",
        "sha2(content, 256) sha256",
    )
    return [r.asDict() for r in sorted(files.collect())]


def whole_tally(reports: dict[str, Any], repeated_products: int) -> dict[str, Any]:
    """What is noted of the inputs, whatever the day."""
    tally = new_tally()
    for name, report in reports.items():
        merge_tally(tally, report["tally"])
        for check, finding in (
            ("_repeated_header", "repeated_header"),
            ("_ragged_rows", "ragged"),
            ("_encoding", "undecodable"),
        ):
            if report[finding]["count"]:
                merge_findings(tally["found"], name + check, report[finding])
    if repeated_products:
        tally["found"]["products_id_unique"] = {**no_finding(), "count": repeated_products}
    return shown_tally(tally)


def compute(spark: Any, storage: Storage, spec: Spec, progress: Progress) -> None:
    """Reads, joins, counts, and writes results and manifest. Raises Refusal, Refused, and whatever Spark does."""
    frames, reports = {}, {}
    try:
        check_pinned(storage, spec)
        uri_of = hash_paths(spark, storage, [o["uri"] for o in spec.all_objects()])
        for dataset in (PRODUCTS, ORDERS, ITEMS):  # in this order their faults come first
            frames[dataset.name], reports[dataset.name] = read_rows(spark, spec, dataset, uri_of, progress)
        progress.phase = "aggregating"
        is_text = {column: True for report in reports.values() for column in report["text_ids"]}
        make_views(spark, frames, is_text)
        keys = spark.sql("select count(key) - count(distinct key) repeated from products").first()
        write_lines(spark, spec, "results", result_lines(spark, spec, sum(r["rows"] for r in reports.values())))
        names = spark.sql("select distinct category from products where category is not null").rdd.map(
            lambda r: json.dumps(r.category)
        )
        write_lines(spark, spec, "categories", names.coalesce(1))
        check_pinned(storage, spec)
        manifest = {
            "format": Spec.FORMAT,
            **spec.of_attempt(),
            "input_fingerprint": spec.input_fingerprint,
            "spark_version": spark.version,
            "application_id": spark.sparkContext.applicationId,
            "files": written_files(spark, spec),
            "inputs": {
                d.name: {
                    "rows": reports[d.name]["rows"],
                    "columns": [c for c, has in zip(d.columns, reports[d.name]["has_column"]) if has],
                }
                for d in DATASETS
            },
            "text_ids": sorted(is_text),
            "tally": whole_tally(reports, keys.repeated),
        }
        write_last(storage, spec, "manifest.json", manifest)
    finally:
        for frame in frames.values():
            frame.unpersist()


# What Java says of a failed read, and the code of it.
FAULTS = (
    (r"AccessDenied|Status Code: 403|Forbidden", "s3_access_denied"),
    (r"NoSuchBucket|UnknownStoreException", "s3_no_such_bucket"),
    (r"RemoteFileChangedException", "s3_object_changed"),
    (r"ZipException|EOFException: Unexpected end of input stream|incorrect header check|incorrect data check|invalid (block|stored|distance|code|literal|bit)"
     r"|not a gzip file|FileNotFoundException", "source_unreadable"),
)  # fmt: skip
MESSAGE_MAX = 600
PROBED_MAX = 64


def damaged_object(spark: Any, objects: list[dict[str, Any]]) -> str:
    """The name of the first compressed object that cannot be read: not every version of Spark tells. Gives up on many."""
    for o in [o for o in objects if o["gzip"] and o["size"]][:PROBED_MAX]:
        try:
            read_lines(spark, [o["uri"]], o["size"], is_packed=False).selectExpr("count(value)").collect()
        except Exception:
            return o["name"]
    return ""


def words_of(why: BaseException) -> str:
    """The first line of what an exception says; of one that comes from Java, of what that says."""
    return str(getattr(why, "java_exception", None) or why).split("\n")[0]


def error_of_any(why: BaseException, spark: Any, spec: Spec) -> dict[str, Any]:
    """What error.json says of an exception."""
    if isinstance(why, Refusal):
        return error_of(why)
    if isinstance(why, Refused):
        return why.args[0]
    text = words_of(why)
    code = next((code for pattern, code in FAULTS if re.search(pattern, str(why))), "engine_failed")
    names = [o["name"] for o in spec.all_objects() if o["name"] in str(why)] if code != "engine_failed" else []
    name = max(names, key=len, default="")
    if code == "source_unreadable" and not name:
        name = damaged_object(spark, spec.all_objects())
    what = f"{name}: cannot be read: " if name else f"{type(why).__name__}: "
    return error_of(Refusal(code, (what + text)[:MESSAGE_MAX], name))


# Settings that would change numbers in silence, whatever those of the cluster or of the submission are.
NOT_THE_CLUSTERS_TO_SAY = {
    "spark.sql.ansi.enabled": "true",  # a sum that overflows fails, instead of being null
    "spark.sql.files.ignoreCorruptFiles": "false",
    "spark.sql.files.ignoreMissingFiles": "false",
}


def run(spark: Any, spec_uri: str) -> int:
    """Runs what the spec asks for. Returns the exit code."""
    storage = Storage(spark)
    storage.conf.set("mapreduce.fileoutputcommitter.marksuccessfuljobs", "false")
    for name, value in NOT_THE_CLUSTERS_TO_SAY.items():
        spark.conf.set(name, value)
    text = None
    try:
        if storage.is_gone(spec_uri):
            return EXIT_UNLICENSED
        text = storage.read(spec_uri)
        spec = Spec(spec_uri, text)
    except Exception as why:
        traceback.print_exc()
        return refuse_spec(storage, Attempt(spec_uri, text), why)
    try:
        return run_spec(spark, storage, spec)
    except Unlicensed:
        print("kpi_job: the spec is gone: nobody wants the results", file=sys.stderr)
        spark.stop()  # until then tasks may write
        remove_leftovers(storage, spec)
        return EXIT_UNLICENSED


def refuse_spec(storage: Storage, attempt: Attempt, why: Exception) -> int:
    """Says what is wrong with the spec, where that can be said beside it. Returns the exit code."""
    message = f"the spec of the job cannot be read: {type(why).__name__}: {words_of(why)}"[:MESSAGE_MAX]
    try:
        write_last(storage, attempt, "error.json", {**attempt.of_attempt(), **error_of(Refusal("engine_failed", message))})
    except Unlicensed:
        remove_leftovers(storage, attempt)
        return EXIT_UNLICENSED
    except Exception as why_not:
        print(f"kpi_job: {message}; nor can that be written: {why_not}", file=sys.stderr)
        return EXIT_USAGE
    return EXIT_FAILED


def remove_leftovers(storage: Storage, spec: Attempt) -> None:
    """Removes what the job wrote, if it can: whoever removed the spec may have seen less."""
    try:
        storage.remove(spec.folder, (*RESULT_FOLDERS, "progress.json", "progress.json.tmp", "error.json", "manifest.json"))
    except Exception as why:
        print(f"kpi_job: cannot be removed: {why}", file=sys.stderr)


def run_spec(spark: Any, storage: Storage, spec: Spec) -> int:
    """As run. Raises Unlicensed."""
    try:
        check_job(spec)
        with Progress(spark, storage, spec) as progress:
            compute(spark, storage, spec, progress)
    except Unlicensed:
        raise
    except Exception as why:
        if not isinstance(why, (Refusal, Refused)):
            traceback.print_exc()
        error = {**spec.of_attempt(), **error_of_any(why, spark, spec)}
        print(f"kpi_job: {error['code']}: {error['message']}", file=sys.stderr)
        write_last(storage, spec, "error.json", error)
        return EXIT_FAILED
    return 0


EXIT_FAILED, EXIT_ORPHAN, EXIT_UNLICENSED, EXIT_USAGE = 1, 3, 4, 64


def check_job(spec: Spec) -> None:
    """Refuses to be another version of this file than the service has."""
    with open(__file__, "rb") as file:
        own = hashlib.sha256(file.read()).hexdigest()
    if spec.job_sha256 not in (None, own):
        raise RuntimeError(
            f"this job file has SHA-256 {own}, the service expects {spec.job_sha256}: put its own there by kpid spark install"
        )


def die_with_parent() -> None:
    """A cluster manager that kills a driver kills the Java process and leaves this one: Linux can end it then."""
    if "PYSPARK_GATEWAY_PORT" in os.environ and sys.platform == "linux":
        pr_set_pdeathsig = 1
        parent = os.getppid()  # may be 1: in a container, Java itself. Of one that has died before there is no gateway either
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(EXIT_ORPHAN)


def main() -> int:
    if len(sys.argv) != 2:
        print("usage: spark-submit kpi_job.py SPEC_URI", file=sys.stderr)
        return EXIT_USAGE
    die_with_parent()
    from pyspark.sql import SparkSession

    spark = SparkSession.builder.appName("kpid " + sys.argv[1].rsplit("/kpi-runs/", 1)[-1]).getOrCreate()
    try:
        return run(spark, sys.argv[1])
    finally:
        spark.stop()


if __name__ == "__main__":
    sys.exit(main())
