# SPDX-License-Identifier: MIT
"""The Spark engine's job: reads orders, order items and products, and writes what the service needs to publish them.

Called as `spark-submit kpi_job.py SPEC_URI`. It computes exact sums and counts and never divides: formulas, rounding, quality
rules and publishing are the service's (pipeline/kpi.c, pipeline/quality.c). README.md beside this file is the contract.
What a cell means is said here once more for Python; tests/vectors holds the cases that both engines read.

One file, for PySpark 3.5 and 4.0 and Python 3.9, with nothing but pyspark and the standard library. Importable without pyspark.
"""

from __future__ import annotations

import re
from datetime import date, datetime, timedelta
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
    weight = len(significant) - len(fraction) + small_exponent(found[4] or b"0")  # of the first digit: 10^(weight-1)
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
ZONES_MAX = 4096  # there are some 600; the others are names of none
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
    if name not in ZONES and len(ZONES) < ZONES_MAX:
        try:
            ZONES[name] = None if SYSTEM_ZONES.fullmatch(name) else ZoneInfo(name)
        except (KeyError, ValueError, OSError):
            ZONES[name] = None
    return ZONES.get(name)


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
