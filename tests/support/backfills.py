"""What tests of backfills do with them; their shop has SHOP_DAYS days."""

from support.series import day
from support.server import END_SECONDS, Reply, Server

SHOP_DAYS = 12


def backfill(server: Server, query: str = "", **fields: object) -> Reply:
    return server.post(f"/backfills{query}", {"max_attempts": 1, **fields})


def days_of(first: int, last: int) -> dict[str, str]:
    return {"start_date": day(first), "end_date": day(last)}


def finish(server: Server, backfill_id: str, timeout: float = END_SECONDS) -> dict:
    """The backfill once it is terminal, with up to 200 of its days."""
    return server.await_end(f"/backfills/{backfill_id}?wait=5&limit=200", timeout)


def done(server: Server, **fields: object) -> dict:
    reply = backfill(server, **fields)
    assert reply.status in (200, 202), reply
    return finish(server, reply.json["id"])


def column(found: dict, name: str) -> list:
    return [row[name] for row in found["days"]]


def published(server: Server) -> list[str]:
    rows = server.get(f"/kpis/orders?from={day(0)}&to={day(SHOP_DAYS)}&limit=200").json["rows"]
    return [row["order_date"] for row in rows]


def break_day(source, n: int) -> None:
    """An item of day n whose price refuses the day."""
    path = source / "order_items" / "a.csv"
    path.write_text(path.read_text(encoding="utf-8") + f"999999,{n * 1000},1,NaN,complete,{day(n)}\n", encoding="utf-8")
