"""Follows pages to their end."""

import json
import re
from decimal import Decimal
from functools import cmp_to_key

from support.server import Reply, Server

Row = dict[str, object]


def exact(text: str) -> dict:
    """A JSON document with every number as an exact decimal."""
    return json.loads(text, parse_float=Decimal, parse_int=Decimal)


def next_link(reply: Reply) -> str | None:
    found = re.match(r'<([^>]*)>; rel="next"$', reply.headers.get("link", ""))
    return found and found[1]


def pages_of(server: Server, path: str | None) -> list[Reply]:
    """The replies from `path` on, as long as the Link header names a next page."""
    replies = []
    while path:
        replies.append(server.get(path))
        assert replies[-1].status == 200, replies[-1]
        path = next_link(replies[-1])
    return replies


def walk(server: Server, path: str) -> list[Row]:
    """The rows of all pages of a JSON resource."""
    return [row for page in pages_of(server, path) for row in exact(page.text)["rows"]]


def value_of(row: Row, column: str) -> object:
    """The cell, from its exact twin where it has one."""
    twin = row.get(f"{column}_exact")
    return row[column] if twin is None else Decimal(twin)


def key_of(row: Row) -> tuple:
    return row["order_date"], row.get("category", "").encode()


def in_order(rows: list[Row], sort: str) -> list[Row]:
    """What `sort` has to give: null below every value, ties by date, then category, ascending."""
    column = sort.removeprefix("-")
    sign = -1 if sort.startswith("-") else 1

    def compare(a: Row, b: Row) -> int:
        x, y = value_of(a, column), value_of(b, column)
        if column == "category":
            x, y = x.encode(), y.encode()
        if x is None or y is None:
            order = (x is not None) - (y is not None)
        else:
            order = (x > y) - (x < y)
        return sign * order or (key_of(a) > key_of(b)) - (key_of(a) < key_of(b))

    return sorted(rows, key=cmp_to_key(compare))
