"""What can go wrong with one HTTP answer. Each fault makes the answer and delivers it, both in its own way."""

import asyncio
import json
import socket
import struct
import threading
import time
import zlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from email.utils import formatdate

REQUEST_ID = "FAULTPROXY0000000000"


@dataclass(frozen=True)
class Answer:
    """An HTTP answer; the headers include Content-Length unless it is to be missing."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes

    def head(self) -> bytes:
        lines = [f"HTTP/1.1 {self.status} X"]
        lines += [f"{name}: {value}" for name, value in self.headers]
        return "\r\n".join([*lines, "", ""]).encode("latin-1")

    def with_header(self, name: str, value: str | None) -> "Answer":
        """The answer with one header replaced, or without it."""
        kept = [pair for pair in self.headers if pair[0].lower() != name.lower()]
        return replace(
            self, headers=kept if value is None else [*kept, (name, value)]
        )

    def with_body(self, body: bytes) -> "Answer":
        return replace(
            self.with_header("Content-Length", str(len(body))), body=body
        )


@dataclass
class Exchange:
    """A request on its way to the upstream."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes
    forward_fn: Callable[["Exchange"], Awaitable[Answer]]

    async def forward(self) -> Answer:
        return await self.forward_fn(self)


class Connection:
    """The client's side."""

    def __init__(self, reader, writer):
        self.reader, self.writer, self.closed = reader, writer, False

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def close(self) -> None:
        """A regular end (FIN)."""
        self.closed = True
        self.writer.close()

    async def reset(self) -> None:
        """An irregular end (RST); what was sent before gets time to arrive."""
        self.closed = True
        await asyncio.sleep(0.02)
        self.writer.get_extra_info("socket").setsockopt(
            socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
        )
        self.writer.transport.abort()


class Fault:
    """The base: forwards, and delivers unspoiled."""

    async def answer(self, exchange: Exchange) -> Answer | None:
        return await exchange.forward()

    async def deliver(
        self, answer: Answer | None, connection: Connection, method: str
    ) -> None:
        body = b"" if method == "HEAD" else answer.body
        await connection.send(answer.head() + body)


class Pass(Fault):
    """No fault."""


@dataclass(frozen=True)
class Status(Fault):
    """An answer that the upstream never saw the request of."""

    status: int
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    title: str = ""

    def __str__(self) -> str:
        return f"{self.status} {self.title}".strip()

    async def answer(self, exchange: Exchange) -> Answer:
        headers = {
            "Content-Type": "application/xml",
            "x-amz-request-id": REQUEST_ID,
            **self.headers,
            "Content-Length": str(len(self.body)),
        }
        return Answer(self.status, list(headers.items()), self.body)


def s3_error(status: int, code: str, extra: str = "", **headers: str) -> Status:
    """An error of S3."""
    body = (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f"<Error><Code>{code}</Code><Message>made by the fault proxy</Message>{extra}"
        f"<RequestId>{REQUEST_ID}</RequestId></Error>"
    )
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return Status(status, body.encode(), names, code)


def dynamodb_error(status: int, code: str, **members: object) -> Status:
    """An error of DynamoDB, with a right checksum."""
    document = {
        "__type": f"com.amazonaws.dynamodb.v20120810#{code}",
        "message": "made by the fault proxy",
        **members,
    }
    body = json.dumps(document).encode()
    return Status(status, body, json_headers(body), code)


def transaction_cancelled(*reasons: str) -> Status:
    """TransactionCanceledException with these reasons."""
    return dynamodb_error(
        400,
        "TransactionCanceledException",
        CancellationReasons=[
            {"Code": reason, "Message": "made by the fault proxy"} for reason in reasons
        ],
    )


def json_headers(body: bytes) -> dict[str, str]:
    return {
        "Content-Type": "application/x-amz-json-1.0",
        "x-amzn-RequestId": REQUEST_ID,
        "x-amz-crc32": str(zlib.crc32(body)),
    }


@dataclass(frozen=True)
class LostReply(Fault):
    """The upstream does it, the client hears a status or, without one, nothing."""

    status: int | None = None

    async def deliver(self, answer, connection, method) -> None:
        if self.status is None:
            await connection.reset()
        else:
            lost = Answer(self.status, [("Content-Length", "0")], b"")
            await connection.send(lost.head())


@dataclass(frozen=True)
class Reset(Fault):
    """The connection is reset after `at` body bytes; None: before the headers."""

    at: int | None = None

    async def answer(self, exchange: Exchange) -> Answer | None:
        return None if self.at is None else await exchange.forward()

    async def deliver(self, answer, connection, method) -> None:
        if answer:
            await connection.send(answer.head() + answer.body[: self.at])
        await connection.reset()


@dataclass(frozen=True)
class Truncate(Fault):
    """Only the first `at` body bytes. length: full (the Content-Length of all), none, or short (of what comes)."""

    at: int
    length: str = "full"

    async def deliver(self, answer, connection, method) -> None:
        part = answer.body[: self.at]
        if self.length == "none":
            answer = answer.with_header("Content-Length", None)
            answer = answer.with_header("Connection", "close")
        elif self.length == "short":
            answer = answer.with_body(part)
        await connection.send(answer.head() + part)
        if self.length != "short":
            await connection.close()


@dataclass(frozen=True)
class Stall(Fault):
    """A pause of so many seconds after `at` body bytes."""

    seconds: float
    at: int = 0

    async def deliver(self, answer, connection, method) -> None:
        await connection.send(answer.head() + answer.body[: self.at])
        await asyncio.sleep(self.seconds)
        await connection.send(answer.body[self.at :])


@dataclass(frozen=True)
class Drip(Fault):
    """One body byte a second."""

    async def deliver(self, answer, connection, method) -> None:
        await connection.send(answer.head())
        for byte in answer.body:
            await connection.send(bytes([byte]))
            await asyncio.sleep(1)


@dataclass(frozen=True)
class Delay(Fault):
    """Passes on after so many seconds."""

    seconds: float

    async def answer(self, exchange: Exchange) -> Answer:
        await asyncio.sleep(self.seconds)
        return await exchange.forward()


@dataclass(frozen=True)
class Flip(Fault):
    """One bit of body byte `at` is wrong."""

    at: int

    async def answer(self, exchange: Exchange) -> Answer:
        answer = await exchange.forward()
        body = bytearray(answer.body)
        if body:
            body[self.at % len(body)] ^= 1
        return replace(answer, body=bytes(body))


@dataclass(frozen=True)
class BadCrc(Fault):
    """A checksum that does not fit the body."""

    async def answer(self, exchange: Exchange) -> Answer:
        answer = await exchange.forward()
        wrong = zlib.crc32(answer.body) ^ 1
        return answer.with_header("x-amz-crc32", str(wrong))


@dataclass(frozen=True)
class Unprocessed(Fault):
    """BatchWriteItem: the last `count` requests of a batch are handed back (upstream must not check signatures)."""

    count: int

    async def answer(self, exchange: Exchange) -> Answer:
        document = json.loads(exchange.body)
        (table, requests), *_ = document["RequestItems"].items()
        keep = max(0, len(requests) - self.count)
        reply = {"UnprocessedItems": {table: requests[keep:]} if self.count else {}}
        if keep:
            document["RequestItems"] = {table: requests[:keep]}
            exchange.body = json.dumps(document).encode()
            done = await exchange.forward()
            if done.status != 200:
                return done
        body = json.dumps(reply).encode()
        headers = {**json_headers(body), "Content-Length": str(len(body))}
        return Answer(200, list(headers.items()), body)


@dataclass(frozen=True)
class Rewrite(Fault):
    """The answer, changed by a function of the test."""

    change_fn: Callable[[Answer], Answer]

    async def answer(self, exchange: Exchange) -> Answer:
        return self.change_fn(await exchange.forward())

    def __str__(self) -> str:
        return f"Rewrite({self.change_fn.__name__})"


@dataclass(frozen=True)
class Meanwhile(Fault):
    """A function of the test runs before the request is passed on (or after, with `after`)."""

    call_fn: Callable[[], object]
    after: bool = False

    async def answer(self, exchange: Exchange) -> Answer:
        if self.after:
            answer = await exchange.forward()
            await asyncio.to_thread(self.call_fn)
            return answer
        await asyncio.to_thread(self.call_fn)
        return await exchange.forward()

    def __str__(self) -> str:
        return "Meanwhile"


@dataclass(frozen=True)
class Hold(Fault):
    """The request waits at the gate until the test opens it."""

    gate: threading.Event
    seconds: float = 30

    async def answer(self, exchange: Exchange) -> Answer:
        await asyncio.to_thread(self.gate.wait, self.seconds)
        return await exchange.forward()

    def __str__(self) -> str:
        return "Hold"


@dataclass(frozen=True)
class Redate(Fault):
    """A refusal by a server whose clock is `seconds` ahead."""

    refusal: Status
    seconds: float

    async def answer(self, exchange: Exchange) -> Answer:
        answer = await self.refusal.answer(exchange)
        return answer.with_header("Date", formatdate(time.time() + self.seconds, usegmt=True))
